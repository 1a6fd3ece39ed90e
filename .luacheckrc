-- vim: ft=lua
std = "luajit"
max_line_length = 100
ignore = { "212/_.*" }

-- What a script sees (docs/scripts.md): nothing of LuaJIT's but this.
local everywhere = {
  "assert", "error", "ipairs", "pairs", "pcall", "select", "tonumber", "tostring", "type",
  "unpack", "rawequal", "rawget", "setmetatable", "getmetatable",
  "string", "table", "math", "bit",
  "json", "uuid", "decimal", "time", "log", "require",
}
local function sandbox(...)
  local names = {}
  for _, name in ipairs(everywhere) do
    names[name] = { other_fields = true }
  end
  for _, name in ipairs { ... } do
    names[name] = {}
  end
  return { read_globals = names }
end

stds.aggregate = sandbox("reject")
stds.projection = sandbox("retry")
stds.settings = { read_globals = { "env", "secret_file" } }

-- The example stands here as it does in the documents, remarks beside the code.
files["lua/aggregates/"] = { std = "aggregate", max_line_length = 120 }
files["projections/"] = { std = "projection", max_line_length = 120 }
files["examples/*/aggregates/"].std = "aggregate"
files["examples/*/lua/aggregates/"].std = "aggregate"
files["examples/*/projections/"].std = "projection"
files["config/"].std = "settings"
files["examples/*/config.lua"].std = "settings"
files["examples/*/config/"].std = "settings"

-- Declarations for editors: they are read, never run.
files["lua/perigee/types.lua"] = { ignore = { "1", "2", "6" } }

files["tests/**/*_spec.lua"].std = "+busted"
files["tests/**/*_proof.lua"].std = "+busted"

-- Scripts of wrk: it calls these by name.
files["tests/bench/"] = {
  globals = { "setup", "init", "request", "response", "done", "wrk" },
  ignore = { "113/number" },
}
files["tests/bench/account.lua"] = { read_globals = { "decimal" } }
