-- What a kubelet does with a pod, as far as the engine can tell: the container
-- of a Deployment with its user, limits, variables and volumes; its probes by
-- their own fields; preStop, SIGTERM, and SIGKILL after the grace period.
--
--     local pod = kubelet.new { manifest = all, folder = path, … }
--     pod:start()
--     pod:run_until("the pod is ready", function() return pod.ready end)
--     assert.equal(0, pod:terminate())
--
-- Options: manifest; folder for volumes and the log; secrets ({name = {key =
-- value}}) instead of the manifest's; env, which wins over the manifest's;
-- addresses ({port's name = host:port}); pace: all waiting is so many times
-- shorter than the manifest says, which decides nothing but how long it takes.

local clock = require "clock"
local container = require "container"
local manifest = require "manifest"
local web = require "socket.http"

local kubelet = {}
kubelet.__index = kubelet

local PROBES = { "startupProbe", "readinessProbe", "livenessProbe" }

-- ---- volumes and variables ----

local function shell(command)
  assert(os.execute(command) == 0, command)
end

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- Files behind two links, as a kubelet swaps them.
local function write_volume(folder, files, mode, group)
  shell(("mkdir -p '%s/..v1' && ln -sfn ..v1 '%s/..data'"):format(folder, folder))
  for name, text in pairs(files) do
    local path = folder .. "/..v1/" .. name
    write_file(path, text)
    shell(("chgrp %d '%s' && chmod %o '%s'"):format(group, path, mode, path))
    shell(("ln -sf '..data/%s' '%s/%s'"):format(name, folder, name))
  end
end

local function secret(self, name)
  return (self.options.secrets or {})[name] or self.all:find("Secret", name).stringData
end

local function volume_files(self, volume)
  if volume.configMap then
    return self.all:find("ConfigMap", volume.configMap.name).data, volume.configMap
  end
  return secret(self, volume.secret.secretName), volume.secret
end

local function make_mounts(self)
  local mounts, tmpfs = {}, {}
  for _, mount in ipairs(self.container.volumeMounts) do
    local volume = manifest.named(self.pod.volumes, mount.name)
    if volume.emptyDir then
      tmpfs[#tmpfs + 1] = mount.mountPath
    else
      local folder = ("%s/volumes/%s"):format(self.options.folder, mount.name)
      local files, source = volume_files(self, volume)
      write_volume(folder, files, source.defaultMode or 420, self.pod.securityContext.fsGroup)
      mounts[#mounts + 1] = folder .. ":" .. mount.mountPath
        .. (mount.readOnly and ":ro" or "")
    end
  end
  return mounts, tmpfs
end

local function make_env(self)
  local env = {}
  for _, variable in ipairs(self.container.env) do
    local from = variable.valueFrom and variable.valueFrom.secretKeyRef
    env[variable.name] = variable.value or secret(self, from.name)[from.key]
  end
  for name, value in pairs(self.options.env or {}) do
    env[name] = value
  end
  return env
end

-- ---- probes ----

local function ask(self, probe)
  local get = probe.httpGet
  web.TIMEOUT = probe.timeoutSeconds or 1
  local _, status = web.request("http://" .. self.options.addresses[get.port] .. get.path)
  return type(status) == "number" and status >= 200 and status < 400
end

local function change(self, name, state)
  if self.states[name] ~= state then
    self.states[name] = state
    self.changes[#self.changes + 1] = name .. (state and " succeeds" or " fails")
  end
end

local function count_answer(self, name, good)
  local probe, counts = self.container[name], self.counts[name]
  local limit = good and (probe.successThreshold or 1) or (probe.failureThreshold or 3)
  counts.run = counts.good == good and counts.run + 1 or 1
  counts.good = good
  if counts.run >= limit then
    change(self, name, good)
  end
end

-- Readiness and liveness are asked once the start has succeeded.
local function is_asked(self, name)
  return (name == "startupProbe") ~= (self.states.startupProbe == true)
end

local function probe_all(self)
  for _, name in ipairs(PROBES) do
    local counts = self.counts[name]
    if is_asked(self, name) and clock.now() >= counts.next_at then
      local period = self.container[name].periodSeconds or 10
      counts.next_at = clock.now() + period / self.pace
      count_answer(self, name, ask(self, self.container[name]))
    end
  end
  self.ready = self.states.readinessProbe == true
  assert(self.states.startupProbe ~= false, "the kubelet would start it anew: startup")
  assert(self.states.livenessProbe ~= false, "the kubelet would start it anew: liveness")
end

-- ---- public ----

function kubelet.new(options)
  local pod = options.manifest:find("Deployment").spec.template.spec
  return setmetatable({
    options = options, all = options.manifest, pod = pod, container = pod.containers[1],
    pace = options.pace or 10,
  }, kubelet)
end

-- Flags of a container that the pod's fields ask for; `arguments` go to the
-- engine instead of the image's own.
function kubelet:flags(arguments)
  local mounts, tmpfs = make_mounts(self)
  return {
    env = make_env(self), mounts = mounts, tmpfs = tmpfs, arguments = arguments,
    memory = self.container.resources.limits.memory:gsub("i$", ""):lower(),
    log = self.options.folder .. "/log",
  }
end

function kubelet:start()
  os.remove(self.options.folder .. "/log")
  self.states, self.changes, self.counts, self.ready = {}, {}, {}, false
  for _, name in ipairs(PROBES) do
    local delay = self.container[name].initialDelaySeconds or 0
    self.counts[name] = { run = 0, next_at = clock.now() + delay / self.pace }
  end
  self.running = container.start(self:flags())
end

-- Probes until the condition holds.
function kubelet:run_until(what, condition)
  return clock.wait_until(what, function()
    local ended = self.running:poll()
    assert(not ended, ("the container ended: %s\n%s"):format(ended, self.running:output()))
    probe_all(self)
    return condition(), table.concat(self.changes, ", ")
  end)
end

-- Ends the pod; the exit status of its container, "signal 9" past the grace.
function kubelet:terminate()
  local hook = self.container.lifecycle and self.container.lifecycle.preStop
  local grace = self.pod.terminationGracePeriodSeconds
  if hook then
    clock.pause(hook.sleep.seconds / self.pace)
    grace = grace - hook.sleep.seconds
  end
  self.running:signal("TERM")
  local ok = pcall(self.running.wait_end, self.running, grace)
  if not ok then
    self.running:signal("KILL")
    self.running:wait_end()
    return "signal 9"
  end
  return self.running.ended
end

return kubelet
