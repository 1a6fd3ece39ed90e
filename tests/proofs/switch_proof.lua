-- Two engines on one log, each killed at random while their backends
-- are frozen and thawed.  Producers go to the other engine whenever an
-- answer is lost; by event id and by Idempotency-Key alike, each append is
-- there once, and every engine gives it its first answer.

local clock = require "clock"
local log_reader = require "log_reader"
local process = require "process"
local producer = require "producer"
local server = require "server"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local BLOWS = FULL and 120 or 10
local PRODUCERS = 6

-- The even ones repeat by key, the others by event id.
local function request_of(number, n)
  local event = { event_type = "Written", data = { n = n } }
  local headers
  if number % 2 == 0 then
    headers = { ["Idempotency-Key"] = ("book-%d-%d"):format(number, n) }
  else
    event.event_id = producer.uuid(number, n)
  end
  return { events = { event } }, headers
end

-- Asks one engine after the other until one answers.
local function insist(calls, turn, number, n)
  local body, headers = request_of(number, n)
  while true do
    local answer = calls[turn]("POST", "/api/streams/Book/" .. number, body, headers)
    if answer then
      assert(answer.status == 200, answer.body)
      return answer.json, turn
    end
    turn = 3 - turn
  end
end

local function append_all(files, stop, number, out)
  local calls = { producer.caller(files[1]), producer.caller(files[2]) }
  local turn, n = number % 2 + 1, 0
  while server.read_file(stop) == "" do
    n = n + 1
    local first
    first, turn = insist(calls, turn, number, n)
    assert(first.version == n, "an append came twice, or never")
    if n % 10 == 0 then
      local again = insist(calls, 3 - turn, number, n)
      assert(again.idempotent and again.version == n
        and again.first_position == first.first_position, "another answer than the first")
    end
    out:write(("%d %d\n"):format(n, first.first_position))
    out:flush()
  end
end

local function start_producer(engines, stop, number)
  local path = ("%s/switcher-%d"):format(engines[1].folder, number)
  local files = { engines[1].folder .. "/address", engines[2].folder .. "/address" }
  local pid = process.fork(function()
    local out = assert(io.open(path, "w"))
    append_all(files, stop, number, out)
    out:close()
  end)
  return { pid = pid, path = path, number = number }
end

-- ---- blows ----

local frozen = {}

local function thaw_all()
  for _, pid in ipairs(frozen) do
    process.signal(pid, "CONT") -- it may have ended meanwhile
  end
  frozen = {}
end

-- Backends whose last statement was about the log, wherever they are in it:
-- writers of both engines, and a keeper or reader now and then.
local function freeze_backends(store)
  for _, row in ipairs(store:rows("select pid from pg_stat_activity"
    .. " where datname = current_database() and pid <> pg_backend_pid()"
    .. " and query ~ 'perigee.events|pg_advisory|commit|COMMIT'")) do
    local pid = tonumber(row.pid)
    if process.signal(pid, "STOP") then
      frozen[#frozen + 1] = pid
    end
  end
  return #frozen
end

local function start(engine)
  engine:launch()
  server.write_file(engine.folder .. "/address", engine.address)
end

local function strike(engines, store)
  local count = freeze_backends(store)
  clock.pause(math.random() * 0.3)
  local victim = engines[math.random(2)]
  if math.random(2) == 1 then
    victim:kill()
    thaw_all()
    start(victim)
  else
    clock.pause(math.random() * 1.5)
    thaw_all()
  end
  clock.pause(math.random() * 0.2)
  return count
end

-- ---- what must be ----

local function check(engine, producers)
  local places = {}
  local reader = log_reader.new(function(path) return engine:get(path) end)
  reader:all(function(event)
    assert.equal(event.aggregate_version, event.data.n) -- once, and in order
    places[event.aggregate_id .. " " .. event.data.n] = event.position
  end)
  local count = 0
  for _, one in ipairs(producers) do
    for n, position in server.read_file(one.path):gmatch("(%d+) (%d+)\n") do
      assert.equal(tonumber(position), places[one.number .. " " .. n])
      count = count + 1
    end
  end
  assert.equal(count, reader.position)
  return count
end

describe("two engines whose producers switch", function()
  teardown(function()
    thaw_all()
    server.remove_all()
  end)

  it("have each append once, by event id and by key", function()
    if server.store ~= "postgresql" then
      return -- SQLite serves one engine
    end
    math.randomseed(tonumber(os.getenv("PERIGEE_TEST_SEED")) or 4711)
    local settings = { database = { pool_timeout = 1, statement_timeout = 1000 } }
    local one = server.new { settings = settings }
    start(one)
    one:wait_ready()
    local two = server.new { settings = settings, database = one.database }
    start(two)
    two:wait_ready()
    local engines, producers, stop = { one, two }, {}, one.folder .. "/stop"
    for number = 1, PRODUCERS do
      producers[number] = start_producer(engines, stop, number)
    end
    local freezes = 0
    for _ = 1, BLOWS do
      freezes = freezes + strike(engines, one.database)
    end
    server.write_file(stop, "now")
    for _, each in ipairs(producers) do
      producer.wait(each)
    end
    local count = check(one, producers)
    assert.is_true(count > BLOWS and freezes > BLOWS / 2, "too little was going on")
    print(("# %d blows, %d backends frozen, %d appends"):format(BLOWS, freezes, count))
  end)
end)
