-- Runs programs beside each other: each in a process group of its own, its
-- output in a file, ended when it takes too long.  A job is
--
--     {name, argv, env = {NAME = value}, log = path, limit_s, prepare, alone}
--
-- (`prepare(job)` is called just before it starts; `alone` is true when nothing
-- may run beside it) and gets `status` (an exit status, "signal 11" or "time
-- limit") and `seconds`.

local clock = require "clock"
local process = require "process"
local signal = require "posix.signal"

local jobs = {}

local function start(job)
  os.remove(job.log)
  if job.prepare then
    job.prepare(job)
  end
  job.began = clock.now()
  job.pid = process.spawn { argv = job.argv, env = job.env, stdout = job.log, group = true }
end

-- Whatever a program started and left behind ends with it.
local function finish(job, status)
  process.signal_group(job.pid, "KILL")
  job.status, job.seconds = status, clock.now() - job.began
end

local function poll(job)
  local status = process.poll(job.pid)
  if status then
    finish(job, status)
  elseif clock.now() - job.began > job.limit_s then
    process.signal_group(job.pid, "KILL")
    process.wait(job.pid)
    finish(job, "time limit")
  end
  return job.status ~= nil
end

-- A signal to this process ends what it runs, too.
local function end_with_us(running)
  local function give_up()
    for _, job in ipairs(running) do
      process.signal_group(job.pid, "KILL")
    end
    os.exit(1)
  end
  signal.signal(signal.SIGINT, give_up)
  signal.signal(signal.SIGTERM, give_up)
end

local function may_start(job, running, width)
  if not job or #running == width then
    return false
  end
  return #running == 0 or not job.alone and not running[1].alone
end

-- Runs all, `width` at a time in the given order; `done(job)` as each ends.
function jobs.run(list, width, done)
  local running, next_job = {}, 1
  end_with_us(running)
  while #running > 0 or next_job <= #list do
    while may_start(list[next_job], running, width) do
      start(list[next_job])
      running[#running + 1] = list[next_job]
      next_job = next_job + 1
    end
    for i = #running, 1, -1 do
      if poll(running[i]) then
        done(table.remove(running, i))
      end
    end
    clock.pause(0.01)
  end
end

return jobs
