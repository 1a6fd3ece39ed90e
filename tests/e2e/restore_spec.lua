-- A log that was put back from a copy is another log, and a SQLite file that
-- goes away under a running engine is missed and not mourned.

local clock = require "clock"
local server = require "server"

local function log_id(engine)
  local answer = engine:get "/api/log"
  assert.equal(200, answer.status, answer.body)
  return answer.json.log_id
end

local function tick(engine)
  return engine:append("Clock/restore", { { event_type = "Ticked", data = {} } }).last_position
end

local function is_refused(engine, cursor)
  local answer = engine:get("/api/events?after=" .. cursor)
  return answer.status == 409 and answer.json.code == "foreign_cursor"
end

local function move(from, to)
  assert(os.rename(from, to))
end

describe("perigee migrate --new-log", function()
  after_each(server.remove_all)

  it("gives the log another id, and old cursors are refused", function()
    local engine = server.start_new()
    assert.equal(1, tick(engine))
    local old = log_id(engine)
    assert.falsy(is_refused(engine, old .. ":1"))
    engine:stop()
    local result = engine:run { "migrate", "--new-log" }
    assert.equal(0, result.status, result.err)
    assert.truthy(result.out:find("new id", 1, true), result.out)
    engine:start()
    assert.are_not.equal(old, log_id(engine))
    assert.truthy(is_refused(engine, old .. ":1"))
    assert.falsy(is_refused(engine, log_id(engine) .. ":1"))
    assert.equal(2, tick(engine))
  end)

  it("is what changes it, not migrating as such", function()
    local engine = server.start_new()
    local old = log_id(engine)
    engine:stop()
    assert.equal(0, engine:run({ "migrate" }).status)
    engine:start()
    assert.equal(old, log_id(engine))
  end)
end)

if server.store == "sqlite" then
  describe("a SQLite file", function()
    after_each(server.remove_all)

    it("gets no new id while an engine serves it", function()
      local engine = server.start_new()
      local old = log_id(engine)
      local result = engine:run { "migrate", "--new-log" }
      assert.equal(1, result.status)
      assert.truthy(result.err:find(engine.address, 1, true), result.err)
      engine:restart()
      assert.equal(old, log_id(engine))
    end)

    it("that was put back from a copy is another log, and goes on", function()
      local engine = server.start_new()
      local path = engine.database.path
      tick(engine)
      local old = log_id(engine)
      engine.database:rows(("vacuum into '%s-copy'"):format(path))
      assert.equal(2, tick(engine))
      engine:stop()
      move(path .. "-copy", path)
      engine:start()
      assert.are_not.equal(old, log_id(engine))
      assert.truthy(is_refused(engine, old .. ":1"))
      assert.equal(2, tick(engine))
    end)

    it("that is moved away is told, and taken up again when it is back", function()
      local engine = server.start_new()
      local path = engine.database.path
      tick(engine)
      move(path, path .. "-away")
      local answer = engine:get "/api/events"
      assert.equal(503, answer.status, answer.body)
      assert.equal("store_unavailable", answer.json.code)
      assert.truthy(answer.body:find("gone", 1, true), answer.body)
      assert.is_nil(io.open(path))
      clock.wait_until("it is unready", function()
        return engine:get("/health/ready").status == 503
      end)
      assert.equal(200, engine:get("/health/live").status)
      move(path .. "-away", path)
      engine:wait_ready()
      assert.equal(2, tick(engine))
      assert.equal(2, #engine:get("/api/events").json.events)
    end)

    it("that lost its write-ahead log loses nothing that was acknowledged", function()
      local engine = server.start_new()
      local path = engine.database.path
      tick(engine)
      assert(os.remove(path .. "-wal"))
      clock.wait_until("it was opened anew", function()
        local answer = engine:post("/api/streams/Clock/restore",
          { events = { { event_type = "Ticked", data = {} } } })
        return answer.status < 300
      end)
      assert.equal(2, #engine:get("/api/events").json.events)
      engine:kill()
      engine:start()
      assert.equal(2, #engine:get("/api/events").json.events)
    end)
  end)
end
