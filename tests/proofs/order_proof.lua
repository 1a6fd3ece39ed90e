-- Sixteen writers of three-event appends, in three engines on PostgreSQL and
-- as clients of one on SQLite; readers page all along, and another database
-- holds a write transaction open throughout.  Nothing is missed, doubled or
-- out of order.

local clock = require "clock"
local database = require "database"
local log_reader = require "log_reader"
local process = require "process"
local server = require "server"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local SECONDS = FULL and 20 or 3
local WRITERS, READERS = 16, 4

local COUNTER = [[
return {
  name = "counter",
  tables = { writers = { key = "writer", columns = { writer = "integer", n = "bigint",
                                                     last = "bigint", sum = "numeric" } } },
  on = { Written = function(event, db)
    local d = event.data
    local row = db.writers:get(d.writer) or { writer = d.writer, n = 0, last = 0, sum = "0" }
    if event.position <= row.last then error("out of order") end
    db.writers:put { writer = d.writer, n = row.n + 1, last = event.position,
                     sum = decimal(row.sum) + d.amount }
  end },
}
]]

local function start_engines()
  local options = { projections = { ["counter.lua"] = COUNTER },
    settings = { partitions = { lease_seconds = 3 } } }
  local engines = { server.start_new(options) }
  while server.store == "postgresql" and #engines < 3 do
    local engine = server.new { database = engines[1].database,
      projections = options.projections, settings = options.settings }
    engine:launch()
    clock.wait_until("it is open", function()
      return engine:get("/api/projections").status == 200
    end)
    engines[#engines + 1] = engine
  end
  return engines
end

-- A transaction of another database that has written and does not end.
local function hold_transaction()
  if server.store ~= "postgresql" then
    return nil
  end
  local other = database.new("postgresql")
  other:rows("create table held (x int)")
  other:rows("begin")
  other:rows("insert into held values (1)")
  return other
end

-- Appends until `stop` is there: two of three to a stream of its own with the
-- version it must have, else to one that all share.  What was acknowledged goes
-- to `path`: writer, number of the append, first position.
local function write(engine, writer, stop, path)
  local client = engine:connect()
  local out = assert(io.open(path, "w"))
  local n, own = 0, 0
  while server.read_file(stop) == "" do
    n = n + 1
    local events = {}
    for i = 1, 3 do
      events[i] = { event_type = "Written",
        data = { writer = writer, append = n, part = i, amount = "0.1" } }
    end
    local shared = n % 3 == 0
    local answer = client:request("POST",
      shared and "/api/streams/Shared/one" or "/api/streams/Own/" .. writer,
      { expected_version = shared and "any" or own, events = events })
    assert(answer.status == 200, answer.body)
    assert(answer.json.last_position == answer.json.first_position + 2, answer.body)
    own = shared and own or answer.json.version
    out:write(("%d %d %d\n"):format(writer, n, answer.json.first_position))
  end
  out:close()
end

-- Pages until it has seen the position that `finish` names.
local function read(engine, limit, finish)
  local client = engine:connect()
  local reader = log_reader.new(function(path)
    return client:request("GET", path)
  end, limit)
  local appends = {}
  local function each(event)
    local d = event.data
    local last = appends[d.writer] or 0
    local place = d.append * 3 + d.part
    assert(place == (last == 0 and 4 or last + 1), "writer " .. d.writer .. " is out of order")
    appends[d.writer] = place
  end
  local last
  repeat
    local ended = reader:page(each)
    last = tonumber(server.read_file(finish))
    if ended and not (last and reader.position >= last) then
      clock.pause(0.002)
    end
  until last and reader.position >= last
  assert(reader.position == last, "read beyond the last position")
end

local function acknowledged(paths)
  local list = {}
  for _, path in ipairs(paths) do
    for writer, n, position in server.read_file(path):gmatch("(%d+) (%d+) (%d+)\n") do
      list[#list + 1] = { writer = tonumber(writer), n = tonumber(n),
        position = tonumber(position) }
    end
  end
  return list
end

describe("sixteen writers", function()
  teardown(server.remove_all)

  it("C-FD-15 C-FD-17 and readers that page all along see one order, each event once", function()
    local engines = start_engines()
    local other = hold_transaction()
    local folder = engines[1].folder
    local stop, finish = folder .. "/stop", folder .. "/finish"
    local writers, readers, paths = {}, {}, {}
    for i = 1, READERS do
      readers[i] = process.fork(function()
        read(engines[i % #engines + 1], i == 1 and 7 or 500, finish)
      end)
    end
    for i = 1, WRITERS do
      paths[i] = folder .. "/writer-" .. i
      writers[i] = process.fork(function()
        write(engines[i % #engines + 1], i, stop, paths[i])
      end)
    end
    clock.pause(SECONDS) -- the load's length, not a wait for something
    server.write_file(stop, "now")
    for _, pid in ipairs(writers) do
      assert.equal(0, process.wait(pid))
    end

    local acks = acknowledged(paths)
    local last = #acks * 3
    server.write_file(finish, tostring(last))
    for _, pid in ipairs(readers) do
      assert.equal(0, process.wait(pid, 120))
    end

    local by_position, counts = {}, {}
    local reader = log_reader.new(function(path) return engines[1]:get(path) end)
    reader:all(function(event) by_position[event.position] = event.data end)
    assert.equal(last, reader.position)
    for _, ack in ipairs(acks) do
      for part = 1, 3 do
        local data = by_position[ack.position + part - 1]
        assert.same({ ack.writer, ack.n, part }, { data.writer, data.append, data.part })
      end
      counts[ack.writer] = (counts[ack.writer] or 0) + 3
    end
    local stored = engines[1].database:rows("select count(*) as n, max(position) as last from " ..
      engines[1].database:own("events"))[1]
    assert.equal(last, tonumber(stored.n))
    assert.equal(last, tonumber(stored.last))

    for _, engine in ipairs(engines) do
      if engine:projection("counter").state ~= "paused" then
        engine:wait_position("counter", last)
      end
    end
    clock.wait_until("the projection is at the head", function()
      for _, engine in ipairs(engines) do
        if engine:projection("counter").position == last then
          return true
        end
      end
    end)
    for writer, n in pairs(counts) do
      local row = engines[1]:row("counter", "writers", tostring(writer))
      assert.equal(n, row.n)
      assert.equal(("%d.%d"):format(math.floor(n / 10), n % 10), row.sum)
    end
    if other then
      other:rows("rollback")
      other:drop()
    end
    print(("# %d events of %d writers in %d s on %s; %d engines, %d readers"):format(last, WRITERS,
      SECONDS, server.store, #engines, READERS))
  end)
end)
