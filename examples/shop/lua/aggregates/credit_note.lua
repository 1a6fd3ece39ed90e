-- A credit note: what the shop gave back. Its lines have negative quantities.

---@type perigee.Aggregate
return {
  type = "CreditNote",

  initial = function(id)
    return { invoice = id, lines = 0, total = decimal(0) }
  end,

  commands = {
    issue = {
      input = { customer_id = "string?", country = "string" },
      run = function(note, input)
        note:reject_if(note.version > 0, "Credit note already issued")
        note:emit("CreditNoteIssued", { customer_id = input.customer_id, country = input.country })
      end,
    },
    credit_line = {
      input = {
        stock_code = "string",
        description = "string?",
        quantity = "integer",
        unit_price = "decimal",
      },
      run = function(note, input)
        note:reject_if(note.version == 0, "Credit note was not issued")
        note:reject_if(input.quantity >= 0, "A credited quantity is negative")
        note:emit("LineCredited", {
          stock_code = input.stock_code,
          description = input.description,
          quantity = input.quantity,
          unit_price = input.unit_price,
        })
      end,
    },
  },

  apply = {
    CreditNoteIssued = function(state, event)
      state.customer_id, state.country = event.data.customer_id, event.data.country
    end,
    LineCredited = function(state, event)
      state.lines = state.lines + 1
      state.total = state.total + decimal(event.data.unit_price) * event.data.quantity
    end,
  },
}
