-- A log that moves by a dump, as operators do it: pg_dump and pg_restore, or
-- SQLite's `.dump`.  Copies of a file are in restore_spec.lua.

local server = require "server"

local COUNT = [[
return {
  name = "counted",
  tables = { counts = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { ["*"] = function(event, db) db.counts:add(event.event_type, { n = 1 }) end },
}
]]

local function shell(command)
  local status = os.execute(command)
  assert(status == 0 or status == true, command)
end

local DUMP = {
  sqlite = { "sqlite3 '%s' .dump >'%s'", "sqlite3 '%s' <'%s'" },
  postgresql = { "pg_dump -Fc -d '%s' -f '%s'", "pg_restore --exit-on-error -d '%s' '%s'" },
}

local function place(database)
  return database.path or database.url
end

local function log_id(engine)
  return engine:get("/api/log").json.log_id
end

local function tick(engine)
  return engine:append("Clock/one", { { event_type = "Ticked", data = { n = 1 } } }).last_position
end

local function counted(engine)
  return engine:row("counted", "counts", "Ticked").n
end

describe("a log that was dumped and restored", function()
  local old, new, dump
  -- The dump holds the lease of the engine that ran when it was made.
  local options = { projections = { ["counted.lua"] = COUNT },
    settings = { partitions = { lease_seconds = 3 } } }
  setup(function()
    old = server.start_new(options)
    for _ = 1, 3 do
      tick(old)
    end
    old:wait_position("counted", 3)
    dump = old.folder .. "/log.dump"
    shell(DUMP[server.store][1]:format(place(old.database), dump))
    assert.equal(4, tick(old)) -- the dump does not have it
    new = server.new(options)
    shell(DUMP[server.store][2]:format(place(new.database), dump))
    new:start()
  end)
  teardown(server.remove_all)

  it("reads on, and appends and projections go on from where they stood", function()
    assert.equal(3, #new:get("/api/events").json.events)
    assert.equal(4, tick(new))
    new:wait_position("counted", 4)
    assert.equal(4, counted(new))
    if server.store == "postgresql" then
      new.database:rows("select perigee.append_events('Clock', 'one'," ..
        " '[{\"event_type\":\"Ticked\",\"data\":{}}]', '4')")
    else
      tick(new)
    end
    new:wait_position("counted", 5)
    assert.equal(5, counted(new))
  end)

  it("has another id, and refuses the cursors of the one it was", function()
    assert.not_equal(log_id(old), log_id(new))
    local cursor = ("/api/events?after=%s:2"):format(log_id(old))
    assert.equal(200, old:get(cursor).status)
    local refused = new:get(cursor)
    assert.equal(409, refused.status, refused.body)
    assert.equal("foreign_cursor", refused.json.code)
    assert.equal(200, new:get(("/api/events?after=%s:2"):format(log_id(new))).status)
  end)

  it("keeps its new id", function()
    local before = log_id(new)
    new:restart()
    assert.equal(before, log_id(new))
    assert.equal(6, tick(new))
  end)
end)
