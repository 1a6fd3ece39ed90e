-- The door for programs that append in SQL: it must not differ from the one
-- over HTTP, nor disturb those who append there.

local cjson = require "cjson"
local process = require "process"
local server = require "server"

if server.store == "sqlite" then
  describe("SQLite", function()
    teardown(server.remove_all)

    it("has no door in SQL, and counts its step all the same", function()
      local engine = server.start_new()
      local meta = engine.database:rows("select version from perigee_meta")[1]
      assert.is_true(meta.version >= 3)
    end)
  end)
  return
end

-- One call as its answer, or how it was refused.
local TRY = [[
create function try_append(p_type text, p_id text, p_events text, p_expected text)
  returns json language plpgsql as $$
declare
  answer record; said text; code text; more text;
begin
  select * into answer from perigee.append_events(p_type, p_id, p_events::json, p_expected);
  return row_to_json(answer);
exception when others then
  get stacked diagnostics code = returned_sqlstate, said = message_text, more = pg_exception_detail;
  return json_build_object('code', code, 'message', said, 'detail', more);
end $$
]]

local COUNT = [[
return {
  name = "counted",
  tables = { counts = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { ["*"] = function(event, db) db.counts:add(event.event_type, { n = 1 }) end },
}
]]

local ORDER = [[
return {
  type = "Order",
  commands = { place = { input = {}, run = function(order) order:emit("Placed", {}) end } },
  apply = { Placed = function(state) state.placed = true end },
  upcast = { Placed = { [1] = function(data) return data end } },
}
]]

local function quote(text)
  return text == nil and "null" or "'" .. text:gsub("'", "''") .. "'"
end

local function sql_append(database, kind, id, events, expected)
  local rows = database:rows(("select try_append(%s, %s, %s, %s) as answer"):format(
    quote(kind), quote(id), quote(events), quote(expected or "any")))
  return cjson.decode(rows[1].answer)
end

local function must_append(database, kind, id, events, expected)
  local answer = sql_append(database, kind, id, events, expected)
  assert(answer.version, cjson.encode(answer))
  return answer
end

-- ---- two doors, one behaviour ----

local CODES = {
  PGV01 = { version_conflict = true },
  PGV02 = { duplicate_event = true },
  PGV03 = { invalid_input = true, invalid_json = true, invalid_id = true },
  ["22P02"] = { invalid_json = true, invalid_input = true },
}

-- Ids of the two doors differ in one digit, so that both logs can be one.
local function at_door(text, digit)
  return (text:gsub("@(%x+)@", function(n)
    return ("%s0000000-0000-4000-8000-%s"):format(digit, ("0"):rep(12 - #n) .. n)
  end))
end

local function stored(database, id)
  return database:rows(("select event_type, event_version, aggregate_version, data, metadata," ..
    " tenant_id, actor_id, correlation_id, causation_id," ..
    " case when occurred_at < '2026-01-01' then occurred_at end as occurred_at" ..
    " from perigee.events where aggregate_id = '%s' order by position"):format(id))
end

local JSON_SAYS = { "^byte %d+: ", "surrogate", "duplicate key", "nested deeper", "is not allowed" }

-- Sentences about JSON itself name other places.
local function says_json(text)
  for _, pattern in ipairs(JSON_SAYS) do
    if text:find(pattern) then
      return true
    end
  end
  return false
end

-- Offers the same at both doors; returns whether it was taken.
local function compare(engine, name, case)
  local expected = case.expected or "any"
  local is_version = expected:find("^%d+$")
  local body = ('{"expected_version":%s,"events":%s}'):format(
    is_version and expected or ('"%s"'):format(expected), at_door(case.events, "a"))
  local over_http = engine:post("/api/streams/Thing/h-" .. name, body)
  local in_sql = sql_append(engine.database, "Thing", "s-" .. name, at_door(case.events, "b"),
    expected)
  local told = case.events .. "\nHTTP: " .. over_http.body .. "\nSQL: " .. cjson.encode(in_sql)
  if over_http.status == 200 then
    assert.equal(over_http.json.version, in_sql.version, told)
    assert.equal(over_http.json.idempotent, in_sql.idempotent, told)
    if not in_sql.idempotent then
      assert.equal(over_http.json.last_position - over_http.json.first_position,
        in_sql.last_position - in_sql.first_position, told)
    end
  else
    local fits = CODES[in_sql.code]
    assert(fits and fits[over_http.json.code], told)
    local said = over_http.json.detail:gsub("Thing/h%-", "Thing/s-"):gsub("'h%-", "'s-")
      :gsub("a0000000", "b0000000")
    if in_sql.code ~= "22P02" and not says_json(said) then
      assert.equal(said, in_sql.message, told)
    end
  end
  assert.same(stored(engine.database, "h-" .. name), stored(engine.database, "s-" .. name), told)
  return over_http.status == 200
end

-- Values that a field may or may not take.
local VALUES = {
  '"Noted"', '""', '"1a"', '"a b"', '"a\\u0009"', '"\\u0041b"', '"é"', '"\\u0080"', "null", "true",
  "1", "3.0", "3e0", "0", "-1", "1.5", "2147483648", "1e99", "{}", '{ "a" : [ 1.00 , 2 ] }', "[]",
  '{"a":1,"a":2}', '{"a":{"b":1,"\\u0062":2}}', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"',
  '{"e":"\\ud83d\\ude00","s":"\\\\u0000 \\" {"}', '{"s":"\\ud83d\\\\\\ude00"}',
  '{"n":123456789012345678901234567890.10e-5}', '{"n":01}', '{"n":1e400000}', "nul", '"@1@"',
  '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A1"', '"00000000-0000-0000-0000-000000000000"',
  '"2020-02-29T12:00:00.1234567+01:30"', '"2021-02-29T12:00:00Z"', '"2020-01-01t00:00:60z"',
  '"2020-01-01 24:00:00Z"', '"0000-01-01T00:00:00Z"', '"0001-01-01T00:00:00+00:01"',
  '"2020-01-01"', '"now"', '"infinity"', ('"%s"'):format(("x"):rep(255)),
  ('"%s"'):format(("x"):rep(256)), ('"%s"'):format(("é"):rep(128)),
  ('{"d":%s1%s}'):format(("["):rep(60), ("]"):rep(60)),
  ('{"d":%s1%s}'):format(("["):rep(61), ("]"):rep(61)),
}
local FIELDS = { "event_type", "data", "event_id", "event_version", "metadata", "tenant_id",
  "actor_id", "correlation_id", "causation_id", "occurred_at", "aggregate_type", "aggregate_id",
  "position", "Event_type" }

local LISTS = {
  "[]", "{}", "null", "1", "[1]", "[null]", "[[]]", '[{}]', '[{"data":{}}]',
  '[{"event_type":"A"}]', '[{"event_type":"A","data":{}},{"event_type":"B"}]',
  '[{"event_type":"A","data":{}},2]', '[{"event_type":"A","data":{}}', "",
  '[{"event_type":"A","data":{},"data":{}}]', '[{"event_type":"A","d\\u0061ta":{}}]',
  '[{"event_type":"A","data":{},"aggregate_type":"Thing"}]',
  '[{"event_type":"A","data":{},"aggregate_type":"Other","x":1}]',
  '[{"event_type":"A","data":{},"event_id":"@7@"},{"event_type":"A","data":{},"event_id":"@7@"}]',
}

local function one_field(field, value)
  local members = {}
  if field ~= "event_type" then
    members[#members + 1] = '"event_type" : "Noted"'
  end
  if field ~= "data" then
    members[#members + 1] = '"data" : { }'
  end
  members[#members + 1] = ('"%s" :\t%s'):format(field, value)
  return "[ {" .. table.concat(members, " , ") .. "} ]"
end

describe("appending in SQL", function()
  local engine
  setup(function()
    engine = server.start_new {
      projections = { ["counted.lua"] = COUNT }, aggregates = { ["order.lua"] = ORDER },
    }
    engine.database:rows(TRY)
  end)
  teardown(server.remove_all)

  it("takes and refuses what HTTP takes and refuses, field by field", function()
    local taken, offered = 0, 0
    for f, field in ipairs(FIELDS) do
      for v, value in ipairs(VALUES) do
        offered = offered + 1
        local id = field == "event_id" and ("@%x@"):format(offered) or "a"
        local case = { events = one_field(field, (value:gsub("@1@", id))) }
        if compare(engine, ("f%d-%d"):format(f, v), case) then
          taken = taken + 1
        end
      end
    end
    assert(taken > 50 and offered - taken > 300, taken .. " of " .. offered)
  end)

  it("takes and refuses what HTTP takes and refuses, list by list", function()
    for i, events in ipairs(LISTS) do
      compare(engine, "l" .. i, { events = events })
    end
    local many = ("[" .. ('{"event_type":"A","data":{}},'):rep(1001)):sub(1, -2) .. "]"
    assert.is_false(compare(engine, "l-many", { events = many }))
  end)

  it("expects the same of a stream", function()
    for _, is_there in ipairs { false, true } do
      for _, expected in ipairs { "any", "no_stream", "stream_exists", "0", "1", "2", "01x",
        "sometimes", "9223372036854775807", "9223372036854775808" } do
        local name = ("e-%s-%s"):format(is_there, expected)
        if is_there then
          compare(engine, name, { events = '[{"event_type":"A","data":{}}]' })
        end
        if expected:find("^%d+$") or expected:find("^%l+_?%l*$") then
          compare(engine, name, { events = '[{"event_type":"B","data":{}}]', expected = expected })
        else
          local answer = sql_append(engine.database, "Thing", name,
            '[{"event_type":"B","data":{}}]', expected)
          assert.equal("PGV03", answer.code)
        end
      end
    end
  end)

  it("knows events that are offered again, as HTTP does", function()
    local a = '{"event_type":"A","data":{"n": 1},"event_id":"@a1@"}'
    local b = '{"event_type":"B","data":{},"event_id":"@a2@","metadata":{"x":1}}'
    local c = '{"event_type":"C","data":{},"event_id":"@a3@"}'
    local steps = {
      { a .. "," .. b }, { a .. "," .. b, "7" }, { a }, { b, "no_stream" }, { b .. "," .. a },
      { a .. "," .. c }, { c .. "," .. a }, { (a:gsub("1}", "2}")) },
      { (b:gsub('"x":1', '"x":2')) }, { a .. ',{"event_type":"D","data":{}}' },
      { c }, { a .. "," .. b .. "," .. c, "99" }, { b .. "," .. c },
    }
    for _, step in ipairs(steps) do
      compare(engine, "again", { events = "[" .. step[1] .. "]", expected = step[2] })
    end
    compare(engine, "again-elsewhere", { events = "[" .. a .. "]" })
  end)

  it("normalises ids, and refuses names and ids as HTTP does", function()
    local events = '[{"event_type":"A","data":{}}]'
    must_append(engine.database, "Thing", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A99", events)
    local again = engine:post("/api/streams/Thing/a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a99",
      '{"expected_version":1,"events":' .. events .. "}")
    assert.equal(2, again.json.version, again.body)
    for _, id in ipairs { "", ("x"):rep(256), "a\tb", "a\127", "a\194\133" } do
      assert.equal("PGV03", sql_append(engine.database, "Thing", id, events).code)
    end
    for _, kind in ipairs { "", "1a", "a b", ("x"):rep(256), "é" } do
      assert.equal("PGV03", sql_append(engine.database, kind, "a", events).code)
    end
    assert.equal("PGV03", sql_append(engine.database, nil, "a", events).code)
    assert.equal("PGV03", sql_append(engine.database, "Thing", nil, events).code)
    assert.equal("PGV03", sql_append(engine.database, "Thing", "a", nil).code)
  end)

  it("knows what the scripts declare", function()
    local bad = '[{"event_type":"Lost","data":{}}]'
    local over_http = engine:post("/api/streams/Order/1", '{"events":' .. bad .. "}")
    local in_sql = sql_append(engine.database, "Order", "1", bad)
    assert.equal(422, over_http.status, over_http.body)
    assert.equal("PGV03", in_sql.code)
    assert.equal(over_http.json.detail, in_sql.message)
    must_append(engine.database, "Order", "1", '[{"event_type":"Placed","data":{}}]', "no_stream")
    local new = '[{"event_type":"Placed","event_version":%d,"data":{}}]'
    over_http = engine:post("/api/streams/Order/1", '{"events":' .. new:format(3) .. "}")
    in_sql = sql_append(engine.database, "Order", "1", new:format(3))
    assert.equal(422, over_http.status, over_http.body)
    assert.equal("PGV03", in_sql.code)
    assert.equal(over_http.json.detail, in_sql.message)
    must_append(engine.database, "Order", "1", new:format(2), "1")
  end)

  it("C-SU-21 reaches a projection, without an engine's help", function()
    local answer = must_append(engine.database, "Plain", "1",
      '[{"event_type":"PlainlyWritten","data":{"n":1}}]')
    engine:wait_position("counted", answer.last_position)
    assert.equal(1, engine:row("counted", "counts", "PlainlyWritten").n)
  end)

  it("needs read committed", function()
    local database = engine.database
    database:rows("begin isolation level repeatable read")
    local answer = sql_append(database, "Thing", "r", '[{"event_type":"A","data":{}}]')
    database:rows("rollback")
    assert.equal("PGV03", answer.code)
    assert.truthy(answer.message:find("read committed", 1, true))
  end)

  it("leaves nothing of a transaction that is rolled back, not even a gap", function()
    local database = engine.database
    local events = '[{"event_type":"A","data":{}}]'
    local before = must_append(database, "Thing", "back", events)
    database:rows("begin")
    must_append(database, "Thing", "back", events)
    database:rows("rollback")
    assert.equal(before.last_position + 1,
      must_append(database, "Thing", "back", events, "1").first_position)
  end)
end)

describe("the page about appending in SQL", function()
  after_each(server.remove_all)

  local function blocks()
    local list = {}
    for text in server.read_file("docs/sql.md"):gmatch("```sql\n(.-)```") do
      list[#list + 1] = text
    end
    return list
  end

  it("has an example that runs, for a role with the rights it names and no others", function()
    local engine = server.start_new()
    local database = engine.database
    local example, grants = blocks()[1], blocks()[2]
    database:rows("create role billing")
    finally(function() database:rows("reset role; drop owned by billing; drop role billing") end)
    database:rows("set role billing")
    assert.has_error(function() database:rows(example) end)
    database:rows("reset role; " .. grants .. "; set role billing")
    local row = database:rows(example)[1]
    assert.same({ version = "1", first_position = "1", last_position = "1", idempotent = "f" }, row)
    assert.has_error(function() database:rows("select * from perigee.events") end)
    assert.has_error(function()
      database:rows("insert into perigee.event_ids values (gen_random_uuid(), 9)")
    end)
    assert.has_error(function() database:rows(example) end) -- no_stream, and there is one
    database:rows("reset role")
    assert.equal("InvoiceSent", engine:get("/api/events").json.events[1].event_type)
  end)
end)

-- ---- beside an engine ----

local WRITERS, CALLS = 4, 60

describe("programs that append in SQL beside an engine", function()
  after_each(server.remove_all)

  it("make one order with it, and nobody is refused without reason", function()
    local engine = server.start_new { projections = { ["counted.lua"] = COUNT } }
    engine.database:rows(TRY)
    local url = engine.database.url
    local pids = {}
    for i = 1, WRITERS do
      pids[#pids + 1] = process.fork(function()
        local database = require("database").at(url)
        for n = 1, CALLS do
          local own = n % 3 ~= 0
          must_append(database, "Thing", own and "sql-" .. i or "shared",
            '[{"event_type":"InSql","data":{}},{"event_type":"InSql","data":{}}]',
            own and tostring((n - 1 - math.floor((n - 1) / 3)) * 2) or "any")
        end
      end)
      pids[#pids + 1] = process.fork(function()
        local client = engine:connect()
        for n = 1, CALLS do
          local own = n % 3 ~= 0
          local answer = client:request("POST",
            "/api/streams/Thing/" .. (own and "http-" .. i or "shared"), {
              expected_version = own and (n - 1 - math.floor((n - 1) / 3)) or "any",
              events = { { event_type = "OverHttp", data = { n = n } } },
            })
          assert(answer.status == 200, answer.body)
        end
      end)
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid))
    end
    local total = WRITERS * CALLS * 3
    local row = engine.database:rows("select count(*) as n, max(position) as last," ..
      " count(*) filter (where aggregate_version <> rank) as wrong from (select *, row_number()" ..
      " over (partition by stream_id order by position) as rank from perigee.events) e")[1]
    assert.same({ n = tostring(total), last = tostring(total), wrong = "0" }, row)
    engine:wait_position("counted", total)
    assert.equal(WRITERS * CALLS * 2, engine:row("counted", "counts", "InSql").n)
    assert.equal(WRITERS * CALLS, engine:row("counted", "counts", "OverHttp").n)
  end)
end)
