-- Requests with an Idempotency-Key that come again: from the same engine, from
-- another one, after a kill, at the same time.

local clock = require "clock"
local process = require "process"
local server = require "server"

local JAR = [[
return {
  type = "Jar", snapshot_every = 5,
  initial = function() return { coins = 0 } end,
  commands = {
    put = { input = { coins = "integer" }, run = function(jar, input)
      jar:reject_if(jar.state.coins + input.coins > 10, "The jar is full")
      for _ = 1, input.coins do jar:emit("Put", { coin = 1 }) end
    end },
    look = { run = function() end },
  },
  apply = { Put = function(s, event) s.coins = s.coins + event.data.coin end },
}
]]

local function start(more)
  local options = more or {}
  options.aggregates = { ["jar.lua"] = JAR }
  return server.start_new(options)
end

local function put(engine, key, coins, headers, id)
  headers = headers or {}
  headers["Idempotency-Key"] = key
  return engine:post(("/api/aggregates/Jar/%s/put"):format(id or "j"), { coins = coins }, headers)
end

local function event_count(engine)
  return #engine:get("/api/events?limit=1000").json.events
end

-- The same answer, but that it says that it is one given before.
local function assert_again(first, again)
  assert.equal(200, first.status, first.body)
  assert.equal(200, again.status, again.body)
  assert.is_false(first.json.idempotent)
  assert.is_true(again.json.idempotent)
  local expected = {}
  for field, value in pairs(first.json) do
    expected[field] = value
  end
  expected.idempotent = true
  assert.same(expected, again.json)
  assert.equal(first.headers.etag, again.headers.etag)
end

describe("a command with an Idempotency-Key", function()
  local engine
  before_each(function()
    engine = start()
  end)
  after_each(server.remove_all)

  it("is answered again and stored once, whatever happened since", function()
    local first = put(engine, "k1", 3)
    assert_again(first, put(engine, "k1", 3))
    put(engine, "k2", 6)
    assert_again(first, put(engine, "k1", 3)) -- alone it would be refused now
    assert.equal(9, event_count(engine))
    engine:kill()
    engine:start()
    assert_again(first, put(engine, "k1", 3))
    assert.equal(9, event_count(engine))
  end)

  it("may change what it is asked under, but not what it asks", function()
    local first = put(engine, "k1", 2)
    assert_again(first, put(engine, "k1", 2, { ["X-Correlation-Id"] = "another" }))
    local others = {
      put(engine, "k1", 3),
      put(engine, "k1", 2, { ["If-Match"] = '"2"' }),
      put(engine, "k1", 2, nil, "another"),
      engine:post("/api/aggregates/Jar/j/look", {}, { ["Idempotency-Key"] = "k1" }),
      engine:post("/api/streams/Jar/j", {
        events = { { event_type = "Put", data = { coin = 1 } } } }, { ["Idempotency-Key"] = "k1" }),
    }
    for i = 1, 5 do
      assert.equal(422, others[i].status, others[i].body)
      assert.equal("idempotency_mismatch", others[i].json.code)
    end
    assert.equal(2, event_count(engine))
  end)

  it("belongs to its tenant", function()
    put(engine, "k1", 2, { ["X-Tenant-Id"] = "north" })
    local south = put(engine, "k1", 3, { ["X-Tenant-Id"] = "south" })
    assert.equal(200, south.status)
    assert.is_false(south.json.idempotent)
    assert.equal(5, event_count(engine))
  end)

  it("is remembered when there was nothing to store, and not when it was refused", function()
    local path, key = "/api/aggregates/Jar/j/look", { ["Idempotency-Key"] = "look" }
    local first = engine:post(path, {}, key)
    assert.equal(0, first.json.version)
    put(engine, "k1", 8)
    assert_again(first, engine:post(path, {}, key))
    assert.equal(409, put(engine, "k2", 5).status)
    assert.equal(409, put(engine, "k2", 4).status) -- another request: nobody minds
    assert.equal(200, put(engine, "k2", 2).status)
  end)

  it("is one however many send it at once", function()
    local pids = {}
    for i = 1, 6 do
      pids[i] = process.fork(function()
        local client = engine:connect()
        for key = 1, 10 do
          local answer = client:request("POST", "/api/aggregates/Jar/j/put", { coins = 1 },
            { ["Idempotency-Key"] = "key-" .. key })
          assert(answer.status == 200, answer.body)
          assert(#answer.json.events == 1, answer.body)
          assert(answer.json.state.coins == answer.json.version, answer.body)
        end
      end)
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid))
    end
    assert.equal(10, event_count(engine))
  end)

  it("is known to another engine, before and after a kill", function()
    if server.store ~= "postgresql" then
      return
    end
    local other = start { database = engine.database }
    local first = put(engine, "k1", 3)
    assert_again(first, put(other, "k1", 3))
    local second = put(other, "k2", 3)
    other:kill()
    assert_again(second, put(engine, "k2", 3))
    assert.equal(6, event_count(engine))
  end)

  it("is stored once when the engine is killed at any moment and the client tries on", function()
    for round = 1, 4 do
      local id = "killed-" .. round
      local pid = process.fork(function()
        local client = engine:connect()
        for i = 1, 10 do
          local headers = { ["Idempotency-Key"] = id .. i }
          local ok, answer
          repeat
            ok, answer = pcall(client.request, client, "POST",
              ("/api/aggregates/Jar/%s/put"):format(id), { coins = 1 }, headers)
            if not ok then
              clock.pause(0.01)
              client = engine:connect()
            end
          until ok and answer.status ~= 503
          assert(answer.status == 200, answer.body)
          assert(answer.json.version == i, answer.body)
        end
      end)
      clock.pause(0.005 * round)
      local address = engine.address
      engine:kill()
      engine.options.arguments = { "--listen", address }
      engine:start()
      assert.equal(0, process.wait(pid))
      assert.equal(10, engine:get("/api/aggregates/Jar/" .. id).json.state.coins)
    end
  end)

  it("may be sent by the command line", function()
    local words = { "send", "Jar", "j", "put", '{"coins":2}', "--idempotency-key", "k1", "--json" }
    local first, again = engine:run(words), engine:run(words)
    assert.equal(0, first.status, first.err)
    assert.equal(0, again.status, again.err)
    assert.truthy(first.out:find('"idempotent":false', 1, true))
    assert.truthy(again.out:find('"idempotent":true', 1, true))
    words[5] = '{"coins":1}'
    local other = engine:run(words)
    assert.equal(1, other.status)
    assert.truthy(other.err:find("Idempotency-Key", 1, true), other.err)
    local wrong = engine:run { "send", "Jar", "j", "look", "--idempotency-key", "a\nb" }
    assert.equal(2, wrong.status)
    local lost = engine:run { "send", "Jar", "j", "look", "--idempotency-key", " " }
    assert.equal(2, lost.status, lost.out)
    assert.truthy(lost.err:find("no space at its ends", 1, true), lost.err)
    assert.equal(2, event_count(engine))
  end)
end)

describe("an append with an Idempotency-Key", function()
  after_each(server.remove_all)

  local BODY = { expected_version = "no_stream", events = {
    { event_type = "Made", data = { a = 1 } }, { event_type = "Made", data = { a = 2 } } } }

  it("is answered again and stored once", function()
    local engine = start()
    local key = { ["Idempotency-Key"] = "a1" }
    local first = engine:post("/api/streams/Thing/1", BODY, key)
    engine:append("Thing/1", { { event_type = "Made", data = {} } })
    for _ = 1, 2 do
      local again = engine:post("/api/streams/Thing/1", BODY, key)
      assert.equal(200, again.status, again.body)
      assert.same({ version = 2, first_position = 1, last_position = 2, idempotent = true },
        again.json)
      engine:restart()
    end
    assert.is_false(first.json.idempotent)
    assert.equal(3, event_count(engine))
    local other = engine:post("/api/streams/Thing/2", BODY, key)
    assert.equal(422, other.status)
    assert.equal("idempotency_mismatch", other.json.code)
  end)

  it("may be sent by the command line, one event at a time", function()
    local engine = start()
    local words = { "append", "Thing", "1", "Made", "{}", "--idempotency-key", "k1", "--json" }
    engine:run(words)
    local again = engine:run(words)
    assert.equal(0, again.status, again.err)
    assert.truthy(again.out:find('"idempotent":true', 1, true))
    assert.equal(1, event_count(engine))
    local file = engine:run { "append", "--file", "-", "--idempotency-key", "k1" }
    assert.equal(2, file.status)
    assert.truthy(file.err:find("--idempotency-key", 1, true))
  end)
end)

local KEPT = {
  sqlite = "perigee_requests",
  postgresql = "perigee.requests",
}
local A_DAY_AGO = {
  sqlite = "stored_at - 90000000000",
  postgresql = "stored_at - interval '25 hours'",
}

describe("a key that is older than a day", function()
  after_each(server.remove_all)

  it("is cleared away by the engine, and may be used again", function()
    local engine = start()
    local table_name = KEPT[server.store]
    local function kept()
      return tonumber(engine.database:rows("select count(*) as n from " .. table_name)[1].n)
    end
    assert.equal(200, put(engine, "k1", 1).status)
    assert.equal(1, kept())
    engine:stop()
    engine.database:rows(("update %s set stored_at = %s"):format(table_name,
      A_DAY_AGO[server.store]))
    engine:start()
    clock.wait_until("the key is gone", function()
      return kept() == 0
    end)
    local other = put(engine, "k1", 2)
    assert.equal(200, other.status, other.body)
    assert.is_false(other.json.idempotent)
  end)
end)
