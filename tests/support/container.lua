-- The image and containers of it, by buildah, podman and runc.
--
--     local reason = container.why_not()      -- not where containers cannot be
--     container.build()
--     local one = container.start { env = …, mounts = …, log = path }
--     one:signal("TERM") one:wait_end()
--
-- A container runs on the host's network, without a capability and with a root
-- that nobody can write to, in the foreground of a podman of its own: what the
-- engine prints is that process's output, and how it ends its exit status.

local clock = require "clock"
local process = require "process"

local container = {}
container.__index = container

container.image = "localhost/perigee-test"

local alive = {}

-- Output and exit status of a command.
function container.capture(command)
  local pipe = io.popen("( " .. command .. " ) 2>&1; echo \"status $?\"")
  local text, status = pipe:read("*a"):match("^(.*)status (%d+)\n$")
  pipe:close()
  return text, tonumber(status)
end

local function must(command)
  local text, status = container.capture(command)
  assert(status == 0, command .. "\n" .. text)
  return text
end

-- ---- the image ----

local TOOLS = { "buildah", "mmdebstrap", "podman", "runc" }

-- Why containers cannot be built and run here, or nil.
function container.why_not()
  for _, tool in ipairs(TOOLS) do
    if os.execute("command -v " .. tool .. " >/dev/null 2>&1") ~= 0 then
      return tool .. " is not installed: make deps"
    end
  end
  if require("posix.unistd").geteuid() ~= 0 then
    return "only root may make containers with limits"
  end
  local text, status = container.capture(
    "c=$(buildah from scratch) && buildah mount $c; r=$?; buildah rm $c; exit $r")
  if status ~= 0 then
    return "buildah cannot make a container: " .. text
  end
end

-- Builds it; the programs of one test run take turns.
function container.build()
  local cache = "build/image"
  must("mkdir -p " .. cache)
  must(("flock %s/lock config/image/build.sh %s perigee-test %s %s"):format(cache, cache,
    container.version(), container.commit()))
end

function container.version()
  return must("sed -n 's/^VERSION := //p' Makefile"):match("%S+")
end

function container.commit()
  return must("git rev-parse --short=12 HEAD"):match("%x+")
end

-- What podman knows of the image or container.
function container.inspect(name, format)
  return (must(("podman inspect --format '%s' %s"):format(format, name)):gsub("\n$", ""))
end

-- ---- containers ----

local FIXED = {
  "podman", "--runtime", "runc", "run", "--rm", "--pull", "never", "--no-healthcheck",
  "--network", "host", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
  "--security-opt", "no-new-privileges",
  -- Where CAP_SYS_RESOURCE is missing the defaults cannot be set.
  "--ulimit", "nofile=4096:8192", "--ulimit", "nproc=4096:8192",
}

local count = 0

local function compose(self, options)
  local argv = { unpack(FIXED) }
  local function add(flag, value)
    argv[#argv + 1] = flag
    argv[#argv + 1] = value
  end
  add("--name", self.name)
  add("--memory", options.memory or "256m")
  for name, value in pairs(options.env or {}) do
    add("--env", name .. "=" .. value)
  end
  for _, mount in ipairs(options.mounts or {}) do
    add("--volume", mount)
  end
  for _, path in ipairs(options.tmpfs or {}) do
    add("--tmpfs", path)
  end
  if options.entrypoint then
    add("--entrypoint", options.entrypoint)
  end
  argv[#argv + 1] = container.image
  for _, word in ipairs(options.arguments or {}) do
    argv[#argv + 1] = word
  end
  return argv
end

-- Starts one: {log (a path), env, mounts (a list of "source:path" or
-- "source:path:ro"), tmpfs (paths), memory, arguments, entrypoint}.
function container.start(options)
  count = count + 1
  local name = ("perigee-test-%d-%d"):format(require("posix.unistd").getpid(), count)
  local self = setmetatable({ name = name, log_path = options.log }, container)
  self.pid = process.spawn { argv = compose(self, options), stdout = options.log }
  alive[self] = true
  return self
end

-- Runs one to its end; its output and exit status.
function container.run(options)
  local self = container.start(options)
  local status = self:wait_end()
  return self:output(), status
end

function container:output()
  local file = io.open(self.log_path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

function container:poll()
  self.ended = self.ended or process.poll(self.pid)
  return self.ended
end

function container:wait_end(limit_s)
  clock.wait_until("the container ends", function()
    return self:poll(), self:output()
  end, limit_s)
  alive[self] = nil
  return self.ended
end

-- To process 1 of the container; podman passes signals on.
function container:signal(name)
  if name == "KILL" then
    must("podman kill --signal KILL " .. self.name)
  else
    process.signal(self.pid, name)
  end
end

-- Runs a command inside: its output and exit status.
function container:exec(words)
  return container.capture(("podman --runtime runc exec %s %s"):format(self.name, words))
end

-- The pid of process 1, as the host sees it.
function container:host_pid()
  return container.inspect(self.name, "{{.State.Pid}}")
end

-- The name of a new volume, for `mounts`: as it is when the image is run for
-- the first time.
function container.new_volume()
  return (must("podman volume create"):gsub("%s", ""))
end

function container.remove_volume(name)
  must("podman volume rm " .. name)
end

function container.remove_all()
  for self in pairs(alive) do
    container.capture("podman rm --force --time 0 " .. self.name)
    self:wait_end()
  end
end

return container
