-- Who may do what over HTTP, and what tokens and headers put on events.

local server = require "server"

local AGGREGATE = [[
return {
  type = "Counter",
  initial = function(id) return { n = 0 } end,
  commands = { add = { run = function(counter) counter:emit("Added", {}) end } },
  apply = { Added = function(state) state.n = state.n + 1 end },
}
]]

local TOKENS = {
  dashboard = { token = "dashboard-0123456789abcdef", role = "reader" },
  shop = { token = "shop-0123456789abcdef", role = "writer" },
  shop_next = { token = "shop-fedcba9876543210", role = "writer" },
  tenant = {
    token = "tenant-0123456789abcdef", role = "writer", tenant = "acme", actor = "till-1",
  },
  operator = { token = "operator-0123456789abcdef", role = "admin" },
}
local TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
local OTHER_TRACE = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"

local ADD = "/api/aggregates/Counter/1/add"
local PLAIN = { events = { { event_type = "Noted", data = { n = 1 } } } }

local engine

-- Headers of a request with that token, and further ones.
local function as(name, more)
  local headers = { Authorization = "Bearer " .. TOKENS[name].token }
  for key, value in pairs(more or {}) do
    headers[key] = value
  end
  return headers
end

local function problem(answer, status, code)
  assert.equal(status, answer.status, answer.body)
  assert.equal(code, answer.json.code)
  return answer.json
end

local function last_event(stream)
  local answer = engine:get("/api/streams/" .. stream .. "?backward=true&limit=1", as "dashboard")
  assert.equal(200, answer.status, answer.body)
  return answer.json.events[1]
end

local function assert_no_token(text, where)
  for name, token in pairs(TOKENS) do
    assert.is_nil(text:find(token.token, 1, true), where .. " has the token of " .. name)
  end
end

describe("an engine with tokens", function()
  setup(function()
    engine = server.start_new {
      aggregates = { ["counter.lua"] = AGGREGATE },
      settings = { http = { tokens = TOKENS }, log = { level = "DEBUG" } },
    }
  end)
  teardown(server.remove_all)

  it("asks who does not say who they are", function()
    local wrong = { false, "Bearer nobody-0123456789abcdef", "Basic c2hvcDpzaG9w", "Bearer" }
    for _, header in ipairs(wrong) do
      local answer = engine:get("/api/events", { Authorization = header or nil })
      problem(answer, 401, "unauthorized")
      assert.equal('Bearer realm="perigee"', answer.headers["www-authenticate"])
    end
    problem(engine:post(ADD), 401, "unauthorized")
    problem(engine:post("/api/shutdown"), 401, "unauthorized")
  end)

  it("lets anyone see probes and metrics", function()
    for _, path in ipairs { "/health", "/health/ready", "/health/live", "/metrics" } do
      assert.equal(200, engine:get(path).status, path)
    end
  end)

  it("lets readers read and writers write", function()
    assert.equal(200, engine:get("/api/events", as "dashboard").status)
    local refused = problem(engine:post(ADD, "{}", as "dashboard"), 403, "forbidden")
    assert.matches("writer", refused.detail)
    problem(engine:post("/api/streams/Log/1", PLAIN, as "dashboard"), 403, "forbidden")
    assert.equal(200, engine:post(ADD, "{}", as "shop").status)
    assert.equal(200, engine:post("/api/streams/Log/1", PLAIN, as "shop").status)
    assert.equal(200, engine:get("/api/events", as "shop").status)
    refused = problem(engine:post("/api/shutdown", "{}", as "shop"), 403, "forbidden")
    assert.matches("admin", refused.detail)
    assert.equal(200, engine:post(ADD, "{}", as "operator").status)
  end)

  it("takes the old token and the new one while clients change over", function()
    assert.equal(200, engine:post(ADD, "{}", as "shop").status)
    assert.equal(200, engine:post(ADD, "{}", as "shop_next").status)
  end)

  it("refuses before the body is sent", function()
    local answer = engine:connect():raw("POST " .. ADD .. " HTTP/1.1\r\nHost: x\r\n"
      .. "Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n{")
    assert.equal(401, answer.status)
  end)

  it("puts a token's tenant and actor on what it writes", function()
    assert.equal(200, engine:post("/api/aggregates/Counter/t/add", "{}", as "tenant").status)
    local event = last_event "Counter/t"
    assert.equal("acme", event.tenant_id)
    assert.equal("till-1", event.actor_id)
    assert.equal(200, engine:post("/api/streams/Log/t", PLAIN, as "tenant").status)
    event = last_event "Log/t"
    assert.equal("acme", event.tenant_id)
    assert.equal("till-1", event.actor_id)
  end)

  it("lets a bound token say nothing else", function()
    local before = last_event "Log/t".aggregate_version
    for _, path in ipairs { "/api/aggregates/Counter/t/add", "/api/streams/Log/t" } do
      local body = path:find "streams" and PLAIN or "{}"
      assert.matches("X%-Tenant%-Id", problem(engine:post(path, body,
        as("tenant", { ["X-Tenant-Id"] = "other" })), 403, "forbidden").detail)
      assert.matches("X%-Actor%-Id", problem(engine:post(path, body,
        as("tenant", { ["X-Actor-Id"] = "other" })), 403, "forbidden").detail)
      assert.equal(200, engine:post(path, body,
        as("tenant", { ["X-Tenant-Id"] = "acme", ["X-Actor-Id"] = "till-1" })).status)
    end
    local other = { events = { PLAIN.events[1],
      { event_type = "Noted", data = { n = 2 }, tenant_id = "other" } } }
    assert.matches("events%[1%]%.tenant_id",
      problem(engine:post("/api/streams/Log/t", other, as "tenant"), 403, "forbidden").detail)
    assert.equal(before + 1, last_event "Log/t".aggregate_version)
  end)

  it("brings who, why and which trace into the events", function()
    local headers = as("shop", {
      ["X-Tenant-Id"] = "north", ["X-Actor-Id"] = "ada",
      ["X-Correlation-Id"] = "corr-1", ["X-Causation-Id"] = "cause-1", traceparent = TRACE,
    })
    assert.equal(200, engine:post("/api/aggregates/Counter/h/add", "{}", headers).status)
    assert.equal(200, engine:post("/api/streams/Log/h", PLAIN, headers).status)
    for _, stream in ipairs { "Counter/h", "Log/h" } do
      local event = last_event(stream)
      assert.equal("north", event.tenant_id)
      assert.equal("ada", event.actor_id)
      assert.equal("corr-1", event.correlation_id)
      assert.equal("cause-1", event.causation_id)
      assert.equal(TRACE, event.metadata.traceparent)
    end
  end)

  it("leaves what an event says itself", function()
    local body = { events = { { event_type = "Noted", data = {}, correlation_id = "mine",
      metadata = { traceparent = "kept", a = 1 } } } }
    assert.equal(200, engine:post("/api/streams/Log/own", body,
      as("shop", {
        ["X-Correlation-Id"] = "header", ["X-Actor-Id"] = "ada", traceparent = TRACE,
      })).status)
    local event = last_event "Log/own"
    assert.equal("mine", event.correlation_id)
    assert.equal("ada", event.actor_id)
    assert.equal("kept", event.metadata.traceparent)
  end)

  it("takes a repeated append for the same in another trace", function()
    local body = { events = { { event_type = "Noted", data = {}, metadata = { a = 1 },
      event_id = "6f1c1d5c-5c6e-4b0e-9f6b-0d8f1f3a2b4c" } } }
    local path = "/api/streams/Log/again"
    local first = engine:post(path, body, as("shop", { traceparent = TRACE }))
    local second = engine:post(path, body, as("shop", { traceparent = OTHER_TRACE }))
    assert.equal(200, second.status, second.body)
    assert.is_true(second.json.idempotent)
    assert.equal(first.json.last_position, second.json.last_position)
    assert.equal(TRACE, last_event "Log/again".metadata.traceparent)
  end)

  it("names the header that is wrong", function()
    local wrong = { ("x"):rep(256), "\255\254", "" }
    for _, name in ipairs { "X-Tenant-Id", "X-Actor-Id", "X-Correlation-Id", "X-Causation-Id",
      "Idempotency-Key" } do
      for _, value in ipairs(wrong) do
        local answer = engine:post(ADD, "{}", as("shop", { [name] = value }))
        local found = problem(answer, 400, "bad_request")
        assert.matches("header " .. name:gsub("%-", "%%-") .. ":", found.detail)
      end
    end
  end)

  it("answers a state that was seen without its body", function()
    assert.equal(200, engine:post("/api/aggregates/Counter/seen/add", "{}", as "shop").status)
    local path = "/api/aggregates/Counter/seen"
    local answer = engine:get(path, as "dashboard")
    local tag = answer.headers.etag
    answer = engine:get(path, as("dashboard", { ["If-None-Match"] = tag }))
    assert.equal(304, answer.status)
    assert.equal(tag, answer.headers.etag)
    assert.is_nil(answer.headers["content-length"])
    assert.equal(200, engine:post(path .. "/add", "{}", as("shop", { ["If-Match"] = tag })).status)
    assert.equal(200, engine:get(path, as("dashboard", { ["If-None-Match"] = tag })).status)
  end)

  it("lets an append say its version by a header", function()
    local path = "/api/streams/Log/match"
    assert.equal(200, engine:post(path, PLAIN, as("shop", { ["If-Match"] = '"0"' })).status)
    problem(engine:post(path, PLAIN, as("shop", { ["If-Match"] = '"0"' })), 409, "version_conflict")
    local both = { expected_version = 2, events = PLAIN.events }
    local answer = engine:post(path, both, as("shop", { ["If-Match"] = '"1"' }))
    local found = problem(answer, 400, "bad_request")
    assert.matches("If%-Match", found.detail)
  end)

  it("is spoken to by commands that show a token", function()
    local url = "http://" .. engine.address
    local arguments = { "send", "Counter", "cli", "add", "--url", url }
    local refused = server.cli(arguments)
    assert.equal(1, refused.status)
    assert.matches("401", refused.err)
    assert.matches("PERIGEE_TOKEN", refused.err)
    local done = server.cli(arguments, { env = { PERIGEE_TOKEN = TOKENS.shop.token } })
    assert.equal(0, done.status, done.err)
    local path = engine.folder .. "/token"
    server.write_file(path, TOKENS.dashboard.token .. "\n")
    done = server.cli({ "state", "Counter", "cli", "--url", url, "--token-file", path })
    assert.equal(0, done.status, done.err)
    arguments[#arguments + 1] = "--token-file"
    arguments[#arguments + 1] = path
    refused = server.cli(arguments, { env = { PERIGEE_TOKEN = TOKENS.shop.token } })
    assert.equal(1, refused.status)
    assert.matches("writer", refused.err)
    refused = server.cli(arguments, { env = { PERIGEE_TOKEN = "short" } })
    assert.equal(1, refused.status)
    refused = server.cli({ "state", "Counter", "1", "--url", url },
      { env = { PERIGEE_TOKEN = "short" } })
    assert.equal(2, refused.status)
    assert.matches("PERIGEE_TOKEN", refused.err)
    assert.equal(0, server.cli({ "health", "--url", url }).status)
  end)

  it("never says a token", function()
    engine:get("/api/events?token=" .. "x", as "dashboard")
    local shown = engine:run { "check", "--settings" }
    assert.matches("http.tokens.shop = %*%*%* role writer", shown.out)
    assert_no_token(shown.out .. shown.err, "check --settings")
    for _, path in ipairs { "/health", "/metrics", "/api/scripts", "/api/projections" } do
      assert_no_token(engine:get(path, as "operator").body, path)
    end
    assert_no_token(engine:output(), "the log")
  end)
end)

describe("wrong tokens in the settings", function()
  teardown(server.remove_all)

  it("are all named, and none is said", function()
    local wrong = server.new { settings = { http = { auth = "none", tokens = {
      a = { token = "a-0123456789abcdef", role = "writer" },
      b = { token = "a-0123456789abcdef", role = "king" },
      c = { token = "tooshort" },
    } } } }
    local result = wrong:run { "serve" }
    assert.equal(2, result.status)
    for _, part in ipairs { "http.tokens.b.token ", "http.tokens.b.role ", "http.tokens.c.token ",
      "http.tokens.c.role ", "http.auth = \"none\"" } do
      assert.is_truthy(result.err:find(part, 1, true), part .. " in " .. result.err)
    end
    assert.is_nil(result.err:find("0123456789abcdef", 1, true))
    assert.is_nil(result.err:find("tooshort", 1, true))
  end)
end)

describe("an engine that stops for an admin", function()
  teardown(server.remove_all)

  it("is asked by its token", function()
    local short = server.start_new { settings = { http = { tokens = TOKENS } } }
    assert.equal(202, short:post("/api/shutdown", "{}", as "operator").status)
    assert.equal(0, short:wait_end())
  end)
end)
