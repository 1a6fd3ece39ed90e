-- Runs programs beside each other: each in a process group of its own, its
-- output in a file, ended when it takes too long.  A job is
--
--     {name, argv, env = {NAME = value}, log = path, limit_s}
--
-- and gets `status` (an exit status or "signal 11" or "time limit") and
-- `seconds`.

local unistd = require "posix.unistd"
local fcntl = require "posix.fcntl"
local signal = require "posix.signal"
local stdlib = require "posix.stdlib"
local time = require "posix.time"
local wait = require "posix.sys.wait"

local jobs = {}

local function now()
  local t = time.clock_gettime(time.CLOCK_MONOTONIC)
  return t.tv_sec + t.tv_nsec / 1e9
end

-- In the child; never returns.
local function become(job)
  unistd.setpid("p", 0, 0)
  local log = fcntl.open(job.log, fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_TRUNC, 420)
  unistd.dup2(fcntl.open("/dev/null", fcntl.O_RDONLY), 0)
  unistd.dup2(log, 1)
  unistd.dup2(log, 2)
  for name, value in pairs(job.env or {}) do
    stdlib.setenv(name, value)
  end
  local arguments = {}
  for i = 2, #job.argv do
    arguments[i - 1] = job.argv[i]
  end
  local _, why = unistd.execp(job.argv[1], arguments)
  io.stderr:write(("cannot run %s: %s\n"):format(job.argv[1], why))
  unistd._exit(127)
end

local function start(job)
  io.stdout:flush()
  local pid = assert(unistd.fork())
  if pid == 0 then
    become(job)
  end
  unistd.setpid("p", pid, pid) -- whoever comes first, parent or child
  job.pid, job.began = pid, now()
end

-- Whatever a program started and left behind ends with it.
local function finish(job, status)
  signal.kill(-job.pid, signal.SIGKILL)
  job.status, job.seconds = status, now() - job.began
end

local function poll(job)
  local pid, how, status = wait.wait(job.pid, wait.WNOHANG)
  if pid == job.pid and how ~= "running" then
    finish(job, how == "exited" and status or "signal " .. status)
  elseif now() - job.began > job.limit_s then
    signal.kill(-job.pid, signal.SIGKILL)
    wait.wait(job.pid)
    finish(job, "time limit")
  end
  return job.status ~= nil
end

-- Runs all, `width` at a time in the given order; `done(job)` as each ends.
function jobs.run(list, width, done)
  local running, next_job = {}, 1
  while #running > 0 or next_job <= #list do
    while #running < width and next_job <= #list do
      start(list[next_job])
      running[#running + 1] = list[next_job]
      next_job = next_job + 1
    end
    for i = #running, 1, -1 do
      if poll(running[i]) then
        done(table.remove(running, i))
      end
    end
    time.nanosleep { tv_sec = 0, tv_nsec = 10000000 }
  end
end

return jobs
