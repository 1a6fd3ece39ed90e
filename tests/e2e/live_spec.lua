-- Live events: what a client sees that comes, goes and comes back.

local cjson = require "cjson"
local clock = require "clock"
local live = require "live"
local process = require "process"
local server = require "server"

local engine

local function start(settings)
  engine = server.start_new { settings = settings }
end

local function append(stream, count, event_type, data)
  local events = {}
  for n = 1, count do
    events[n] = { event_type = event_type or "Happened", data = data or { n = n } }
  end
  return engine:append(stream, events)
end

local function open(query, headers, tune)
  local stream = live.open(engine.address, query, headers, tune)
  assert.equal(200, stream.status)
  return stream
end

local function positions_of(stream, count)
  local positions = {}
  for n = 1, count do
    local event, why = stream:event()
    assert.is_truthy(event, why)
    positions[n] = event.position
  end
  return positions
end

local function refused(stream, status, code)
  assert.equal(status, stream.status)
  local problem = stream:problem()
  assert.equal(code, problem.code)
  stream:close()
  return problem
end

local function log_id()
  return engine:get("/api/log").json.log_id
end

describe("live events", function()
  after_each(server.remove_all)

  it("begin where the log ends, or where the client says", function()
    start()
    append("Thing/1", 3)
    local from_now, from_number = open(), open("?after=1")
    local from_cursor = open(("?after=%s:2"):format(log_id()))
    local back = open("?after=1", { ["Last-Event-ID"] = log_id() .. ":3" })
    append("Thing/1", 1)

    assert.same({ 4 }, positions_of(from_now, 1))
    assert.same({ 2, 3, 4 }, positions_of(from_number, 3))
    assert.same({ 3, 4 }, positions_of(from_cursor, 2))
    assert.same({ 4 }, positions_of(back, 1))
  end)

  it("are the events of the log, a line each, with a cursor", function()
    start()
    append("Thing/1", 1, "Happened", { text = "two\nlines: \u{2028}\r" })
    local stream = open("?after=0")
    assert.equal("text/event-stream", stream.headers["content-type"])
    assert.equal("no-store", stream.headers["cache-control"])
    assert.same({ retry = "2000", id = log_id() .. ":0" }, stream:next())

    local block = stream:next()
    assert.equal(log_id() .. ":1", block.id)
    assert.is_nil(block.event)
    assert.same(engine:get("/api/events").json.events[1], cjson.decode(block.data))
  end)

  it("come once each and in order to a client that is cut off again and again", function()
    local total, files = 3000, 3
    start()
    local pids = {}
    for f = 1, files do
      local lines = {}
      for n = 1, total / files do
        lines[n] = cjson.encode { aggregate_type = "Thing", aggregate_id = f .. "-" .. n % 7,
          event_type = "Happened", data = { n = n } }
      end
      local path = ("%s/in%d"):format(engine.folder, f)
      server.write_file(path, table.concat(lines, "\n"))
      pids[f] = process.fork(function()
        local result = engine:run({ "append", "--file", path, "--url",
          "http://" .. engine.address }, { limit_s = 120 })
        assert(result.status == 0, result.err)
      end)
    end

    math.randomseed(7)
    local seen, cursor, streams = 0, log_id() .. ":0", 0
    while seen < total do
      local stream = open("", { ["Last-Event-ID"] = cursor })
      streams = streams + 1
      for _ = 1, math.random(1, 120) do
        local event, id = stream:event()
        assert.equal(seen + 1, event.position)
        seen, cursor = event.position, id
        if seen == total then
          break
        end
      end
      stream:close()
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid, 120))
    end
    assert.is_true(streams > 20)
  end)

  it("C-FD-10 TR-B10 pass a filter, and who comes back need not have the rest again", function()
    start()
    append("Thing/1", 2, "Wanted")
    append("Thing/2", 30, "Other")
    append("Other/1", 1, "Wanted")
    append("Thing/1", 1, "Wanted")
    local stream = open("?after=0&event_type=Wanted&aggregate_type=Thing")
    assert.same({ 1, 2, 34 }, positions_of(stream, 3))
    refused(live.open(engine.address, "?event_type="), 400, "bad_request")
    refused(live.open(engine.address, "?limit=3"), 400, "bad_request")
  end)

  it("tell how far they got when a filter leaves out very much", function()
    start()
    local lines = {}
    for n = 1, 10500 do
      lines[n] = ('{"aggregate_type":"Thing","aggregate_id":"1","event_type":"Other",'
        .. '"data":{"n":%d}}'):format(n)
    end
    local result = engine:run({ "append", "--file", "-" },
      { stdin = table.concat(lines, "\n"), limit_s = 120 })
    assert.equal(0, result.status, result.err)
    local stream = open("?after=0&event_type=Wanted")
    stream:next()
    local block = stream:next()
    assert.is_nil(block.data)
    assert.is_true(tonumber(block.id:match(":(%d+)$")) >= 10000)
  end)

  it("C-FD-08 refuse a cursor of another log and a position that the log never had", function()
    start()
    append("Thing/1", 2)
    local old = log_id() .. ":1"
    local problem = refused(live.open(engine.address, "?after=3"), 409, "foreign_cursor")
    assert.matches("beyond the log's end at 2", problem.detail)
    refused(live.open(engine.address, "?after=x"), 400, "bad_request")
    refused(live.open(engine.address, "", { ["Last-Event-ID"] = "x:1" }), 400, "bad_request")

    engine:stop()
    local renewed = engine:run { "migrate", "--new-log" }
    assert.equal(0, renewed.status, renewed.err)
    engine:start()
    refused(live.open(engine.address, "", { ["Last-Event-ID"] = old }), 409, "foreign_cursor")
    refused(live.open(engine.address, "?after=" .. old), 409, "foreign_cursor")
    local answer = engine:get("/api/events?after=" .. old)
    assert.equal(409, answer.status)
    assert.equal("foreign_cursor", answer.json.code)
    assert.equal(1, #engine:get(("/api/events?after=%s:1"):format(log_id())).json.events)
  end)

  it("are open to so many clients at once, and leave threads for the others", function()
    start { http = { max_live = 4, threads = 24 } }
    local streams = {}
    for n = 1, 4 do
      streams[n] = open()
    end
    local one_more = live.open(engine.address)
    assert.equal("1", one_more.headers["retry-after"])
    refused(one_more, 503, "overloaded")
    for n = 1, 5 do
      append("Thing/" .. n, 1)
    end
    assert.equal(200, engine:get("/health/live").status)

    streams[2]:close()
    clock.wait_until("there is room again", function()
      local stream = live.open(engine.address)
      stream:close()
      return stream.status == 200
    end, 10) -- before a sign of life would have found out
  end)

  it("cut a client off that does not read, and serve the others #slow", function()
    start { http = { max_live = 2 } }
    local function narrow(connection)
      connection:setoption("recv-buffer-size", 4096)
    end
    local slow, quick = open("?after=0", nil, narrow), open("?after=0")
    local text = ("x"):rep(100000)
    for n = 1, 60 do
      append("Thing/" .. n, 5, "Large", { text = text })
      positions_of(quick, 5)
    end
    clock.wait_until("the slow client is cut off", function()
      local stream = live.open(engine.address)
      stream:close()
      return stream.status == 200
    end)
    local why
    repeat
      local block
      block, why = slow:next()
    until not block
    assert.equal("closed", why)
    engine:get("/api/log") -- on a new connection: the old one was idle for too long
    append("Thing/1", 1)
    assert.same({ 301 }, positions_of(quick, 1))
  end)

  it("end at once when the engine stops, whoever reads or does not", function()
    start()
    local idle = open()
    local slow = open("?after=0", nil, function(connection)
      connection:setoption("recv-buffer-size", 4096)
    end)
    local text = ("x"):rep(100000)
    for n = 1, 20 do
      append("Thing/" .. n, 5, "Large", { text = text })
    end
    positions_of(idle, 100)

    local began = clock.now()
    assert.equal(0, engine:stop())
    assert.is_true(clock.now() - began < 8)
    local block = idle:next()
    assert.equal("the engine stops", block.comment)
    assert.is_not_nil(block.id:match(":100$"))
    assert.same({ nil, "closed" }, { idle:next() })
    slow:close()
    local last = engine:last_record()
    assert.is_false(last.forced)
  end)

  it("go on at another engine on the same log", function()
    if server.store ~= "postgresql" then
      return -- SQLite has one engine
    end
    start()
    local other = server.start_new { database = engine.database }
    local cursor = log_id() .. ":0"
    for n = 1, 40 do
      append("Thing/" .. n, 1)
      local at = n % 2 == 0 and engine or other
      local stream = live.open(at.address, "", { ["Last-Event-ID"] = cursor })
      assert.equal(200, stream.status)
      local event
      event, cursor = stream:event()
      assert.equal(n, event.position)
      stream:close()
      -- a cursor that the other one may not have heard of yet
      stream = live.open(other.address, "", { ["Last-Event-ID"] = cursor })
      assert.equal(200, stream.status)
      stream:close()
    end
  end)

  it("answer HEAD with their headers alone, and no other method", function()
    start()
    local answer = engine:request("HEAD", "/api/events/live")
    assert.equal(200, answer.status)
    assert.equal("text/event-stream", answer.headers["content-type"])
    answer = engine:post("/api/events/live")
    assert.equal(405, answer.status)
    assert.equal("GET, HEAD", answer.headers.allow)
  end)

  it("are refused more threads than there are", function()
    local other = server.new { settings = { http = { max_live = 45, threads = 64 } } }
    local result = other:run { "events" }
    assert.equal(2, result.status)
    assert.matches("http.max_live = 45", result.err, 1, true)
  end)
end)
