-- The command line: what it prints, where, and with which exit status; in
-- process on the store and through a running engine.

local cjson = require "cjson"
local server = require "server"

local ID = "550e8400-e29b-41d4-a716-446655440000"
local engine

local function new_engine()
  engine = server.new { aggregates = server.root .. "/lua/aggregates",
    projections = server.root .. "/projections" }
end

local function succeed(arguments, options)
  local result = engine:run(arguments, options)
  assert.equal(0, result.status, result.err)
  assert.equal("", result.err)
  return result.out
end

-- A failure is one readable line.
local function fail(status, arguments, pattern, options)
  local result = engine:run(arguments, options)
  assert.equal(status, result.status, result.out .. result.err)
  assert.truthy(result.err:find("^perigee: [^\n]+\n$"), result.err)
  assert.truthy(result.err:find(pattern), result.err)
  return result
end

-- The records of `--json`, one a line.
local function records(out)
  local list = {}
  for line in out:gmatch("[^\n]+") do
    list[#list + 1] = cjson.decode(line)
  end
  return list
end

local function line_of(id, n, more)
  return ('{"aggregate_type":"Line","aggregate_id":"%s","event_type":"E","data":{"n":%d}%s}\n')
    :format(id, n, more or "")
end

local function numbers(id)
  local list = {}
  for i, event in ipairs(records(succeed { "events", "--stream", "Line/" .. id, "--json",
    "--limit", "1000" })) do
    list[i] = event.data.n
  end
  return list
end

describe("the command line without a server", function()
  setup(new_engine)
  teardown(server.remove_all)

  it("knows its commands and its version", function()
    for _, words in ipairs { { "help" }, { "help", "append" }, { "append", "--help" },
      { "help", "settings" }, { "version" } } do
      local result = server.cli(words)
      assert.equal(0, result.status, result.err)
      assert.is_true(#result.out > 20)
    end
    local version = server.cli { "version" }
    for _, name in ipairs { "perigee", "LuaJIT", "libpq", "SQLite", "libuv", "civetweb" } do
      assert.truthy(version.out:find(name, 1, true), version.out)
    end
  end)

  it("says 2 to wrong usage", function()
    for _, words in ipairs { { "frobnicate" }, { "append" }, { "send", "Order" },
      { "events", "--bogus" }, { "events", "--limit" }, { "events", "--limit", "many" },
      { "append", "A", "1", "T", "{}", "--expect", "some" } } do
      local result = server.cli(words)
      assert.equal(2, result.status, table.concat(words, " ") .. result.out)
      assert.truthy(result.err:find("^perigee: "), result.err)
    end
  end)

  it("migrates once, and again without harm", function()
    assert.truthy(succeed({ "migrate" }):find("brought up to date: %d+ step"))
    assert.truthy(succeed({ "migrate" }):find("up to date", 1, true))
  end)

  it("sends commands and shows state", function()
    local out = succeed { "send", "Order", ID, "create", '{"customer_id":"c-1","total":499.99}' }
    assert.truthy(out:find("version 1", 1, true), out)
    fail(1, { "send", "Order", ID, "create", '{"customer_id":"c-1","total":1}' },
      "Order already exists")
    fail(1, { "send", "Order", ID, "create", '{"total":"x"}' }, "customer_id.*total")
    fail(1, { "send", "Order", ID, "vanish" }, "vanish")
    local shipped = records(succeed { "send", "Order", ID, "ship", '{"tracking_number":"T"}',
      "--json" })[1]
    assert.equal(2, shipped.version)
    assert.truthy(succeed({ "state", "Order", ID }):find("shipped", 1, true))
    local before = records(succeed { "state", "Order", ID, "--at", "1", "--json" })[1]
    assert.equal("created", before.state.status)
    fail(1, { "state", "Order", "nobody" }, "nobody")
  end)

  it("appends one event, conditionally", function()
    succeed { "append", "Note", "1", "Written", '{"a":1}', "--expect", "no_stream" }
    fail(1, { "append", "Note", "1", "Written", "{}", "--expect", "no_stream" }, "version 1")
    fail(1, { "append", "Note", "1", "Written", "{}", "--expect", "5" }, "5")
    succeed { "append", "Note", "1", "Written", "{}", "--expect", "1" }
    fail(1, { "append", "Note", "1", "Written", '{"a":' }, "ends too early")
    fail(1, { "append", "Order", ID, "Undeclared", "{}" }, "Undeclared")
    fail(1, { "append", "Note", "a\nb", "Written", "{}" }, "control character")
  end)

  it("prints events, filtered", function()
    local all = records(succeed { "events", "--json" })
    assert.equal(4, #all)
    assert.equal(1, #records(succeed { "events", "--json", "--type", "OrderShipped" }))
    assert.equal(2, #records(succeed { "events", "--json", "--aggregate-type", "Note" }))
    assert.equal(2, #records(succeed { "events", "--json", "--stream", "Note/1" }))
    assert.equal(1, #records(succeed { "events", "--json", "--after", "3" }))
    assert.equal(2, #records(succeed { "events", "--json", "--limit", "2" }))
    assert.truthy(succeed({ "events" }):find("OrderCreated", 1, true))
  end)

  it("checks scripts and names file and line of each fault", function()
    succeed { "check" }
    local folder = server.temporary_folder()
    server.write_file(folder .. "/one.lua", "return {\n  name = }")
    server.write_file(folder .. "/two.lua", "local x = os.time()\nreturn {}")
    local result = engine:run { "check", folder .. "/one.lua", folder .. "/two.lua" }
    assert.equal(1, result.status)
    assert.truthy(result.out:find("one.lua:2: ", 1, true), result.out)
    assert.truthy(result.out:find("two.lua:1: ", 1, true), result.out)
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("prints the settings that hold, without secrets", function()
    local result = server.cli({ "check", "--settings" }, { env = {
      DATABASE_URL = "postgresql://ada:secret@db/log", PERIGEE_HTTP_THREADS = "32" } })
    assert.truthy(result.out:find("database.url = postgresql://ada:***@db/log\n", 1, true))
    assert.truthy(result.out:find("http.threads = 32\n", 1, true))
    assert.is_nil(result.out:find("secret", 1, true))
  end)
end)

describe("an import", function()
  setup(new_engine)
  teardown(server.remove_all)

  local function import(text)
    return engine:run({ "append", "--file", "-" }, { stdin = text })
  end

  it("appends line by line, and is safe to run again, also when it has grown", function()
    local text = line_of("a", 1) .. line_of("b", 2) .. line_of("a", 3)
    assert.equal(0, import(text).status)
    assert.equal(0, import(text).status)
    assert.same({ 1, 3 }, numbers("a"))
    assert.equal(0, import(text .. line_of("b", 4)).status)
    assert.same({ 2, 4 }, numbers("b"))
    assert.equal(4, #records(succeed { "events", "--json", "--limit", "1000" }))
  end)

  it("keeps the order of the file", function()
    local lines, expected = {}, {}
    for i = 1, 3000 do
      lines[i] = line_of("order-" .. i % 7, i)
      expected[i] = i
    end
    local before = #records(succeed { "events", "--json", "--limit", "1000" })
    assert.equal(0, import(table.concat(lines)).status)
    local seen, after = {}, before
    repeat
      local page = records(succeed { "events", "--json", "--limit", "1000", "--after",
        tostring(after) })
      for _, event in ipairs(page) do
        seen[#seen + 1] = event.data.n
        after = event.position
      end
    until #page == 0
    assert.same(expected, seen)
  end)

  it("takes the other fields of an event, too", function()
    local id = "22222222-2222-4222-8222-222222222222"
    assert.equal(0, import(line_of("full", 1, (',"event_id":"%s","metadata":{"m":1},' ..
      '"occurred_at":"2010-12-01T08:26:00Z","tenant_id":"t"'):format(id))).status)
    local event = records(succeed { "events", "--json", "--stream", "Line/full" })[1]
    assert.equal(id, event.event_id)
    assert.equal("2010-12-01T08:26:00.000000Z", event.occurred_at)
    assert.equal("t", event.tenant_id)
    assert.equal(1, event.metadata.m)
  end)

  it("stops at a bad line and names it; what was before it stays", function()
    for bad, word in pairs {
      ["not json\n"] = ":2: ", ['{"aggregate_type":"Line"}\n'] = ":2: ",
      [line_of("x", 1, ',"colour":"red"')] = "colour",
    } do
      local id = "bad" .. #bad
      local result = import(line_of(id, 1) .. bad .. line_of(id, 3))
      assert.equal(1, result.status)
      assert.truthy(result.err:find(word, 1, true), result.err)
      assert.truthy(result.err:find(":2", 1, true), result.err)
      assert.same({ 1 }, numbers(id))
    end
  end)

  it("needs no last newline and skips no line", function()
    assert.equal(0, import((line_of("last", 1) .. line_of("last", 2)):sub(1, -2)).status)
    assert.same({ 1, 2 }, numbers("last"))
    assert.equal(0, import("").status)
  end)
end)

describe("the command line beside a server", function()
  setup(function()
    new_engine()
    engine:start()
  end)
  teardown(server.remove_all)

  it("sends, appends and reads through it", function()
    succeed { "send", "Order", ID, "create", '{"customer_id":"c-1","total":10.5}' }
    succeed { "append", "Note", "1", "Written", '{"a":1}' }
    local result = engine:run({ "append", "--file", "-" }, { stdin = line_of("via", 1) })
    assert.equal(0, result.status, result.err)
    engine:wait_position("orders", 3)
    assert.equal(3, #records(succeed { "events", "--json" }))
    assert.truthy(succeed({ "state", "Order", ID }):find("created", 1, true))
    fail(1, { "send", "Order", ID, "create", '{"customer_id":"c-1","total":1}' },
      "Order already exists")
  end)

  it("shows projections and rows", function()
    local list = records(succeed { "projections", "--json", "--url", "http://" .. engine.address })
    local names = {}
    for _, projection in ipairs(list) do
      names[projection.name] = projection.state
    end
    assert.same({ orders = "live", customers = "live" }, names)
    local out = succeed { "rows", "customers", "customers" }
    assert.truthy(out:find("10.5", 1, true), out)
    fail(1, { "rows", "customers", "nothing" }, "nothing")
    fail(1, { "rows", "customers", "customers", "colour=red" }, "colour")
  end)

  it("follows", function()
    local process = require "process"
    local path = engine.folder .. "/followed"
    local pid = process.spawn {
      argv = { os.getenv("PERIGEE_BIN") or server.root .. "/build/perigee", "events", "--config",
        engine.config_path, "--follow", "--json", "--type", "Followed" },
      without = "^PERIGEE_", cwd = engine.folder, stdout = path,
    }
    for n = 1, 3 do
      engine:append("Followed/1", { { event_type = "Followed", data = { n = n } } })
      require("clock").wait_until("event " .. n .. " is printed", function()
        return #records(server.read_file(path)) == n
      end)
    end
    process.signal(pid, "INT")
    process.wait(pid)
  end)

  it("follows an engine that stops and comes back", function()
    local process = require "process"
    local clock = require "clock"
    local path = engine.folder .. "/listened"
    local port = server.free_port()
    server.write_file(engine.config_path, (server.read_file(engine.config_path):gsub(
      "127.0.0.1:0", "127.0.0.1:" .. port)))
    engine:restart()
    local after = engine:get("/api/log").json.head
    local pid = process.spawn {
      argv = { os.getenv("PERIGEE_BIN") or server.root .. "/build/perigee", "events", "--url",
        "http://" .. engine.address, "--follow", "--json", "--after", tostring(after),
        "--limit", "3" },
      without = "^PERIGEE_", cwd = engine.folder, stdout = path, stderr = path .. ".err",
    }
    for n = 1, 3 do
      engine:append("Listened/1", { { event_type = "Listened", data = { n = n } } })
      clock.wait_until("event " .. n .. " is printed", function()
        return #records(server.read_file(path)) == n
      end)
      if n == 2 then
        engine:restart()
      end
    end
    assert.equal(0, process.wait(pid))
    for n, event in ipairs(records(server.read_file(path))) do
      assert.equal(after + n, event.position)
    end
    assert.matches("the connection ended; trying again", server.read_file(path .. ".err"))
  end)

  it("says 1 when the server is gone", function()
    local url = "http://" .. engine.address
    engine:stop()
    fail(1, { "events", "--url", url }, "no answer")
    fail(1, { "health", "--ready", "--url", url }, "no answer")
  end)
end)
