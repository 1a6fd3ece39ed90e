-- The end, as a supervisor sees it: phases, the last log line, exit statuses;
-- and that whatever the end was, each event's effects are there once.

local clock = require "clock"
local process = require "process"
local server = require "server"

-- Each event takes as many rounds as it says, after telling the log.
local SLOW = [[
return {
  name = "slow",
  subscription = { batch_size = 1 },
  tables = { done = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { Work = function(event, db)
    log.info("work begins", { rounds = event.data.rounds })
    local x = 0
    for i = 1, event.data.rounds do x = x + i % 7 end
    db.done:add(event.data.id, { n = 1 })
  end },
}
]]

local FIELDS = { "phase", "duration_seconds", "reason", "forced", "subscriptions_stopped",
  "events_in_flight", "in_flight_at_start", "events_drained", "events_not_drained",
  "checkpoints_saved" }

local engine

local function start(settings, more)
  local projections = { ["slow.lua"] = SLOW }
  for name, text in pairs(more or {}) do
    projections[name] = text
  end
  engine = server.start_new {
    projections = projections,
    settings = { shutdown = settings, partitions = { lease_seconds = 3 } },
  }
end

local function work(id, rounds)
  return engine:append("Job/" .. id, {
    { event_type = "Work", data = { id = id, rounds = rounds } } }).last_position
end

-- How many rounds take about `seconds` on this machine, in this build.
local function rounds_for(seconds)
  local rounds = 1e5
  while true do
    local began = clock.now()
    engine:wait_position("slow", work("calibrate", rounds))
    local took = clock.now() - began
    if took > 0.2 then
      return math.ceil(rounds * seconds / took)
    end
    rounds = rounds * 2
  end
end

local function begin_work(id, rounds)
  local position = work(id, rounds)
  clock.wait_until("the handler runs", function()
    for _, record in ipairs(engine:log()) do
      if record.message == "work begins" and record.rounds == rounds then
        return true
      end
    end
  end)
  return position
end

-- The last record, complete and of the right kinds.
local function last_words()
  local record = engine:last_record()
  for _, field in ipairs(FIELDS) do
    assert.is_not_nil(record[field], field .. " is missing")
  end
  assert.is_number(record.duration_seconds)
  assert.is_boolean(record.forced)
  return record
end

describe("an idle engine", function()
  before_each(function() start() end)
  after_each(server.remove_all)

  local function check(reason)
    assert.equal(0, engine:wait_end())
    local record = last_words()
    assert.equal("stopped", record.phase)
    assert.equal(reason, record.reason)
    assert.is_false(record.forced)
    assert.equal(0, record.in_flight_at_start)
    assert.equal(0, record.events_not_drained)
    assert.is_true(record.duration_seconds < 10)
  end

  it("C-SH-01 stops at SIGTERM", function()
    engine:signal("TERM")
    check("signal_sigterm")
  end)
  it("C-SH-01 stops at SIGINT", function()
    engine:signal("INT")
    check("signal_sigint")
  end)
  it("C-SH-01 stops when the API asks for it", function()
    assert.equal(202, engine:post("/api/shutdown").status)
    check("programmatic")
  end)
  it("does not stop at SIGHUP", function()
    engine:signal("HUP")
    assert.equal(200, engine:get("/health/live").status)
    engine:signal("TERM")
    check("signal_sigterm")
  end)
end)

describe("a busy engine", function()
  after_each(server.remove_all)

  it("C-SH-09 counts what it stopped", function()
    local function copy(name)
      return { [name .. ".lua"] = SLOW:gsub('"slow"', '"' .. name .. '"')
        :gsub("done", "done_" .. name) }
    end
    local more = copy("second")
    for name, text in pairs(copy("third")) do
      more[name] = text
    end
    start(nil, more)
    local last = work("a", 10)
    for _, name in ipairs { "slow", "second", "third" } do
      engine:wait_position(name, last)
    end
    assert.equal(0, engine:stop())
    local record = last_words()
    assert.equal(3, record.subscriptions_stopped)
    assert.equal(3, record.checkpoints_saved)
  end)

  it("lets the batch in flight commit, and shows each phase in order", function()
    start()
    local position = begin_work("drained", rounds_for(1))
    local seen = {}
    engine:signal("TERM")
    while not engine:poll() do
      local ok, answer = pcall(engine.get, engine, "/health")
      if ok and answer.json and answer.json.phase ~= seen[#seen] then
        seen[#seen + 1] = answer.json.phase
      end
      clock.pause(0.002)
    end
    assert.equal(0, engine:wait_end())
    local record = last_words()
    assert.equal("stopped", record.phase)
    assert.equal(1, record.in_flight_at_start)
    assert.equal(1, record.events_drained)
    assert.equal(0, record.events_not_drained)
    local place = { running = 1, stopping = 2, draining = 3, checkpointing = 4, stopped = 5 }
    for i = 2, #seen do
      assert.is_true(place[seen[i - 1]] < place[seen[i]], table.concat(seen, " "))
    end
    assert.truthy(table.concat(seen, " "):find("draining", 1, true), table.concat(seen, " "))
    engine:start()
    assert.is_true(engine:projection("slow").position >= position)
    assert.equal(1, engine:row("slow", "done", "drained").n)
  end)

  it("is unready at once, refuses new work and answers probes while it drains", function()
    start()
    begin_work("refusing", rounds_for(1))
    engine:signal("TERM")
    clock.wait_until("it is unready", function()
      return engine:get("/health/ready").status == 503
    end)
    assert.equal(200, engine:get("/health/live").status)
    local refused = engine:post("/api/streams/Job/late",
      { events = { { event_type = "Work", data = { id = "late", rounds = 1 } } } })
    assert.equal(503, refused.status)
    assert.equal("shutting_down", refused.json.code)
    assert.is_not_nil(refused.headers["retry-after"])
    assert.equal(0, engine:wait_end())
    engine:start()
    assert.same({}, engine:get("/api/streams/Job/late").json.events)
  end)

  it("C-SH-05 says what was not drained when the drain takes too long", function()
    start { drain_timeout = 0.05 }
    local position = begin_work("undrained", rounds_for(1))
    engine:signal("TERM")
    assert.equal(3, engine:wait_end())
    local record = last_words()
    assert.equal("forced", record.phase)
    assert.equal("timeout", record.reason)
    assert.is_true(record.forced)
    assert.equal(1, record.in_flight_at_start)
    assert.equal(0, record.events_drained)
    assert.equal(1, record.events_not_drained)
    engine:start()
    engine:wait_position("slow", position)
    assert.equal(1, engine:row("slow", "done", "undrained").n)
  end)

  it("is forced when the whole takes too long", function()
    start { timeout = 0.3, drain_timeout = 30 }
    local position = begin_work("overdue", rounds_for(2))
    local began = clock.now()
    engine:signal("TERM")
    assert.equal(3, engine:wait_end())
    assert.is_true(clock.now() - began < 1.5)
    local record = last_words()
    assert.equal("forced", record.phase)
    assert.equal("timeout", record.reason)
    assert.equal(1, record.events_in_flight)
    engine:start()
    engine:wait_position("slow", position)
    assert.equal(1, engine:row("slow", "done", "overdue").n)
  end)

  it("TR-P04 is forced at a second signal", function()
    start()
    local position = begin_work("doubly", rounds_for(2))
    local began = clock.now()
    engine:signal("TERM")
    clock.wait_until("the shutdown has begun", function()
      return engine:get("/health/ready").status == 503
    end)
    engine:signal("INT")
    assert.equal(3, engine:wait_end())
    assert.is_true(clock.now() - began < 1.5)
    local record = last_words()
    assert.equal("forced", record.phase)
    assert.equal("double_signal", record.reason)
    assert.is_true(record.forced)
    engine:start()
    engine:wait_position("slow", position)
    assert.equal(1, engine:row("slow", "done", "doubly").n)
  end)

  it("C-SH-13 loses nothing and doubles nothing at kill -9", function()
    start()
    local position = begin_work("killed", rounds_for(0.5))
    assert.equal("signal 9", engine:kill())
    engine:start()
    engine:wait_position("slow", position)
    assert.equal(1, engine:row("slow", "done", "killed").n)
  end)

  it("finishes the requests that are under way", function()
    start()
    local client = process.fork(function()
      local http = engine:connect()
      local n = 0
      while true do
        local ok, answer = pcall(http.request, http, "POST", "/api/streams/Under/way",
          { events = { { event_type = "Other", data = { n = n } } } })
        if not ok or answer.status ~= 200 then
          break
        end
        n = answer.json.version
      end
      server.write_file(engine.folder .. "/acknowledged", tostring(n))
    end)
    clock.wait_until("requests come", function()
      return #engine:get("/api/streams/Under/way").json.events > 0
    end)
    assert.equal(0, engine:stop())
    assert.equal(0, process.wait(client))
    local acknowledged = tonumber(server.read_file(engine.folder .. "/acknowledged"))
    engine:start()
    local stored = engine:get("/api/streams?aggregate_type=Under").json.streams[1].version
    assert.equal(acknowledged, stored)
  end)
end)
