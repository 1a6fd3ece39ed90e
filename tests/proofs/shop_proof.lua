-- A real shop's events become exact tables.
--
-- The sums are made here from the CSV, outside the engine, in whole
-- thousandths: a price has three decimals at most and no sum comes near 2^53.
-- Reduced: the day that the example ships.  At full size the whole year, from
-- the data set where it is at hand (PERIGEE_TEST_RETAIL, or beside the
-- project), else the day again, and loudly.

local server = require "server"
local shop = dofile("examples/shop/convert.lua")

local DAY = "examples/shop/input/2010-12-01.csv"
local YEAR = os.getenv("PERIGEE_TEST_RETAIL") or "../shared/data/online-retail.csv.xz"
local IMPORT_LIMIT_S = 1200

local function exists(path)
  local file = io.open(path, "rb")
  return file ~= nil and file:close()
end

local function choose_input()
  if os.getenv("PERIGEE_TEST_FULL") ~= "1" then
    return DAY
  end
  if exists(YEAR) then
    return YEAR
  end
  io.stderr:write("SKIPPED: the whole year is not at ", YEAR, "; the shipped day stands in\n")
  return DAY
end

-- ---- the sums, from the CSV alone ----

-- "12.50" or "-11062.06" in thousandths
local function thousandths(price)
  local sign, whole, fraction = price:match("^(%-?)(%d+)%.?(%d*)$")
  local value = tonumber(whole) * 1000 + tonumber((fraction .. "000"):sub(1, 3))
  return sign == "-" and -value or value
end

-- As the engine shows a sum of prices: plain, no zeros at the end.
local function plain(value)
  local sign = value < 0 and "-" or ""
  value = math.abs(value)
  local text = ("%s%d.%03d"):format(sign, math.floor(value / 1000), value % 1000)
  return (text:gsub("0+$", ""):gsub("%.$", ""))
end

local function add(sums, key, amount)
  sums[key] = (sums[key] or 0) + amount
end

local function sum_up(csv)
  local made = {
    countries = {}, days = {}, orders = {}, invoices = {},
    streams = 0, lines = 0, events = 0, total = 0,
  }
  local header = true
  for line in csv:lines() do
    local f = not header and shop.split_csv(line)
    header = false
    if f then
      local amount = tonumber(f[4]) * thousandths(f[6])
      local kind = f[1]:sub(1, 1)
      made.lines, made.events = made.lines + 1, made.events + 1
      made.total = made.total + amount
      add(made.countries, f[8], amount)
      add(made.days, f[5]:sub(1, 10), amount)
      if kind ~= "C" and kind ~= "A" then
        add(made.orders, f[1], amount)
      end
      if not made.invoices[f[1]] then
        made.invoices[f[1]] = true
        made.streams = made.streams + 1
        made.events = made.events + (kind == "A" and 0 or 1)
      end
    end
  end
  return made
end

local function open_csv(path)
  return path:find("%.xz$") and io.popen("xz -dc '" .. path .. "'") or assert(io.open(path))
end

-- ---- what the engine made of it ----

local function same_sums(expected, rows, key, column)
  local left = {}
  for name, value in pairs(expected) do
    left[name] = plain(value)
  end
  for _, row in ipairs(rows) do
    assert.equal(left[row[key]], plain(thousandths(row[column])), row[key])
    left[row[key]] = nil
  end
  assert.is_nil(next(left), "a row is missing: " .. tostring(next(left)))
end

local function total_of(rows)
  local total = 0
  for _, row in ipairs(rows) do
    total = total + thousandths(row.revenue)
  end
  return total
end

describe("the shop", function()
  local input, expected, engine, events_file

  setup(function()
    input = choose_input()
    local csv = open_csv(input)
    expected = sum_up(csv)
    csv:close()
    engine = server.new {
      aggregates = server.root .. "/examples/shop/lua/aggregates",
      projections = server.root .. "/examples/shop/projections",
    }
    events_file = engine.folder .. "/events.ndjson"
    local reader = input:find("%.xz$") and "xz -dc" or "cat"
    local pipe = ("%s '%s' | luajit examples/shop/convert.lua > '%s'")
      :format(reader, input, events_file)
    assert(os.execute(pipe) == 0)
  end)
  teardown(server.remove_all)

  local function import()
    return engine:run({ "append", "--file", events_file }, { limit_s = IMPORT_LIMIT_S })
  end

  local function wait_for_tables()
    for _, name in ipairs { "orders", "sales" } do
      require("clock").wait_until(name .. " has caught up", function()
        local answer = engine:projection(name)
        return answer.position == expected.events, tostring(answer.position)
      end, IMPORT_LIMIT_S)
    end
  end

  it("is what its source says it is", function()
    if input == YEAR then
      assert.equal(541909, expected.lines)
      assert.equal(567806, expected.events)
      assert.equal(25900, expected.streams)
      assert.equal("9747747.934", plain(expected.total))
    else
      assert.equal(3108, expected.lines)
    end
  end)

  it("is imported whole", function()
    local result = import()
    assert.equal(0, result.status, result.err)
    engine:start()
    assert.equal(expected.events, engine:get("/api/projections/sales").json.head)
  end)

  it("has exact totals by order, by country and by day", function()
    wait_for_tables()
    local orders = engine:all_rows("orders", "orders")
    local countries = engine:all_rows("sales", "sales_by_country")
    local days = engine:all_rows("sales", "sales_by_day")
    same_sums(expected.orders, orders, "invoice", "total")
    same_sums(expected.countries, countries, "country", "revenue")
    same_sums(expected.days, days, "day", "revenue")
  end)

  it("adds up to the last digit", function()
    local countries = engine:all_rows("sales", "sales_by_country")
    local adjustments = input == YEAR and 3 or 0 -- no invoices
    assert.equal(plain(expected.total), plain(total_of(countries)))
    assert.equal(expected.streams, #engine:all_rows("sales", "invoices") + adjustments)
  end)

  it("does not change when it is imported again", function()
    local before = engine:all_rows("sales", "sales_by_country")
    engine:stop()
    local result = import()
    assert.equal(0, result.status, result.err)
    engine:start()
    assert.equal(expected.events, engine:projection("sales").head)
    assert.same(before, engine:all_rows("sales", "sales_by_country"))
  end)
end)
