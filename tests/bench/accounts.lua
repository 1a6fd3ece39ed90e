-- The projection that is measured: a row an account, from every event.

---@type perigee.Projection
return {
  name = "accounts",
  version = 1,
  subscription = { batch_size = 1000 },
  tables = {
    accounts = {
      key = "account",
      columns = { account = "text", events = "bigint", total = "numeric" },
    },
  },
  on = {
    Deposited = function(event, db)
      db.accounts:add(event.aggregate_id, { events = 1, total = event.data.amount })
    end,
  },
}
