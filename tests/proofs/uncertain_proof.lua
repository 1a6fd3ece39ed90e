-- Commits whose answer is lost: the backend freezes, the connection is cut at
-- any byte, the standby is away, engines die.  Clients that repeat themselves,
-- by the ids of their events or by an Idempotency-Key, at whatever instance,
-- get the first result; every acknowledged event is there once, where it was
-- said to be.

local clock = require "clock"
local cluster = require "cluster"
local database = require "database"
local log_reader = require "log_reader"
local process = require "process"
local producer = require "producer"
local proxy = require "proxy"
local server = require "server"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local KILLS = FULL and 40 or 3
local CUTS = FULL and 1500 or 16 -- in each direction, for each way of a commit
local CONVERSATION = 3000 -- bytes in either direction, about
local FREEZES = FULL and 5 or 1 -- of each kind

local COUNTER = [[
return {
  name = "counter",
  tables = { streams = { key = "name", columns = { name = "text", n = "bigint" } } },
  on = { ["*"] = function(event, db)
    local name = event.aggregate_type .. event.aggregate_id
    local row = db.streams:get(name)
    if (row and row.n or 0) + 1 ~= event.aggregate_version then error("a hole or a double") end
    db.streams:put { name = name, n = event.aggregate_version }
  end },
}
]]

-- ---- engines and their clients ----

local function new_engine(store)
  return server.start_new {
    database = store and database.at(store.url),
    aggregates = { ["jar.lua"] = producer.JAR },
    projections = { ["counter.lua"] = COUNTER },
    settings = {
      database = { pool_timeout = 0.3, statement_timeout = 500 },
      partitions = { lease_seconds = 3 },
    },
  }
end

local function addresses_of(engines)
  local list = {}
  for i, engine in ipairs(engines) do
    list[i] = engine.address
  end
  return table.concat(list, " ")
end

-- Both kinds of clients; `engines` in the order in which they are tried.
local function start_clients(world, engines, first, count)
  local folder = server.temporary_folder()
  local group = { folder = folder, address = addresses_of(engines) }
  for number = first, first + count - 1 do
    local make = number % 2 == 0 and producer.append or producer.command
    world.clients[#world.clients + 1] = producer.start(group, world.stop, number, make)
  end
  world.folders[#world.folders + 1] = folder
  return group
end

local function new_world()
  local folder = server.temporary_folder()
  return { stop = folder .. "/stop", folders = { folder }, clients = {}, began = clock.now() }
end

local function acknowledged(world, clients)
  local count = 0
  for _, one in ipairs(clients or world.clients) do
    count = count + select(2, producer.acknowledged(one))
  end
  return count
end

local function refused(world)
  local count = 0
  for _, one in ipairs(world.clients) do
    for code, n in pairs(producer.refusals(one)) do
      assert(code == "store_unavailable" or code == "pool_timeout" or code == "overloaded",
        "an answer that is not clear: " .. code)
      count = count + n
    end
  end
  return count
end

-- Of all clients, or of these.
local function wait_acknowledged(world, clients)
  local before = acknowledged(world, clients)
  clock.wait_until("appends go on", function()
    return acknowledged(world, clients) >= before + 8
  end, 60)
end

local function wait_refused(world)
  local before = refused(world)
  clock.wait_until("clients are told that it cannot be done", function()
    return refused(world) > before
  end, 60)
end

-- ---- what must hold ----

-- The answer of a client's last request is the first one, from any engine.
local function check_repeated(one, engine)
  local positions, count = producer.acknowledged(one)
  local call = producer.caller(engine.folder .. "/repeats")
  server.write_file(engine.folder .. "/repeats", engine.address)
  local id, position, answer = one.make(call, one.number, count)
  assert.equal(position, positions[id])
  assert.is_true(answer.idempotent)
end

local function read_log(engine)
  local reader = log_reader.new(function(path) return engine:get(path) end)
  reader:all(function(event)
    assert.equal(event.data.n, event.aggregate_version)
  end)
  return reader
end

local function check_projection(engine, reader)
  engine:wait_position("counter", reader.position)
  local rows = engine:all_rows("counter", "streams")
  local count = 0
  for _, row in ipairs(rows) do
    count = count + row.n
  end
  assert.equal(reader.position, count)
end

-- Clients stop once they are answered, so all there is was acknowledged.
local function check_all(world, engines, what)
  server.write_file(world.stop, "now")
  for _, one in ipairs(world.clients) do
    producer.wait(one)
  end
  local refusals, count = refused(world), 0
  local reader = read_log(engines[1])
  for _, one in ipairs(world.clients) do
    local positions, own = producer.acknowledged(one)
    for id, position in pairs(positions) do
      assert.equal(position, reader.ids[id])
    end
    count = count + own
    for _, engine in ipairs(engines) do
      check_repeated(one, engine)
    end
  end
  assert.equal(reader.position, count + (world.others or 0))
  check_projection(engines[1], reader)
  print(("# %s: %d events acknowledged, each once; %d refusals; %.1f s"):format(what, count,
    refusals, clock.now() - world.began))
end

local function end_world(world, engines) -- the database's owner last
  for _, engine in ipairs(engines) do
    engine:remove()
  end
  for _, folder in ipairs(world.folders) do
    os.execute("rm -rf '" .. folder .. "'")
  end
end

-- ---- PostgreSQL behind a proxy ----

local own, made = nil, 0

local function fresh()
  made = made + 1
  return own:database("uncertain_" .. made)
end

-- Engine A writes through the proxy; engine B, and who asks, does not.
local function start_pair()
  local world = new_world()
  local store = fresh()
  world.way = proxy.start(tonumber(store.url:match(":(%d+)/")))
  world.b = new_engine(store)
  world.a = new_engine { url = store.url:gsub(":%d+/", ":" .. world.way.port .. "/") }
  start_clients(world, { world.a }, 1, 4)
  world.of_a = { unpack(world.clients) }
  wait_acknowledged(world)
  return world
end

-- With another writer on the log nobody guesses.
local function disturb(world)
  start_clients(world, { world.b }, 11, 2)
  wait_acknowledged(world)
end

local function end_pair(world, what)
  check_all(world, { world.b, world.a }, what)
  end_world(world, { world.a, world.b })
  world.way:stop()
end

local function backend_at(port)
  return tonumber((own:sql("select pid from pg_stat_activity where client_port = " .. port)))
end

-- What is sent with a batch's rows: both kinds of clients write it.
local ROWS = '{"n":'

-- Freezes A's backend just before it gets a batch ("up"), or when it has
-- committed it and nobody knows ("down"); then lets it go on, or cuts.  Others
-- go on meanwhile, and A by another connection, unless it has the log's lock.
local function freeze(world, side, ending, others_go_on)
  world.way:arm { hold = side, at = ROWS }
  local pid = assert(backend_at(world.way:wait_fired().port))
  process.signal(pid, "STOP")
  if side == "up" then
    world.way:release() -- into the socket of a backend that sleeps
  end
  wait_refused(world)
  if others_go_on then
    wait_acknowledged(world)
  end
  if ending == "cut" then
    world.way:cut()
  end
  process.signal(pid, "CONT")
  if ending == "thaw" and side == "down" then
    world.way:release()
  end
  wait_acknowledged(world)
end

local function freezes(world, guessing)
  for _ = 1, FREEZES do
    for _, side in ipairs { "up", "down" } do
      for _, ending in ipairs { "thaw", "cut" } do
        if FULL or (side == "up") == (ending == "thaw") then
          freeze(world, side, ending, guessing or side == "down")
        end
      end
    end
  end
end

-- All of a batch arrives but its last bytes: the sync is 5, the commit is before
-- it.  Its server waits, with the log's lock.
local function stall(world, keep)
  world.way:arm { hold = "up", at = ROWS, keep = keep }
  world.way:wait_fired()
  wait_refused(world)
  wait_acknowledged(world)
  world.way:cut()
end

-- The connection is cut behind one byte after the other, and somewhere.
local function cuts(world)
  for i = 1, CUTS do
    for _, dir in ipairs { "up", "down" } do
      local after = i % 2 == 0 and i * CONVERSATION / CUTS or math.random(2 * CONVERSATION)
      world.way:arm { cut = dir, after = after }
      world.way:wait_fired()
      wait_acknowledged(world, world.of_a) -- pauses grow until something is stored
    end
  end
end

local function describe_network()
  it("the writer's backend freezes before and behind a COMMIT", function()
    local world = start_pair()
    freezes(world, true)
    disturb(world)
    freezes(world, false)
    end_pair(world, "frozen backends")
  end)

  it("a batch stops on its way, and its lock is not kept for ever", function()
    local world = start_pair()
    for _, keep in ipairs(FULL and { 5, 10, 60, 200 } or { 60 }) do
      stall(world, keep)
    end
    disturb(world)
    for _, keep in ipairs(FULL and { 5, 10, 60, 200 } or { 5 }) do
      stall(world, keep)
    end
    end_pair(world, "batches that stop on their way")
  end)

  it("the connection is cut behind any byte", function()
    local world = start_pair()
    cuts(world) -- guesses
    disturb(world)
    cuts(world)
    end_pair(world, ("%d cuts"):format(4 * CUTS))
  end)
end

-- ---- a synchronous standby ----

local WAITERS = "from pg_stat_activity where wait_event = 'SyncRep'"

local function count_waiters()
  return tonumber((own:sql("select count(*) " .. WAITERS)))
end

-- Nobody is told that it is stored; `what` ends commits that wait.
local function try_to_end_commits(world, what)
  local before = acknowledged(world)
  for _ = 1, FULL and 8 or 1 do
    clock.wait_until("a commit waits for its standby", function()
      return count_waiters() > 0
    end)
    own:sql(("select %s(pid) %s"):format(what, WAITERS))
    wait_refused(world)
  end
  assert.equal(before, acknowledged(world), what)
end

-- Ends every commit that waits, again and again, while `work` runs.
local function while_terminating(work)
  local statement = "do $$ begin loop perform pg_terminate_backend(pid) " .. WAITERS
    .. "; perform pg_stat_clear_snapshot(); perform pg_sleep(0.01); end loop; end $$"
  local pid = process.spawn {
    argv = { "psql", "-X", "-q", "-c", statement, own.url }, stdout = "/dev/null",
  }
  work()
  process.signal(pid, "TERM")
  process.wait(pid)
end

local NOTES = {
  function(engine)
    return engine:post("/api/aggregates/Jar/note/put", { n = 1 }, { ["Idempotency-Key"] = "note" })
  end,
  function(engine)
    return engine:post("/api/streams/Note/1", { events = {
      { event_id = producer.uuid(99, 1), event_type = "Taken", data = { n = 1 } },
    } })
  end,
}

-- What shows is not what the standby has: who asks another engine is not told
-- that it is stored.  Nobody else writes meanwhile, and each engine only once:
-- it waits for what it wrote.
local function ask_for_what_shows(store, engines)
  local count = "select count(*) from perigee.events"
  while_terminating(function()
    for i, note in ipairs(NOTES) do
      assert.equal(503, note(engines[i]).status)
      clock.wait_until("it shows", function()
        return tonumber((own:sql(count, store.url:match("[^/]+$")))) == i
      end)
      for _ = 1, 2 do
        assert.equal(503, note(engines[3]).status)
      end
    end
  end)
end

local function ask_once_more(engine)
  for _, note in ipairs(NOTES) do
    local answer = clock.wait_until("it is told", function()
      local answer = note(engine)
      return answer.status == 200 and answer, answer.body
    end)
    assert.is_true(answer.json.idempotent)
  end
end

local function wait_for_standby()
  clock.wait_until("the standby is in step", function()
    return own:sql("select sync_state from pg_stat_replication"):find("sync")
  end)
end

local function describe_standby()
  it("the standby is away: nothing is acknowledged that it does not have", function()
    local world = new_world()
    world.others = #NOTES
    local store = fresh()
    local standby = own:standby()
    own:set("synchronous_standby_names", "*")
    wait_for_standby()
    local a, b, other = new_engine(store), new_engine(store), new_engine(store)
    standby:freeze()
    ask_for_what_shows(store, { a, b, other })
    standby:thaw()
    ask_once_more(b)

    local group = start_clients(world, { a, b }, 1, 4)
    wait_acknowledged(world)
    standby:freeze()
    wait_refused(world) -- those on their way had got to it
    if FULL then
      try_to_end_commits(world, "pg_terminate_backend")
    end
    try_to_end_commits(world, "pg_cancel_backend")
    standby:thaw()
    wait_acknowledged(world)

    -- Now the primary dies, and the standby is all there is.
    standby:freeze()
    wait_refused(world)
    own:sql("select pg_terminate_backend(pid) " .. WAITERS)
    wait_refused(world)
    own:stop("immediate")
    standby:thaw()
    standby:promote()
    local c = new_engine { url = store.url:gsub(":%d+/", standby.url:match(":%d+/")) }
    server.write_file(group.folder .. "/address", c.address)
    wait_acknowledged(world)
    check_all(world, { c }, "a standby that was away, and took over")
    end_world(world, { a, b, other, c })
    standby:remove()
    own:start()
    own:set("synchronous_standby_names")
  end)
end

-- ---- engines that die ----

local function kill_at_random(world, group, engines)
  for _ = 1, KILLS do
    local engine = engines[math.random(#engines)]
    clock.pause(math.random() * 0.3)
    engine:kill()
    engine:start()
    server.write_file(group.folder .. "/address", addresses_of(engines))
    wait_acknowledged(world)
  end
end

local function describe_kills()
  it("engines die at random, and their clients ask whichever there is", function()
    local world = new_world()
    local first = new_engine()
    local engines = { first }
    if server.store == "postgresql" then
      engines[2] = new_engine(first.database)
    end
    local group = start_clients(world, engines, 1, 6)
    kill_at_random(world, group, engines)
    check_all(world, engines, ("%d kills"):format(KILLS))
    end_world(world, engines[2] and { engines[2], first } or engines)
  end)
end

describe("an answer that is lost:", function()
  math.randomseed(tonumber(os.getenv("PERIGEE_TEST_SEED")) or os.time())
  describe_kills()
  if server.store == "postgresql" then
    setup(function()
      own = cluster.new("-c fsync=off -c synchronous_commit=on")
    end)
    teardown(function()
      server.remove_all()
      own:remove()
    end)
    describe_network()
    describe_standby()
  else
    teardown(server.remove_all)
  end
end)
