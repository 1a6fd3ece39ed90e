-- Rows, exactly: what handlers ask for is what tables hold, over HTTP, from
-- the command line and in SQL; a handler that fails leaves nothing behind.

local cjson = require "cjson"
local server = require "server"

local LEDGER = [[
return {
  name = "ledger",
  tables = {
    entries = {
      key = "id",
      columns = { id = "text", amount = "numeric?", note = "text?", n = "bigint?",
                  ok = "boolean?", at = "timestamp?", day = "date?", ratio = "double?",
                  body = "json?", small = "integer?", who = "uuid?" },
      indexes = { { "note" } },
    },
    totals = { key = "day", columns = { day = "date", count = "bigint", sum = "numeric" } },
  },
  on = {
    Put = function(event, db) db.entries:put(event.data) end,
    Inserted = function(event, db) db.entries:insert(event.data) end,
    Patched = function(event, db) db.entries:patch(event.data.id, event.data.fields) end,
    Deleted = function(event, db) db.entries:delete(event.data.id) end,
    Counted = function(event, db)
      db.totals:add(event.data.day, { count = 1, sum = event.data.amount })
    end,
    Doubled = function(event, db)
      local row = db.entries:get(event.data.id)
      db.entries:patch(event.data.id, { amount = row.amount * 2, note = tostring(row.amount) })
    end,
    Broken = function(event, db)
      db.entries:put { id = "never", note = "left behind" }
      db.totals:add("2024-01-01", { count = 100, sum = "100" })
      error("cannot be handled")
    end,
  },
}
]]

local LISTENER = [[
return {
  name = "listener",
  tables = { heard = { key = "type", columns = { type = "text", count = "bigint" } } },
  on = {
    ["*"] = function(event, db) db.heard:add(event.event_type, { count = 1 }) end,
  },
}
]]

local engine

local function happen(event_type, data)
  local body = type(data) == "string" and data or cjson.encode(data)
  local answer = engine:post("/api/streams/Book/1",
    '{"events":[{"event_type":"' .. event_type .. '","data":' .. body .. "}]}")
  assert.equal(200, answer.status, answer.body)
  engine:wait_position("ledger", answer.json.last_position)
  return answer.json.last_position
end

local function entry(id)
  return engine:row("ledger", "entries", id)
end

describe("a projection's rows", function()
  setup(function()
    engine = server.start_new { projections = { ["ledger.lua"] = LEDGER } }
  end)
  teardown(server.remove_all)

  it("have every kind of column, as it was given", function()
    happen("Put", [[{"id":"all","amount":"12345678901234567890.1234567890",
      "note":"ä\"\\","n":9007199254740991,
      "ok":true,"at":"2024-03-01T12:00:00.123456+02:00","day":"2024-02-29","ratio":0.1,"small":-5,
      "body":{"b":[1,2.5,{}],"a":null},"who":"550E8400-E29B-41D4-A716-446655440000"}]])
    local row = entry("all")
    assert.equal("12345678901234567890.1234567890", row.amount)
    assert.equal('ä"\\', row.note)
    assert.equal(9007199254740991, row.n)
    assert.is_true(row.ok)
    assert.equal("2024-03-01T10:00:00.123456Z", row.at)
    assert.equal("2024-02-29", row.day)
    assert.equal(0.1, row.ratio)
    assert.equal(-5, row.small)
    assert.equal("550e8400-e29b-41d4-a716-446655440000", row.who)
    assert.same({ 1, 2.5, {} }, row.body.b)
  end)

  it("are null where nothing was given, and json.null writes null", function()
    happen("Put", '{"id":"few","note":"x"}')
    assert.equal(cjson.null, entry("few").amount)
    happen("Patched", '{"id":"few","fields":{"note":null,"n":7}}')
    assert.equal(cjson.null, entry("few").note)
    assert.equal(7, entry("few").n)
  end)

  it("put replaces, patch changes, a missing row is not created, delete removes", function()
    happen("Put", '{"id":"p","note":"one","n":1}')
    happen("Put", '{"id":"p","note":"two"}')
    assert.equal("two", entry("p").note)
    assert.equal(cjson.null, entry("p").n)
    happen("Patched", '{"id":"p","fields":{"n":5}}')
    assert.equal("two", entry("p").note)
    assert.equal(5, entry("p").n)
    happen("Patched", '{"id":"not-there","fields":{"n":5}}')
    assert.is_nil(entry("not-there"))
    happen("Deleted", '{"id":"p"}')
    assert.is_nil(entry("p"))
  end)

  it("add sums exactly, and get sees what was written before", function()
    local events = {}
    for i = 1, 10 do
      events[i] = { event_type = "Counted", data = { day = "2024-05-05", amount = "0.1" } }
    end
    engine:wait_position("ledger", engine:append("Book/2", events).last_position)
    local row = engine:row("ledger", "totals", "2024-05-05")
    assert.equal(10, row.count)
    assert.equal("1.0", row.sum)
    local last = engine:append("Book/3", {
      { event_type = "Put", data = { id = "g", amount = "1.25" } },
      { event_type = "Doubled", data = { id = "g" } },
      { event_type = "Doubled", data = { id = "g" } },
    })
    engine:wait_position("ledger", last.last_position)
    assert.equal("5.00", entry("g").amount)
    assert.equal("2.50", entry("g").note)
  end)

  it("are listed by key, filtered, sorted and paged", function()
    for i = 1, 5 do
      happen("Put", ('{"id":"list-%d","note":"listed","amount":"%d"}'):format(i, i * 7 % 5))
    end
    local path = "/api/projections/ledger/tables/entries?note=listed"
    local function ids(query)
      local answer, list = engine:get(path .. query), {}
      assert.equal(200, answer.status, answer.body)
      for i, row in ipairs(answer.json.rows) do
        list[i] = row.id
      end
      return list, answer.json.next
    end
    assert.same({ "list-1", "list-2", "list-3", "list-4", "list-5" }, (ids("")))
    assert.same({ "list-5", "list-3", "list-1", "list-4", "list-2" }, (ids("&order=amount")))
    assert.same({ "list-2", "list-4" }, (ids("&order=-amount&limit=2")))
    local first, after = ids("&order=-amount&limit=2")
    local second, last = ids("&order=-amount&limit=3&after=" .. after)
    assert.same({ "list-2", "list-4" }, first)
    assert.same({ "list-1", "list-3", "list-5" }, second)
    assert.equal(cjson.null, last)
  end)

  it("come in pages of some MiB however many were asked for", function()
    local long = ("x"):rep(900000)
    for i = 1, 12 do
      happen("Put", ('{"id":"large-%02d","note":"large","body":{"s":"%s"}}'):format(i, long))
    end
    local path = "/api/projections/ledger/tables/entries?note=large&limit=1000"
    local after, ids, pages = cjson.null, {}, 0
    repeat
      local answer = engine:get(path .. (after ~= cjson.null and "&after=" .. after or ""))
      assert.equal(200, answer.status)
      for _, row in ipairs(answer.json.rows) do
        ids[#ids + 1] = row.id
      end
      after, pages = answer.json.next, pages + 1
    until after == cjson.null
    assert.is_true(pages > 1)
    assert.equal(12, #ids)
    assert.equal("large-01 large-12", ids[1] .. " " .. ids[12])
  end)

  it("TR-G05 are not reached by a column that is not there", function()
    local path = "/api/projections/ledger/tables/entries?"
    for _, query in ipairs { "order=id;drop+table+x", "colour=red", "order=body", "limit=0",
      "limit=1001", "after=tampered" } do
      assert.equal(400, engine:get(path .. query).status, query)
    end
    assert.equal(404, engine:get("/api/projections/ledger/tables/nothing").status)
    assert.equal(404, engine:get("/api/projections/nothing/tables/entries").status)
    assert.equal(404, engine:get("/api/projections/ledger/tables/entries/nobody").status)
  end)

  it("are printed by `perigee rows`", function()
    happen("Put", '{"id":"cli","note":"printed","amount":"3.10"}')
    local result = engine:run { "rows", "ledger", "entries", "note=printed" }
    assert.equal(0, result.status, result.err)
    assert.truthy(result.out:find("printed", 1, true), result.out)
    assert.truthy(result.out:find("3.10", 1, true), result.out)
    local json = engine:run { "rows", "ledger", "entries", "note=printed", "--json" }
    assert.equal(0, json.status, json.err)
    assert.equal("3.10", cjson.decode(json.out:match("[^\n]+")).amount)
  end)

  it("are read in SQL under the table's own name", function()
    happen("Put", '{"id":"sql","note":"seen"}')
    assert.same({ { id = "sql" } },
      engine.database:rows("select id from entries where note = 'seen'"))
  end)

  it("C-SU-31 are not made twice by a restart", function()
    local before = engine:all_rows("ledger", "entries")
    local totals = engine:all_rows("ledger", "totals")
    engine:restart()
    happen("Put", '{"id":"zz-last"}')
    local after = engine:all_rows("ledger", "entries")
    assert.equal("zz-last", table.remove(after).id)
    assert.same(before, after)
    assert.same(totals, engine:all_rows("ledger", "totals"))
  end)
end)

describe("a handler that fails", function()
  local position
  setup(function()
    engine = server.start_new {
      projections = { ["ledger.lua"] = LEDGER, ["listener.lua"] = LISTENER },
    }
    local answer = engine:append("Book/1", {
      { event_type = "Put", data = { id = "before" } },
      { event_type = "Counted", data = { day = "2024-01-01", amount = "1" } },
      { event_type = "Broken", data = { id = "x" } },
      { event_type = "Put", data = { id = "behind" } },
    })
    position = answer.first_position + 2
    engine:wait_state("ledger", "error")
  end)
  teardown(server.remove_all)

  it("C-DL-02 stops its subscription just before the event", function()
    local status = engine:projection("ledger")
    assert.equal(position - 1, status.position)
    assert.equal(1, status.events_failed)
    assert.truthy(entry("before"))
    assert.is_nil(entry("behind"))
  end)

  it("says file, line and message", function()
    local status = engine:projection("ledger")
    assert.truthy(status.last_error:find("ledger.lua:%d+: cannot be handled"), status.last_error)
    local line = tonumber(status.last_error:match("ledger.lua:(%d+)"))
    local number = 0
    for text in LEDGER:gmatch("([^\n]*)\n") do
      number = number + 1
      if number == line then
        assert.truthy(text:find("cannot be handled", 1, true), text)
      end
    end
  end)

  it("leaves nothing of that event behind", function()
    assert.is_nil(entry("never"))
    assert.equal(1, engine:row("ledger", "totals", "2024-01-01").count)
  end)

  it("C-SU-23 does not hold up other projections", function()
    engine:wait_position("listener", position + 1)
    assert.equal("live", engine:wait_state("listener", "live").state)
    assert.equal(1, engine:row("listener", "heard", "Broken").count)
  end)

  it("TR-D08 makes the engine unready and unhealthy, and alive", function()
    local ready = engine:get("/health/ready")
    assert.equal(503, ready.status)
    assert.truthy(ready.body:find("ledger", 1, true), ready.body)
    assert.equal(200, engine:get("/health/live").status)
  end)

  it("is logged once", function()
    local seen = 0
    for _, record in ipairs(engine:log()) do
      if record.level == "ERROR" and record.subscription == "ledger" then
        seen = seen + 1
        assert.truthy(cjson.encode(record):find("cannot be handled", 1, true))
      end
    end
    assert.equal(1, seen)
  end)

  it("does not run again by itself, also not after a restart without a new script", function()
    engine:stop()
    engine:launch()
    engine:wait_state("ledger", "error")
    assert.equal(position - 1, engine:projection("ledger").position)
    assert.is_nil(entry("never"))
  end)

  it("goes on with a better script, each effect once", function()
    engine:stop()
    server.write_file(engine.folder .. "/projections/ledger.lua",
      (LEDGER:gsub('error%("cannot be handled"%)', "db.entries:delete('never')")))
    engine:start()
    engine:wait_position("ledger", position + 1)
    assert.truthy(entry("behind"))
    assert.is_nil(entry("never"))
    assert.equal(101, engine:row("ledger", "totals", "2024-01-01").count)
  end)
end)

describe("errors of a handler's own making", function()
  teardown(server.remove_all)

  -- The message of what `body` does wrong with a table t(id text, n bigint).
  local function message_of(body)
    engine = server.new { projections = { ["wrong.lua"] = [[
return {
  name = "wrong",
  tables = { t = { key = "id", columns = { id = "text", n = "bigint", note = "text?" } } },
  on = { E = function(event, db)
    ]] .. body .. [[

  end },
}
]] } }
    engine:launch()
    require("clock").wait_until("open", function()
      return engine:get("/api/projections").status == 200
    end)
    engine:append("X/1", { { event_type = "E", data = { n = 1 } } })
    local text = engine:wait_state("wrong", "error").last_error
    assert.truthy(text:find("wrong.lua:5: ", 1, true), text)
    engine:remove()
    return text
  end

  it("name the column, the table or the value", function()
    local cases = {
      { "db.t:put { id = 'a', n = 1, colour = 'red' }", "colour" },
      { "db.t:put { id = 'a', n = 'many' }", "n" },
      { "db.t:put { id = 'a' }", "n" },
      { "db.t:put { n = 1 }", "id" },
      { "db.t:insert { id = 'a', n = 1 } db.t:insert { id = 'a', n = 2 }", "a" },
      { "db.t:add('a', { note = 1 })", "note" },
      { "db.nothing:put { id = 'a' }", "nothing" },
    }
    for _, case in ipairs(cases) do
      local text = message_of(case[1])
      assert.truthy(text:find(case[2], 1, true), case[1] .. " said: " .. text)
    end
  end)
end)

describe("a large backlog", function()
  teardown(server.remove_all)

  it("C-SU-09, C-SU-11, C-SU-17 is caught up with, whatever the size of a batch", function()
    local function counter(name, batch_size, filter)
      return ([[
return {
  name = %q,
  subscription = { batch_size = %d },
  filter = { %s },
  tables = { c = { key = "id", columns = { id = "text", n = "bigint", last = "bigint" } } },
  on = { ["*"] = function(event, db)
    local row = db[%q]:get("all") or { id = "all", n = 0, last = 0 }
    if row.last >= event.position then error("out of order") end
    db[%q]:put { id = "all", n = row.n + 1, last = event.position }
  end },
}
]]):gsub("tables = { c ", "tables = { " .. name .. "_rows "):format(name, batch_size, filter or "",
        name .. "_rows", name .. "_rows")
    end
    engine = server.start_new { projections = {
      ["one.lua"] = counter("one", 1), ["three.lua"] = counter("three", 3),
      ["thousand.lua"] = counter("thousand", 1000),
      ["other.lua"] = counter("other", 100, 'event_types = { "Never" }'),
    } }
    local last
    for _ = 1, 5 do
      local events = {}
      for i = 1, 100 do
        events[i] = { event_type = "T", data = { i = i } }
      end
      last = engine:append("Big/1", events).last_position
    end
    for _, name in ipairs { "one", "three", "thousand", "other" } do
      engine:wait_position(name, last)
      engine:wait_state(name, "live")
    end
    for _, name in ipairs { "one", "three", "thousand" } do
      assert.equal(500, engine:row(name, name .. "_rows", "all").n)
    end
    assert.is_nil(engine:row("other", "other_rows", "all"))
  end)
end)

describe("a script whose tables have changed", function()
  after_each(server.remove_all)

  it("is in error, naming the difference, and shows no rows under other columns", function()
    engine = server.start_new { projections = { ["listener.lua"] = LISTENER } }
    engine:wait_position("listener", engine:append("Note/1", {
      { event_type = "Heard", data = {} } }).last_position)
    engine:stop()
    server.write_file(engine.folder .. "/projections/listener.lua",
      (LISTENER:gsub("count = \"bigint\"", "count = \"bigint\", last = \"text?\"")))
    engine:launch()
    local status = engine:wait_state("listener", "error")
    local difference = 'needs a rebuild: the tables differ: heard.columns.last: '
      .. 'installed nothing, script "text?"'
    assert.truthy(status.last_error:find(difference, 1, true), status.last_error)
    local answer = engine:get("/api/projections/listener/tables/heard")
    assert.equal(409, answer.status)
    assert.equal("conflict", answer.json.code)
    assert.truthy(answer.json.detail:find(difference, 1, true), answer.body)
    assert.equal(1, #engine:get("/api/events").json.events)
  end)
end)
