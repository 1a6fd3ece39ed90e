-- The manifests of config/kubernetes/ agree with each other, with the settings
-- that they choose and with the Dockerfile.

local cjson = require "cjson"
local manifest = require "manifest"

local FOLDER = "config/kubernetes"

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close()
end

-- What config/production.lua returns where its variables and files are there.
local function production()
  local chunk = assert(loadfile("config/production.lua"))
  local asked = {}
  setfenv(chunk, {
    env = function(name, default)
      asked[name] = default == nil and "needed" or "optional"
      return default or "a value"
    end,
    secret_file = function(path)
      asked[path] = "needed"
      return "a secret"
    end,
  })
  return chunk(), asked
end

local function port_of(address)
  return tonumber(address:match(":(%d+)$"))
end

local function seconds(probe)
  return probe.periodSeconds * probe.failureThreshold
end

describe("the manifests", function()
  local all = manifest.folder(FOLDER)
  local deployment = all:find "Deployment"
  local pod = deployment.spec.template.spec
  local container = pod.containers[1]
  local dockerfile = read_file("Dockerfile")
  local settings, asked = production()

  it("name every file of their folder", function()
    local pipe = io.popen("ls " .. FOLDER)
    local listed = { ["kustomization.yaml"] = true }
    for _, name in ipairs(all:find("Kustomization").resources) do
      listed[name] = true
    end
    for name in pipe:lines() do
      assert.is_true(listed[name], name)
    end
    pipe:close()
  end)

  it("have the ports of the settings and of the image", function()
    local http = manifest.named(container.ports, "http").containerPort
    local probes = manifest.named(container.ports, "probes").containerPort
    assert.equal(port_of(settings.http.listen), http)
    assert.equal(port_of(settings.http.probe_listen), probes)
    assert.truthy(dockerfile:find(("EXPOSE %d %d"):format(http, probes), 1, true))
    local annotations = deployment.spec.template.metadata.annotations
    assert.equal(tostring(probes), annotations["prometheus.io/port"])
    for _, port in ipairs(all:find("Service").spec.ports) do
      assert.equal("http", port.targetPort)
    end
  end)

  it("probe the port of probes, on paths that are there", function()
    local routes = read_file("docs/http.md")
    for _, name in ipairs { "startupProbe", "readinessProbe", "livenessProbe" } do
      local get = container[name].httpGet
      assert.equal("probes", get.port)
      assert.truthy(routes:find(get.path, 1, true), get.path)
    end
    assert.equal("/health/ready", container.readinessProbe.httpGet.path)
    assert.equal("/health/live", container.livenessProbe.httpGet.path)
  end)

  it("select the pods they make", function()
    local labels = deployment.spec.template.metadata.labels
    for _, selector in ipairs {
      deployment.spec.selector.matchLabels,
      all:find("Service").spec.selector,
      all:find("PodDisruptionBudget").spec.selector.matchLabels,
      pod.topologySpreadConstraints[1].labelSelector.matchLabels,
    } do
      assert.same(labels, selector)
    end
  end)

  it("give the engine all the time that its shutdown may take", function()
    local before = container.lifecycle.preStop.sleep.seconds
    local needed = before + settings.shutdown.timeout + 15
    assert.is_true(pod.terminationGracePeriodSeconds >= needed)
    assert.is_true(settings.shutdown.drain_timeout < settings.shutdown.timeout)
  end)

  it("let a slow start or a short pause kill nothing", function()
    assert.is_true(seconds(container.startupProbe) >= 60)
    assert.is_true(seconds(container.livenessProbe) >= 30)
    assert.is_true(seconds(container.readinessProbe) < seconds(container.livenessProbe))
  end)

  it("run nobody's process with nothing but what it needs", function()
    local uid = tonumber(dockerfile:match("\nUSER (%d+):%d+\n"))
    local context, own = pod.securityContext, container.securityContext
    assert.is_true(context.runAsNonRoot)
    assert.equal(uid, context.runAsUser)
    assert.equal(uid, context.fsGroup)
    assert.is_true(own.readOnlyRootFilesystem)
    assert.is_false(own.allowPrivilegeEscalation)
    assert.same({ "ALL" }, own.capabilities.drop)
    assert.is_false(pod.automountServiceAccountToken)
    assert.truthy(container.resources.limits.memory)
  end)

  it("mount each volume where settings and image look for it", function()
    local workdir = dockerfile:match("\nWORKDIR (/perigee)\n")
    local paths = {}
    for _, mount in ipairs(container.volumeMounts) do
      manifest.named(pod.volumes, mount.name)
      paths[mount.name] = mount.mountPath
    end
    assert.equal(workdir .. "/" .. settings.scripts.aggregates, paths.aggregates)
    assert.equal(workdir .. "/" .. settings.scripts.projections, paths.projections)
    for path, need in pairs(asked) do
      if path:find("^/") and need == "needed" then
        local name = path:match("^" .. paths.tokens .. "/(.*)$")
        assert.truthy(all:find("Secret", "perigee-tokens").stringData[name], path)
      end
    end
  end)

  it("refer to config maps and secrets that are there", function()
    for _, volume in ipairs(pod.volumes) do
      if volume.configMap then
        all:find("ConfigMap", volume.configMap.name)
      elseif volume.secret then
        all:find("Secret", volume.secret.secretName)
      end
    end
    local variables = {}
    for _, variable in ipairs(container.env) do
      variables[variable.name] = true
      local from = variable.valueFrom and variable.valueFrom.secretKeyRef
      assert.is_true(not from or all:find("Secret", from.name).stringData[from.key] ~= nil)
    end
    for name, need in pairs(asked) do
      assert.is_true(name:find("^/") ~= nil or need ~= "needed" or variables[name], name)
    end
  end)

  it("count the engines that share the database's connections", function()
    local most = deployment.spec.replicas + deployment.spec.strategy.rollingUpdate.maxSurge
    assert.equal(tostring(most), manifest.named(container.env, "INSTANCE_COUNT").value)
  end)

  it("hold no secret that an engine would take", function()
    for _, token in pairs(all:find("Secret", "perigee-tokens").stringData) do
      assert.is_true(#token < 16, token)
    end
  end)

  it("carry the example's scripts, letter for letter", function()
    for name, folder in pairs {
      ["perigee-aggregates"] = "lua/aggregates", ["perigee-projections"] = "projections",
    } do
      local pipe, count = io.popen("ls " .. folder), 0
      local data = all:find("ConfigMap", name).data
      for file in pipe:lines() do
        assert.equal(read_file(folder .. "/" .. file), data[file])
        count = count + 1
      end
      pipe:close()
      for _ in pairs(data) do
        count = count - 1
      end
      assert.equal(0, count)
    end
  end)

  it("take the image of this version", function()
    local version = read_file("Makefile"):match("\nVERSION := (%S+)\n")
    local change = manifest.named(all:find("Kustomization").images, "perigee")
    assert.equal("perigee:" .. version, container.image)
    assert.equal(version, change.newTag)
  end)

  it("are taken by kubectl's kustomize", function()
    if os.execute("command -v kubectl >/dev/null") ~= 0 then
      return pending("kubectl is not installed; it is in no list of packages here")
    end
    local pipe = io.popen("kubectl kustomize " .. FOLDER .. " 2>&1; echo \"status $?\"")
    local text = pipe:read("*a")
    pipe:close()
    assert.truthy(text:find("\nstatus 0\n$"), text)
    assert.truthy(text:find("image: registry.example.com/perigee:", 1, true), text)
  end)

  -- The API's own types find what a misspelt field would otherwise lose in
  -- silence.
  it("are typed as Kubernetes says", function()
    local npm = (os.getenv("PERIGEE_NPM") or "build/npm") .. "/node_modules"
    if not exists(npm .. "/kubernetes-types/package.json")
      or not exists(npm .. "/typescript/package.json") then
      return pending("to check types: npm install --prefix build/npm kubernetes-types typescript")
    end
    local modules = { Deployment = "apps/v1", PodDisruptionBudget = "policy/v1" }
    local lines = {}
    for _, document in ipairs(all) do
      if document.kind ~= "Kustomization" then
        lines[#lines + 1] = ("export const o%d: import('kubernetes-types/%s').%s = %s;"):format(
          #lines, modules[document.kind] or "core/v1", document.kind, cjson.encode(document))
      end
    end
    local path = npm .. "/../manifests.ts"
    local file = assert(io.open(path, "wb"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
    local pipe = io.popen(("%s/.bin/tsc --noEmit --strict --skipLibCheck '%s' 2>&1"):format(
      npm, path))
    assert.equal("", pipe:read("*a"))
    pipe:close()
  end)
end)
