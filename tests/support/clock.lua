-- Time for tests: waiting is always for a condition, never blind.

local time = require "posix.time"

local clock = {}

-- Seconds of the monotonic clock.
function clock.now()
  local t = time.clock_gettime(time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

function clock.pause(seconds)
  time.nanosleep { tv_sec = math.floor(seconds), tv_nsec = math.floor(seconds % 1 * 1e9) }
end

-- Sanitizers make everything slower; nothing here measures, so be patient.
local PATIENCE_S = 30

-- Calls `condition` until it gives something true, and gives that back.
-- `what` says what was hoped for; the last falsy answer's second value, why
-- not yet, goes into the error too.
function clock.wait_until(what, condition, limit_s)
  local deadline = clock.now() + (limit_s or PATIENCE_S)
  while true do
    local value, why = condition()
    if value then
      return value
    end
    if clock.now() > deadline then
      error(("waited in vain: %s%s"):format(what, why and " (" .. tostring(why) .. ")" or ""), 2)
    end
    clock.pause(0.005)
  end
end

return clock
