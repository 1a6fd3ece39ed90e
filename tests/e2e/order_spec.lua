-- The guide's scenario with the scripts that `make run` serves.

local cjson = require "cjson"
local server = require "server"

local CUSTOMER = { customer_id = "cust-prod-001", total = 499.99 }
local TRACKING = { tracking_number = "TRK-2024-001" }

describe("the Order example", function()
  local engine
  local order = "/api/aggregates/Order/550e8400-e29b-41d4-a716-446655440000"

  setup(function()
    engine = server.new { aggregates = server.root .. "/lua/aggregates",
      projections = server.root .. "/projections" }
    engine:start()
  end)
  teardown(server.remove_all)

  it("C-AG-02 refuses to ship what was not created", function()
    local answer = engine:post(order .. "/ship", TRACKING)
    assert.equal(409, answer.status)
    assert.equal("rejected", answer.json.code)
    assert.equal("Cannot ship order in current state", answer.json.detail)
    assert.equal(0, #engine:get("/api/events").json.events)
  end)

  it("C-AG-02 creates and ships", function()
    local created = engine:post(order .. "/create", CUSTOMER)
    assert.equal(200, created.status, created.body)
    assert.equal(1, created.json.version)
    assert.equal("OrderCreated", created.json.events[1].event_type)
    assert.equal("created", created.json.state.status)
    local shipped = engine:post(order .. "/ship", TRACKING)
    assert.equal(200, shipped.status, shipped.body)
    assert.equal(2, shipped.json.version)
    assert.equal("shipped", shipped.json.state.status)
  end)

  it("C-AG-04 refuses the second create and the second ship, and stores nothing", function()
    local create = engine:post(order .. "/create", CUSTOMER)
    assert.equal(409, create.status)
    assert.equal("rejected", create.json.code)
    assert.equal("Order already exists", create.json.detail)
    local ship = engine:post(order .. "/ship", TRACKING)
    assert.equal(409, ship.status)
    assert.equal("Cannot ship order in current state", ship.json.detail)
    assert.equal(2, #engine:get("/api/events").json.events)
    assert.equal('"2"', engine:get(order).headers.etag)
  end)

  it("shows the folded state, now and as it was", function()
    local now = engine:get(order)
    assert.equal(200, now.status)
    assert.equal('"2"', now.headers.etag)
    assert.equal(2, now.json.version)
    assert.equal("shipped", now.json.state.status)
    assert.equal("TRK-2024-001", now.json.state.tracking_number)
    assert.equal(499.99, now.json.state.total)
    local before = engine:get(order .. "?at=1")
    assert.equal('"1"', before.headers.etag)
    assert.equal("created", before.json.state.status)
    assert.is_nil(before.json.state.tracking_number)
  end)

  it("holds a command to the version its caller saw", function()
    local stale = engine:post(order .. "/ship", TRACKING, { ["If-Match"] = '"1"' })
    assert.equal(409, stale.status)
    assert.equal("version_conflict", stale.json.code)
    assert.equal(1, stale.json.expected_version)
    assert.equal(2, stale.json.actual_version)
    local other = "/api/aggregates/Order/550e8400-e29b-41d4-a716-446655440001"
    assert.equal(200, engine:post(other .. "/create", CUSTOMER).status)
    assert.equal(200, engine:post(other .. "/ship", TRACKING, { ["If-Match"] = '"1"' }).status)
  end)

  it("names every bad field of an input", function()
    local answer = engine:post("/api/aggregates/Order/new-one/create",
      { total = "much", coupon = 1 })
    assert.equal(422, answer.status)
    assert.equal("invalid_input", answer.json.code)
    local fields = {}
    for _, fault in ipairs(answer.json.errors) do
      fields[#fields + 1] = fault.field
    end
    table.sort(fields)
    assert.same({ "coupon", "customer_id", "total" }, fields)
  end)

  it("keeps who and why with the event", function()
    local other = "550e8400-e29b-41d4-a716-446655440002"
    engine:post("/api/aggregates/Order/" .. other .. "/create", CUSTOMER, {
      ["X-Correlation-Id"] = "corr-1", ["X-Actor-Id"] = "alice", ["X-Tenant-Id"] = "north",
    })
    local event = engine:get("/api/streams/Order/" .. other).json.events[1]
    assert.equal("corr-1", event.correlation_id)
    assert.equal("alice", event.actor_id)
    assert.equal("north", event.tenant_id)
  end)

  it("has the order in its table, as HTTP and SQL see it", function()
    engine:wait_position("orders", 2)
    local row = engine:row("orders", "orders", "550e8400-e29b-41d4-a716-446655440000")
    assert.equal("shipped", row.status)
    assert.equal("499.99", row.total)
    assert.equal("TRK-2024-001", row.tracking_number)
    local in_sql = engine.database:rows("select customer_id, status from orders" ..
      " where tracking_number = 'TRK-2024-001' order by order_id limit 1")
    assert.same({ { customer_id = "cust-prod-001", status = "shipped" } }, in_sql)
  end)

  it("normalises a UUID to lower case", function()
    local answer = engine:get("/api/aggregates/Order/550E8400-E29B-41D4-A716-446655440000")
    assert.equal(200, answer.status)
    assert.equal("550e8400-e29b-41d4-a716-446655440000", answer.json.aggregate_id)
  end)

  it("answers an absent aggregate", function()
    local answer = engine:get("/api/aggregates/Order/absent")
    assert.equal(404, answer.status)
    assert.equal("not_found", answer.json.code)
    assert.equal(404, engine:get("/api/aggregates/Nothing/1").status)
    assert.equal(404, engine:post("/api/aggregates/Order/1/vanish").status)
    assert.not_equal(cjson.null, answer.json.detail)
  end)
end)
