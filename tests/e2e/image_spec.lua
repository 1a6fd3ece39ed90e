-- The container image, run as a kubelet would: with the manifests of
-- config/kubernetes/ on PostgreSQL, and with a volume on SQLite.

local clock = require "clock"
local cjson = require "cjson"
local container = require "container"
local database = require "database"
local http = require "http"
local kubelet = require "kubelet"
local manifest = require "manifest"
local server = require "server"

local TOKENS = {
  writer = ("w"):rep(32), reader = ("r"):rep(32), admin = ("a"):rep(32),
}
local ORDER = "550e8400-e29b-41d4-a716-446655440000"

local why_not = os.getenv("PERIGEE_TEST_REDUCED") == "1" and "the image has no sanitizer in it"
  or container.why_not()
local folder, store, volume

-- A test here, or the reason why there is none.
local function it_runs(name, test)
  it(name, function()
    if why_not then
      return pending(why_not)
    end
    test()
  end)
end

local function on(kind, name, test)
  if server.store == kind then
    it_runs(name, test)
  end
end

local function last_record(text)
  return cjson.decode(text:match("([^\n]+)\n$"))
end

local function send(client, command, input, token)
  return client:request("POST", ("/api/aggregates/Order/%s/%s"):format(ORDER, command), input,
    token and { authorization = "Bearer " .. token })
end

local function row(client, token)
  local answer = client:request("GET", "/api/projections/orders/tables/orders/" .. ORDER, nil,
    token and { authorization = "Bearer " .. token })
  return answer.status == 200 and answer.json, answer.body
end

local function wait_row(client, status, token)
  clock.wait_until("the order's row is " .. status, function()
    local found, why = row(client, token)
    return found and found.status == status, why
  end)
end

local function assert_stopped(record)
  assert.equal("stopped", record.message)
  assert.equal("stopped", record.phase)
  assert.equal("signal_sigterm", record.reason)
  assert.is_false(record.forced)
end

-- What the kernel says of process 1 of the container.
local function assert_confined(one, memory_bytes)
  local proc = "/proc/" .. one:host_pid()
  local status = server.read_file(proc .. "/status")
  assert.truthy(status:find("\nUid:\t10001\t10001\t10001\t10001\n", 1, true), status)
  assert.truthy(status:find("\nCapBnd:\t0000000000000000\n", 1, true), status)
  assert.truthy(status:find("\nNoNewPrivs:\t1\n", 1, true), status)
  assert.truthy(status:find("\nNSpid:\t%d+\t1\n"), status)
  local mounts = server.read_file(proc .. "/mountinfo")
  assert.truthy(mounts:find(" / / ro[, ]"), mounts)
  local groups = server.read_file(proc .. "/cgroup")
  local old, new = groups:match(":memory:([^\n]+)"), groups:match("0::([^\n]+)")
  local limit = old and server.read_file("/sys/fs/cgroup/memory" .. old .. "/memory.limit_in_bytes")
    or server.read_file("/sys/fs/cgroup" .. new .. "/memory.max")
  assert.equal(memory_bytes, tonumber(limit))
end

describe("the image", function()
  setup(function()
    folder = server.temporary_folder()
    assert(os.execute("chmod 755 " .. folder) == 0)
    if not why_not then
      container.build()
    end
  end)
  teardown(function()
    container.remove_all()
    if volume then
      container.remove_volume(volume)
    end
    if store then
      store:drop()
    end
    os.execute("rm -rf '" .. folder .. "'")
  end)

  on("sqlite", "says what it was built from", function()
    local text, status = container.run { arguments = { "version" }, log = folder .. "/version" }
    assert.equal(0, status, text)
    assert.truthy(text:find(container.version(), 1, true), text)
    assert.truthy(text:find(container.commit(), 1, true), text)
    local label = '{{index .Config.Labels "org.opencontainers.image.%s"}}'
    assert.equal(container.version(), container.inspect(container.image, label:format("version")))
    assert.equal(container.commit(), container.inspect(container.image, label:format("revision")))
  end)

  on("sqlite", "holds the program, its health check, and no shell", function()
    assert.equal("10001:10001", container.inspect(container.image, "{{.Config.User}}"))
    assert.equal("[/usr/bin/perigee]", container.inspect(container.image, "{{.Config.Entrypoint}}"))
    assert.truthy(container.inspect(container.image, "{{.HealthCheck}}")
      :find("CMD /usr/bin/perigee health --ready", 1, true))
    local text, status = container.run { entrypoint = "/bin/sh", log = folder .. "/shell" }
    assert.not_equal(0, status)
    assert.truthy(text:find("no such file", 1, true), text)
  end)

  on("sqlite", "refuses to start without its settings and says what is missing", function()
    local text, status = container.run { log = folder .. "/unset" }
    assert.equal(2, status, text)
    assert.truthy(text:find("DATABASE_URL", 1, true), text)
  end)

  on("sqlite", "keeps its log in the volume", function()
    local port = server.free_port()
    volume = container.new_volume()
    local options = {
      log = folder .. "/log",
      env = { PERIGEE_ENV = "default", PERIGEE_HTTP_LISTEN = "127.0.0.1:" .. port },
      mounts = {
        volume .. ":/perigee/data",
        server.root .. "/lua/aggregates:/perigee/lua/aggregates:ro",
        server.root .. "/projections:/perigee/projections:ro",
      },
      memory = "128m",
    }
    local client = http.new("127.0.0.1:" .. port)
    local function start()
      os.remove(options.log)
      local one = container.start(options)
      clock.wait_until("its own health check succeeds", function()
        local text, status = one:exec("/usr/bin/perigee health --ready")
        return status == 0, text .. one:output()
      end)
      return one
    end

    local one = start()
    assert_confined(one, 128 * 1024 * 1024)
    local answer = send(client, "create", { customer_id = "c", total = 5 })
    assert.equal(200, answer.status, answer.body)
    wait_row(client, "created")
    one:signal("TERM")
    assert.equal(0, one:wait_end())
    assert_stopped(last_record(one:output()))

    one = start()
    client:close()
    wait_row(client, "created")
    assert.equal(200, send(client, "ship", { tracking_number = "T" }).status)
    one:signal("KILL")
    assert.not_equal(0, one:wait_end())

    one = start()
    client:close()
    wait_row(client, "shipped")
    one:signal("TERM")
    assert.equal(0, one:wait_end())
  end)

  on("postgresql", "does not start with the secrets that the manifests come with", function()
    local pod = kubelet.new { manifest = manifest.folder("config/kubernetes"), folder = folder }
    local text, status = container.run(pod:flags { "check" })
    assert.equal(1, status, text)
    for _, name in ipairs { "writer", "reader", "admin" } do
      assert.truthy(text:find(("http.tokens.%s.token"):format(name), 1, true), text)
    end
  end)

  on("postgresql", "works in a kubelet's hands, and loses nothing", function()
    store = database.new("postgresql")
    local addresses = {
      http = "127.0.0.1:" .. server.free_port(), probes = "127.0.0.1:" .. server.free_port(),
    }
    local pod = kubelet.new {
      manifest = manifest.folder("config/kubernetes"), folder = folder, addresses = addresses,
      secrets = { ["perigee-database"] = { url = store.url }, ["perigee-tokens"] = TOKENS },
      env = { PERIGEE_HTTP_LISTEN = addresses.http, PERIGEE_HTTP_PROBE_LISTEN = addresses.probes },
    }
    local client = http.new(addresses.http)
    local function start()
      pod:start()
      pod:run_until("the pod is ready and found alive", function()
        return pod.ready and pod.states.livenessProbe
      end)
      client:close()
    end

    start()
    assert.equal("startupProbe succeeds", pod.changes[1])
    assert_confined(pod.running, 1024 * 1024 * 1024)
    local order = { customer_id = "c", total = 5 }
    assert.equal(401, send(client, "create", order).status)
    assert.equal(403, send(client, "create", order, TOKENS.reader).status)
    local answer = send(client, "create", order, TOKENS.writer)
    assert.equal(200, answer.status, answer.body)
    wait_row(client, "created", TOKENS.reader)
    local metrics = http.new(addresses.probes):request("GET", "/metrics")
    assert.truthy(metrics.body:find("\nperigee_events_appended_total 1\n", 1, true), metrics.body)
    assert.equal(0, pod:terminate())
    assert_stopped(last_record(pod.running:output()))

    start()
    wait_row(client, "created", TOKENS.reader)
    assert.equal(409, send(client, "create", order, TOKENS.writer).status)
    assert.equal(200, send(client, "ship", { tracking_number = "T" }, TOKENS.writer).status)
    wait_row(client, "shipped", TOKENS.reader)
    assert.equal(0, pod:terminate())
  end)

  on("postgresql", "is alive but not ready while the database is away", function()
    local addresses = {
      http = "127.0.0.1:" .. server.free_port(), probes = "127.0.0.1:" .. server.free_port(),
    }
    local nobody = "postgresql://nobody@127.0.0.1:" .. server.free_port() .. "/none"
    local pod = kubelet.new {
      manifest = manifest.folder("config/kubernetes"), folder = folder, addresses = addresses,
      secrets = { ["perigee-database"] = { url = nobody }, ["perigee-tokens"] = TOKENS },
      env = { PERIGEE_HTTP_LISTEN = addresses.http, PERIGEE_HTTP_PROBE_LISTEN = addresses.probes },
    }
    pod:start()
    pod:run_until("it is found alive and not ready", function()
      return pod.states.livenessProbe == true and pod.states.readinessProbe == false
    end)
    assert.equal(0, pod:terminate())
  end)
end)
