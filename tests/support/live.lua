-- A client of live events over a raw socket, so that tests see every line that
-- comes and can hang up, or stop reading, whenever they like.
--
--     local stream = live.open(engine.address, "?after=3", { ["Last-Event-ID"] = id })
--     stream.status, stream.headers
--     local block = stream:next()   -- { id =, data =, comment =, retry = }, or nil, why
--     stream:close()

local cjson = require "cjson"
local socket = require "socket"

local live = {}
live.__index = live

local TIMEOUT_S = 30

local function read_head(self)
  local line = assert(self.socket:receive("*l"))
  self.status = tonumber(line:match("^HTTP/1.1 (%d+)"))
  self.headers = {}
  for header in function() return assert(self.socket:receive("*l")) end do
    local name, value = header:match("^([^:]+):%s*(.-)%s*$")
    if not name then
      return
    end
    self.headers[name:lower()] = value
  end
end

-- Options of the socket come from `tune`.
function live.open(address, query, headers, tune)
  local host, port = address:match("^(.*):(%d+)$")
  local self = setmetatable({ socket = socket.tcp() }, live)
  if tune then
    tune(self.socket)
  end
  self.socket:settimeout(TIMEOUT_S)
  assert(self.socket:connect(host, tonumber(port)))
  local lines = { ("GET /api/events/live%s HTTP/1.1"):format(query or ""), "Host: x" }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value
  end
  assert(self.socket:send(table.concat(lines, "\r\n") .. "\r\n\r\n"))
  read_head(self)
  return self
end

-- The problem document of a stream that was refused.
function live:problem()
  return cjson.decode((assert(self.socket:receive(tonumber(self.headers["content-length"])))))
end

-- The next block, or nil and why there is none: "closed" or "timeout".
function live:next()
  local block = {}
  while true do
    local line, why = self.socket:receive("*l")
    if not line then
      return nil, why
    end
    if line == "" then
      return block
    end
    local field, value = line:match("^([^:]*): ?(.*)$")
    block[field == "" and "comment" or field] = value
  end
end

-- The next event, decoded, with its cursor; other blocks are skipped.
function live:event()
  while true do
    local block, why = self:next()
    if not block then
      return nil, why
    end
    if block.data then
      return cjson.decode(block.data), block.id
    end
  end
end

function live:close()
  self.socket:close()
end

return live
