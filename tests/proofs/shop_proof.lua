-- A real shop's lines become exact tables: the day that is shipped, and with
-- PERIGEE_TEST_FULL the whole year from PERIGEE_SHOP_DATA (the original data
-- set as .csv.xz; ../shared/data by default).  What is expected is summed here
-- from the CSV, in whole thousandths, by code that shares nothing with the
-- converter or the engine.

local cjson = require "cjson"
local clock = require "clock"
local server = require "server"

local SHOP = server.root .. "/examples/shop"
local YEAR = os.getenv("PERIGEE_SHOP_DATA") or
  server.root .. "/../shared/data/online-retail.csv.xz"

-- "2.55" is 2550; nothing in the data is finer.
local function thousandths(text)
  local sign, whole, fraction = text:match("^(-?)(%d+)%.?(%d*)$")
  assert(whole and not fraction:find("[^0]", 4), "not in thousandths: " .. text)
  local n = tonumber(whole) * 1000 + tonumber((fraction .. "000"):sub(1, 3))
  return sign == "-" and -n or n
end

local function in_thousandths(n)
  local sign = n < 0 and "-" or ""
  return ("%s%d.%03d"):format(sign, math.floor(math.abs(n) / 1000), math.abs(n) % 1000)
end

-- Fields from the ends of a line, since only a description may hold commas:
-- invoice, quantity, date, price, country.
local function fields_of(line)
  line = line:gsub("\r$", "")
  local invoice = line:match('^"?(%w+)"?,')
  local quantity, date, price, country = line:match(
    ',(-?%d+),"?(%d%d%d%d%-%d%d%-%d%d)[^,]*,(-?[%d.]+),[^,]*,"?([^,"]+)"?$')
  assert(country, line)
  return invoice, tonumber(quantity), date, thousandths(price), country
end

local function add(sums, key, amount)
  sums[key] = (sums[key] or 0) + amount
end

local function expect(lines)
  local expected = { events = 0, streams = 0, lines = 0, total = 0, by_country = {}, by_day = {} }
  local seen = {}
  for line in lines do
    local invoice, quantity, date, price, country = fields_of(line)
    if not seen[invoice] then
      seen[invoice] = true
      expected.streams = expected.streams + 1
      expected.events = expected.events + (invoice:find("^A") and 0 or 1)
    end
    expected.events, expected.lines = expected.events + 1, expected.lines + 1
    expected.total = expected.total + quantity * price
    add(expected.by_country, country, quantity * price)
    add(expected.by_day, date, quantity * price)
  end
  return expected
end

local function import(engine, source)
  local path = engine.folder .. "/events.ndjson"
  local status = os.execute(("%s | luajit '%s/convert.lua' >'%s'"):format(source, SHOP, path))
  assert(status == 0, "the converter failed")
  local began = clock.now()
  local result = engine:run({ "append", "--file", path, "--json" }, { limit_s = 1200 })
  assert(result.status == 0, result.err)
  return cjson.decode(result.out), clock.now() - began
end

local function check_sums(engine, table_name, key, expected)
  local count, total = 0, 0
  for _, row in ipairs(engine:all_rows("sales", table_name)) do
    assert.equal(in_thousandths(expected[row[key]]), in_thousandths(thousandths(row.revenue)))
    count, total = count + 1, total + thousandths(row.revenue)
  end
  for _ in pairs(expected) do
    count = count - 1
  end
  assert.equal(0, count)
  return total
end

local function check_tables(engine, expected)
  local total = check_sums(engine, "sales_by_country", "country", expected.by_country)
  assert.equal(in_thousandths(expected.total), in_thousandths(total))
  assert.equal(total, check_sums(engine, "sales_by_day", "day", expected.by_day))
end

local function wait_for_head(engine, position)
  for _, name in ipairs { "orders", "sales" } do
    clock.wait_until(name .. " reaches the head", function()
      local status = engine:projection(name)
      assert(status.state ~= "error", status.last_error)
      return status.position == position
    end, 1200)
  end
end

-- `source` is a command that prints the CSV.
local function prove(source)
  local pipe = assert(io.popen(source))
  assert(pipe:read("*l"):find("^\"?InvoiceNo"))
  local expected = expect(pipe:lines())
  pipe:close()

  local engine = server.new { aggregates = SHOP .. "/lua/aggregates",
    projections = SHOP .. "/projections" }
  local first, seconds = import(engine, source)
  assert.equal(expected.events, first.appended)
  assert.equal(expected.streams, first.new_streams)
  engine:start()
  local began = clock.now()
  wait_for_head(engine, expected.events)
  local projected = clock.now() - began
  check_tables(engine, expected)

  local orders = engine:all_rows("orders", "orders")
  local second = import(engine, source)
  assert.equal(0, second.appended)
  assert.equal(expected.events, second.already_stored)
  check_tables(engine, expected)
  assert.same(orders, engine:all_rows("orders", "orders"))
  print(("# %d events of %d streams on %s: imported in %.1f s, two projections in %.1f s, sum %s")
    :format(expected.events, expected.streams, server.store, seconds, projected,
      in_thousandths(expected.total)))
  return expected
end

describe("the shop", function()
  after_each(server.remove_all)

  it("has exact tables of its first day", function()
    local expected = prove("cat '" .. SHOP .. "/input/2010-12-01.csv'")
    assert.equal(3108, expected.lines)
    assert.equal(143, expected.streams)
  end)

  it("has exact tables of the whole year", function()
    if os.getenv("PERIGEE_TEST_FULL") ~= "1" then
      return
    end
    local file = io.open(YEAR)
    if not file then
      print("# the year's data is not here: " .. YEAR)
      return
    end
    file:close()
    local expected = prove("xz -dc '" .. YEAR .. "'")
    assert.equal(567806, expected.events)
    assert.equal(25900, expected.streams)
    assert.equal("9747747.934", in_thousandths(expected.total))
  end)
end)
