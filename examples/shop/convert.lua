-- Turns the shop's lines into events: CSV in, NDJSON out, one line after the other.
--
--     luajit convert.lua < input/2010-12-01.csv | perigee append --file -
--
-- An invoice of digits is an order, one that begins with C a credit note, with A an adjustment of
-- debt. An invoice's lines are not contiguous in the source, so the invoices seen are remembered;
-- nothing else is, and the output is the same for the same input, to the byte: running it again
-- and appending again stores nothing twice.
--
-- Money is never a Lua number here: prices pass through as the text they were.

local CSV_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,"
  .. "CustomerID,Country"

-- Splits one CSV line. A field without quotation marks that says NA is nil, "NA" in them is text.
local function split_csv(line)
  local fields, at, count = {}, 1, 0
  repeat
    local field, behind
    if line:sub(at, at) == '"' then
      local stop = at
      repeat
        stop = assert(line:find('"', stop + 1, true), "a quotation mark is not closed")
        local doubled = line:sub(stop + 1, stop + 1) == '"'
        if doubled then
          stop = stop + 1
        end
      until not doubled
      field = line:sub(at + 1, stop - 1):gsub('""', '"')
      behind = stop + 1
    else
      behind = line:find(",", at, true) or #line + 1
      field = line:sub(at, behind - 1)
      field = field ~= "NA" and field or nil
    end
    count = count + 1
    fields[count] = field
    at = behind + 1
  until behind > #line
  return fields, count
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\t"] = "\\t", ["\r"] = "\\r" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- An object from pairs of name and JSON text, in this order; a nil value leaves its name out.
local function object(...)
  local parts = {}
  for i = 1, select("#", ...), 2 do
    local name, value = select(i, ...)
    if value ~= nil then
      parts[#parts + 1] = quote(name) .. ":" .. value
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function text(value)
  return value and quote(value) or nil
end

-- "2010-12-01 08:26:00", taken as UTC
local function instant(date)
  return quote(date:gsub(" ", "T") .. "Z")
end

local function event(row, aggregate_type, event_type, data)
  return object(
    "aggregate_type", quote(aggregate_type),
    "aggregate_id", quote(row.invoice),
    "event_type", quote(event_type),
    "data", data,
    "occurred_at", instant(row.date)
  )
end

local function opening(row)
  return object("customer_id", text(row.customer), "country", text(row.country))
end

local function line_data(row)
  return object(
    "stock_code", text(row.stock_code),
    "description", text(row.description),
    "quantity", row.quantity,
    "unit_price", text(row.price)
  )
end

local KINDS = {
  C = { aggregate_type = "CreditNote", opened = "CreditNoteIssued", line = "LineCredited" },
  order = { aggregate_type = "Order", opened = "OrderPlaced", line = "LineAdded" },
}

-- Calls `emit` with each event of one row; `seen` remembers the invoices.
local function convert_row(row, seen, emit)
  local letter = row.invoice:sub(1, 1)
  if letter == "A" then
    emit(event(row, "Adjustment", "DebtAdjusted", object(
      "description", text(row.description), "country", text(row.country), "amount", text(row.price)
    )))
    return
  end
  local kind = KINDS[letter] or KINDS.order
  if not seen[row.invoice] then
    seen[row.invoice] = true
    emit(event(row, kind.aggregate_type, kind.opened, opening(row)))
  end
  emit(event(row, kind.aggregate_type, kind.line, line_data(row)))
end

local function row_of(line)
  local f, count = split_csv(line)
  assert(count == 8, "expected 8 fields, found " .. count)
  for _, place in ipairs { 1, 4, 5, 6, 8 } do
    assert(f[place], "field " .. place .. " must not be NA")
  end
  assert(f[4]:find("^%-?%d+$"), "quantity is not a whole number: " .. f[4])
  return {
    invoice = f[1], stock_code = f[2], description = f[3], quantity = f[4],
    date = f[5], price = f[6], customer = f[7], country = f[8],
  }
end

local function convert(input, output)
  local seen, number = {}, 0
  local function emit(json)
    output:write(json, "\n")
  end
  for line in input:lines() do
    number = number + 1
    if number == 1 then
      assert(line:gsub('"', "") == CSV_HEADER, "line 1: this is not the shop's CSV header")
    else
      local ok, problem = pcall(function()
        convert_row(row_of(line), seen, emit)
      end)
      if not ok then
        error(("line %d: %s"):format(number, problem), 0)
      end
    end
  end
end

if arg and arg[0] and arg[0]:find("convert%.lua$") then
  io.stdout:setvbuf("full")
  local ok, problem = pcall(convert, io.stdin, io.stdout)
  io.stdout:flush()
  if not ok then
    io.stderr:write("convert: ", problem, "\n")
    os.exit(1)
  end
end

return { convert = convert, split_csv = split_csv }
