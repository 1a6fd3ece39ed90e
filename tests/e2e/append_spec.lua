-- Appending and reading over HTTP; ids in the names are those of the cases
-- that a black box can see.  Cases without an object here: C-FD-06
-- (positions are plain numbers), C-FD-17's horizon (readers need none).

local cjson = require "cjson"
local clock = require "clock"
local database = require "database"
local process = require "process"
local server = require "server"
local stat = require "posix.sys.stat"

local engine
local streams = 0

-- The path of a stream that no other test uses.
local function fresh()
  streams = streams + 1
  return "/api/streams/Thing/" .. streams, tostring(streams)
end

local function event(id, data)
  return { event_id = id, event_type = "ThingHappened", data = data or { n = 1 } }
end

local function uuid(n)
  return ("00000000-0000-4000-8000-%012x"):format(n)
end

local function append(path, events, expected)
  return engine:post(path, { expected_version = expected, events = events })
end

local function head()
  local after, page = 0
  repeat
    page = engine:get("/api/events?limit=1000&after=" .. after).json
    local last = page.events[#page.events]
    after = last and last.position or after
  until page.next == cjson.null
  return after
end

local function refused(answer, status, code)
  assert.equal(status, answer.status, answer.body)
  assert.equal(code, answer.json.code, answer.body)
  return answer.json
end

describe("appending", function()
  setup(function() engine = server.start_new() end)
  teardown(server.remove_all)

  it("C-FD-01 begins with an empty log", function()
    local page = engine:get("/api/events").json
    assert.same({}, page.events)
    assert.equal(cjson.null, page.next)
  end)

  it("C-ES-01 no_stream to a fresh stream is version 1 with a position", function()
    local answer = append((fresh()), { event() }, "no_stream")
    assert.equal(200, answer.status, answer.body)
    assert.equal(1, answer.json.version)
    assert.equal(answer.json.first_position, answer.json.last_position)
    assert.is_true(answer.json.first_position >= 1)
    assert.is_false(answer.json.idempotent)
  end)

  it("C-ES-02 TR-E03 no_stream and a wrong version are refused with both versions", function()
    local path = fresh()
    append(path, { event(), event() }, "no_stream")
    local conflict = refused(append(path, { event() }, "no_stream"), 409, "version_conflict")
    assert.equal("no_stream", conflict.expected_version)
    assert.equal(2, conflict.actual_version)
    conflict = refused(append(path, { event() }, 1), 409, "version_conflict")
    assert.equal(1, conflict.expected_version)
    assert.equal(2, conflict.actual_version)
    conflict = refused(append((fresh()), { event() }, "stream_exists"), 409, "version_conflict")
    assert.equal("stream_exists", conflict.expected_version)
    assert.equal(0, conflict.actual_version)
    refused(append((fresh()), { event() }, 3), 409, "version_conflict")
  end)

  it("C-ES-03 any appends to a fresh and to an old stream", function()
    local path = fresh()
    assert.equal(1, append(path, { event() }, "any").json.version)
    assert.equal(2, append(path, { event() }, "any").json.version)
    assert.equal(3, append(path, { event() }).json.version)
    assert.equal(4, append(path, { event() }, "stream_exists").json.version)
  end)

  it("C-ES-06 version 2 after two events; 0 equals absent", function()
    local path = fresh()
    append(path, { event(), event() }, "any")
    assert.equal(3, append(path, { event() }, 2).json.version)
    assert.equal(1, append((fresh()), { event() }, 0).json.version)
  end)

  it("C-ES-09 an id twice, or stored elsewhere, stores nothing of the request", function()
    local path = fresh()
    local before = head()
    refused(append(path, { event(uuid(1)), event(uuid(1)) }), 409, "duplicate_event")
    assert.same({}, engine:get(path).json.events)
    assert.equal(before, head())
    local stored = append(path, { event(uuid(2)) })
    assert.equal(200, stored.status, stored.body)
    local other, id = fresh()
    local duplicate = refused(append(other, { event(uuid(3)), event(uuid(2)) }), 409,
      "duplicate_event")
    assert.equal(stored.json.first_position, duplicate.position)
    assert.same({}, engine:get(other).json.events, "of " .. id)
    assert.equal(before + 1, head())
    assert.equal(200, append(other, { event(uuid(3)) }).status)
  end)

  it("TR-E13 an id is one in all of time", function()
    local one, other = event(uuid(5)), event(uuid(5))
    one.occurred_at, other.occurred_at = "2024-01-31T12:00:00Z", "2024-03-01T12:00:00Z"
    assert.equal(200, append((fresh()), { one }).status)
    refused(append((fresh()), { other }), 409, "duplicate_event")
  end)

  it("C-ES-10 the same ids to the same stream get the first answer", function()
    local path = fresh()
    local first = append(path, { event(uuid(10)), event(uuid(11)) }, "no_stream").json
    append(path, { event() })
    local again = append(path, { event(uuid(10)), event(uuid(11)) }, "no_stream")
    assert.equal(200, again.status, again.body)
    assert.is_true(again.json.idempotent)
    assert.equal(first.version, again.json.version)
    assert.equal(first.first_position, again.json.first_position)
    assert.equal(first.last_position, again.json.last_position)
    assert.equal(3, #engine:get(path).json.events)
  end)

  it("C-ES-11 the same ids with other content, order or company are duplicates", function()
    local path = fresh()
    append(path, { event(uuid(20)), event(uuid(21)) })
    local variants = {
      { event(uuid(20), { n = 2 }), event(uuid(21)) },
      { event(uuid(21)), event(uuid(20)) },
      { event(uuid(20)), event(uuid(22)) },
      { event(uuid(22)), event(uuid(20)) },
    }
    for _, events in ipairs(variants) do
      refused(append(path, events), 409, "duplicate_event")
    end
    assert.equal(2, #engine:get(path).json.events)
  end)

  it("C-ES-12 a request's events are contiguous and in order", function()
    local path = fresh()
    local answer = append(path, { event(uuid(30)), event(uuid(31)), event(uuid(32)) }).json
    assert.equal(answer.first_position + 2, answer.last_position)
    local events = engine:get("/api/events?after=" .. answer.first_position - 1).json.events
    for i, expected in ipairs { uuid(30), uuid(31), uuid(32) } do
      assert.equal(expected, events[i].event_id)
      assert.equal(answer.first_position + i - 1, events[i].position)
      assert.equal(i, events[i].aggregate_version)
    end
  end)

  it("C-ES-14 a malformed expectation is an invalid request", function()
    for _, expected in ipairs { "-1", "1.5", '"exact"', '"any:3"', '["any",3]', '{"any":3}',
      '{"exact":null}', '"ANY"', "true", "{}", '"2"', "18446744073709551616" } do
      local answer = engine:post((fresh()), '{"expected_version":' .. expected ..
        ',"events":[{"event_type":"T","data":{}}]}')
      assert.equal("expected_version", refused(answer, 422, "invalid_input").errors[1].field)
    end
    local before = head()
    for _, expected in ipairs { "-1", "exact", "any 3", "" } do
      local result = engine:run { "append", "Thing", "cli", "T", "{}", "--expect=" .. expected }
      assert.equal(2, result.status, expected .. ": " .. result.err)
    end
    assert.equal(before, head())
  end)

  it("C-ES-18 an event that names another aggregate is refused, nothing is stored", function()
    local path = fresh()
    for _, field in ipairs { "aggregate_id", "aggregate_type" } do
      local wrong = event()
      wrong[field] = "another"
      local answer = refused(append(path, { event(), wrong }), 422, "invalid_input")
      assert.equal("events[1]." .. field, answer.errors[1].field)
    end
    assert.same({}, engine:get(path).json.events)
  end)

  it("C-ES-20 an absent stream is empty", function()
    local path, id = fresh()
    local answer = engine:get(path)
    assert.equal(200, answer.status)
    assert.same({}, answer.json.events)
    assert.equal(cjson.null, answer.json.next)
    assert.equal(0, refused(append(path, { event() }, 5), 409, "version_conflict").actual_version)
    for _, stream in ipairs(engine:get("/api/streams?limit=1000").json.streams) do
      assert.not_equal(id, stream.aggregate_id)
    end
  end)

  it("C-ES-24 numbers of any size come back as they were written", function()
    local path = fresh()
    local data = '{"a":9223372036854775807,"b":18446744073709551615,"c":-9223372036854775808,' ..
      '"d":18446744073709551616,"e":1.10,"f":1e3,"g":-0,"h":0.1000000000000000055511151231257827}'
    local answer = engine:post(path, '{"events":[{"event_type":"T","data":' .. data .. "}]}")
    assert.equal(200, answer.status, answer.body)
    assert.truthy(engine:get(path).body:find(data, 1, true))
    for _, number in ipairs { "NaN", "Infinity", "-Infinity", "01", "0x10", "+1", ".5" } do
      answer = engine:post(path, '{"events":[{"event_type":"T","data":{"a":' .. number .. "}}]}")
      refused(answer, 400, "invalid_json")
    end
  end)

  it("C-FD-03 reads after a position, exclusive, page by page", function()
    local path = fresh()
    local first = append(path, { event(), event(), event() }).json.first_position
    local page = engine:get("/api/events?after=" .. first).json
    assert.equal(2, #page.events)
    assert.equal(first + 1, page.events[1].position)
    page = engine:get(("/api/events?after=%d&limit=1"):format(first)).json
    assert.equal(1, #page.events)
    assert.equal(first + 1, page.next)
    assert.equal(cjson.null, engine:get("/api/events?after=" .. first + 1).json.next)
  end)

  it("C-FD-10 filters by type and goes on where the page ended", function()
    local path = fresh()
    local function typed(name) return { event_type = name, data = { x = 1 } } end
    local before = head()
    append(path, { typed("Rare"), typed("Common"), typed("Rare") })
    local url = "/api/events?event_type=Rare&limit=1&after="
    local page = engine:get(url .. before).json
    assert.equal(before + 1, page.events[1].position)
    page = engine:get(url .. page.next).json
    assert.equal(before + 3, page.events[1].position)
    local none = engine:get("/api/events?event_type=Never").json
    assert.same({}, none.events)
    assert.equal(cjson.null, none.next)
    local typed_only = engine:get("/api/events?aggregate_type=Thing&limit=1000").json
    assert.is_true(#typed_only.events > 0)
    assert.same({}, engine:get("/api/events?aggregate_type=Other").json.events)
  end)

  it("C-FD-19 a category's page begins with the first events of an append", function()
    local before = head()
    append("/api/streams/Other/19", { event() })
    append("/api/streams/Kind/19", { event(uuid(40)), event(uuid(41)), event(uuid(42)) })
    append("/api/streams/Other/19", { event() })
    local url = "/api/events?aggregate_type=Kind&limit=2&after="
    local function ids(page)
      local list = {}
      for i, found in ipairs(page.events) do
        list[i] = found.event_id
      end
      return list
    end
    local page = engine:get(url .. before).json
    assert.same({ uuid(40), uuid(41) }, ids(page))
    assert.same({ uuid(42) }, ids(engine:get(url .. page.next).json))
  end)

  it("C-FD-21 takes one instant in two offsets for the same", function()
    local path = fresh()
    for _, time in ipairs { "2024-03-01T12:00:00+05:00", "2024-03-01T07:00:00Z" } do
      local answer = engine:post(path, { events = {
        { event_type = "T", data = { a = 1 }, occurred_at = time } } })
      assert.equal(200, answer.status, answer.body)
    end
    local events = engine:get(path).json.events
    assert.equal("2024-03-01T07:00:00.000000Z", events[1].occurred_at)
    assert.equal(events[1].occurred_at, events[2].occurred_at)
  end)

  it("gives bodies back token for token, without the space between", function()
    local path = fresh()
    local written = '{ "z" : [ 1 , 2.50, {} , [ ] ] ,\n "ä" : "\\u00e9\\/ \\"q\\"" , "a":null }'
    local read = '{"z":[1,2.50,{},[]],"ä":"\\u00e9\\/ \\"q\\"","a":null}'
    local metadata = '{"source":"shop","n":1.0}'
    local answer = engine:post(path, '{"events":[{"event_type":"T","data":' .. written ..
      ',"metadata":' .. metadata .. "}]}")
    assert.equal(200, answer.status, answer.body)
    local body = engine:get(path).body
    assert.truthy(body:find('"data":' .. read, 1, true), body)
    assert.truthy(body:find('"metadata":' .. metadata, 1, true), body)
  end)

  it("refuses JSON that readers would see differently", function()
    local bad = {
      '{"a":1,"a":2}', '{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":"\255"}',
      '{"a":1,}', "{'a':1}", '{"a":tru}', ('{"a":'):rep(70) .. "1" .. ("}"):rep(70),
    }
    local path = fresh()
    for _, data in ipairs(bad) do
      local answer = engine:post(path, '{"events":[{"event_type":"T","data":' .. data .. "}]}")
      refused(answer, 400, "invalid_json")
    end
    assert.same({}, engine:get(path).json.events)
  end)

  it("names each bad field", function()
    local answer = engine:post((fresh()), { events = {
      { event_type = "", data = { a = 1 } },
      { event_type = "T", data = "text", event_id = "no-uuid", event_version = 0 },
      { data = { a = 1 }, colour = "red", occurred_at = "yesterday" },
    } })
    local fields = {}
    for _, fault in ipairs(refused(answer, 422, "invalid_input").errors) do
      fields[fault.field] = true
      assert.is_string(fault.message)
    end
    for _, name in ipairs { "events[0].event_type", "events[1].data", "events[1].event_id",
      "events[1].event_version", "events[2].event_type", "events[2].colour",
      "events[2].occurred_at" } do
      assert.is_true(fields[name], name .. " in " .. answer.body)
    end
  end)

  it("takes 1 to 1000 events", function()
    refused(engine:post((fresh()), '{"events":[]}'), 422, "invalid_input")
    local events = {}
    for i = 1, 1001 do
      events[i] = { event_type = "T", data = { n = i } }
    end
    refused(append((fresh()), events), 422, "invalid_input")
    events[1001] = nil
    assert.equal(1000, append((fresh()), events).json.version)
  end)

  it("reads a stream from a version, limited, and backward", function()
    local path = fresh()
    append(path, { event(), event(), event(), event() })
    local function versions(query)
      local list = {}
      local page = engine:get(path .. query).json
      for i, found in ipairs(page.events) do
        list[i] = found.aggregate_version
      end
      return list, page.next
    end
    assert.same({ 3, 4 }, (versions("?from=3")))
    local list, next_version = versions("?limit=3")
    assert.same({ 1, 2, 3 }, list)
    assert.equal(4, next_version)
    list, next_version = versions("?backward=true&limit=3")
    assert.same({ 4, 3, 2 }, list)
    assert.equal(1, next_version)
    assert.same({ 2, 1 }, (versions("?backward=true&from=2")))
  end)

  it("lists streams", function()
    append("/api/streams/Listed/b", { event(), event() })
    append("/api/streams/Listed/a", { event() })
    local page = engine:get("/api/streams?aggregate_type=Listed").json
    assert.equal(2, #page.streams)
    assert.equal("b", page.streams[1].aggregate_id)
    assert.equal(2, page.streams[1].version)
    local first = engine:get("/api/streams?aggregate_type=Listed&limit=1").json
    local second = engine:get("/api/streams?aggregate_type=Listed&after=" .. first.next).json
    assert.equal("a", second.streams[1].aggregate_id)
  end)

  it("takes any id of 1 to 255 bytes without control characters", function()
    local odd = { "a%2Fb", "%20", "%C3%BC%C3%A9", "a%25b", ("x"):rep(255), "Order%3A1", "..%2F.." }
    for _, id in ipairs(odd) do
      local answer = append("/api/streams/Thing/" .. id, { event() }, "no_stream")
      assert.equal(200, answer.status, id .. ": " .. answer.body)
    end
    for _, id in ipairs { ("x"):rep(256), "a%00b", "a%0A", "%ff", "%2", "a%7F" } do
      local answer = append("/api/streams/Thing/" .. id, { event() })
      refused(answer, 400, "invalid_id")
    end
  end)

  it("TR-E16 takes names of types that are plain from end to end", function()
    for _, name in ipairs { "Order%0A", "%0AOrder", "Order%3A", "Or:der", "Or%20der",
      "1Order", "%C3%9Cber", ("x"):rep(300) } do
      local answer = append("/api/streams/" .. name .. "/1", { event() })
      refused(answer, 400, "invalid_id")
    end
    for _, name in ipairs { "Order\n", "Order:", "Or der", "" } do
      local answer = append((fresh()), { { event_type = name, data = { n = 1 } } })
      assert.equal("events[0].event_type", refused(answer, 422, "invalid_input").errors[1].field)
    end
  end)

  it("shows what was appended before a restart, in the same order", function()
    local before = engine:get("/api/events?limit=1000").body
    engine:restart()
    assert.equal(before, engine:get("/api/events?limit=1000").body)
    local path = fresh()
    local position = append(path, { event() }).json.first_position
    assert.equal(head(), position)
  end)
end)

describe("ten writers of one stream", function()
  teardown(server.remove_all)

  it("C-ES-16 all get in with `any`, without a gap", function()
    engine = server.start_new()
    local writers = {}
    for i = 1, 10 do
      writers[i] = process.fork(function()
        local client = engine:connect()
        for n = 1, 5 do
          local answer = client:request("POST", "/api/streams/Shared/1",
            { expected_version = "any", events = { event(nil, { writer = i, n = n }) } })
          assert(answer.status == 200, answer.body)
        end
      end)
    end
    for _, pid in ipairs(writers) do
      assert.equal(0, process.wait(pid))
    end
    local events = engine:get("/api/streams/Shared/1?limit=1000").json.events
    assert.equal(50, #events)
    local last = {}
    for i, found in ipairs(events) do
      assert.equal(i, found.aggregate_version)
      assert.equal((last[found.data.writer] or 0) + 1, found.data.n)
      last[found.data.writer] = found.data.n
    end
  end)
end)

-- ---- beside other transactions ----

local function visible(client)
  local found = {}
  for i, one in ipairs(client:request("GET", "/api/events?limit=1000").json.events) do
    found[i] = one.aggregate_id
  end
  return found
end

describe("a transaction that does not end", function()
  teardown(server.remove_all)

  -- On SQLite nobody but the engine appends; the other program writes a table
  -- of its own.
  it("C-FD-13 holds appends up, and readers see nothing of either before", function()
    engine = server.start_new()
    local other = database.at(engine.database.url)
    local holder
    if server.store == "postgresql" then
      other:rows("begin")
      other:rows([[select perigee.append_events('Thing', 'A',
        '[{"event_type":"T","data":{}}]'::json, 'any')]])
    else
      other:rows("create table mine (a)")
      local ready = engine.folder .. "/ready"
      holder = io.popen(("sqlite3 '%s'"):format(other.path), "w")
      holder:write("begin immediate;\ninsert into mine values (1);\n.shell touch ", ready, "\n")
      holder:flush()
      clock.wait_until("it is held", function()
        return stat.stat(ready)
      end)
    end
    local appending = process.fork(function()
      local client = engine:connect()
      local answer = client:request("POST", "/api/streams/Thing/B", { events = { event() } })
      assert(answer.status == 200, answer.body)
    end)
    local reader = engine:connect()
    for _ = 1, 20 do
      assert.same({}, visible(reader))
      clock.pause(0.01)
    end
    assert.equal(nil, (process.poll(appending)))
    if holder then
      holder:write("commit;\n")
      holder:close()
    else
      other:rows("commit")
    end
    other:close()
    assert.equal(0, process.wait(appending))
    assert.same(holder and { "B" } or { "A", "B" }, visible(reader))
  end)

  if server.store == "postgresql" then
    it("TR-A04 that wrote elsewhere first does not put versions out of order", function()
      engine = server.start_new()
      local other = database.at(engine.database.url)
      other:rows("create table mine (a int)")
      other:rows("begin")
      other:rows("insert into mine values (1)")
      assert.equal(1, engine:append("Thing/1", { event() }).version)
      other:rows([[select perigee.append_events('Thing', '1',
        '[{"event_type":"T","data":{}}]'::json, '1')]])
      other:rows("commit")
      other:close()
      local versions = {}
      for i, one in ipairs(engine:get("/api/events").json.events) do
        versions[i] = one.aggregate_version
      end
      assert.same({ 1, 2 }, versions)
    end)
  end

  it("C-FD-17 in another database hides nothing", function()
    engine = server.start_new()
    local other
    if server.store == "postgresql" then
      other = database.new("postgresql")
      other:rows("create table held (x int)")
      other:rows("begin")
      other:rows("insert into held values (1)")
    end
    engine:append("Thing/1", { event() })
    assert.same({ "1" }, visible(engine.client))
    if other then
      other:rows("rollback")
      other:drop()
    end
  end)
end)
