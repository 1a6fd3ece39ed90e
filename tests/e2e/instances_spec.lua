-- More than one program on one database: migrating, refusing, sharing, taking
-- over from the dead and from the frozen.

local clock = require "clock"
local process = require "process"
local server = require "server"

-- `insert` fails the event when it is handled twice, and the sum shows it.  A
-- slow event says when it begins.
local ONCE = [[
return {
  name = "once",
  tables = {
    seen = { key = "position", columns = { position = "bigint" } },
    sums = { key = "id", columns = { id = "text", n = "bigint" } },
  },
  on = { ["*"] = function(event, db)
    if event.event_type == "Slow" then
      log.info("slow begins")
      local x = 0
      for i = 1, 4e7 do x = x + i % 7 end
    end
    db.seen:insert { position = event.position }
    db.sums:add("all", { n = 1 })
  end },
}
]]
local SECOND = ONCE:gsub('"once"', '"second"'):gsub("seen", "seen2"):gsub("sums", "sums2")

local function tick(engine, n)
  local events = {}
  for i = 1, n or 1 do
    events[i] = { event_type = "Tick", data = { i = i } }
  end
  return engine:append("Clock/" .. engine.folder:match("%w+$"), events).last_position
end

local function is_running(engine, name)
  local state = engine:projection(name).state
  return state == "live" or state == "catching_up"
end

local function check_exact(engine, last)
  engine:wait_position("once", last)
  assert.equal(last, engine:row("once", "sums", "all").n)
  assert.equal(last, #engine:all_rows("once", "seen"))
end

describe("migrating", function()
  after_each(server.remove_all)

  it("may be done by several at once, and again", function()
    local engine = server.new()
    local pids = {}
    for i = 1, 4 do
      pids[i] = process.fork(function()
        local result = engine:run { "migrate" }
        assert(result.status == 0, result.err)
      end)
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid))
    end
    assert.truthy(engine:run({ "migrate" }).out:find("up to date", 1, true))
    assert.equal(1, #engine.database:rows("select * from " .. engine.database:own("meta")))
    engine:start()
    assert.equal(1, tick(engine))
  end)

  it("is not done by `serve` when it is switched off", function()
    local engine = server.new { settings = { database = { migrate = false } } }
    local result = engine:run { "serve" }
    assert.equal(2, result.status)
    assert.truthy(result.out:find("perigee migrate", 1, true) or
      result.err:find("perigee migrate", 1, true), result.out .. result.err)
    assert.equal(0, engine:run({ "migrate" }).status)
    engine:start()
  end)
end)

if server.store == "sqlite" then
  describe("a second engine on one SQLite file", function()
    local first
    setup(function() first = server.start_new { projections = { ["once.lua"] = ONCE } } end)
    teardown(server.remove_all)

    it("is refused, and told by whom", function()
      local second = server.new { database = first.database }
      local result = second:run { "serve" }
      assert.equal(1, result.status)
      local said = result.out .. result.err
      assert.truthy(said:find(first.address, 1, true), said)
      check_exact(first, tick(first, 3))
    end)

    it("may start as soon as the first was killed", function()
      first:kill()
      local second = server.start_new { database = first.database,
        projections = { ["once.lua"] = ONCE } }
      check_exact(second, tick(second))
      second:remove()
    end)

    it("commands work on the file themselves then", function()
      local result = first:run { "append", "Clock", "cli", "Tick", '{"a":1}' }
      assert.equal(0, result.status, result.err)
      first:start()
      check_exact(first, 5)
    end)
  end)
  return
end

describe("two engines on one PostgreSQL", function()
  local one, two
  local function start_both(options)
    options = options or {}
    options.projections = { ["once.lua"] = ONCE, ["second.lua"] = SECOND }
    options.settings = { partitions = { lease_seconds = 3 } }
    one = server.start_new(options)
    two = server.new { database = one.database, projections = options.projections,
      settings = options.settings }
    two:launch()
    clock.wait_until("the second is open", function()
      return two:get("/api/projections").status == 200
    end)
  end
  local function owner_of(name)
    return clock.wait_until(name .. " runs somewhere", function()
      return is_running(one, name) and one or is_running(two, name) and two
    end)
  end
  after_each(server.remove_all)

  it("run a projection on one of them only, and the other says why it pauses", function()
    start_both()
    local ended = false
    for _ = 1, 40 do
      tick(one)
      tick(two)
      for _, name in ipairs { "once", "second" } do
        ended = ended or (is_running(one, name) and is_running(two, name))
      end
    end
    assert.is_false(ended, "both ran at once")
    check_exact(owner_of("once"), 80)
    local idle = owner_of("once") == one and two or one
    local status = idle:projection("once")
    assert.equal("paused", status.state)
    assert.is_string(status.reason)
    assert.equal(200, idle:get("/health/ready").status, idle:get("/health/ready").body)
  end)

  it("make one order of what both append, and wake each other", function()
    start_both()
    local pids = {}
    for i, engine in ipairs { one, two, one, two } do
      pids[i] = process.fork(function()
        local client = engine:connect()
        for n = 1, 50 do
          local answer = client:request("POST", "/api/streams/Both/1", {
            expected_version = "any", events = { { event_type = "T", data = { n = n, i = i } } } })
          assert(answer.status == 200, answer.body)
        end
      end)
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid))
    end
    local last = {}
    local events = one:get("/api/events?limit=1000").json.events
    assert.equal(200, #events)
    for i, event in ipairs(events) do
      assert.equal(i, event.position)
      assert.equal(i, event.aggregate_version)
      assert.equal((last[event.data.i] or 0) + 1, event.data.n)
      last[event.data.i] = event.data.n
    end
    assert.same(events, two:get("/api/events?limit=1000").json.events)
    local running = owner_of("once")
    local other = running == one and two or one
    for _ = 1, 5 do
      local position = tick(other)
      local began = clock.now()
      running:wait_position("once", position)
      assert.is_true(clock.now() - began < 1.5, "woken by the poll only")
    end
  end)

  it("take over what a killed one ran, within its lease", function()
    start_both()
    local victim = owner_of("once")
    local heir = victim == one and two or one
    check_exact(victim, tick(victim, 10))
    victim:kill()
    local began = clock.now()
    local last = tick(heir, 10)
    heir:wait_position("once", last)
    assert.is_true(clock.now() - began < 3 + 4, clock.now() - began)
    check_exact(heir, last)
  end)

  it("give up at once what they ran when they are stopped", function()
    start_both()
    local leaver = owner_of("once")
    local heir = leaver == one and two or one
    local last = tick(heir, 10)
    check_exact(leaver, last)
    leaver:stop()
    heir:wait_state("once", "live")
    check_exact(heir, tick(heir, 1))
  end)

  it("cannot commit what they had in hand when they froze past the lease", function()
    start_both()
    local frozen = owner_of("once")
    local heir = frozen == one and two or one
    local last = heir:append("Clock/slow", { { event_type = "Slow", data = { n = 1 } } })
      .last_position
    clock.wait_until("the handler runs", function()
      for _, record in ipairs(frozen:log()) do
        if record.message == "slow begins" then
          return true
        end
      end
    end)
    frozen:signal("STOP")
    check_exact(heir, last)
    frozen:signal("CONT")
    frozen:wait_state("once", "paused")
    check_exact(heir, tick(frozen, 5))
  end)

  it("cannot commit after having been frozen past the lease", function()
    start_both()
    local frozen = owner_of("once")
    local heir = frozen == one and two or one
    check_exact(frozen, tick(frozen, 10))
    -- Frozen with work at hand: the events arrive while it stands still.
    frozen:signal("STOP")
    local last = tick(heir, 50)
    heir:wait_position("once", last)
    frozen:signal("CONT")
    frozen:wait_state("once", "paused")
    last = tick(heir, 50)
    check_exact(heir, last)
    assert.equal("paused", frozen:projection("once").state)
    last = tick(frozen, 5)
    check_exact(heir, last)
  end)
end)
