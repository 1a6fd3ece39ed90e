-- wrk: one event an append over HTTP, to one of 5,000 streams.
local body = '{"events":[{"event_type":"Deposited","data":{"amount":"12.34","currency":"EUR",'
  .. '"note":"a deposit like any other"}}]}'

local thread_number = 0
function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

function init()
  math.randomseed(number + 1)
end

function request()
  local path = "/api/streams/Account/account-" .. math.random(5000)
  return wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
end

local refused = 0
function response(status)
  if status ~= 200 then
    refused = refused + 1
  end
end

function done(summary, latency)
  local seconds = summary.duration / 1e6
  io.write(("RESULT %d %.3f %.3f %.3f %d\n"):format(
    summary.requests, seconds, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.read + summary.errors.timeout
  ))
end
