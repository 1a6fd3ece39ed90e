-- config/production.lua and config/staging.lua: good with the environment that
-- they document, and clear about what is missing without it.

local server = require "server"

local TOKENS = {
  writer = ("w"):rep(32), reader = ("r"):rep(32), admin = ("a"):rep(32),
}
local URL = "postgresql://perigee:hush@db.internal/perigee"

local folder

local function check(mode, env, arguments)
  local words = { "check", "--config", ("%s/config/%s.lua"):format(server.root, mode) }
  for _, word in ipairs(arguments or {}) do
    words[#words + 1] = word
  end
  return server.cli(words, { env = env, cwd = server.root })
end

local function write_tokens()
  for role, token in pairs(TOKENS) do
    server.write_file(folder .. "/" .. role, token .. "\n")
  end
end

-- What production is given.
local function production_env()
  write_tokens()
  return { DATABASE_URL = URL, PERIGEE_SECRETS = folder }
end

local function staging_env()
  return {
    DATABASE_URL = URL,
    WRITER_TOKEN = TOKENS.writer, READER_TOKEN = TOKENS.reader, ADMIN_TOKEN = TOKENS.admin,
  }
end

local function assert_good(result)
  assert.equal(0, result.status, result.out .. result.err)
  assert.truthy(result.out:find("http.listen = 0.0.0.0:8000\n", 1, true), result.out)
  assert.truthy(result.out:find("http.probe_listen = 0.0.0.0:8001\n", 1, true), result.out)
  assert.truthy(result.out:find("log.format = json\n", 1, true), result.out)
  for role, token in pairs(TOKENS) do
    assert.truthy(result.out:find(("http.tokens.%s = *** role %s\n"):format(role, role), 1, true))
    assert.is_nil(result.out:find(token, 1, true))
  end
  assert.is_nil(result.out:find("hush", 1, true))
end

local function assert_missing(result, name)
  assert.equal(1, result.status, result.out .. result.err)
  assert.truthy(result.out:find(name, 1, true), result.out)
end

describe("the settings for production", function()
  before_each(function()
    folder = server.temporary_folder()
  end)
  after_each(function()
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("are good with the variable and the files that they name", function()
    assert_good(check("production", production_env(), { "--settings" }))
  end)

  it("take a second, direct URL for a pooled one", function()
    local env = production_env()
    env.DATABASE_DIRECT_URL = "postgresql://perigee@db.internal:5433/perigee"
    local result = check("production", env, { "--settings" })
    assert.equal(0, result.status, result.out .. result.err)
    assert.truthy(result.out:find("database.direct_url = " .. env.DATABASE_DIRECT_URL, 1, true))
  end)

  it("say that the database is missing", function()
    local env = production_env()
    env.DATABASE_URL = nil
    assert_missing(check("production", env), "DATABASE_URL")
  end)

  for role in pairs(TOKENS) do
    it("say that the token of the " .. role .. " is missing", function()
      local env = production_env()
      os.remove(folder .. "/" .. role)
      assert_missing(check("production", env), folder .. "/" .. role)
    end)
  end

  it("are what doctor looks at, and finds at fault where something is missing", function()
    local env = production_env()
    local words = { "doctor", "--config", server.root .. "/config/production.lua" }
    env.DATABASE_URL = "sqlite:" .. folder .. "/perigee.db"
    local result = server.cli(words, { env = env, cwd = server.root })
    assert.equal(0, result.status, result.out .. result.err)
    assert.truthy(result.out:find("\n0 problems", 1, true), result.out)
    env.DATABASE_URL = nil
    result = server.cli(words, { env = env, cwd = server.root })
    assert.equal(1, result.status, result.out .. result.err)
    assert.truthy(result.out:find("no DATABASE_URL", 1, true), result.out)
  end)

  it("serve", function()
    local ports = { server.free_port(), server.free_port() }
    local env = production_env()
    env.DATABASE_URL = "sqlite:" .. folder .. "/perigee.db"
    local engine = server.new { env = env }
    engine.config_path = server.root .. "/config/production.lua"
    env.PERIGEE_HTTP_LISTEN = "127.0.0.1:" .. ports[1]
    env.PERIGEE_HTTP_PROBE_LISTEN = "127.0.0.1:" .. ports[2]
    engine:launch("127.0.0.1:" .. ports[2])
    engine:wait_ready()
    engine.client:close()
    engine.client = require("http").new("127.0.0.1:" .. ports[1])
    assert.equal(401, engine:get("/api/events").status)
    local as_reader = { authorization = "Bearer " .. TOKENS.reader }
    assert.equal(200, engine:get("/api/events", as_reader).status)
    assert.equal(0, engine:stop())
    engine:remove()
  end)
end)

describe("the settings for staging", function()
  it("are good with the variables that they name", function()
    assert_good(check("staging", staging_env(), { "--settings" }))
  end)

  for name in pairs(staging_env()) do
    it("say that " .. name .. " is missing", function()
      local env = staging_env()
      env[name] = nil
      assert_missing(check("staging", env), name)
    end)
  end
end)
