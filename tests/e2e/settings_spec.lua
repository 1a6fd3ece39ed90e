-- What a wrong start is told: everything at once, and by its full name.

local server = require "server"

-- Runs `serve` on a configuration file's text; the faults by line.
local function start(text, env, arguments)
  local folder = server.temporary_folder()
  server.write_file(folder .. "/config.lua", text)
  local words = { "serve", "--config", folder .. "/config.lua" }
  for _, word in ipairs(arguments or {}) do
    words[#words + 1] = word
  end
  local result = server.cli(words, { env = env, cwd = folder })
  os.execute("rm -rf '" .. folder .. "'")
  return result
end

local function has_line(result, ...)
  for line in result.err:gmatch("[^\n]+") do
    local all = true
    for _, part in ipairs { ... } do
      all = all and line:find(part, 1, true)
    end
    if all then
      return true
    end
  end
  error(table.concat({ ... }, ", ") .. " is in no line of: " .. result.err, 2)
end

describe("a configuration", function()
  it("is told all its mistakes at once: key, value, what is allowed", function()
    local result = start([[
return {
  http = { listen = 8000, auth = "maybe" },
  databse = { url = "x" },
  database = { colour = "red" },
  subscriptions = { batch_size = 0, processing_timeout = "long" },
}
]], { LOG_LEVEL = "LOUD", PERIGEE_HTTP_THREADS = "5", PERIGEE_DATABASE_POOLSIZE = "4" })
    assert.equal(2, result.status)
    has_line(result, "http.listen", "8000", "text")
    has_line(result, "http.auth", "maybe", "none")
    has_line(result, "databse", "no such setting")
    has_line(result, "database.colour", "no such setting")
    has_line(result, "subscriptions.batch_size", "0", "from 1")
    has_line(result, "subscriptions.processing_timeout", "long", "seconds")
    has_line(result, "log.level", "LOUD", "LOG_LEVEL", "WARNING")
    has_line(result, "http.threads", "5", "PERIGEE_HTTP_THREADS", "from 20")
    has_line(result, "PERIGEE_DATABASE_POOLSIZE")
    for line in result.err:gmatch("[^\n]+") do
      assert.equal("perigee: ", line:sub(1, 9))
    end
  end)

  it("that the database does not fit is wrong as well, once the store was asked", function()
    local result = start([[
return {
  http = { listen = "127.0.0.1:0" },
  database = { url = "sqlite:perigee.db", migrate = false },
}
]])
    assert.equal(2, result.status)
    has_line(result, "perigee: ", "no schema yet", "perigee migrate")
  end)

  it("that is missing, no Lua, no table or too curious is refused with its place", function()
    local missing = server.cli { "serve", "--config", "nowhere.lua" }
    assert.equal(2, missing.status)
    has_line(missing, "nowhere.lua", "No such file")
    for text, expected in pairs {
      ["return {"] = "config.lua:1", ["return 5"] = "config.lua",
      ["os.exit(7)"] = "config.lua:1", ["while true do end"] = "config.lua:1",
      ["return { http = 'here' }"] = "http",
    } do
      local result = start(text)
      assert.equal(2, result.status, text)
      has_line(result, expected)
    end
  end)

  it("never shows a password", function()
    local secret = "s3cr3t-word"
    local url = "postgresql://user:" .. secret .. "@127.0.0.1:1/none"
    local engine = server.new { store = "sqlite", env = { DATABASE_URL = url } }
    local port = server.free_port()
    engine.options.arguments = { "--listen", "127.0.0.1:" .. port }
    engine:launch("127.0.0.1:" .. port)
    require("clock").wait_until("probes answer", function()
      local ok, answer = pcall(engine.get, engine, "/api/events")
      return ok and answer.status == 503
    end)
    local body = engine:get("/api/events").body .. engine:get("/health").body
    assert.equal(0, engine:stop())
    assert.is_nil(engine:output():find(secret, 1, true), engine:output())
    assert.is_nil(body:find(secret, 1, true), body)
    engine:remove()
  end)
end)

describe("the order of precedence", function()
  it("is option, variable, PERIGEE_ variable, file", function()
    local function listens(text, env, arguments)
      return start("return { http = { listen = '" .. text .. "' } }", env, arguments).err
    end
    -- Addresses that are refused say themselves which one was taken.
    assert.truthy(listens("0.0.0.0:1"):find("0.0.0.0:1", 1, true))
    local variable = { PERIGEE_HTTP_LISTEN = "0.0.0.0:2" }
    assert.truthy(listens("0.0.0.0:1", variable):find("0.0.0.0:2", 1, true))
    local option = { "--listen", "0.0.0.0:3" }
    assert.truthy(listens("0.0.0.0:1", variable, option):find("0.0.0.0:3", 1, true))
  end)
end)

describe("listening beyond loopback", function()
  it("is refused without tokens, on any kind of address", function()
    for _, address in ipairs { "0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.org:80", ":80" } do
      local result = start("return {}", nil, { "--listen", address })
      assert.equal(2, result.status, address .. ": " .. result.err)
      has_line(result, "http.listen", "loopback")
    end
  end)

  it("is allowed when `http.auth` says \"none\" in words", function()
    local engine = server.start_new { settings = { http = { auth = "none" } },
      arguments = { "--listen", "0.0.0.0:0" } }
    local answer = engine:connect():request("GET", "/health/live")
    assert.equal(200, answer.status, answer.body)
    engine:remove()
  end)

  it("a port that is taken is a clear error", function()
    local engine = server.start_new()
    local result = start("return { database = { url = 'sqlite:other.db' } }", nil,
      { "--listen", engine.address })
    assert.is_true(result.status == 1 or result.status == 2)
    assert.truthy(result.err:find(engine.address:match("%d+$"), 1, true), result.err)
    engine:remove()
  end)
end)
