-- Probes on a port of their own, and what clients that hold connections, send
-- slowly or ask too much do to others.

local clock = require "clock"
local http = require "http"
local server = require "server"
local socket = require "socket"

-- `spin` runs until its time is over.
local AGGREGATE = [[
return {
  type = "Busy",
  initial = function(id) return {} end,
  commands = { spin = { run = function() while true do end end } },
  apply = { Spun = function() end },
}
]]

local engine, probes

local function start(settings)
  local probe_address = "127.0.0.1:" .. server.free_port()
  local all = { http = { probe_listen = probe_address, threads = 20, max_live = 0 } }
  for section, keys in pairs(settings or {}) do
    all[section] = keys
  end
  engine = server.start_new { aggregates = { ["busy.lua"] = AGGREGATE }, settings = all }
  probes = http.new(probe_address)
end

-- A connection that has said so much.
local function connection(text)
  local host, port = engine.address:match("^(.*):(%d+)$")
  local it = assert(socket.connect(host, tonumber(port)))
  it:settimeout(30)
  if text then
    assert(it:send(text))
  end
  return it
end

local function connections(count, text)
  local list = {}
  for i = 1, count do
    list[i] = connection(text)
  end
  return list
end

local function close_all(list)
  for _, it in ipairs(list) do
    it:close()
  end
end

local SPIN = "POST /api/aggregates/Busy/1/spin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

-- Of 20 threads 16 are kept free, and commands on one aggregate queue: four of
-- them take all the places.  One that met our own question was refused itself,
-- so they come one by one until a question is refused.
local function spin()
  local busy = {}
  local refused = clock.wait_until("a request too many", function()
    busy[#busy + 1] = connection(SPIN)
    local answer = engine:get("/api/events")
    return answer.status == 503 and answer
  end)
  return busy, refused
end

describe("a port for probes", function()
  before_each(start)
  after_each(server.remove_all)

  it("answers probes and metrics, and nothing else", function()
    for _, path in ipairs { "/health", "/health/ready", "/health/live", "/metrics" } do
      local answer = probes:request("GET", path)
      assert.equal(200, answer.status, path)
      assert.equal("close", answer.headers.connection)
      assert.equal(200, engine:get(path).status, path .. " on the port of all")
    end
    for _, path in ipairs { "/api/events", "/api/projections", "/api/aggregates/Busy/1", "/" } do
      assert.equal(404, probes:request("GET", path).status, path)
    end
    assert.equal(404, probes:request("POST", "/api/shutdown", "{}").status)
    assert.equal(405, probes:request("POST", "/health", "{}").status)
    assert.is_nil(engine:poll())
  end)

  it("answers while clients hold every thread of the other", function()
    -- More than there are threads: some idle after an answer, some within
    -- their headers, some within their body.
    local idle = connections(7, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    local heads = connections(7, "GET /health HTTP/1.1\r\nHost: x")
    local bodies = connections(7, "POST /api/streams/A/1 HTTP/1.1\r\nHost: x\r\n"
      .. "Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
    local late = connection("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ = 1, 20 do
      assert.equal(200, probes:request("GET", "/health/ready").status)
    end
    late:settimeout(0)
    local _, why = late:receive("*l")
    assert.equal("timeout", why, "the other port answers: nobody held its threads")
    close_all(idle) close_all(heads) close_all(bodies) late:close()
  end)

  it("is not held by clients that say nothing", function()
    local host, port = probes.host, probes.port
    local silent = {}
    for i = 1, 30 do
      silent[i] = assert(socket.connect(host, port))
      silent[i]:send("GET /health")
    end
    -- Eight threads, two seconds each, four rounds: well within the client's 30.
    assert.equal(200, probes:request("GET", "/health/live").status)
    close_all(silent)
  end)

  it("is where `perigee health` asks", function()
    local result = engine:run { "health", "--ready" }
    assert.equal(0, result.status, result.err)
    -- The other port would not answer.
    local held = connections(21, "GET /health HTTP/1.1\r\nHost: x")
    assert.equal(0, engine:run({ "health", "--live" }).status)
    close_all(held)
  end)
end)

describe("a port for probes at the end", function()
  after_each(server.remove_all)

  it("says unready until the last, and then is gone", function()
    start { aggregates = { command_timeout = 1 } }
    local busy = spin()
    engine:signal "TERM"
    local unready = clock.wait_until("the probe says unready", function()
      local answer = probes:request("GET", "/health/ready")
      return answer.status == 503 and answer
    end)
    assert.is_false(unready.json.ready)
    assert.equal(200, probes:request("GET", "/health/live").status)
    assert.matches("504", busy[1]:receive("*l"))
    assert.equal(0, engine:wait_end())
    assert.is_false((pcall(probes.request, probes, "GET", "/health/live")))
  end)
end)

describe("too many requests for the store", function()
  after_each(server.remove_all)

  it("are told to come again, and probes are answered", function()
    start { aggregates = { command_timeout = 2 } }
    local busy, refused = spin()
    assert.equal("overloaded", refused.json.code)
    assert.is_truthy(refused.headers["retry-after"])
    assert.equal(200, engine:get("/health").status)
    assert.equal(200, engine:get("/api/projections").status)
    close_all(busy)
    clock.wait_until("the store is free again", function()
      return engine:get("/api/events").status == 200
    end)
  end)
end)

describe("headers beyond the limit", function()
  after_each(server.remove_all)

  it("are told so", function()
    start()
    local long, many = "X-Long: " .. ("x"):rep(17000) .. "\r\n", ("X-Many: 1\r\n"):rep(64)
    for _, headers in ipairs { long, many } do
      local answer = engine:connect():raw(
        "GET /health HTTP/1.1\r\nHost: x\r\n" .. headers .. "\r\n")
      assert.equal(431, answer.status)
      assert.matches("headers_too_large", answer.body)
    end
    assert.equal(200, engine:get("/health").status)
  end)
end)
