-- Snapshots as the database shows them, on both stores: when one is taken,
-- what it spares, and that no answer depends on one.

local cjson = require "cjson"
local server = require "server"

-- `trail` depends on every event and on their order.
local PURSE = [[
return {
  type = "Purse", snapshot_every = %d,
  initial = function() return { sum = 0, trail = 0 } end,
  commands = {
    add = { input = { events = "integer", by = "integer" }, run = function(purse, input)
      for _ = 1, input.events do purse:emit("Added", { by = input.by }) end
    end },
    take = { input = { by = "integer" }, run = function(purse, input)
      purse:reject_if(purse.state.sum < input.by, "not enough")
      purse:emit("Taken", { by = input.by })
    end },
  },
  apply = {
    Added = function(s, event)
      s.sum = s.sum + event.data.by
      s.trail = (s.trail * 31 + event.data.by) %% 1000003
    end,
    Taken = function(s, event)
      s.sum = s.sum - event.data.by
      s.trail = (s.trail * 37 + event.data.by) %% 1000003
    end,
  },
}
]]

local engine

local function start(every)
  engine = server.start_new { aggregates = { ["purse.lua"] = PURSE:format(every) } }
end

local function add(events, by, id)
  local answer = engine:post(("/api/aggregates/Purse/%s/add"):format(id or "p"),
    { events = events, by = by or 1 })
  assert.equal(200, answer.status, answer.body)
  return answer.json
end

local function state(query, id)
  local answer = engine:get(("/api/aggregates/Purse/%s%s"):format(id or "p", query or ""))
  assert.equal(200, answer.status, answer.body)
  return answer.json.state
end

-- The versions of all snapshots; a stopped engine has saved what it will.
local function saved()
  engine.client:close() -- an idle connection would be waited for
  engine:stop()
  local versions = {}
  local rows = engine.database:rows("select version from " .. engine.database:own("snapshots")
    .. " order by version")
  for i, row in ipairs(rows) do
    versions[i] = tonumber(row.version)
  end
  return versions
end

-- No snapshot can be written between the two.
local function refuse_snapshots()
  if engine.store == "postgresql" then
    engine.database:rows([[create function refuse() returns trigger language plpgsql
      as 'begin raise exception ''no snapshots''; end']])
    engine.database:rows([[create trigger refuse before insert or update on perigee.snapshots
      for each row execute function refuse()]])
  else
    engine.database:rows([[create trigger refuse before insert on perigee_snapshots
      begin select raise(abort, 'no snapshots'); end]])
  end
end

local function take_snapshots()
  engine.database:rows("drop trigger refuse"
    .. (engine.store == "postgresql" and " on perigee.snapshots" or ""))
end

describe("snapshots", function()
  after_each(server.remove_all)

  it("C-SN-01 are taken where a multiple is passed, not only where it is met", function()
    start(100)
    add(98)
    assert.same({}, saved())
    engine:start()
    assert.equal(102, add(4).version)
    assert.same({ 102 }, saved())
  end)

  it("C-SN-03 are one an append, however many multiples it passes", function()
    start(10)
    assert.equal(35, add(35).version)
    assert.same({ 35 }, saved())
  end)

  it("C-SN-05 spare what they hold: only later events are read", function()
    start(100)
    add(100)
    assert.same({ 100 }, saved())
    engine:start()
    add(3, 7)
    assert.same({ 100 }, saved())
    -- A mark that no event made, so that what is read shows in the answer.
    engine.database:rows(("update %s set state = replace(state, '\"sum\":100', '\"sum\":5000')")
      :format(engine.database:own("snapshots")))
    engine:start()
    assert.equal(5000 + 3 * 7, state().sum)
    assert.equal(99, state("?at=99").sum)
    engine.database:rows("delete from " .. engine.database:own("snapshots"))
    assert.same({}, saved())
    engine:start()
    assert.equal(100 + 3 * 7, state().sum)
  end)

  it("C-SN-07 that cannot be written fail no command", function()
    start(1)
    refuse_snapshots()
    for n = 1, 5 do
      local answer = add(1)
      assert.equal(n, answer.version)
      assert.equal(n, answer.state.sum)
    end
    assert.same({}, saved())
    engine:start()
    assert.equal(5, state().sum)
    take_snapshots()
    assert.equal(6, add(1).version)
    assert.same({ 6 }, saved())
  end)

  -- The same commands, on purses whose scripts differ in nothing but how often
  -- they are saved; snapshots vanish and engines end now and then.
  it("C-SN-09 change no state, whatever the history and the stride", function()
    math.randomseed(9)
    local strides = { 1, 3, 7, 1000000 }
    local engines, ways = {}, {}
    for i, every in ipairs(strides) do
      engines[i] = server.start_new { aggregates = { ["purse.lua"] = PURSE:format(every) } }
      ways[i] = {}
    end
    for _ = 1, 48 do
      local name = ({ "a", "b" })[math.random(2)]
      local taking = math.random(3) == 1
      local input = { by = math.random(9), events = not taking and math.random(5) or nil }
      local path = ("/api/aggregates/Purse/%s/%s"):format(name, taking and "take" or "add")
      local disturbed = math.random(#strides)
      local how = math.random(12)
      for i, one in ipairs(engines) do
        if i == disturbed and how <= 2 then
          one.database:rows("delete from " .. one.database:own("snapshots"))
        elseif i == disturbed and how == 3 then
          one.client:close()
          one[({ "stop", "kill" })[math.random(2)]](one)
          one:start()
        end
        local answer = one:post(path, input)
        ways[i][#ways[i] + 1] = ("%s %d %s"):format(name, answer.status,
          answer.status == 200 and cjson.encode { answer.json.version, answer.json.state.sum,
            answer.json.state.trail } or answer.json.code)
      end
    end
    for i = 2, #strides do
      assert.same(ways[1], ways[i])
    end
    for _, name in ipairs { "a", "b" } do
      engine = engines[#engines]
      local versions = tonumber(engine:get("/api/aggregates/Purse/" .. name).json.version)
      for at = 1, versions, 3 do
        engine = engines[#engines]
        local without = state("?at=" .. at, name)
        for i = 1, #engines - 1 do
          engine = engines[i]
          assert.same(without, state("?at=" .. at, name))
        end
      end
    end
  end)
end)
