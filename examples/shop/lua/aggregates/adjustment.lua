-- A single correction of debt in the shop's books.

---@type perigee.Aggregate
return {
  type = "Adjustment",

  initial = function(id)
    return { invoice = id }
  end,

  commands = {
    adjust = {
      input = { description = "string", country = "string", amount = "decimal" },
      run = function(adjustment, input)
        adjustment:reject_if(adjustment.version > 0, "Debt already adjusted")
        adjustment:emit("DebtAdjusted", {
          description = input.description,
          country = input.country,
          amount = input.amount,
        })
      end,
    },
  },

  apply = {
    DebtAdjusted = function(state, event)
      state.amount, state.country = event.data.amount, event.data.country
    end,
  },
}
