-- Aggregates as clients meet them: snapshots, old shapes, unknown events, the
-- past, and commands that two engines decide at once.

local cjson = require "cjson"
local clock = require "clock"
local process = require "process"
local server = require "server"

-- ---- scripts ----

-- A bank keeps its accounts in one aggregate, so that every transfer conflicts
-- with every other; no order of them may change the sum or go below zero.
local BANK = [[
return {
  type = "Bank", %s
  initial = function() return { accounts = { a = 0, b = 0, c = 0 }, transfers = 0 } end,
  commands = {
    open = { run = function(bank) bank:emit("Opened", { each = 100 }) end },
    transfer = {
      input = { from = "string", to = "string", amount = "integer" },
      run = function(bank, input)
        bank:reject_if(bank.state.accounts[input.from] < input.amount, "not enough")
        bank:emit("Transferred", input)
      end,
    },
    many = { input = { count = "integer" }, run = function(bank, input)
      for _ = 1, input.count do
        bank:emit("Transferred", { from = "a", to = "a", amount = 0 })
      end
    end },
    nothing = { run = function() end },
  },
  apply = {
    Opened = function(s, event)
      for name in pairs(s.accounts) do s.accounts[name] = event.data.each end
    end,
    Transferred = function(s, event)
      local d = event.data
      s.accounts[d.from] = s.accounts[d.from] - d.amount
      s.accounts[d.to] = s.accounts[d.to] + d.amount
      s.transfers = s.transfers + 1
    end,
  },
}
]]

local function bank_script(rest)
  return BANK:format(rest or "snapshot_every = 10,")
end

local function start_bank(rest, more)
  local options = more or {}
  options.aggregates = { ["bank.lua"] = bank_script(rest) }
  return server.start_new(options)
end

local function replace_script(engine, name, text)
  server.write_file(engine.folder .. "/aggregates/" .. name, text)
end

local function command(engine, name, input, headers, id)
  return engine:post(("/api/aggregates/Bank/%s/%s"):format(id or "b", name), input, headers)
end

local function state_of(engine, query)
  return engine:get("/api/aggregates/Bank/b" .. (query or ""))
end

local function snapshots(engine)
  return engine.database:rows("select * from " .. engine.database:own("snapshots"))
end

local function delete_snapshots(engine)
  engine.database:rows("delete from " .. engine.database:own("snapshots"))
end

local function find_record(engine, message)
  for _, record in ipairs(engine:log()) do
    if record.message and record.message:find(message, 1, true) then
      return record
    end
  end
end

-- ---- snapshots ----

describe("snapshots", function()
  after_each(server.remove_all)

  it("are there after a while, and after a restart and a kill the state is the same", function()
    local engine = start_bank()
    command(engine, "open")
    for _ = 1, 5 do
      command(engine, "many", { count = 9 })
    end
    clock.wait_until("a snapshot is saved", function()
      local rows = snapshots(engine)
      return rows[1] and tonumber(rows[1].version) >= 10
    end)
    local before = state_of(engine)
    assert.equal(46, before.json.version)
    for _, ending in ipairs { "stop", "kill" } do
      engine[ending](engine)
      engine:start()
      assert.equal(before.body, state_of(engine).body)
    end
  end)

  it("may be deleted at any moment", function()
    local engine = start_bank("snapshot_every = 3,")
    command(engine, "open")
    for i = 1, 30 do
      local answer = command(engine, "transfer", { from = "a", to = "b", amount = 1 })
      assert.equal(i + 1, answer.json.version)
      assert.equal(i, answer.json.state.transfers)
      if i % 4 == 0 then
        delete_snapshots(engine)
      end
      if i % 10 == 0 then
        engine:restart()
      end
    end
    delete_snapshots(engine)
    engine:restart()
    assert.same({ a = 70, b = 130, c = 100 }, state_of(engine).json.state.accounts)
  end)

  it("are left by a command that runs without an engine", function()
    local engine = server.new { aggregates = { ["bank.lua"] = bank_script() } }
    assert.equal(0, engine:run({ "migrate" }).status)
    assert.equal(0, engine:run({ "send", "Bank", "b", "open" }).status)
    assert.equal(0, engine:run({ "send", "Bank", "b", "many", '{"count":20}' }).status)
    assert.equal(21, tonumber(snapshots(engine)[1].version))
  end)

  it("of a changed script with the same state_version are compared, and told about", function()
    local engine = start_bank("snapshot_every = 10, state_version = 1,")
    command(engine, "open")
    command(engine, "many", { count = 20 })
    engine:stop()
    assert.equal(1, #snapshots(engine))
    replace_script(engine, "bank.lua", (bank_script("snapshot_every = 10, state_version = 1,")
      :gsub("s.transfers %+ 1", "s.transfers + 2")))
    engine:start()
    local record = clock.wait_until("the difference is told", function()
      return find_record(engine, "differs from its events")
    end)
    assert.equal("WARNING", record.level)
    assert.equal("Bank", record.aggregate_type)
    assert.equal("b", record.aggregate_id)
    assert.equal("transfers", record.keys)
    engine:stop()
    replace_script(engine, "bank.lua",
      bank_script("snapshot_every = 10, state_version = 1,") .. "-- no difference\n")
    engine:start()
    local compared = clock.wait_until("they are compared", function()
      return find_record(engine, "snapshots of another script compared")
    end)
    assert.equal(0, compared.differing)
    assert.is_nil(find_record(engine, "differs from its events"))
  end)
end)

-- ---- the past ----

describe("a state of the past", function()
  local engine

  setup(function()
    engine = start_bank()
    command(engine, "open")
    for _ = 1, 24 do
      command(engine, "transfer", { from = "a", to = "b", amount = 2 })
    end
  end)
  teardown(server.remove_all)

  it("is what it was, with its tag, from any version on", function()
    for _, at in ipairs { 1, 2, 9, 10, 11, 24, 25 } do
      local answer = state_of(engine, "?at=" .. at)
      assert.equal(at, answer.json.version)
      assert.equal(('"%d"'):format(at), answer.headers.etag)
      assert.equal(at - 1, answer.json.state.transfers)
      assert.equal(100 - 2 * (at - 1), answer.json.state.accounts.a)
    end
  end)

  it("does not exist before the first event and behind the last", function()
    assert.equal(400, state_of(engine, "?at=0").status)
    for _, at in ipairs { "26", "9007199254740993" } do
      local answer = state_of(engine, "?at=" .. at)
      assert.equal(404, answer.status, at)
      assert.equal("not_found", answer.json.code)
    end
    assert.truthy(state_of(engine, "?at=26").json.detail:find("is at version 25, not 26", 1, true))
    assert.equal(404, engine:get("/api/aggregates/Bank/absent?at=1").status)
  end)

  it("must be asked for by a number", function()
    for _, at in ipairs { "", "x", "-1", "1.5", "1e3", "18446744073709551614",
      "99999999999999999999999" } do
      assert.equal(400, state_of(engine, "?at=" .. at).status, at)
    end
  end)

  it("is told by the command line", function()
    local result = engine:run { "state", "Bank", "b", "--at", "3", "--json" }
    assert.equal(0, result.status, result.err)
    assert.equal(2, cjson.decode(result.out).state.transfers)
    local text = engine:run({ "state", "Bank", "b", "--at", "3" }).out
    assert.truthy(text:find("at version 3", 1, true))
    assert.not_equal(0, engine:run({ "state", "Bank", "b", "--at", "26" }).status)
    local wrong = engine:run { "state", "Bank", "b", "--at", "x" }
    assert.equal(2, wrong.status)
    assert.truthy(wrong.err:find("--at", 1, true))
  end)
end)

-- ---- shapes of events ----

local MONEY = [[return { currency = function() return "%s" end }]]

-- `steps` upcasts lead to version steps + 1.
local function sale_script(steps)
  local chain = {
    "function(data) data.amount = data.total data.total = nil return data end",
    "function(data) data.currency = require('_money').currency() return data end",
  }
  return ([[
local money = require "_money"
return {
  type = "Sale",
  initial = function() return { sum = 0 } end,
  commands = { sell = { input = { amount = "integer" }, run = function(sale, input)
    sale:emit("Sold", { amount = input.amount, total = input.amount, currency = money.currency() })
  end } },
  apply = { Sold = function(s, event)
    s.sum = s.sum + (event.data.amount or event.data.total)
    s.currency, s.version = event.data.currency, event.event_version
  end },
  upcast = { %s },
}
]]):format(steps > 0 and "Sold = { " .. table.concat(chain, ",\n", 1, steps) .. " }" or "")
end

local SALES = [[
local money = require "_money"
return {
  name = "sales",
  tables = { sales = { key = "position", columns = { position = "bigint", amount = "integer?",
    currency = "text?", version = "integer", own = "text" } } },
  on = { Sold = function(event, db)
    db.sales:put { position = event.position, amount = event.data.amount,
      currency = event.data.currency, version = event.event_version, own = money.currency() }
  end },
}
]]

local function start_sales(steps)
  return server.start_new {
    aggregates = { ["sale.lua"] = sale_script(steps), ["_money.lua"] = MONEY:format("EUR") },
    projections = { ["sales.lua"] = SALES, ["_money.lua"] = MONEY:format("the projections'") },
  }
end

describe("old shapes", function()
  after_each(server.remove_all)

  it("are brought up to date for aggregates and projections, and nowhere else", function()
    local engine = start_sales(2)
    local position = engine:append("Sale/1", {
      { event_type = "Sold", data = { total = 7 } },
      { event_type = "Sold", event_version = 2, data = { amount = 8 } },
      { event_type = "Sold", event_version = 3, data = { amount = 9, currency = "USD" } },
    }).last_position
    local state = engine:get("/api/aggregates/Sale/1").json.state
    assert.same({ sum = 24, currency = "USD", version = 3 }, state)
    engine:wait_position("sales", position)
    for place, expected in ipairs { { 7, "EUR" }, { 8, "EUR" }, { 9, "USD" } } do
      local row = engine:row("sales", "sales", place)
      assert.same(expected, { row.amount, row.currency })
      assert.equal(3, row.version)
      assert.equal("the projections'", row.own)
    end
    local stored = engine:get("/api/streams/Sale/1").json.events[1]
    assert.same({ total = 7 }, stored.data)
    assert.equal(1, stored.event_version)
    local listed = engine:run { "events", "--json" }
    assert.truthy(listed.out:find('{"total":7}', 1, true))
  end)

  it("are left behind by new events, which have the newest", function()
    local engine = start_sales(2)
    local answer = engine:post("/api/aggregates/Sale/1/sell", { amount = 5 })
    assert.equal(3, answer.json.events[1].event_version)
  end)

  it("change the hash of projections that meet them, and of no other", function()
    local engine = start_sales(1)
    local before = engine:projection("sales").script_hash
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(2))
    engine:start()
    assert.not_equal(before, engine:projection("sales").script_hash)
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(0))
    engine:start()
    local plain = engine:projection("sales").script_hash
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(0) .. "-- another text\n")
    engine:start()
    assert.equal(plain, engine:projection("sales").script_hash)
  end)

  it("newer than the script are refused at the door", function()
    local engine = start_sales(1)
    local answer = engine:post("/api/streams/Sale/1", { events = {
      { event_type = "Sold", event_version = 3, data = { amount = 1 } } } })
    assert.equal(422, answer.status)
    assert.equal("events[0].event_version", answer.json.errors[1].field)
    local message = answer.json.errors[1].message
    assert.truthy(message:find("newer than what aggregate Sale knows", 1, true))
  end)

  it("newer than the script stop what would misread them, until it is there", function()
    local engine = start_sales(2)
    local sold = engine:post("/api/aggregates/Sale/1/sell", { amount = 5 })
    engine:wait_position("sales", 1)
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(1))
    engine:start() -- it has handled that event
    local state = engine:get("/api/aggregates/Sale/1")
    assert.equal(500, state.status)
    assert.equal("script_error", state.json.code)
    assert.truthy(state.json.detail:find("event_version 3", 1, true), state.json.detail)
    assert.equal(500, engine:post("/api/aggregates/Sale/1/sell", { amount = 5 }).status)
    -- As another engine would have written it, which knows the newer script.
    local other = server.new { aggregates = { ["sale.lua"] = sale_script(2),
      ["_money.lua"] = MONEY:format("EUR") }, database = engine.database }
    engine:stop()
    assert.equal(0, other:run({ "send", "Sale", "2", "sell", '{"amount":6}' }).status)
    engine:launch()
    local stuck = engine:wait_state("sales", "error")
    assert.equal(1, stuck.position)
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(2))
    engine:start()
    engine:wait_position("sales", 2)
    assert.equal(6, engine:row("sales", "sales", 2).amount)
    assert.equal(sold.json.state.sum, engine:get("/api/aggregates/Sale/1").json.state.sum)
  end)

  it("are not guessed at while the script that knows them does not load", function()
    local engine = start_sales(2)
    engine:append("Sale/1", { { event_type = "Sold", data = { total = 7 } } })
    engine:wait_position("sales", 1)
    engine:stop()
    replace_script(engine, "sale.lua", sale_script(2) .. "end")
    engine:launch()
    clock.wait_until("the engine serves", function()
      return engine:get("/api/events").status == 200
    end)
    engine:append("Sale/1", { { event_type = "Sold", data = { total = 8 } } })
    local stuck = engine:wait_state("sales", "error")
    assert.equal(1, stuck.position)
    assert.truthy(cjson.encode(stuck):find("its upcasts may be needed", 1, true))
  end)

  it("are found faulty by `perigee check`", function()
    local engine = server.new { aggregates = {
      ["_money.lua"] = MONEY:format("EUR"),
      ["sale.lua"] = (sale_script(2):gsub("Sold = { function", "Sold = { [3] = function")),
    } }
    local result = engine:run { "check" }
    assert.not_equal(0, result.status)
    assert.truthy(result.out:find("'upcast.Sold' has no function [2]", 1, true), result.out)
  end)
end)

-- ---- events that nobody declared ----

describe("an event that `apply` does not have", function()
  after_each(server.remove_all)

  it("C-AG-06 is refused at the door, and ignored if configured", function()
    local engine = start_bank()
    command(engine, "open")
    local events = { { event_type = "Noted", data = { text = "hello" } } }
    local refused = engine:post("/api/streams/Bank/b", { events = events })
    assert.equal(422, refused.status)
    assert.equal("events[0].event_type", refused.json.errors[1].field)
    engine:remove()

    engine = start_bank(nil, { settings = { aggregates = { strict_events = false } } })
    command(engine, "open")
    assert.equal(2, engine:append("Bank/b", events).version)
    assert.same({ a = 100, b = 100, c = 100 }, state_of(engine).json.state.accounts)
    local answer = command(engine, "transfer", { from = "a", to = "b", amount = 1 })
    assert.equal(3, answer.json.version)
    engine:restart()
    assert.equal(1, state_of(engine).json.state.transfers)
  end)

  it("C-AG-06 that is stored already is an error of the aggregate that meets it", function()
    local engine = start_bank(nil, { settings = { aggregates = { strict_events = false } } })
    command(engine, "open")
    engine:append("Bank/b", { { event_type = "Noted", data = {} } })
    engine:stop()
    engine.env.PERIGEE_AGGREGATES_STRICT_EVENTS = "true"
    engine:start()
    local answer = state_of(engine)
    assert.equal(500, answer.status)
    assert.truthy(answer.json.detail:find("`apply` has no event type 'Noted'", 1, true))
    assert.equal(200, state_of(engine, "?at=1").status)
  end)
end)

-- ---- more state than memory ----

describe("states that do not all fit into memory", function()
  after_each(server.remove_all)

  it("are folded again, and no command fails for it", function()
    local engine = server.start_new {
      settings = { sandbox = { memory_mb = 4 } },
      aggregates = { ["fat.lua"] = [[
        return {
          type = "Fat",
          initial = function() return { lines = {} } end,
          commands = { add = { run = function(fat) fat:emit("Added", {}) end } },
          apply = { Added = function(s, event)
            s.lines[#s.lines + 1] = ("x"):rep(20000) .. event.event_id
          end },
        }
      ]] },
    }
    for round = 1, 3 do
      for i = 1, 400 do
        local answer = engine:post("/api/aggregates/Fat/" .. i .. "/add")
        assert.equal(200, answer.status, answer.body)
        assert.equal(round, answer.json.version)
      end
    end
    assert.equal(3, #engine:get("/api/aggregates/Fat/1").json.state.lines)
  end)
end)

-- ---- two engines ----

local NAMES = { "a", "b", "c" }

-- Transfers until `stop_at`; every second client names the version it saw.
local function transfer_for(engine, number, stop_at)
  local client = engine:connect()
  math.randomseed(number)
  while clock.now() < stop_at do
    local headers
    if number % 2 == 0 then
      local seen = client:request("GET", "/api/aggregates/Bank/b")
      assert(seen.status == 200, seen.body)
      headers = { ["If-Match"] = seen.headers.etag }
    end
    local answer = client:request("POST", "/api/aggregates/Bank/b/transfer", {
      from = NAMES[math.random(3)], to = NAMES[math.random(3)], amount = math.random(60) }, headers)
    assert(answer.status == 200 or answer.status == 409, answer.body)
    if answer.status == 200 then
      local accounts = answer.json.state.accounts
      assert(accounts.a + accounts.b + accounts.c == 300, answer.body)
      assert(accounts.a >= 0 and accounts.b >= 0 and accounts.c >= 0, answer.body)
    end
  end
end

-- The log's own arithmetic, without any engine's state.
local function recompute(engine)
  local accounts = { a = 100, b = 100, c = 100 }
  local from, count = 2, 0
  while from ~= cjson.null do
    local page = engine:get("/api/streams/Bank/b?limit=1000&from=" .. from).json
    for _, event in ipairs(page.events) do
      local data = event.data
      accounts[data.from] = accounts[data.from] - data.amount
      assert(accounts[data.from] >= 0, "below zero at version " .. event.aggregate_version)
      accounts[data.to] = accounts[data.to] + data.amount
      count = count + 1
    end
    from = page.next
  end
  return accounts, count
end

describe("conflicting writers on two engines", function()
  after_each(server.remove_all)

  it("never decide on a wrong state", function()
    local first = start_bank("snapshot_every = 7,")
    local engines = { first }
    if server.store == "postgresql" then
      engines[2] = start_bank("snapshot_every = 7,", { database = first.database })
    end
    command(first, "open")
    local stop_at = clock.now() + 2
    local pids = {}
    for number = 1, 6 do
      pids[number] = process.fork(function()
        transfer_for(engines[1 + number % #engines], number, stop_at)
      end)
    end
    while clock.now() < stop_at do
      delete_snapshots(first)
      clock.pause(0.05)
    end
    for _, pid in ipairs(pids) do
      assert.equal(0, process.wait(pid))
    end
    local accounts, count = recompute(first)
    assert.equal(300, accounts.a + accounts.b + accounts.c)
    assert.is_true(count > 10)
    for _, engine in ipairs(engines) do
      assert.same(accounts, state_of(engine).json.state.accounts)
      engine:restart()
      assert.same(accounts, state_of(engine).json.state.accounts)
    end
  end)
end)
