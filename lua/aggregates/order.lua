---@type perigee.Aggregate
return {
  type = "Order",
  snapshot_every = 100,

  initial = function(id)
    return { order_id = id, status = "draft", total = 0 }
  end,

  commands = {
    create = {
      input = { customer_id = "string", total = "number" },          -- checked: 422 names each bad field
      run = function(order, input)
        order:reject_if(order.version > 0, "Order already exists")
        order:emit("OrderCreated", { customer_id = input.customer_id, total = input.total })
      end,
    },
    ship = {
      input = { tracking_number = "string" },
      run = function(order, input)
        order:reject_if(order.state.status ~= "created", "Cannot ship order in current state")
        order:emit("OrderShipped", { tracking_number = input.tracking_number })
      end,
    },
  },

  apply = {
    OrderCreated = function(state, event)
      state.customer_id, state.total, state.status = event.data.customer_id, event.data.total, "created"
    end,
    OrderShipped = function(state, event)
      state.tracking_number, state.status = event.data.tracking_number, "shipped"
    end,
  },

  upcast = {                                                          -- optional: old shapes to new, by event_version
    OrderCreated = { [1] = function(data) data.currency = data.currency or "EUR" return data end },
  },
}
