-- The aggregate that commands are measured with: a decision, an event like
-- those that are appended, and a state that stays small.
return {
  type = "Account",
  snapshot_every = 1000,
  initial = function()
    return { balance = decimal(0), deposits = 0 }
  end,
  commands = {
    deposit = {
      input = { amount = "decimal", currency = "string", note = "string" },
      run = function(account, input)
        account:reject_if(input.amount < decimal(0), "Only deposits")
        account:emit("Deposited", input)
      end,
    },
  },
  apply = {
    Deposited = function(state, event)
      state.balance = state.balance + decimal(event.data.amount)
      state.deposits = state.deposits + 1
    end,
  },
}
