-- kill -9 at random, during appends, commands and projections: every
-- acknowledged append is there once, and every table equals what a
-- recomputation from the log gives.

local clock = require "clock"
local log_reader = require "log_reader"
local process = require "process"
local server = require "server"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local KILLS = FULL and 30 or 4
local CLIENTS = 3 -- of each kind
local LEASE_S = 3

local ACCOUNT = [[
return {
  type = "Account",
  initial = function(id) return { balance = decimal(0), last = 0 } end,
  commands = {
    deposit = { input = { n = "integer", amount = "decimal" }, run = function(account, input)
      account:reject_if(input.n ~= account.state.last + 1, "not the next")
      account:emit("Deposited", { n = input.n, amount = input.amount })
      account:emit("Noted", { n = input.n })
    end },
  },
  apply = {
    Deposited = function(state, event)
      state.balance, state.last = decimal(state.balance) + event.data.amount, event.data.n
    end,
    Noted = function(state, event) end,
  },
}
]]

-- One of each way to write: add, insert, get and patch, put and delete.
local MIRROR = [[
return {
  name = "mirror",
  subscription = { batch_size = 50 },
  tables = {
    sums = { key = "type", columns = { type = "text", n = "bigint", amount = "numeric" } },
    seen = { key = "position", columns = { position = "bigint" } },
    streams = { key = "stream", columns = { stream = "text", version = "bigint" } },
    latest = { key = "slot", columns = { slot = "integer", position = "bigint" } },
  },
  on = { ["*"] = function(event, db)
    local stream = event.aggregate_type .. "/" .. event.aggregate_id
    db.sums:add(event.event_type, { n = 1, amount = event.data.amount or 0 })
    db.seen:insert { position = event.position }
    local row = db.streams:get(stream)
    if row then
      if row.version + 1 ~= event.aggregate_version then error("version " .. row.version) end
      db.streams:patch(stream, { version = event.aggregate_version })
    else
      db.streams:insert { stream = stream, version = event.aggregate_version }
    end
    local slot = event.position % 7
    if event.position % 3 == 0 then
      db.latest:delete(slot)
    else
      db.latest:put { slot = slot, position = event.position }
    end
  end },
}
]]

-- ---- clients ----

-- Makes requests to whatever engine runs now; nil when there was no answer, so
-- that nobody knows whether it was done.
local function caller(engine)
  local address_file = engine.folder .. "/address"
  local client, address
  return function(method, path, body)
    local now = server.read_file(address_file)
    if now ~= address then
      client, address = require("http").new(now), now
    end
    local ok, answer = pcall(client.request, client, method, path, body)
    if ok and answer.status < 500 then
      return answer
    elseif not ok and type(answer) ~= "table" then
      error(answer)
    end
    client:close()
    clock.pause(0.01)
  end
end

local function uuid(client, n)
  return ("00000000-0000-4000-8%03x-%012x"):format(client, n)
end

-- An answer, however often the engine dies before it gives one.
local function insist(call, method, path, body)
  local answer
  repeat
    answer = call(method, path, body)
  until answer
  assert(answer.status == 200, answer.body)
  return answer.json
end

-- Appends with ids of its own until there is an answer, and now and then once
-- more, as somebody does who lost it.
local function append_all(engine, number, stop, out)
  local call = caller(engine)
  local n = 0
  while server.read_file(stop) == "" do
    n = n + 1
    local body = { events = {
      { event_id = uuid(number, n * 2), event_type = "Written", data = { n = n, amount = "0.1" } },
      { event_id = uuid(number, n * 2 + 1), event_type = "Closed", data = { n = n } },
    } }
    local first = insist(call, "POST", "/api/streams/Book/" .. number, body)
    if n % 10 == 0 then
      local again = insist(call, "POST", "/api/streams/Book/" .. number, body)
      assert(again.idempotent and again.first_position == first.first_position)
    end
    out:write(("%s %d\n"):format(uuid(number, n * 2), first.first_position))
    out:flush()
  end
end

-- Sends commands; when there was no answer it looks whether it was done.
local function command_all(engine, number, stop, out)
  local call = caller(engine)
  local path = "/api/aggregates/Account/" .. number
  local n = 0
  while server.read_file(stop) == "" do
    n = n + 1
    local done
    repeat
      local answer = call("POST", path .. "/deposit", { n = n, amount = "0.01" })
      if answer and answer.status == 409 and answer.json.detail == "not the next" then
        answer = call("GET", path)
        done = answer and answer.json.state.last == n
        assert(not answer or done, answer and answer.body)
      else
        assert(not answer or answer.status == 200, answer and answer.body)
        done = answer ~= nil
      end
    until done
    out:write(("%d\n"):format(n))
    out:flush()
  end
end

local function start_client(engine, kind, work, number, stop)
  local path = ("%s/%s-%d"):format(engine.folder, kind, number)
  local pid = process.fork(function()
    local out = assert(io.open(path, "w"))
    work(engine, number, stop, out)
    out:close()
  end)
  return { pid = pid, path = path, kind = kind, number = number }
end

-- ---- what must be ----

-- The tables as the log says, in Lua; sums in hundredths.
local function recompute(engine)
  local tables = { sums = {}, seen = {}, streams = {}, latest = {} }
  local reader = log_reader.new(function(path) return engine:get(path) end)
  reader:all(function(event)
    local sum = tables.sums[event.event_type] or { n = 0, amount = 0 }
    local hundredths = math.floor((tonumber(event.data.amount) or 0) * 100 + 0.5)
    tables.sums[event.event_type] = { n = sum.n + 1, amount = sum.amount + hundredths }
    tables.seen[event.position] = true
    tables.streams[event.aggregate_type .. "/" .. event.aggregate_id] = event.aggregate_version
    local slot = event.position % 7
    tables.latest[slot] = event.position % 3 ~= 0 and event.position or nil
  end)
  return tables, reader
end

local function stored_tables(engine)
  local tables = { sums = {}, seen = {}, streams = {}, latest = {} }
  for _, row in ipairs(engine:all_rows("mirror", "sums")) do
    tables.sums[row.type] = { n = row.n, amount = math.floor(tonumber(row.amount) * 100 + 0.5) }
  end
  for _, row in ipairs(engine:all_rows("mirror", "seen")) do
    tables.seen[row.position] = true
  end
  for _, row in ipairs(engine:all_rows("mirror", "streams")) do
    tables.streams[row.stream] = row.version
  end
  for _, row in ipairs(engine:all_rows("mirror", "latest")) do
    tables.latest[row.slot] = row.position
  end
  return tables
end

local function check_appends(client, reader)
  local count = 0
  for id, position in server.read_file(client.path):gmatch("(%S+) (%d+)\n") do
    assert.equal(tonumber(position), reader.ids[id])
    count = count + 1
  end
  return count
end

local function check_commands(engine, client)
  local count = 0
  for _ in server.read_file(client.path):gmatch("\n") do
    count = count + 1
  end
  local state = engine:get("/api/aggregates/Account/" .. client.number).json
  assert.equal(count, state.state.last)
  assert.equal(count * 2, state.version)
  assert.equal(("%d.%02d"):format(math.floor(count / 100), count % 100),
    tostring(state.state.balance))
  return count
end

-- ---- the proof ----

-- In every second round a projection must be running before the blow falls.
local function run_and_kill(engine, round)
  engine:start()
  server.write_file(engine.folder .. "/address", engine.address)
  if round % 2 == 0 then
    clock.wait_until("the projection runs", function()
      local status = engine:projection("mirror")
      return status.state == "catching_up" or status.state == "live"
    end)
  end
  clock.pause(math.random() * 0.5)
  assert.equal("signal 9", engine:kill())
end

describe("an engine that is killed again and again", function()
  teardown(server.remove_all)

  it("has each acknowledged event once, and tables that equal the log", function()
    math.randomseed(tonumber(os.getenv("PERIGEE_TEST_SEED")) or 4711)
    local engine = server.new {
      aggregates = { ["account.lua"] = ACCOUNT }, projections = { ["mirror.lua"] = MIRROR },
      settings = { partitions = { lease_seconds = LEASE_S } },
    }
    engine:start()
    server.write_file(engine.folder .. "/address", engine.address)
    engine:kill()
    local stop, clients = engine.folder .. "/stop", {}
    for number = 1, CLIENTS do
      clients[#clients + 1] = start_client(engine, "append", append_all, number, stop)
      clients[#clients + 1] = start_client(engine, "command", command_all, number, stop)
    end
    for round = 1, KILLS do
      run_and_kill(engine, round)
    end
    engine:start()
    server.write_file(engine.folder .. "/address", engine.address)
    server.write_file(stop, "now")
    for _, client in ipairs(clients) do
      assert.equal(0, process.wait(client.pid))
    end

    local expected, reader = recompute(engine)
    engine:wait_position("mirror", reader.position)
    assert.same(expected, stored_tables(engine))
    local appends, commands = 0, 0
    for _, client in ipairs(clients) do
      if client.kind == "append" then
        appends = appends + check_appends(client, reader)
      else
        commands = commands + check_commands(engine, client)
      end
    end
    assert.equal(appends * 2 + commands * 2, reader.position)
    assert.is_true(appends > KILLS and commands > KILLS, "too little was going on")
    print(("# %d kills on %s: %d appends and %d commands, %d events"):format(KILLS, server.store,
      appends, commands, reader.position))
  end)
end)
