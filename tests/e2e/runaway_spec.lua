-- Scripts that never end or want all memory: in handlers, in commands and in
-- `apply`.  Each is stopped near its deadline or at its ceiling and reported
-- with file and line; the engine and all others go on.

local clock = require "clock"
local server = require "server"

local DEADLINE_S = 0.3
-- How late a stop may be seen: scheduling, two workers, sanitizers.
local SLACK_S = 8

-- Each is the body of a function; a line of its own, so that `file:3:` is it.
-- Where the stack tells nothing, after `return f()` or when it is full, it is
-- the line on which the function begins.
local RUNAWAYS = {
  loop = "while true do end",
  counting_loop = "local n = 0 for i = 1, 1e18 do n = n + i % 7 end",
  caught_loop = "while true do pcall(function() while true do end end) end",
  caught_errors = "while true do pcall(error, 'again') end",
  recursion = "local function f(n) return 1 + f(n + 1) end return f(1)",
  tail_calls = "local function f() return f() end return f()",
  metamethods = "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end })" ..
    " return t[1]",
  growing_table = "local t = {} for i = 1, 1e12 do t[i] = { i } end",
  growing_text = "local s = 'x' while true do s = s .. s end",
  repeated_text = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6 + i) end",
  replaced_text = "local s = ('a'):rep(1e6) s = s:gsub('.', ('b'):rep(1e4)) return #s",
  pattern = "local at = (('a'):rep(30000)):find(('.-'):rep(6) .. 'b')",
  returned_pattern = "return (('a'):rep(30000)):find(('.-'):rep(6) .. 'b')",
  optional_pattern = "local s = ('a'):rep(5000)" ..
    " for _ in s:gmatch(('a?'):rep(40) .. ('a'):rep(40) .. 'b') do end",
  sorting = "local t = {} for i = 1, 3e5 do t[i] = i * 7919 % 1e6 end" ..
    " while true do table.sort(t, function(a, b) return a % 1000 < b % 1000 end) end",
  big_decimals = "local d = decimal('9.9') while true do d = d * d end",
  json_bomb = "local t = {} while true do t = { t, t } json.encode(t) end",
  joining = "local t = {} for i = 1, 2e5 do t[i] = 'abcdefgh' end" ..
    " local s = {} while true do s[#s + 1] = table.concat(t) .. #s end",
}

local names = {}
for name in pairs(RUNAWAYS) do
  names[#names + 1] = name
end
table.sort(names)

-- Within its own time, and told where it was.
local function check_text(name, file, text)
  local untold = name == "returned_pattern" or name == "metamethods"
  local place = untold and ":%d+: " or ":3: "
  assert.truthy(text:find(file .. place), name .. " said: " .. text)
end

local function settings()
  return {
    sandbox = { memory_mb = 16 },
    subscriptions = { processing_timeout = DEADLINE_S },
    aggregates = { command_timeout = DEADLINE_S },
  }
end

local BYSTANDER = [[
return {
  name = "bystander",
  tables = { seen = { key = "id", columns = { id = "text", n = "bigint" } } },
  on = { ["*"] = function(event, db) db.seen:add("all", { n = 1 }) end },
}
]]

describe("runaway handlers", function()
  local engine
  teardown(server.remove_all)

  it("are each stopped, and everything else goes on", function()
    local projections = { ["bystander.lua"] = BYSTANDER }
    for _, name in ipairs(names) do
      projections[name .. ".lua"] = ("return { name = %q, tables = { %s = { key = 'id'," ..
        " columns = { id = 'text' } } }, on = { Go_%s = function(event, db)\n" ..
        "db.%s:put { id = 'left behind' }\n%s\nend } }"):format(name, "t_" .. name, name,
        "t_" .. name, RUNAWAYS[name])
    end
    engine = server.start_new { projections = projections, settings = settings() }
    local events = {}
    for i, name in ipairs(names) do
      events[i] = { event_type = "Go_" .. name, data = { n = i } }
    end
    local began = clock.now()
    local last = engine:append("Runaway/1", events).last_position
    engine:wait_position("bystander", last)
    for i, name in ipairs(names) do
      local status = engine:wait_state(name, "error")
      check_text(name, name .. ".lua", status.last_error)
      assert.equal(last - #names + i - 1, status.position, name)
      assert.is_nil(engine:row(name, "t_" .. name, "left behind"), name)
    end
    assert.is_true(clock.now() - began < #names * DEADLINE_S + SLACK_S)
    local more = engine:append("Runaway/2", { { event_type = "After", data = { n = 1 } } })
    engine:wait_position("bystander", more.last_position)
    assert.equal(#names + 1, engine:row("bystander", "seen", "all").n)
    assert.equal(200, engine:get("/health/live").status)
  end)
end)

local CODES = { script_timeout = 504, script_memory = 500, script_error = 500 }

describe("runaway aggregates", function()
  local engine

  -- `where` is where the runaway stands in each script: "run" or "apply".
  local function start(where)
    local aggregates = {}
    for _, name in ipairs(names) do
      local run = where == "run" and RUNAWAYS[name] or "aggregate:emit('Gone', {})"
      local apply = where == "apply" and RUNAWAYS[name] or ""
      local lines = where == "run"
        and "return { type = %q, commands = { go = { run = function(aggregate)\n\n%s\nend } }," ..
        " apply = { Gone = function() %s end } }"
        or "return { type = %q, commands = { go = { run = function(aggregate) %s end } }," ..
        "\napply = { Gone = function()\n%s\nend } }"
      aggregates[name .. ".lua"] = lines:format(name, run, apply)
    end
    aggregates["calm.lua"] = "return { type = 'calm', commands = { go = { run = " ..
      "function(calm) calm:emit('Gone', {}) end } }, apply = { Gone = function(state)" ..
      " state.n = (state.n or 0) + 1 end } }"
    engine = server.start_new { aggregates = aggregates, settings = settings() }
  end

  local function check_answer(name, answer, began)
    assert.is_true(clock.now() - began < DEADLINE_S + SLACK_S, name)
    assert.is_not_nil(CODES[answer.json.code], name .. " said: " .. answer.body)
    assert.equal(CODES[answer.json.code], answer.status)
    check_text(name, name .. ".lua", answer.json.detail)
  end

  local function check_alive(n)
    local answer = engine:post("/api/aggregates/calm/1/go")
    assert.equal(200, answer.status, answer.body)
    assert.equal(n, answer.json.state.n)
  end

  after_each(server.remove_all)

  for _, where in ipairs { "run", "apply" } do
    it("are each stopped in " .. where .. ", and nothing is stored", function()
      start(where)
      for i, name in ipairs(names) do
        local began = clock.now()
        check_answer(name, engine:post("/api/aggregates/" .. name .. "/1/go"), began)
        assert.same({}, engine:get("/api/streams/" .. name .. "/1").json.events, name)
        check_alive(i)
      end
      assert.equal(200, engine:get("/health/live").status)
    end)
  end

  it("are stopped when a stored event is applied #slow", function()
    start("apply")
    for _, name in ipairs(names) do
      engine:append(name .. "/1", { { event_type = "Gone", data = { n = 1 } } })
      local began = clock.now()
      check_answer(name, engine:get("/api/aggregates/" .. name .. "/1"), began)
    end
    check_alive(1)
  end)

  it("do not hold up commands of others meanwhile", function()
    start("run")
    local process = require "process"
    local busy = process.fork(function()
      local client = engine:connect()
      for _ = 1, 3 do
        client:request("POST", "/api/aggregates/loop/1/go", "{}")
      end
    end)
    for i = 1, 20 do
      check_alive(i)
    end
    assert.equal(0, process.wait(busy))
  end)
end)
