-- Starting and ending programs.

local clock = require "clock"
local fcntl = require "posix.fcntl"
local signal = require "posix.signal"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"
local wait = require "posix.sys.wait"

local process = {}

local function open_output(path)
  return fcntl.open(path, fcntl.O_WRONLY + fcntl.O_CREAT + fcntl.O_APPEND, 420)
end

-- A shell ignores SIGINT in what it runs in the background, and that is
-- inherited; what is tested here must see the signals a terminal would send.
local function become(options)
  if options.group then
    unistd.setpid("p", 0, 0)
  end
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  local output = open_output(options.stdout)
  unistd.dup2(fcntl.open(options.stdin or "/dev/null", fcntl.O_RDONLY), 0)
  unistd.dup2(output, 1)
  unistd.dup2(options.stderr and open_output(options.stderr) or output, 2)
  for name in pairs(options.without and stdlib.getenv() or {}) do
    if name:find(options.without) then
      stdlib.setenv(name, nil)
    end
  end
  for name, value in pairs(options.env or {}) do
    stdlib.setenv(name, value)
  end
  if options.cwd then
    unistd.chdir(options.cwd)
  end
  local arguments = {}
  for i = 2, #options.argv do
    arguments[i - 1] = options.argv[i]
  end
  local _, why = unistd.execp(options.argv[1], arguments)
  io.stderr:write(("cannot run %s: %s\n"):format(options.argv[1], why))
  unistd._exit(127)
end

-- {argv, env, without, cwd, stdin, stdout, stderr, group}: variables of such
-- names (a pattern) are taken from the environment, those of `env` are added;
-- paths of files to read from and to append to; `group` puts it into a process
-- group of its own.  The pid.
function process.spawn(options)
  io.stdout:flush()
  local pid = assert(unistd.fork())
  if pid == 0 then
    become(options)
  end
  if options.group then
    unistd.setpid("p", pid, pid) -- whoever comes first, parent or child
  end
  return pid
end

-- Runs `work()` in a copy of this process; its exit status is 0, or 1 after an
-- error, which is printed.  The pid.
function process.fork(work)
  io.stdout:flush()
  local pid = assert(unistd.fork())
  if pid == 0 then
    local ok, why = pcall(work)
    if not ok then
      io.stderr:write(tostring(why), "\n")
    end
    io.stdout:flush()
    unistd._exit(ok and 0 or 1)
  end
  return pid
end

-- How it ended: an exit status, or "signal 9"; nil while it runs.
function process.poll(pid)
  local got, how, status = wait.wait(pid, wait.WNOHANG)
  if got == pid and how ~= "running" then
    return how == "exited" and status or "signal " .. status
  end
end

function process.wait(pid, limit_s)
  return clock.wait_until("process " .. pid .. " ends", function()
    return process.poll(pid)
  end, limit_s)
end

function process.signal(pid, name)
  return signal.kill(pid, signal["SIG" .. name])
end

function process.signal_group(pid, name)
  return signal.kill(-pid, signal["SIG" .. name])
end

return process
