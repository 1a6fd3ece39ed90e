-- An order as the shop's till wrote it: placed once, then lines, each a fact. Quantities may be
-- negative in the source (stock found broken, say) and stay as they are.

---@type perigee.Aggregate
return {
  type = "Order",

  initial = function(id)
    return { invoice = id, lines = 0, total = decimal(0) }
  end,

  commands = {
    place = {
      input = { customer_id = "string?", country = "string" },
      run = function(order, input)
        order:reject_if(order.version > 0, "Order already placed")
        order:emit("OrderPlaced", { customer_id = input.customer_id, country = input.country })
      end,
    },
    add_line = {
      input = {
        stock_code = "string",
        description = "string?",
        quantity = "integer",
        unit_price = "decimal",
      },
      run = function(order, input)
        order:reject_if(order.version == 0, "Order was not placed")
        order:emit("LineAdded", {
          stock_code = input.stock_code,
          description = input.description,
          quantity = input.quantity,
          unit_price = input.unit_price,
        })
      end,
    },
  },

  apply = {
    OrderPlaced = function(state, event)
      state.customer_id, state.country = event.data.customer_id, event.data.country
    end,
    LineAdded = function(state, event)
      state.lines = state.lines + 1
      state.total = state.total + decimal(event.data.unit_price) * event.data.quantity
    end,
  },
}
