-- Trouble with the store, each kind under load: clients get a clear answer,
-- readiness says so while liveness stays, the engine recovers by itself, and
-- nothing that was acknowledged is lost, doubled or out of order.

local clock = require "clock"
local cluster = require "cluster"
local database = require "database"
local log_reader = require "log_reader"
local process = require "process"
local producer = require "producer"
local server = require "server"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local TROUBLE_S = FULL and 8 or 2 -- how long each lasts
local PRODUCERS = 4

local COUNTER = [[
return {
  name = "counter",
  tables = { books = { key = "book", columns = { book = "text", n = "bigint", last = "bigint" } } },
  on = { Written = function(event, db)
    local book = db.books:get(event.aggregate_id)
    if book and book.last + 1 ~= event.aggregate_version then error("a hole or a double") end
    db.books:put { book = event.aggregate_id, n = (book and book.n or 0) + 1,
                   last = event.aggregate_version }
  end },
}
]]

-- ---- an engine under load ----

local function start_load(store)
  local engine = server.start_new {
    database = store, projections = { ["counter.lua"] = COUNTER },
    settings = { database = { pool_timeout = 1, statement_timeout = 1000 } },
  }
  local load = { engine = engine, stop = engine.folder .. "/stop", producers = {} }
  for number = 1, PRODUCERS do
    load.producers[number] = producer.start(engine, load.stop, number)
  end
  return load
end

local function acknowledged(load)
  local count = 0
  for _, one in ipairs(load.producers) do
    count = count + select(2, producer.acknowledged(one))
  end
  return count
end

local function wait_progress(load)
  local before = acknowledged(load)
  clock.wait_until("appends go on", function()
    return acknowledged(load) > before + 2 * PRODUCERS, load.engine:output():sub(-2000)
  end, 60)
end

local function refusals(load)
  local codes = {}
  for _, one in ipairs(load.producers) do
    for code, count in pairs(producer.refusals(one)) do
      codes[code] = (codes[code] or 0) + count
    end
  end
  return codes
end

local function store_indicator(health)
  for _, indicator in ipairs(health.indicators) do
    if indicator.name == "store" then
      return indicator
    end
  end
end

-- What the probes say while there is trouble: the worst that readiness and the
-- store's indicator came to.  Liveness never fails.
local function watch(load, seconds)
  local ending = clock.now() + seconds
  local seen = {}
  repeat
    local ready = load.engine:get("/health/ready")
    if ready.status == 503 then
      seen.unready = ready.json
    end
    local store = store_indicator(load.engine:get("/health").json)
    if store.status ~= "healthy" then
      seen.store = store
    end
    assert.equal(200, load.engine:get("/health/live").status)
    clock.pause(0.05)
  until clock.now() > ending
  return seen
end

-- Every acknowledged event is where it was said to be, once, and the
-- projection has counted what the log holds.
local function check_all(load)
  server.write_file(load.stop, "now")
  for _, one in ipairs(load.producers) do
    producer.wait(one)
  end
  local reader = log_reader.new(function(path) return load.engine:get(path) end)
  reader:all()
  local count = 0
  for _, one in ipairs(load.producers) do
    local positions, own = producer.acknowledged(one)
    for id, position in pairs(positions) do
      assert.equal(position, reader.ids[id])
    end
    count = count + own
  end
  assert.equal(reader.position, count) -- a producer stops only when answered
  load.engine:wait_position("counter", reader.position)
  for _, row in ipairs(load.engine:all_rows("counter", "books")) do
    assert.equal(reader.versions["Book/" .. row.book], row.n)
  end
  local health = load.engine:get("/health").json
  assert.equal(health.subscription_count, health.healthy_count)
  for _, indicator in ipairs(health.indicators) do
    -- The pool tells for a minute of waits that were given up.
    assert.is_true(indicator.status == "healthy" or indicator.name == "pool", indicator.message)
  end
  print(("# %d appends; answers meanwhile: %s"):format(count,
    require("cjson").encode(refusals(load))))
end

-- What clients may be told: that it was not done, or not known to be.
local CLEAR = { store_unavailable = true, pool_timeout = true, overloaded = true }

local function check_answers(load, must_refuse)
  local codes = refusals(load)
  for code in pairs(codes) do
    assert.is_true(CLEAR[code], "an answer that is not clear: " .. code)
  end
  assert.is_true(not must_refuse or next(codes) ~= nil, "nobody was refused anything")
end

-- Load, trouble, and all well again.  `trouble(load)` makes it and gives a
-- function that ends it.  `kind` says what it does to the engine: "blip" (it
-- may go unnoticed), "unwritable" (nothing can be appended) or "away" (nothing
-- can be asked either).
local function under_load(kind, store, trouble)
  local load = start_load(store)
  wait_progress(load)
  local mend = trouble(load)
  local seen = watch(load, kind == "blip" and 0 or TROUBLE_S + 3)
  mend()
  wait_progress(load)
  load.engine:wait_ready()
  check_answers(load, kind ~= "blip")
  check_all(load)
  if kind ~= "blip" then
    assert.is_truthy(seen.store, "its health never showed it")
    print("# health said: " .. seen.store.message)
  end
  if kind == "away" then
    assert.is_truthy(seen.unready, "it was ready all the time")
    assert.matches("store", seen.unready.reason)
  end
  load.engine:remove()
end

-- ---- a small file system ----

local mounts = {}

-- A folder of `megabytes`, or nil where mounting is not allowed.
local function small_disk(megabytes)
  local folder = server.temporary_folder()
  if os.execute(("mount -t tmpfs -o size=%dm,mode=777 tmpfs '%s' 2>/dev/null"):format(megabytes,
    folder)) ~= 0 then
    os.execute("rmdir '" .. folder .. "'")
    return nil
  end
  mounts[#mounts + 1] = folder
  return folder
end

local function no_disk()
  print("# SKIPPED: small file systems cannot be mounted here; a full disk was NOT tried")
end

local function fill(folder)
  os.execute(("dd if=/dev/zero of='%s/ballast' bs=64k 2>/dev/null"):format(folder))
end

local function unmount_all()
  for _, folder in ipairs(mounts) do
    os.execute(("umount -l '%s' && rmdir '%s'"):format(folder, folder))
  end
  mounts = {}
end

-- ---- PostgreSQL ----

local function describe_postgresql()
  local own
  local made = 0

  local function fresh(more)
    made = made + 1
    return own:database("settle_" .. made, more)
  end

  setup(function() own = cluster.new() end)
  teardown(function()
    server.remove_all()
    own:remove()
    unmount_all()
  end)

  it("is stopped and started again", function()
    under_load("away", fresh(), function()
      own:stop("fast")
      return function() own:start() end
    end)
  end)

  it("crashes and recovers", function()
    under_load("away", fresh(), function()
      own:stop("immediate")
      return function() own:start() end
    end)
  end)

  it("is frozen and thaws", function()
    under_load("away", fresh(), function()
      own:freeze()
      return function() own:thaw() end
    end)
  end)

  it("has every backend terminated, again and again", function()
    local store = fresh()
    under_load("blip", store, function()
      for _ = 1, FULL and 40 or 10 do
        own:sql(("select count(pg_terminate_backend(pid)) from pg_stat_activity"
          .. " where datname = '%s'"):format(store.url:match("[^/]+$")))
        clock.pause(0.1)
      end
      return function() end
    end)
  end)

  it("becomes a standby, which takes no appends, and is promoted again", function()
    under_load("unwritable", fresh(), function()
      own:demote()
      return function() own:promote() end
    end)
  end)

  it("has a full disk under its tables", function()
    local disk = small_disk(FULL and 1024 or 256)
    if not disk then
      return no_disk()
    end
    os.execute(("mkdir '%s/space' && chown %s '%s/space'"):format(disk, own.user, disk))
    own:sql(("create tablespace small location '%s/space'"):format(disk))
    under_load("unwritable", fresh("tablespace small"), function()
      fill(disk)
      return function() os.remove(disk .. "/ballast") end
    end)
  end)

  it("refuses a database that is not UTF8, in words", function()
    local store = fresh("template template0 encoding 'LATIN1' locale 'C'")
    local engine = server.new { database = store }
    local answer = engine:run { "migrate" }
    assert.equal(2, answer.status)
    assert.matches("UTF8", answer.err)
    engine:remove()
  end)

  it("lets nobody start on a newer schema, and those that run go on", function()
    local store = fresh()
    local load = start_load(store)
    wait_progress(load)
    own:sql("update perigee.meta set version = 99, oldest_binary = 99", store.url:match("[^/]+$"))
    local answer = load.engine:run { "migrate" }
    assert.equal(2, answer.status)
    assert.matches("99", answer.err)
    wait_progress(load)
    check_all(load)
    load.engine:remove()
  end)

  it("is dumped and restored: the log reads on, old cursors are refused", function()
    local store, copy = fresh(), fresh()
    local load = start_load(store)
    wait_progress(load)
    check_all(load)
    local log_id = load.engine.database:rows("select log_id from perigee.meta")[1].log_id
    load.engine:stop()
    assert.equal(0, os.execute(("pg_dump '%s' | psql -X -q '%s' >'%s/restore' 2>&1"):format(
      store.url, copy.url, load.engine.folder)))
    load.engine:remove()

    local again = start_load(copy)
    local before = again.engine:get("/api/events?limit=1000").json.events
    assert.is_true(#before > 0)
    local answer = again.engine:get("/api/events/live?after=" .. log_id .. ":1")
    assert.equal(409, answer.status)
    assert.equal("foreign_cursor", answer.json.code)
    server.write_file(again.stop, "now")
    for _, one in ipairs(again.producers) do
      producer.wait(one)
    end
    local stored = again.engine:append("Letter/1", { { event_type = "Sent", data = { n = 1 } } })
    again.engine:wait_position("counter", stored.last_position)
    again.engine:remove()
  end)
end

-- ---- SQLite ----

local function describe_sqlite()
  teardown(function()
    server.remove_all()
    unmount_all()
  end)

  it("has a full disk", function()
    local disk = small_disk(FULL and 1024 or 256)
    if not disk then
      return no_disk()
    end
    under_load("unwritable", database.at("sqlite:" .. disk .. "/perigee.db"), function()
      fill(disk)
      return function() os.remove(disk .. "/ballast") end
    end)
  end)

  it("is locked by another process for a while", function()
    local folder = server.temporary_folder()
    local path = folder .. "/perigee.db"
    under_load("unwritable", database.at("sqlite:" .. path), function()
      -- It holds the lock once it has got it, until it is told to go on.
      local script = ("cd '%s'; (printf 'begin immediate;\\nselect 1;\\n';"
        .. " until [ -e go ]; do sleep 0.05; done) | sqlite3 -cmd '.timeout 60000' perigee.db")
      local pid = process.spawn {
        argv = { "sh", "-c", script:format(folder) }, stdout = folder .. "/out",
      }
      clock.wait_until("the database is locked", function()
        return server.read_file(folder .. "/out") ~= ""
      end, 60)
      return function()
        server.write_file(folder .. "/go", "now")
        process.wait(pid)
      end
    end)
    os.execute("rm -rf '" .. folder .. "'")
  end)

  it("lets nobody start on a newer schema or on another kind of file", function()
    local engine = server.start_new {}
    engine:append("Book/1", { { event_type = "Written", data = { n = 1 } } })
    engine:stop()
    engine.database:rows("update perigee_meta set version = 99, oldest_binary = 99")
    local answer = engine:run { "migrate" }
    assert.equal(2, answer.status)
    assert.matches("99", answer.err)
    server.write_file(engine.database.path, ("no database at all\n"):rep(100))
    answer = engine:run { "migrate" }
    assert.equal(1, answer.status)
    assert.matches("perigee.db", answer.err)
    engine:remove()
  end)
end

describe("the store in trouble:", function()
  if server.store == "postgresql" then
    describe_postgresql()
  else
    describe_sqlite()
  end
end)
