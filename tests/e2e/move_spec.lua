-- A log that moves: export and import, broken off, cut off and forged; and
-- long appends from files and pipes, interrupted.

local cjson = require "cjson"
local clock = require "clock"
local fcntl = require "posix.fcntl"
local process = require "process"
local server = require "server"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"

local BODIES = {
  '{"n":123456789012345678901234567890,"z":1,"a":[1.50,-0,1e400]}',
  '{"ü":"\\u00e9\\ud83d\\ude00 é😀","":{"b":null,"a":true}}',
  '{}',
  '{"text":"\\"\\\\\\n\\t/\\/"}',
}

local REST = ',"tenant_id":"acme","actor_id":"me","correlation_id":"c","causation_id":"d",'
  .. '"event_version":3,"metadata":{"k":"v"},"occurred_at":"1999-12-31T23:59:59.000001+02:00"'

local function line_of(n)
  return ('{"aggregate_type":"%s","aggregate_id":"%s",'
    .. '"event_type":"Happened","data":%s%s}'):format(
    n % 3 == 0 and "Thing" or "Other", n % 5 == 0 and "ID ä/" .. n % 11
      or ("550e8400-e29b-41d4-a716-%012x"):format(n % 13), BODIES[n % #BODIES + 1],
    n % 7 == 0 and REST or "")
end

local function lines_of(from, to)
  local lines = {}
  for n = from, to do
    lines[#lines + 1] = line_of(n)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function path_in(engine, name)
  return engine.folder .. "/" .. name
end

local function run(engine, ...)
  return engine:run({ ... }, { limit_s = 120 })
end

local function must(engine, ...)
  local result = run(engine, ...)
  assert.equal(0, result.status, result.err)
  return result
end

-- An engine that never runs, with so many events in its log.
local function filled(count, store)
  local engine = server.new { store = store }
  server.write_file(path_in(engine, "in"), lines_of(1, count))
  must(engine, "append", "--file", path_in(engine, "in"))
  return engine
end

local function export(engine, name, ...)
  must(engine, "export", "--file", path_in(engine, name or "out"), ...)
  return server.read_file(path_in(engine, name or "out")), path_in(engine, name or "out")
end

local function split(text)
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do
    lines[#lines + 1] = line
  end
  return lines
end

-- What is not the header.
local function body(text)
  return text:match("^[^\n]*\n(.*)$")
end

local function head(engine)
  local text = must(engine, "export", "--limit", "0").out
  return cjson.decode(text).head
end

local function other_store()
  return server.store == "sqlite" and "postgresql" or "sqlite"
end

-- A pipe with a name: what is written to it is read as it comes.
local function fifo(engine, name)
  local path = path_in(engine, name)
  assert(stat.mkfifo(path, 384))
  return path
end

local function start_reading(engine, ...)
  local words = { ... }
  local argv = { os.getenv("PERIGEE_BIN") or server.root .. "/build/perigee", words[1], "--config",
    engine.config_path }
  for n = 2, #words do
    argv[#argv + 1] = words[n]
  end
  return process.spawn { argv = argv, without = "^PERIGEE_", stdout = path_in(engine, "said"),
    stderr = path_in(engine, "said") }
end

local function feed(path, text)
  local file = assert(fcntl.open(path, fcntl.O_WRONLY))
  local at = 1
  while at <= #text do
    at = at + assert(unistd.write(file, text:sub(at, at + 65535)))
  end
  return file
end

local function wait_stored(engine, count)
  clock.wait_until(count .. " events are stored", function()
    local ok, rows = pcall(engine.database.rows, engine.database,
      "select count(*) as n from " .. engine.database:own("events"))
    return ok and rows[1] and tonumber(rows[1].n) >= count
  end)
end

describe("moving a log", function()
  after_each(server.remove_all)

  it("keeps every byte, on the same store and on the other", function()
    local from = filled(2500)
    local text, path = export(from)
    local header = cjson.decode(split(text)[1])
    assert.same({ 1, 0, 2500, 2500 },
      { header.perigee_log, header.after, header.head, header.last })
    for _, store in ipairs { from.store, other_store() } do
      local to = server.new { store = store }
      local result = must(to, "import", path)
      assert.matches("imported 2500 events, 0 were there already", result.out)
      local again, _ = export(to)
      assert.equal(body(text), body(again))
      assert.not_equal(header.log_id, cjson.decode(split(again)[1]).log_id)

      to:start()
      local answer = to:append("Thing/550e8400-e29b-41d4-a716-000000000000",
        { { event_type = "Happened", data = { n = 1 } } })
      assert.equal(2501, answer.last_position)
      assert.equal(409, to:get("/api/events/live?after=" .. header.log_id .. ":5").status)
    end
  end)

  it("exports beside a running engine what is there at the start", function()
    local engine = filled(1200)
    local whole = export(engine)
    engine:start()
    local result = server.cli { "export", "--url", "http://" .. engine.address }
    assert.equal(0, result.status, result.err)
    assert.equal(whole, result.out)
    assert.matches("exported 1200 events, positions 1 to 1200 of 1200", result.err)
    assert.equal(whole, must(engine, "export").out)
  end)

  it("goes in parts, each behind the one before", function()
    local from, to = filled(50), server.new()
    local _, first = export(from, "first", "--limit", "20")
    local _, rest = export(from, "rest", "--after", "20")
    local refused = run(to, "import", rest)
    assert.equal(1, refused.status)
    assert.matches("begins behind position 20, and the log ends at 0", refused.err)
    must(to, "import", first)
    must(to, "import", rest)
    assert.matches("imported 0 events, 30 were there already", must(to, "import", rest).out)
    assert.equal(body(export(from)), body(export(to)))
    assert.equal(2, run(from, "export", "--after", "51").status)
  end)

  it("leaves no half file, and replaces a file only by a whole one", function()
    local engine = filled(3)
    server.write_file(path_in(engine, "out"), "old")
    assert.equal(2, run(engine, "export", "--file", path_in(engine, "no/out")).status)
    local text = export(engine)
    assert.equal(4, #split(text))
    assert.is_nil(stat.stat(path_in(engine, "out.partial")))
    local full = run(engine, "export", "--file", "/dev/full")
    assert.equal(1, full.status)
    assert.matches("the output could not be written: No space left on device", full.err)
    assert.is_not_nil(stat.stat("/dev/full"))
    assert.is_nil(stat.stat("/dev/full.partial"))
  end)

  it("refuses what no log is, and names the line", function()
    local lines = split((export(filled(6))))
    local function changed(n, pattern, by)
      local copy = { unpack(lines) }
      local count
      copy[n], count = copy[n]:gsub(pattern, by)
      assert(count > 0, pattern)
      return table.concat(copy, "\n") .. "\n"
    end
    local function without(n)
      local copy = { unpack(lines) }
      table.remove(copy, n)
      return table.concat(copy, "\n") .. "\n"
    end
    local id_of_2 = lines[2]:match('"event_id":"([^"]*)"')
    local forged = {
      { "", ":1: there is nothing in it" },
      { lines[2] .. "\n", ":1: this is not the first line of a log" },
      { "\0\n", ":1: this is not" },
      { changed(1, '"perigee_log":1', '"perigee_log":2'), ":1: the file has format 2" },
      { changed(1, '"last":6', '"last":7'), ":1: after, last and head are not in this order" },
      { changed(1, '"after":0', '"after":-1'), ":1: after: expected" },
      { changed(1, '"last":6', '"last":5'), ":7: the header says that position 5 is the last" },
      { without(4), ":4: position: expected 3, not 4" },
      { changed(4, '"position":3', '"position":2'), ":4: position: expected 3, not 2" },
      { changed(5, '"aggregate_version":%d+', '"aggregate_version":9'),
        ":5: aggregate_version: expected" },
      { changed(5, '"event_id":"[^"]*"', '"event_id":"' .. id_of_2 .. '"'),
        ":5: its event_id is that of an earlier" },
      { changed(5, '"event_id":"[^"]*"', '"event_id":"x"'), ":5: event_id: expected a UUID" },
      { changed(3, '"event_type":"Happened"', '"event_type":"0"'), ":3: event_type: expected" },
      { changed(3, '"aggregate_type":"%w*"', '"aggregate_type":""'),
        ":3: aggregate_type: expected" },
      { changed(3, '"aggregate_id":"550e', '"aggregate_id":"550E'),
        ":3: aggregate_id: a log has UUIDs in lower case" },
      { changed(3, '"metadata":{', '"metadata":{"a":1,"a":2'), ":3: " },
      { changed(3, '"metadata":{', '"metadata":{"a":"\\u0000"'), ":3: " },
      { changed(3, '"metadata":{}', '"metadata":[]'), ":3: metadata: expected an object" },
      { changed(3, '"recorded_at":"2', '"recorded_at":"x'),
        ":3: recorded_at: expected an RFC 3339" },
      { changed(3, ',"recorded_at":"[^"]*"', ""), ":3: recorded_at: missing" },
      { changed(3, '"position"', '"more":1,"position"'), ":3: more: unknown field" },
      { changed(3, '"event_version":1', '"event_version":0'), ":3: event_version: expected" },
      { changed(3, "^.*$", ""), ":3: " },
      { changed(3, "^", "["), ":3: " },
      { changed(3, "^", "\255"), ":3: " },
      -- the lines that are there are good, and are stored
      { without(7), "is not whole: it ends with position 5" },
    }
    local to = server.new()
    local path = path_in(to, "forged")
    for n, case in ipairs(forged) do
      server.write_file(path, case[1])
      local result = run(to, "import", path)
      assert.equal(1, result.status, n .. ": " .. result.out)
      assert.matches(case[2], result.err, 1, true)
      assert.equal(1, #split(result.err), result.err)
      assert.equal(n == #forged and 5 or 0, n > 1 and head(to) or 0)
    end
  end)

  it("does not mix with what is there, nor with what others append", function()
    local _, path = export(filled(30))
    local to = server.new()
    must(to, "append", "Thing", "1", "Happened")
    local result = run(to, "import", path)
    assert.equal(1, result.status)
    assert.matches(":2: the log has another event at position 1", result.err, 1, true)
    assert.equal(1, head(to))
  end)

  it("stops where somebody else appends meanwhile", function()
    local lines = split((export(filled(2500))))
    local to = server.new()
    must(to, "migrate")
    local path = fifo(to, "pipe")
    local pid = start_reading(to, "import", path)
    local file = feed(path, table.concat(lines, "\n", 1, 1501) .. "\n")
    wait_stored(to, 1000)
    must(to, "append", "Thing", "1", "Happened")
    local rest = table.concat(lines, "\n", 1502, 2501) .. "\n"
    pcall(unistd.write, file, rest)
    unistd.close(file)
    assert.equal(1, process.wait(pid))
    assert.matches("somebody else appends: the log ends at position 1001",
      server.read_file(path_in(to, "said")), 1, true)
    assert.equal(1001, head(to))
  end)

  it("is refused while an engine serves the database", function()
    local _, path = export(filled(3))
    local to = server.start_new()
    local result = run(to, "import", path)
    if to.store == "sqlite" then
      assert.equal(1, result.status)
      assert.matches("an engine at " .. to.address .. " serves this database: stop it first",
        result.err, 1, true)
    else
      assert.equal(0, result.status, result.err)
      assert.equal(3, to:get("/api/events").json.events[3].position)
      local answer = to:append("Thing/9", { { event_type = "Happened", data = { n = 1 } } })
      assert.equal(4, answer.last_position)
    end
  end)

  it("goes on after a SIGKILL where it was", function()
    local text, whole = export(filled(2500))
    local to = server.new()
    must(to, "migrate")
    local path = fifo(to, "pipe")
    local pid = start_reading(to, "import", path)
    local file = feed(path, table.concat(split(text), "\n", 1, 2300) .. "\n")
    wait_stored(to, 2000)
    process.signal(pid, "KILL")
    assert.equal("signal 9", process.wait(pid))
    unistd.close(file)
    local result = must(to, "import", whole)
    assert.matches("imported 500 events, 2000 were there already", result.out)
    assert.equal(body(text), body((export(to))))
  end)

  it("says how far it got when it is interrupted, and goes on", function()
    local text, whole = export(filled(2500))
    local to = server.new()
    must(to, "migrate")
    local path = fifo(to, "pipe")
    local pid = start_reading(to, "import", path)
    local file = feed(path, table.concat(split(text), "\n", 1, 1201) .. "\n")
    wait_stored(to, 1000)
    process.signal(pid, "INT")
    assert.equal(1, process.wait(pid))
    unistd.close(file)
    local said = server.read_file(path_in(to, "said"))
    local got = tonumber(said:match("imported (%d+) events"))
    assert.is_true(got >= 1000 and got <= 1200, said)
    assert.matches("interrupted; the same command goes on from there", said)
    assert.matches(("imported %d events, %d were there already"):format(2500 - got, got),
      must(to, "import", whole).out, 1, true)
  end)
end)

describe("appending a file", function()
  after_each(server.remove_all)

  it("takes a pipe of unknown length, and goes on after an interrupt", function()
    local engine = server.new()
    must(engine, "migrate")
    local path = fifo(engine, "pipe")
    local pid = start_reading(engine, "append", "--file", path)
    local file = feed(path, lines_of(1, 800))
    wait_stored(engine, 100)
    process.signal(pid, "INT")
    assert.equal(1, process.wait(pid))
    unistd.close(file)
    local said = server.read_file(path_in(engine, "said"))
    local got = tonumber(said:match("appended (%d+) events"))
    assert.is_true(got >= 100 and got <= 800, said)
    assert.matches("interrupted; the same command goes on from there", said)

    local result = engine:run({ "append", "--file", "-" },
      { stdin = lines_of(1, 800), limit_s = 120 })
    assert.equal(0, result.status, result.err)
    assert.matches(("appended %d events, %d were stored already"):format(800 - got, got),
      result.out, 1, true)
    assert.equal("", result.err)
    assert.equal(800, head(engine))
  end)

  it("shows a bar with the rate at a terminal, and counts a pipe", function()
    local engine = server.new()
    server.write_file(path_in(engine, "in"), lines_of(1, 20000))
    local binary = os.getenv("PERIGEE_BIN") or server.root .. "/build/perigee"
    local function at_terminal(command)
      local out = path_in(engine, "typed")
      local pid = process.spawn { argv = { "script", "-qec",
        command:format(binary, engine.config_path, path_in(engine, "in")), out },
        without = "^PERIGEE_", stdout = "/dev/null" }
      assert.equal(0, process.wait(pid, 120))
      return server.read_file(out)
    end
    local bar = at_terminal("%s append --config %s --file %s")
    assert.matches("%[#* *%] +%d+ %%  %d+ events  %d+/s", bar)
    assert.matches("appended 20000 events", bar)
    local piped = "sh -c 'cat \"$2\" | \"$0\" append --config \"$1\" --file -' %s %s %s"
    assert.matches("\27%[K  %d+ events  %d+/s", at_terminal(piped))
  end)

  it("names the line that is wrong, with everything before it stored", function()
    local engine = server.new()
    local lines = split(lines_of(1, 40))
    lines[31] = lines[31]:gsub('"data":{.*}}', '"data":[]}')
    server.write_file(path_in(engine, "in"), table.concat(lines, "\n"))
    local result = run(engine, "append", "--file", path_in(engine, "in"))
    assert.equal(1, result.status)
    assert.matches("in:31: ", result.err, 1, true)
    assert.matches("appended 30 events", result.out)
    assert.equal(30, head(engine))
  end)
end)
