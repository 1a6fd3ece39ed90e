-- One row an order, with its exact total.

---@type perigee.Projection
return {
  name = "orders",
  version = 1,
  subscription = { batch_size = 1000 },

  tables = {
    orders = {
      key = "invoice",
      columns = {
        invoice = "text",
        customer_id = "text?",
        country = "text",
        placed_at = "timestamp",
        lines = "bigint",
        items = "bigint",
        total = "numeric",
      },
      indexes = { { "customer_id" }, { "country" } },
    },
  },

  on = {
    OrderPlaced = function(event, db)
      db.orders:put {
        invoice = event.aggregate_id,
        customer_id = event.data.customer_id,
        country = event.data.country,
        placed_at = event.occurred_at,
        lines = 0,
        items = 0,
        total = 0,
      }
    end,
    LineAdded = function(event, db)
      local line = event.data
      db.orders:add(event.aggregate_id, {
        lines = 1,
        items = line.quantity,
        total = decimal(line.unit_price) * line.quantity,
      })
    end,
  },
}
