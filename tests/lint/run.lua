-- Runs the project's own lints over all its files:
--
--     luajit tests/lint/run.lua
--
-- One line a fault, `path:line: message`; exit status 1 if there is any.

package.path = "tests/lint/?.lua;" .. package.path

local source = require "source"
local lints = { require "layers", require "headers", require "words" }

local count = 0
for _, path in ipairs(source.files()) do
  local text = source.read_file(path)
  for _, lint in ipairs(lints) do
    for _, fault in ipairs(lint.check(path, text)) do
      io.stderr:write(("%s:%d: %s\n"):format(path, fault[1], fault[2]))
      count = count + 1
    end
  end
end
os.exit(count == 0 and 0 or 1)
