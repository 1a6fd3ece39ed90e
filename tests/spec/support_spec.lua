-- The tools that the other tests rely on can fail, too.

local cjson = require "cjson"
local clock = require "clock"
local log_reader = require "log_reader"
local process = require "process"
local tap = require "tap"

describe("counting TAP", function()
  it("counts what passed, failed and was skipped", function()
    local counts = tap.count("1..4\nok 1 - a\nnot ok 2 - b\nok 3 - # SKIP c\nok 4 - d\n", 1)
    assert.same({ planned = 4, passed = 2, failed = 1, skipped = 1 }, counts)
  end)
  it("reads cmocka's own form", function()
    local counts = tap.count("[==========] Running 3 test(s).\n[ RUN      ] a\n[       OK ] a\n" ..
      "[ RUN      ] b\n[  FAILED  ] b\n[ RUN      ] c\n[  SKIPPED ] c\n" ..
      "[==========] 3 test(s) run.\n[  PASSED  ] 1 test(s).\n[  SKIPPED ] 1 test(s), listed:\n" ..
      "[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] b\n", 1)
    assert.same({ planned = 3, passed = 1, failed = 1, skipped = 1 }, counts)
  end)
  it("takes a result that was promised and not given for a failure", function()
    local counts = tap.count("1..3\nok 1 - a\n", "signal 11")
    assert.equal(2, counts.failed)
    assert.truthy(counts.trouble:find("2 of 3"))
  end)
  it("takes silence and a bad exit status for a failure", function()
    assert.equal(1, tap.count("", 0).failed)
    assert.equal(1, tap.count("1..1\nok 1 - a\n", 1).failed)
    assert.equal(0, tap.count("1..1\nok 1 - a\n", 0).failed)
  end)
end)

describe("reading the log", function()
  local function event(position, version, id)
    return { position = position, aggregate_type = "A", aggregate_id = "1",
      aggregate_version = version, event_id = id }
  end
  local function read(events)
    return pcall(function()
      return log_reader.new(function()
        return { status = 200, json = { events = events, next = cjson.null } }
      end):all()
    end)
  end
  it("takes one event after the other", function()
    local ok, last = read { event(1, 1, "a"), event(2, 2, "b") }
    assert.is_true(ok)
    assert.equal(2, last)
  end)
  it("notices a gap, a repetition, a wrong version and an id that comes twice", function()
    for _, events in ipairs {
      { event(1, 1, "a"), event(3, 2, "b") }, { event(1, 1, "a"), event(1, 2, "b") },
      { event(1, 1, "a"), event(2, 3, "b") }, { event(1, 1, "a"), event(2, 2, "a") },
      { event(2, 1, "a") },
    } do
      assert.is_false((read(events)))
    end
  end)
end)

describe("a process", function()
  it("ends with its status, or its signal", function()
    local function run(script)
      return process.wait(process.spawn { argv = { "sh", "-c", script }, stdout = "/dev/null" })
    end
    assert.equal(0, run("exit 0"))
    assert.equal(7, run("exit 7"))
    assert.equal("signal 9", run("kill -9 $$"))
    assert.equal(1, process.wait(process.fork(function() error("on purpose", 0) end)))
  end)
  it("sees the environment without what is taken away", function()
    local status = process.wait(process.spawn {
      argv = { "sh", "-c", 'test -z "$PERIGEE_SPEC_A" && test "$PERIGEE_SPEC_B" = 2' },
      env = { PERIGEE_SPEC_B = "2" }, without = "^PERIGEE_", stdout = "/dev/null" })
    assert.equal(0, status)
  end)
end)

describe("waiting", function()
  it("ends with what came, or in vain", function()
    assert.equal(5, clock.wait_until("five", function() return 5 end))
    local ok, why = pcall(clock.wait_until, "never", function() return false, "so far" end, 0.02)
    assert.is_false(ok)
    assert.truthy(why:find("waited in vain: never (so far)", 1, true))
  end)
end)
