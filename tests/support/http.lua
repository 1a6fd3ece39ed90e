-- A small HTTP/1.1 client over one connection that is kept open, so that tests
-- see what a browser or a proxy sees: every byte of the answer, and a
-- connection that breaks as an error of its own.

local cjson = require "cjson"
local socket = require "socket"

local http = {}
http.__index = http

local TIMEOUT_S = 30

function http.new(address)
  local host, port = address:match("^(.*):(%d+)$")
  return setmetatable({ host = host, port = tonumber(port) }, http)
end

function http:close()
  if self.socket then
    self.socket:close()
    self.socket = nil
  end
end

local function connect(self)
  local connection = socket.tcp()
  connection:settimeout(TIMEOUT_S)
  local ok, why = connection:connect(self.host, self.port)
  if not ok then
    error({ connection = why, sent = false })
  end
  connection:setoption("tcp-nodelay", true)
  self.socket = connection
end

local function must_receive(self, what)
  local text, why = self.socket:receive(what)
  if not text then
    self:close()
    error({ connection = why, sent = true })
  end
  return text
end

local function read_headers(self)
  local headers = {}
  while true do
    local line = must_receive(self, "*l")
    if line == "" then
      return headers
    end
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    headers[name:lower()] = value
  end
end

local function read_chunks(self)
  local chunks = {}
  while true do
    local size = tonumber(must_receive(self, "*l"):match("^%x+"), 16)
    if size > 0 then
      chunks[#chunks + 1] = must_receive(self, size)
    end
    must_receive(self, "*l")
    if size == 0 then
      return table.concat(chunks)
    end
  end
end

local function read_body(self, headers, method, status)
  if method == "HEAD" or status == 204 or status == 304 then
    return ""
  elseif headers["transfer-encoding"] == "chunked" then
    return read_chunks(self)
  elseif headers["content-length"] then
    local length = tonumber(headers["content-length"])
    return length > 0 and must_receive(self, length) or ""
  end
  local text = self.socket:receive("*a")
  self:close()
  return text or ""
end

local function read_answer(self, method)
  local line = must_receive(self, "*l")
  local status = tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
  if not status then
    error("not an HTTP answer: " .. line)
  end
  local headers = read_headers(self)
  local answer = { status = status, headers = headers }
  answer.body = read_body(self, headers, method, status)
  if headers.connection and headers.connection:lower() == "close" then
    self:close()
  end
  return answer
end

-- Sends bytes as they are and reads one answer: for requests that no client
-- should make.
function http:raw(bytes)
  self:close()
  connect(self)
  self.socket:send(bytes)
  return read_answer(self, "GET")
end

local function compose(self, method, path, body, headers)
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: " .. self.host .. ":" .. self.port }
  local given = {}
  for name, value in pairs(headers or {}) do
    given[name:lower()] = true
    lines[#lines + 1] = name .. ": " .. value
  end
  if body then
    if not given["content-type"] then
      lines[#lines + 1] = "Content-Type: application/json"
    end
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local function exchange(self, method, text)
  if not self.socket then
    connect(self)
  end
  if not self.socket:send(text) then
    self:close()
    error({ connection = "closed", sent = true })
  end
  return read_answer(self, method)
end

-- A server may close a connection that was idle, just as a request is sent:
-- what only reads is then asked again.
local function exchange_again(self, method, text)
  local kept = self.socket ~= nil
  local ok, answer = pcall(exchange, self, method, text)
  if not ok and kept and method == "GET" and type(answer) == "table" then
    return exchange(self, method, text)
  elseif not ok then
    error(answer, 0)
  end
  return answer
end

-- {status, headers, body, json}; `json` when the answer is JSON.  `body` is
-- text as it is to be sent, or a table.  A connection that fails raises
-- {connection = why, sent = whether the server may have seen the request}.
function http:request(method, path, body, headers)
  if type(body) == "table" then
    body = cjson.encode(body)
  end
  local answer = exchange_again(self, method, compose(self, method, path, body, headers))
  local media = answer.headers["content-type"] or ""
  if media:find("json", 1, true) and answer.body ~= "" then
    answer.json = cjson.decode(answer.body)
  end
  return answer
end

return http
