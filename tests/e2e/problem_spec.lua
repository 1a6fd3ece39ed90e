-- TR-K08: one envelope for all errors, each documented code provoked.

local cjson = require "cjson"
local server = require "server"

local AGGREGATE = [[
return {
  type = "Counter",
  initial = function(id) return { n = 0 } end,
  commands = {
    add = { input = { by = "integer", note = "string?" }, run = function(counter, input)
      counter:reject_if(input.by < 0, "Only up")
      counter:emit("Added", { by = input.by })
    end },
    fail = { run = function(counter) error("a mistake in the script") end },
    spin = { run = function(counter) while true do end end },
    eat = { run = function(counter) local t = {} for i = 1, 1e9 do t[i] = { i } end end },
  },
  apply = { Added = function(state, event) state.n = state.n + event.data.by end },
}
]]

local engine

local function problem(answer, status, code)
  assert.equal(status, answer.status, answer.body)
  assert.equal("application/problem+json", answer.headers["content-type"]:match("^[^;]+"))
  assert.equal(code, answer.json.code)
  assert.equal(status, answer.json.status)
  for _, field in ipairs { "type", "title", "detail" } do
    assert.is_string(answer.json[field], field)
  end
  return answer.json
end

local function fields_of(found)
  local names = {}
  for _, fault in ipairs(found.errors) do
    assert.is_string(fault.message)
    names[#names + 1] = fault.field
  end
  table.sort(names)
  return names
end

describe("each code of the table", function()
  setup(function()
    engine = server.start_new {
      aggregates = { ["counter.lua"] = AGGREGATE },
      settings = { aggregates = { command_timeout = 0.3 }, sandbox = { memory_mb = 8 } },
    }
  end)
  teardown(server.remove_all)

  local run = "/api/aggregates/Counter/1/"
  local stream = "/api/streams/Other/1"

  it("invalid_json", function()
    problem(engine:post(run .. "add", '{"by":}'), 400, "invalid_json")
    problem(engine:post(stream, "not json"), 400, "invalid_json")
    problem(engine:post(stream, ""), 400, "invalid_json")
  end)

  it("invalid_input, naming each field", function()
    local found = problem(engine:post(run .. "add", '{"by":"two","note":5,"more":1}'), 422,
      "invalid_input")
    assert.same({ "by", "more", "note" }, fields_of(found))
    problem(engine:post(run .. "add", "[]"), 422, "invalid_input")
    problem(engine:post(stream, "{}"), 422, "invalid_input")
  end)

  it("invalid_id", function()
    problem(engine:post("/api/streams/Other/%00", '{"events":[]}'), 400, "invalid_id")
    problem(engine:get("/api/streams/Other/" .. ("x"):rep(256)), 400, "invalid_id")
  end)

  it("rejected, in the script's words", function()
    local found = problem(engine:post(run .. "add", '{"by":-1}'), 409, "rejected")
    assert.equal("Only up", found.detail)
  end)

  it("version_conflict, with both versions", function()
    assert.equal(200, engine:post(run .. "add", '{"by":1}').status)
    local found = problem(engine:post(run .. "add", '{"by":1}', { ["If-Match"] = '"7"' }), 409,
      "version_conflict")
    assert.equal(7, found.expected_version)
    assert.equal(1, found.actual_version)
  end)

  it("duplicate_event, with the stored place", function()
    local id = "11111111-1111-4111-8111-111111111111"
    local body = { events = { { event_type = "T", data = { n = 1 }, event_id = id } } }
    assert.equal(200, engine:post(stream, body).status)
    local found = problem(engine:post("/api/streams/Other/2", body), 409, "duplicate_event")
    assert.is_number(found.position)
  end)

  it("not_found", function()
    problem(engine:get("/nowhere"), 404, "not_found")
    problem(engine:get("/api/nowhere"), 404, "not_found")
    problem(engine:get("/api/projections/nobody"), 404, "not_found")
    problem(engine:post("/api/aggregates/Counter/1/vanish"), 404, "not_found")
    problem(engine:post("/api/aggregates/Nothing/1/add", '{"by":1}'), 404, "not_found")
  end)

  it("method_not_allowed, with what is", function()
    local answer = engine:request("DELETE", stream)
    problem(answer, 405, "method_not_allowed")
    assert.truthy(answer.headers.allow:find("GET", 1, true), answer.headers.allow)
    assert.truthy(answer.headers.allow:find("POST", 1, true), answer.headers.allow)
  end)

  it("payload_too_large", function()
    local body = '{"events":[{"event_type":"T","data":{"a":"' .. ("x"):rep(1024 * 1024) .. '"}}]}'
    problem(engine:connect():request("POST", stream, body), 413, "payload_too_large")
    local announced = engine:connect():raw("POST /api/streams/Other/1 HTTP/1.1\r\nHost: x\r\n" ..
      "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
    assert.equal(413, announced.status)
  end)

  it("unsupported_media_type", function()
    problem(engine:post(stream, "a=1", { ["Content-Type"] = "application/x-www-form-urlencoded" }),
      415, "unsupported_media_type")
  end)

  it("script_error, with file and line", function()
    local found = problem(engine:post(run .. "fail"), 500, "script_error")
    assert.truthy(found.detail:find("counter.lua:9: a mistake in the script", 1, true),
      found.detail)
    assert.equal(9, found.line)
    assert.truthy(found.file:find("counter.lua", 1, true))
  end)

  it("script_timeout and script_memory, and nothing is stored", function()
    local before = #engine:get("/api/streams/Counter/1").json.events
    local found = problem(engine:post(run .. "spin"), 504, "script_timeout")
    assert.equal(10, found.line)
    problem(engine:post(run .. "eat"), 500, "script_memory")
    assert.equal(before, #engine:get("/api/streams/Counter/1").json.events)
  end)

  it("bad_request names the parameter", function()
    for _, query in ipairs { "after=-1", "after=x", "limit=0", "limit=5000", "colour=red",
      "limit=1&limit=2" } do
      local answer = engine:get("/api/events?" .. query)
      assert.equal(400, answer.status, query .. ": " .. answer.body)
      assert.equal("bad_request", answer.json.code)
      assert.is_true(#fields_of(answer.json) > 0, answer.body)
    end
    problem(engine:post(run .. "add", '{"by":1}', { ["If-Match"] = "7" }), 400, "bad_request")
  end)

  it("a body that only looks well is refused: deep, double keys, half a surrogate", function()
    for _, data in ipairs { '{"by":1,"by":2}', '{"by":"\\ud800"}', '{"note":"\\u0000"}',
      ('{"by":'):rep(100) .. "1" .. ("}"):rep(100) } do
      problem(engine:post(run .. "add", data), 400, "invalid_json")
    end
  end)
end)

describe("requests that no client should make", function()
  setup(function() engine = server.start_new() end)
  teardown(server.remove_all)

  local function raw(text)
    return engine:connect():raw((text:gsub("\n", "\r\n")))
  end

  it("are refused, and the engine goes on", function()
    local bad = {
      "GET /api/events HTTP/1.1\nHost: x\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
      "POST /api/streams/A/1 HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nzz\n",
      "GET /api/%zz HTTP/1.1\nHost: x\n\n",
      "NONSENSE\n\n",
    }
    for _, text in ipairs(bad) do
      local ok, answer = pcall(raw, text)
      assert.is_true(not ok or answer.status >= 400, text)
    end
    assert.equal(200, engine:connect():request("GET", "/health/live").status)
  end)

  it("a path does not climb out", function()
    for _, path in ipairs { "/../etc/passwd", "/%2e%2e/etc/passwd", "/health/../api/events",
      "//etc/passwd" } do
      local answer = raw("GET " .. path .. " HTTP/1.1\nHost: x\n\n")
      assert.is_true(answer.status >= 400, path)
      assert.is_nil(answer.body:find("root:", 1, true))
    end
  end)

  it("keep-alive holds over errors", function()
    local client = engine:connect()
    for _ = 1, 3 do
      assert.equal(404, client:request("GET", "/nowhere").status)
      assert.equal(200, client:request("GET", "/health/live").status)
    end
    assert.is_not_nil(client.socket)
  end)

  it("lists of what there is", function()
    assert.same({ projections = {}, next = cjson.null }, engine:get("/api/projections").json)
    assert.equal(200, engine:get("/api/scripts").status)
    engine:append("Counted/1", { { event_type = "T", data = { n = 1 } } })
    local metrics = engine:get("/metrics")
    assert.equal(200, metrics.status)
    assert.truthy(metrics.body:find("\nperigee_events_appended_total 1\n", 1, true), metrics.body)
    assert.equal("# EOF\n", metrics.body:sub(-6))
  end)
end)
