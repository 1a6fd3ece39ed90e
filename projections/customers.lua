---@type perigee.Projection
return {
  name = "customers",
  version = 1,

  tables = {
    customers = {
      key = "customer_id",
      columns = { customer_id = "text", orders = "bigint", total = "numeric" },
    },
  },

  on = {
    -- `add` makes the row when it is the customer's first order, needs no read, and sums exactly.
    OrderCreated = function(event, db)
      db.customers:add(event.data.customer_id, { orders = 1, total = event.data.total })
    end,
  },
}
