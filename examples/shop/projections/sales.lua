-- What the shop turned over, by country and by day: orders, less what was credited, and corrections
-- of debt. A line does not say its country, its invoice does: `invoices` remembers it.

---@param db table
---@param event perigee.Event
---@param country string
---@param amounts table
local function add(db, event, country, amounts)
  db.sales_by_country:add(country, amounts)
  db.sales_by_day:add(event.occurred_at:sub(1, 10), amounts)
end

local function opened(column)
  return function(event, db)
    db.invoices:put { invoice = event.aggregate_id, country = event.data.country }
    add(db, event, event.data.country, { [column] = 1 })
  end
end

local function line(event, db)
  local invoice = db.invoices:get(event.aggregate_id)
  local revenue = decimal(event.data.unit_price) * event.data.quantity
  add(db, event, invoice.country, { lines = 1, items = event.data.quantity, revenue = revenue })
end

---@type perigee.Projection
return {
  name = "sales",
  version = 1,
  subscription = { batch_size = 1000 },

  tables = {
    invoices = { key = "invoice", columns = { invoice = "text", country = "text" } },
    sales_by_country = {
      key = "country",
      columns = {
        country = "text",
        orders = "bigint",
        credit_notes = "bigint",
        lines = "bigint",
        items = "bigint",
        revenue = "numeric",
      },
    },
    sales_by_day = {
      key = "day",
      columns = {
        day = "date",
        orders = "bigint",
        credit_notes = "bigint",
        lines = "bigint",
        items = "bigint",
        revenue = "numeric",
      },
    },
  },

  on = {
    OrderPlaced = opened("orders"),
    CreditNoteIssued = opened("credit_notes"),
    LineAdded = line,
    LineCredited = line,
    DebtAdjusted = function(event, db)
      local amount = decimal(event.data.amount)
      add(db, event, event.data.country, { lines = 1, items = 0, revenue = amount })
    end,
  },
}
