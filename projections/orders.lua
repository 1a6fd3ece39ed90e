---@type perigee.Projection
return {
  name = "orders",
  version = 1,              -- raise it: the engine rebuilds beside the live tables, then swaps them in one transaction
  subscription = { batch_size = 500, checkpoint_strategy = "every_batch" }, -- see docs/scripts.md

  tables = {
    orders = {
      key = "order_id",
      columns = {
        order_id = "uuid", customer_id = "text", total = "numeric",
        status = "text", tracking_number = "text?", updated_at = "timestamp",   -- "?" = may be null
      },
      indexes = { { "customer_id" }, { "status" } },
    },
    daily_sales = { key = "day", columns = { day = "date", orders = "bigint", revenue = "numeric" } },
  },

  on = {
    OrderCreated = function(event, db)
      db.orders:put { order_id = event.aggregate_id, customer_id = event.data.customer_id,
                      total = event.data.total, status = "created", updated_at = event.occurred_at }
      db.daily_sales:add(event.occurred_at:sub(1, 10), { orders = 1, revenue = event.data.total })
    end,
    OrderShipped = function(event, db)
      db.orders:patch(event.aggregate_id, { status = "shipped", tracking_number = event.data.tracking_number,
                                            updated_at = event.occurred_at })
    end,
  },
}
