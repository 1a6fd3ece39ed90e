-- A real engine behind a real PgBouncer in transaction mode.

local clock = require "clock"
local database = require "database"
local pooler = require "pooler"
local server = require "server"

local COUNTER = [[
return {
  name = "counter",
  tables = { counters = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { Counted = function(event, db) db.counters:add(event.aggregate_id, { n = 1 }) end },
}
]]
local COUNT = [[
return {
  type = "Count",
  initial = function() return { n = 0 } end,
  apply = { Counted = function(state) state.n = state.n + 1 end },
  commands = { count = { run = function(count)
    count:emit("Counted", { n = count.state.n + 1 })
  end } },
}
]]

if server.store == "sqlite" then
  describe("SQLite", function()
    teardown(server.remove_all)

    it("lets settings for the way to a server pass", function()
      local engine = server.start_new { settings = { database = {
        direct_url = "postgresql://nobody@127.0.0.1:1/none", sslmode = "require" } } }
      assert.equal(1, engine:append("Count/a",
        { { event_type = "Counted", data = { n = 1 } } }).last_position)
    end)
  end)
  return
end

describe("behind PgBouncer in transaction mode", function()
  local data, way
  before_each(function()
    data = database.new("postgresql")
    way = pooler.start(data, 3)
  end)
  after_each(function()
    server.remove_all()
    way:stop()
    data:drop()
  end)

  local function new_engine(settings, listen)
    settings.url = way.url
    if settings.direct_url then
      settings.direct_url = data.url
    end
    return server.new {
      database = data, projections = { ["counter.lua"] = COUNTER },
      aggregates = { ["count.lua"] = COUNT }, settings = {
        database = settings, http = { listen = listen or "127.0.0.1:0" },
      },
    }
  end

  local function setting_of(shared, name)
    return shared:rows(("select current_setting('%s') as value"):format(name))[1].value
  end

  it("a direct URL makes everything work, live and in time", function()
    local engine = new_engine { direct_url = true, statement_timeout = 1500 }
    engine:start()
    for i = 1, 30 do
      engine:append("Count/a", { { event_type = "Counted", data = { n = i } } })
    end
    for _ = 1, 10 do
      local answer = engine:post("/api/aggregates/Count/b/count")
      assert.equal(200, answer.status, answer.body)
    end
    engine:wait_position("counter", 40)
    assert.equal(30, engine:row("counter", "counters", "a").n)
    assert.equal(10, engine:row("counter", "counters", "b").n)
    -- Nothing stays behind in the sessions that all share.
    local shared = database.at(way.url)
    for _ = 1, 6 do
      assert.equal("0", setting_of(shared, "statement_timeout"))
      assert.equal("on", setting_of(shared, "enable_seqscan"))
    end
    assert.equal("0",
      shared:rows("select count(*) as n from pg_prepared_statements")[1].n)
    shared:close()
    -- The server ends a statement that takes too long.
    data:rows("begin")
    data:rows("lock table perigee.streams in access exclusive mode")
    local answer = engine:get("/api/streams/Count/a")
    data:rows("rollback")
    assert.equal(503, answer.status)
    assert.truthy(answer.body:find("timeout", 1, true), answer.body)
    assert.equal(200, engine:get("/api/streams/Count/a").status)
  end)

  it("another engine's events are heard of over the direct URL", function()
    local engine = new_engine { direct_url = true }
    engine:start()
    local other = server.start_new { database = data,
      aggregates = { ["count.lua"] = COUNT } }
    local last
    for i = 1, 5 do
      last = other:append("Count/c", { { event_type = "Counted", data = { n = i } } }).last_position
      engine:wait_position("counter", last)
    end
    assert.equal(5, engine:row("counter", "counters", "c").n)
  end)

  it("without a direct URL the error says what to set", function()
    local address = "127.0.0.1:" .. server.free_port()
    local engine = new_engine({}, address)
    engine:launch(address)
    clock.wait_until("it says what to set", function()
      local ok, health = pcall(engine.get, engine, "/health")
      return ok and health.body:find("set database.direct_url", 1, true)
    end)
  end)
end)
