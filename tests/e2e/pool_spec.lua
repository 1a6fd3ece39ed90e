-- How many connections an engine may open, and what it says of them.

local clock = require "clock"
local server = require "server"
local socket = require "socket"

local function find_record(engine, message)
  for _, record in ipairs(engine:log()) do
    if record.message == message then
      return record
    end
  end
end

local function start(settings, env)
  return server.start_new { settings = { database = settings }, env = env }
end

describe("the size of the pool", function()
  after_each(server.remove_all)

  local function assert_size(engine, size, overflow, source)
    local record = find_record(engine, "pool is sized")
    assert.is_table(record)
    assert.equal("INFO", record.level)
    assert.equal(size, record.pool_size)
    assert.equal(server.store == "sqlite" and 0 or overflow, record.max_overflow)
    assert.equal(source, record.source)
    return record
  end

  it("is the default when nothing is said", function()
    local record = assert_size(start(), 10, 20, "default")
    assert.is_nil(record.instance_count)
  end)

  it("is what the settings say, whatever else they say", function()
    assert_size(start({ pool_size = 4, max_overflow = 1 }, { INSTANCE_COUNT = "8" }),
      4, 1, "settings")
  end)

  it("C-DB-02 comes from the formula when only the numbers are given", function()
    local record = assert_size(start({}, { INSTANCE_COUNT = "4" }), 7, 15, "formula")
    assert.equal(4, record.instance_count)
    assert.equal(100, record.max_db_connections)
    assert.is_nil(find_record(start({}, { INSTANCE_COUNT = "45" }),
      "max_db_connections is too few for so many engines"))
  end)

  it("C-DB-02 is the least, with a warning, when there are too many engines", function()
    local engine = start({ instance_count = 60 }, { MAX_DB_CONNECTIONS = "100" })
    assert_size(engine, 2, 0, "formula")
    local warning = find_record(engine, "max_db_connections is too few for so many engines")
    assert.is_table(warning)
    assert.equal("WARNING", warning.level)
    assert.equal(120, warning.opened_together)
    local answer = engine:append("P/1", { { event_type = "Tick", data = { n = 1 } } })
    assert.equal(1, answer.last_position)
  end)
end)

describe("the pools of all engines", function()
  after_each(server.remove_all)

  local MESSAGE = "the pools of all engines do not fit the server"

  it("are said not to fit the server, with what to change", function()
    local engine = start { pool_size = 200, max_overflow = 300, instance_count = 2 }
    local warning = find_record(engine, MESSAGE)
    if server.store == "sqlite" then
      assert.is_nil(warning)
      return
    end
    assert.equal("WARNING", warning.level)
    assert.equal(2, warning.instance_count)
    assert.equal(1000, warning.opened_together)
    assert.is_true(warning.max_connections > warning.reserved)
    assert.truthy(warning.advice:find("max_connections " .. 1000 + warning.reserved, 1, true),
      warning.advice)
    local share = math.floor((warning.max_connections - warning.reserved) / 2)
    assert.truthy(warning.advice:find("max_overflow be " .. share .. " together", 1, true),
      warning.advice)
  end)

  it("are not complained of when they fit", function()
    assert.is_nil(find_record(start { pool_size = 5, max_overflow = 1 }, MESSAGE))
  end)
end)

-- ---- what is seen of it ----

local function pool_indicator(engine)
  local health = engine:get("/health").json
  for _, indicator in ipairs(health.indicators) do
    if indicator.name == "pool" then
      return indicator, health
    end
  end
end

local function metric(engine, line)
  return tonumber(engine:get("/metrics").body:match("\n" .. line:gsub("[^%w]", "%%%0") .. " (%d+)"))
end

describe("the pool of an engine that works", function()
  after_each(server.remove_all)

  it("is counted by state, and its waits are measured", function()
    local engine = start()
    engine:append("P/1", { { event_type = "Tick", data = { n = 1 } } })
    assert.equal(200, engine:get("/api/streams/P/1").status)
    assert.is_true(metric(engine, 'perigee_pool_connections{state="idle"}') > 0)
    assert.is_true(metric(engine, "perigee_pool_wait_seconds_count") > 0)
    if engine.store == "postgresql" then -- the writer's and the keeper's own
      assert.is_true(metric(engine, 'perigee_pool_connections{state="lent"}') >= 2)
    end
    local pool = pool_indicator(engine)
    assert.equal("healthy", pool.status)
    assert.equal(0, pool.details.waiting)
    assert.is_true(pool.details.idle > 0)
  end)
end)

if server.store == "postgresql" then
  describe("a connection", function()
    after_each(server.remove_all)

    local function starts_of(engine, which)
      return tonumber(engine.database:rows(([[
        select coalesce(%s(extract(epoch from backend_start)), 0) as at from pg_stat_activity
        where datname = current_database() and application_name = 'perigee']]):format(which))[1].at)
    end

    it("is replaced when it has grown old", function()
      local engine = start { pool_recycle = 0.5 }
      engine:append("P/1", { { event_type = "Tick", data = { n = 1 } } })
      local newest = starts_of(engine, "max")
      assert.is_true(newest > 0)
      local n = 1
      clock.wait_until("all of the first are gone, the writer's and the keeper's too", function()
        n = n + 1
        engine:append("P/1", { { event_type = "Tick", data = { n = n } } })
        engine:get("/api/streams/P/1")
        return starts_of(engine, "min") > newest
      end)
    end)

    -- The server of the tests has no certificate.
    it("has the TLS that the settings want, or is none", function()
      local address = "127.0.0.1:" .. server.free_port()
      local engine = server.new { settings = {
        database = { sslmode = "require" }, http = { listen = address } } }
      engine:launch(address)
      clock.wait_until("it says that there is no TLS", function()
        local ok, health = pcall(engine.get, engine, "/health")
        return ok and health.body:find("does not support SSL", 1, true)
      end)
    end)
  end)
end

describe("a pool that is lent out", function()
  after_each(server.remove_all)

  local function ask_without_waiting(engine)
    local host, port = engine.address:match("^(.*):(%d+)$")
    local connection = assert(socket.connect(host, tonumber(port)))
    connection:send("GET /api/streams/P/1 HTTP/1.1\r\nHost: perigee\r\n\r\n")
    return connection
  end

  -- A lock of another session keeps whoever reads the table, with what he was
  -- lent.  Nothing keeps a reader of SQLite: test_lite_pool.c.
  if server.store == "postgresql" then
    it("says who has what, and is degraded until a minute after a wait was given up", function()
      local engine = start { pool_size = 4, max_overflow = 0, pool_timeout = 1,
        statement_timeout = 60000 }
      engine:append("P/1", { { event_type = "Tick", data = { n = 1 } } })
      assert.equal("healthy", pool_indicator(engine).status)
      engine.database:rows("begin")
      engine.database:rows("lock table perigee.streams in access exclusive mode")
      local clients = { ask_without_waiting(engine) }
      local record = clock.wait_until("the loan is logged while it is out", function()
        return find_record(engine, "connection held too long")
      end)
      assert.equal("WARNING", record.level)
      assert.is_true(record.held_ms >= 1000)
      assert.is_string(record.holder)
      assert.equal(0, pool_indicator(engine).details.timeouts)
      for i = 2, 8 do
        clients[i] = ask_without_waiting(engine)
      end
      clock.wait_until("somebody waits", function()
        local pool = pool_indicator(engine)
        return pool.details.waiting > 0 and pool.status == "degraded"
      end)
      clock.wait_until("waits are given up", function()
        local pool, health = pool_indicator(engine)
        return pool.details.timeouts > 0 and pool.details.waiting == 0 and
          pool.status == "degraded" and health.status == "degraded"
      end)
      engine.database:rows("rollback")
      for _, client in ipairs(clients) do
        client:close()
      end
    end)

    it("opens more under load, and closes them when nobody waits", function()
      local engine = start { pool_size = 4, max_overflow = 4, statement_timeout = 60000 }
      engine:append("P/1", { { event_type = "Tick", data = { n = 1 } } })
      engine.database:rows("begin")
      engine.database:rows("lock table perigee.streams in access exclusive mode")
      local clients = {}
      for i = 1, 6 do
        clients[i] = ask_without_waiting(engine)
      end
      clock.wait_until("all that may be open are lent", function()
        return pool_indicator(engine).details.lent == 8
      end)
      engine.database:rows("rollback")
      clock.wait_until("those that stay are left", function()
        local details = pool_indicator(engine).details
        return details.lent == 2 and details.idle == 2
      end)
      for _, client in ipairs(clients) do
        client:close()
      end
    end)
  end
end)
