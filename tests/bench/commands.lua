-- wrk: commands on aggregates, BENCH_STREAMS of them (1: a hot one).
local streams = tonumber(os.getenv("BENCH_STREAMS") or "1")
local body = '{"amount":"12.34","currency":"EUR","note":"a deposit like any other"}'

local thread_number = 0
function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

function init()
  math.randomseed(number + 1)
end

function request()
  local path = ("/api/aggregates/Account/account-%d/deposit"):format(math.random(streams))
  return wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
end

function done(summary, latency)
  local seconds = summary.duration / 1e6
  io.write(("RESULT %d %.3f %.3f %.3f %d\n"):format(
    summary.requests, seconds, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.read + summary.errors.timeout
  ))
end
