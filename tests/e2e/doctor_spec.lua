-- `perigee doctor`: every fault is found, told with what to change, and none
-- of them keeps it from looking at the rest.

local cjson = require "cjson"
local database = require "database"
local server = require "server"
local stat = require "posix.sys.stat"

local TWO_ENDS = 'return { aggregate = "Note", apply = {}, commands = {} }\nreturn 1\n'

-- The findings of a run, and the settings that it showed.
local function examine(engine, options)
  local result = engine:run({ "doctor", "--json" }, options)
  local findings, settings = {}, nil
  for line in result.out:gmatch("[^\n]+") do
    local record = cjson.decode(line)
    if record.settings then
      settings = record.settings
    else
      findings[#findings + 1] = record
    end
  end
  return findings, settings, result
end

-- The first of that topic, and level where it is given.
local function find(findings, topic, level)
  for _, finding in ipairs(findings) do
    if finding.topic == topic and (not level or finding.level == level) then
      return finding
    end
  end
end

local function want(findings, topic, level, text)
  local found = find(findings, topic, level)
  assert(found, ("no %s about %s in %s"):format(level, topic, cjson.encode(findings)))
  assert.truthy(found.text:find(text, 1, true), found.text)
  assert.equal(level ~= "ok", found.change ~= cjson.null)
  return found
end

local function no_problem(findings, result)
  assert.is_nil(result.out:match('"level":"problem"[^\n]*'))
  assert.equal(0, result.status, result.err)
  assert.is_true(#findings > 5)
end

describe("perigee doctor", function()
  after_each(server.remove_all)

  it("finds nothing wrong before the first start, and makes nothing", function()
    local engine = server.new()
    local findings, settings, result = examine(engine)
    no_problem(findings, result)
    assert.equal(engine.database.url, settings["database.url"])
    want(findings, "schema", "ok", "there is none yet")
    want(findings, "configuration", "ok", engine.config_path)
    if engine.store == "sqlite" then
      want(findings, "database", "ok", "not there yet")
      assert.is_nil(stat.stat(engine.database.path))
    else
      want(findings, "database", "ok", "PostgreSQL 1")
      assert.same({}, engine.database:rows("select 1 from pg_namespace where nspname = 'perigee'"))
    end
  end)

  it("tells of the log beside the engine that runs it, and leaves it alone", function()
    local engine = server.start_new()
    engine:append("Thing/1", { { event_type = "T", data = {} }, { event_type = "T", data = {} } })
    local findings, _, result = examine(engine)
    no_problem(findings, result)
    want(findings, "database", "ok", "answers in")
    want(findings, "schema", "ok", "version 3, this perigee knows 3")
    want(findings, "log", "ok", "head 2")
    want(findings, "http", "ok", "without tokens")
    if engine.store == "sqlite" then
      want(findings, "engine", "ok", engine.address)
      want(findings, "disk", find(findings, "disk").level, "free in")
    else
      want(findings, "clock", "ok", "s from ours")
      want(findings, "tls", "ok", "on this machine")
    end
    assert.equal(3, engine:append("Thing/1", { { event_type = "T", data = {} } }).version)
    engine:stop()
    want(examine(engine), "log", "ok", "head 3")
  end)

  it("goes on when the database is not there", function()
    local engine = server.new()
    local url = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    if engine.store == "sqlite" then
      server.write_file(engine.folder .. "/file", "text")
      url = ("sqlite:%s/file/perigee.db"):format(engine.folder)
    end
    engine.env.DATABASE_URL = url
    local findings, _, result = examine(engine)
    assert.equal(1, result.status)
    assert(find(findings, "database", "problem"))
    assert(find(findings, "scripts", "ok"))
    assert(find(findings, "http", "ok"))
    assert.is_nil((result.out .. result.err):find("secret-word", 1, true))
  end)

  it("lists every mistake of the configuration, and goes on", function()
    local engine = server.new { settings = {
      http = { threads = 3, listen = "0.0.0.0:0" }, log = { level = "LOUD" } } }
    local findings, settings, result = examine(engine)
    local mistakes = {}
    for _, finding in ipairs(findings) do
      mistakes[#mistakes + 1] = finding.topic == "configuration" and finding.text or nil
    end
    table.sort(mistakes)
    assert.equal(3, #mistakes)
    assert.truthy(mistakes[1]:find("http.listen = \"0.0.0.0:0\"", 1, true))
    assert.truthy(mistakes[2]:find("http.threads = 3", 1, true))
    assert.truthy(mistakes[3]:find('log.level = "LOUD"', 1, true))
    assert.equal("64", settings["http.threads"])
    assert(find(findings, "database", "ok"))
    assert.equal(1, result.status)
  end)

  it("prints faults of scripts as `check` does", function()
    local engine = server.new { aggregates = { ["note.lua"] = TWO_ENDS } }
    local findings, _, result = examine(engine)
    local fault = want(findings, "scripts", "problem", "note.lua:")
    assert.equal(1, result.status)
    assert.truthy(engine:run({ "check" }).out:find(fault.text, 1, true))
  end)

  it("warns of what others may read or change, and of an open door", function()
    local engine = server.new { settings = { http = { listen = "0.0.0.0:0",
      tokens = { shop = { token = "sixteen-bytes-or-more", role = "reader" } } } } }
    assert(os.execute("chmod 644 '" .. engine.config_path .. "'") == 0)
    local findings, settings, result = examine(engine)
    no_problem(findings, result)
    want(findings, "permissions", "warning", "which holds a token or a password")
    want(findings, "http", "ok", "1 token")
    want(findings, "probes", "warning", "they share")
    assert.equal("*** role reader", settings["http.tokens.shop"])
    assert.is_nil(result.out:find("sixteen-bytes", 1, true))

    assert(os.execute("chmod 640 '" .. engine.config_path .. "'") == 0)
    assert.is_nil(find(examine(engine), "permissions", "warning"))

    local secret = engine.folder .. "/secret"
    server.write_file(secret, "sixteen-bytes-or-more\n")
    server.write_file(engine.config_path, ([[return {
      database = { url = %q },
      http = { listen = "127.0.0.1:0",
        tokens = { shop = { token = secret_file(%q), role = "reader" } } },
      scripts = { aggregates = %q, projections = %q } }]]):format(engine.database.url, secret,
      engine.folder .. "/aggregates", engine.folder .. "/projections"))
    assert(os.execute(("chmod 644 '%s' '%s'"):format(engine.config_path, secret)) == 0)
    findings = examine(engine)
    want(findings, "permissions", "warning", secret .. ", which holds a secret")
    assert(os.execute("chmod 600 '" .. secret .. "'") == 0)
    assert.is_nil(find(examine(engine), "permissions", "warning"))
  end)

  it("tells a schema that is too old or too new", function()
    local engine = server.new()
    assert.equal(0, engine:run({ "migrate" }).status)
    local meta = engine.database:own("meta")
    engine.database:rows(("update %s set version = 99, oldest_binary = 99"):format(meta))
    local findings, _, result = examine(engine)
    want(findings, "schema", "problem", "version 99 needs a newer perigee")
    assert.equal(1, result.status)
    engine.database:rows(("update %s set version = 2, oldest_binary = 1"):format(meta))
    findings, _, result = examine(engine)
    want(findings, "schema", "warning", "version 2, and this perigee knows 3")
    assert.equal(0, result.status)
    engine.database:rows(("update %s set version = 1"):format(meta))
    engine.env.PERIGEE_DATABASE_MIGRATE = "false"
    want(examine(engine), "schema", "problem", "too old")
  end)

  it("prints lines for people, with what to change below", function()
    local engine = server.new { settings = { http = { threads = 3 } } }
    local result = engine:run { "doctor" }
    assert.equal(1, result.status)
    assert.truthy(result.out:find("http.listen = 127.0.0.1:0\n", 1, true))
    local line = "\nproblem  configuration  http.threads = 3"
    assert.truthy(result.out:find(line, 1, true), result.out)
    assert.truthy(result.out:find("\n%s+%-> see `perigee help settings`\n"), result.out)
    assert.truthy(result.out:find("\n1 problem, %d warnings?\n$"), result.out)
  end)
end)

if server.store == "sqlite" then
  describe("perigee doctor and a file", function()
    after_each(server.remove_all)

    it("warns when everybody may change it, or its folder", function()
      local engine = server.new()
      assert.equal(0, engine:run({ "migrate" }).status)
      assert.is_nil(find(examine(engine), "permissions", "warning"))
      assert(os.execute("chmod 666 '" .. engine.database.path .. "'") == 0)
      local change = want(examine(engine), "permissions", "warning", "everybody").change
      assert.equal("chmod o-w '" .. engine.database.path .. "'", change)
      assert(os.execute(change) == 0)
      assert(os.execute("chmod 777 '" .. engine.folder .. "'") == 0)
      want(examine(engine), "permissions", "warning", engine.folder)
    end)

    it("tells another program's file, and one that is none", function()
      local engine = server.new()
      engine.database:rows("create table others (a)")
      want(examine(engine), "schema", "problem", "another program's")
      server.write_file(engine.database.path, ("no database "):rep(200))
      want(examine(engine), "database", "problem", "damaged")
      assert.equal(("no database "):rep(200), server.read_file(engine.database.path))
    end)
  end)
else
  describe("perigee doctor and a server", function()
    after_each(server.remove_all)

    it("warns of plain text to another host", function()
      local engine = server.new()
      local elsewhere = engine.database.url:gsub("127%.0%.0%.1", "0.0.0.0")
      engine.env.DATABASE_URL = elsewhere .. "?sslmode=disable"
      want(examine(engine), "tls", "warning", "plain text")
    end)

    it("counts the connections of all engines against the server's", function()
      local engine = server.new()
      local most = engine.database:rows("show max_connections")[1].max_connections
      want(examine(engine), "pool", "ok", "10 connections and 20 under load (default)")
      engine.env.INSTANCE_COUNT = "900"
      engine.env.PERIGEE_DATABASE_POOL_SIZE = "10"
      local pool = want(examine(engine), "pool", "warning", "max_connections = " .. most)
      assert.truthy(pool.change:find("run fewer engines", 1, true))
      engine.env.PERIGEE_DATABASE_POOL_SIZE = nil
      engine.env.MAX_DB_CONNECTIONS = "100"
      want(examine(engine), "pool", "warning", "100 connections are too few for 900 engines")
    end)

    it("looks at the direct way, too", function()
      local engine = server.new()
      engine.env.PERIGEE_DATABASE_DIRECT_URL = engine.database.url
      want(examine(engine), "direct_url", "ok", "answers in")
      engine.env.PERIGEE_DATABASE_DIRECT_URL = "postgresql://nobody@127.0.0.1:1/none"
      want(examine(engine), "direct_url", "problem", "Connection refused")
    end)

    it("does not move a log's id where an engine would", function()
      local engine = server.new()
      assert.equal(0, engine:run({ "migrate" }).status)
      engine.database:rows("update perigee.meta set home = '1/2/3'")
      local before = engine.database:rows("select log_id from perigee.meta")[1].log_id
      want(examine(engine), "log", "ok", before)
      assert.equal(before, engine.database:rows("select log_id from perigee.meta")[1].log_id)
    end)

    it("tells a database that is not UTF8", function()
      local engine = server.new()
      local name = engine.database.name .. "_latin"
      engine.database:rows(("create database %s encoding 'LATIN1' locale 'C' template template0")
        :format(name))
      local latin = database.at((engine.database.url:gsub("/[^/]*$", "/" .. name)))
      engine.env.DATABASE_URL = latin.url
      local findings = examine(engine)
      engine.database:rows(("drop database %s with (force)"):format(name))
      want(findings, "database", "problem", "encoded in LATIN1")
    end)
  end)
end
