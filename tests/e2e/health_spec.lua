-- What probes are told, before, while and after all is well.

local clock = require "clock"
local process = require "process"
local server = require "server"

local CALM = [[
return {
  name = "calm",
  tables = { calm_rows = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { Tick = function(event, db) db.calm_rows:add(event.aggregate_id, { n = 1 }) end },
}
]]

local function broken(name)
  return ([[
return { name = "%s", tables = { %s_rows = { key = "id", columns = { id = "text" } } },
  on = { Poison = function() error("poisoned") end } }
]]):format(name, name)
end

describe("probes of an engine that runs", function()
  local engine
  setup(function()
    engine = server.start_new { projections = { ["calm.lua"] = CALM } }
  end)
  teardown(server.remove_all)

  it("C-HC-12 say ready and alive", function()
    local ready = engine:get("/health/ready")
    assert.equal(200, ready.status)
    assert.is_true(ready.json.ready)
    for _, field in ipairs { "reason", "details", "timestamp" } do
      assert.is_not_nil(ready.json[field], field)
    end
    local live = engine:get("/health/live")
    assert.equal(200, live.status)
    assert.is_true(live.json.alive)
    for _, field in ipairs { "reason", "details", "timestamp" } do
      assert.is_not_nil(live.json[field], field)
    end
  end)

  it("show each subscription with its indicators", function()
    engine:wait_position("calm",
      engine:append("Clock/1", { { event_type = "Tick", data = { n = 1 } } }).last_position)
    engine:wait_state("calm", "live")
    local health = engine:get("/health")
    assert.equal(200, health.status)
    local whole = health.json
    assert.equal("healthy", whole.status)
    assert.is_true(whole.running)
    assert.equal(1, whole.subscription_count)
    assert.equal(1, whole.healthy_count)
    assert.equal(0, whole.degraded_count)
    assert.equal(0, whole.unhealthy_count)
    assert.equal(1, whole.total_events_processed)
    assert.equal(0, whole.total_events_failed)
    assert.equal(0, whole.total_lag_events)
    assert.is_number(whole.uptime_seconds)
    local one = whole.subscriptions[1]
    assert.equal("calm", one.name)
    assert.equal("healthy", one.status)
    assert.equal("live", one.state)
    assert.equal(1, one.position)
    local names = {}
    for _, indicator in ipairs(one.indicators) do
      names[indicator.name] = indicator.status
      assert.is_string(indicator.message)
    end
    assert.equal("healthy", names.state)
    assert.equal("healthy", names.lag)
    assert.equal("healthy", names.script)
  end)

  it("answer HEAD and refuse what is no reading", function()
    assert.equal(405, engine:post("/health/ready").status)
  end)

  it("are asked by `perigee health`", function()
    local url = { "--url", "http://" .. engine.address }
    for _, what in ipairs { "--ready", "--live" } do
      local result = engine:run { "health", what, url[1], url[2] }
      assert.equal(0, result.status, result.err)
    end
    assert.equal(0, engine:run({ "health", url[1], url[2] }).status)
    engine:stop()
    local result = engine:run { "health", "--live", url[1], url[2] }
    assert.equal(1, result.status)
    assert.truthy(result.err:find("^perigee: "), result.err)
  end)
end)

describe("the state of the whole", function()
  local engine
  after_each(server.remove_all)

  local function poison(projections)
    engine = server.start_new { projections = projections }
    engine:append("P/1", { { event_type = "Poison", data = { n = 1 } } })
  end

  it("is degraded by one of three, and unhealthy by most", function()
    poison { ["calm.lua"] = CALM, ["calm2.lua"] = CALM:gsub("calm", "calmer"),
      ["a.lua"] = broken("a") }
    engine:wait_state("a", "error")
    local health = engine:get("/health")
    assert.equal("degraded", health.json.status, health.body)
    assert.equal(200, health.status)
    assert.equal(1, health.json.unhealthy_count)
    engine:remove()
    poison { ["calm.lua"] = CALM, ["a.lua"] = broken("a"), ["b.lua"] = broken("b") }
    engine:wait_state("a", "error")
    engine:wait_state("b", "error")
    health = engine:get("/health")
    assert.equal("unhealthy", health.json.status, health.body)
    assert.equal(503, health.status)
  end)

  it("does not count a projection that is not required", function()
    poison { ["calm.lua"] = CALM,
      ["a.lua"] = broken("a"):gsub("return { ", "return { subscription = { required = false }, ") }
    engine:wait_state("a", "error")
    assert.equal(200, engine:get("/health/ready").status)
  end)

  it("is degraded by a script that does not load, which is named", function()
    engine = server.new {
      projections = { ["calm.lua"] = CALM, ["bad.lua"] = "return {\n  name =\n}" },
    }
    engine:launch()
    clock.wait_until("it is open", function()
      return engine:get("/api/projections").status == 200
    end)
    local health = engine:get("/health")
    assert.equal("degraded", health.json.status, health.body)
    assert.truthy(health.body:find("bad.lua:3", 1, true), health.body)
    assert.equal(503, engine:get("/health/ready").status)
    engine:append("Clock/1", { { event_type = "Tick", data = { n = 1 } } })
    engine:wait_position("calm", 1)
  end)
end)

describe("without its store", function()
  after_each(server.remove_all)

  it("an engine is alive and not ready, and opens when the store comes", function()
    if server.store ~= "postgresql" then
      pending("SQLite is a file")
      return
    end
    local engine = server.new()
    local name = engine.database.name
    local function sql(statement)
      local other = require("database").new("postgresql")
      other:rows(statement)
      other:drop()
    end
    sql("drop database " .. name)
    local port = server.free_port()
    engine.options.arguments = { "--listen", "127.0.0.1:" .. port }
    engine:launch("127.0.0.1:" .. port)
    clock.wait_until("probes answer", function()
      local ok, answer = pcall(engine.get, engine, "/health/live")
      return ok and answer.status == 200
    end)
    local ready = engine:get("/health/ready")
    assert.equal(503, ready.status)
    local health
    clock.wait_until("the first try failed", function()
      health = engine:get("/health")
      return health.status == 503
    end)
    assert.equal("unhealthy", health.json.status)
    assert.equal("store", health.json.indicators[1].name)
    assert.matches("^not opened: ", health.json.indicators[1].message)
    local refused = engine:get("/api/events")
    assert.equal(503, refused.status)
    assert.equal("store_unavailable", refused.json.code)
    sql("create database " .. name)
    engine:wait_ready()
    assert.equal(200, engine:get("/api/events").status)
    assert.equal(0, engine:stop())
  end)
end)

describe("probes beside much work", function()
  after_each(server.remove_all)

  it("answer at once", function()
    local engine = server.start_new { projections = { ["calm.lua"] = CALM } }
    local writers = {}
    for i = 1, 8 do
      writers[i] = process.fork(function()
        local client = engine:connect()
        for _ = 1, 60 do
          local answer = client:request("POST", "/api/streams/Load/" .. i,
            { events = { { event_type = "Tick", data = { n = 1 } } } })
          assert(answer.status == 200, answer.body)
        end
      end)
    end
    local client, slowest = engine:connect(), 0
    for _ = 1, 100 do
      local began = clock.now()
      assert.equal(200, client:request("GET", "/health/live").status)
      slowest = math.max(slowest, clock.now() - began)
    end
    for _, pid in ipairs(writers) do
      assert.equal(0, process.wait(pid))
    end
    assert.is_true(slowest < 1, "a probe took " .. slowest .. " s")
  end)
end)
