-- A TCP proxy between an engine and its PostgreSQL, in a process of its own,
-- that does to the writer's connection what networks do: it holds bytes back,
-- or cuts both ends after the n-th byte.
--
--     local way = proxy.start(port)
--     way:arm { hold = "up", at = "Written" }     -- what carries it, and on
--     local port = way:wait_fired().port          -- that PostgreSQL sees
--     way:release()                               -- or way:cut()
--     way:arm { cut = "down", after = 100 }
--     way:stop()
--
-- "up" goes to the server.  One rule at a time; it fires once.  A connection
-- is the writer's when it has asked for what others appended, or has guessed.

local cjson = require "cjson"
local clock = require "clock"
local process = require "process"
local socket = require "socket"

local proxy = {}
proxy.__index = proxy

local WRITER_SAYS = { "where e.position >= $1::bigint", "with guard as materialized" }
local OTHER = { up = "down", down = "up" }

-- ---- the process ----

local relay = {}
relay.__index = relay

local function receive(from)
  from:settimeout(0)
  local text, why, part = from:receive(65536)
  text = text or part
  return text ~= "" and text or nil, why == "closed"
end

local function send(to, text)
  to:settimeout(10)
  to:send(text)
end

function relay:close(pair)
  for _, dir in ipairs { "up", "down" } do
    self.by_socket[pair[dir]] = nil
    pair[dir]:close()
  end
  pair.is_closed = true
end

-- `pair.up` is where bytes from the engine are read.
function relay:accept()
  local client = self.listener:accept()
  local upstream = socket.tcp()
  if not client or not upstream:connect("127.0.0.1", self.upstream_port) then
    return client and client:close()
  end
  client:setoption("tcp-nodelay", true)
  upstream:setoption("tcp-nodelay", true)
  local _, port = upstream:getsockname()
  local pair = { up = client, down = upstream, port = tonumber(port), held = {} }
  self.by_socket[client] = { pair = pair, dir = "up" }
  self.by_socket[upstream] = { pair = pair, dir = "down" }
end

local function note_writer(pair, text)
  for _, words in ipairs(WRITER_SAYS) do
    pair.is_writer = pair.is_writer or text:find(words, 1, true) ~= nil
  end
end

function relay:fire(pair)
  self.fired, self.rule = { pair = pair }, nil
end

local function pass(pair, dir, text)
  if pair.held[dir] then
    pair.held[dir] = pair.held[dir] .. text
  elseif text ~= "" then
    send(pair[OTHER[dir]], text)
  end
end

-- Holds what carries the words, but for what may go on before: all of it, when
-- the other direction is meant.
function relay:hold(pair, text)
  local rule = self.rule
  self:fire(pair)
  if rule.hold == "down" then
    pair.held.down = ""
    return pass(pair, "up", text)
  end
  local cut = rule.keep and #text - rule.keep or 0
  pass(pair, "up", text:sub(1, cut))
  pair.held.up = text:sub(cut + 1)
end

function relay:count(pair, dir, text)
  local rule = self.rule
  if #text < rule.after then
    rule.after = rule.after - #text
    return pass(pair, dir, text)
  end
  self:fire(pair)
  pass(pair, dir, text:sub(1, rule.after))
  self:close(pair)
end

function relay:take(pair, dir, text)
  local rule = self.rule
  if dir == "up" then
    note_writer(pair, text)
  end
  if not rule or not pair.is_writer then
    pass(pair, dir, text)
  elseif rule.cut == dir then
    self:count(pair, dir, text)
  elseif rule.hold and dir == "up" and text:find(rule.at, 1, true) then
    self:hold(pair, text)
  else
    pass(pair, dir, text)
  end
end

function relay:read(from)
  local at = self.by_socket[from]
  local text, closed = receive(from)
  if text then
    self:take(at.pair, at.dir, text)
  end
  if closed and not at.pair.is_closed then
    self:close(at.pair)
  end
end

local orders = {}

function orders.arm(self, order)
  self.rule, self.fired = order.rule, nil
end

function orders.fired(self)
  return self.fired and { port = self.fired.pair.port } or {}
end

function orders.release(self)
  local pair = self.fired.pair
  for dir, text in pairs(pair.held) do
    pair.held[dir] = nil
    if not pair.is_closed then
      pass(pair, dir, text)
    end
  end
end

function orders.cut(self)
  if not self.fired.pair.is_closed then
    self:close(self.fired.pair)
  end
end

function relay:obey()
  self.control:settimeout(10)
  local line = self.control:receive("*l")
  if not line then
    return false
  end
  local order = cjson.decode(line)
  self.control:send(cjson.encode(orders[order.order](self, order) or {}) .. "\n")
  return true
end

function relay:run(control_listener)
  self.control = control_listener:accept()
  while true do
    local all = { self.listener, self.control }
    for one in pairs(self.by_socket) do
      all[#all + 1] = one
    end
    for _, one in ipairs((socket.select(all, nil, 1))) do
      if one == self.listener then
        self:accept()
      elseif one == self.control then
        if not self:obey() then
          return
        end
      elseif self.by_socket[one] then
        self:read(one)
      end
    end
  end
end

-- ---- the test's side ----

local function listen()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  return listener, tonumber(port)
end

-- Before `upstream_port` of the loopback; it ends with the test.
function proxy.start(upstream_port)
  local listener, port = listen()
  local control, control_port = listen()
  local pid = process.fork(function()
    setmetatable({ listener = listener, upstream_port = upstream_port, by_socket = {} },
      relay):run(control)
  end)
  listener:close()
  control:close()
  local connection = assert(socket.connect("127.0.0.1", control_port))
  return setmetatable({ pid = pid, port = port, connection = connection }, proxy)
end

local function ask(self, order)
  assert(self.connection:send(cjson.encode(order) .. "\n"))
  return cjson.decode((assert(self.connection:receive("*l"))))
end

function proxy:arm(rule)
  ask(self, { order = "arm", rule = rule })
end

-- Where the rule has fired: `port`, of the proxy's end towards the server.
function proxy:wait_fired(limit_s)
  return clock.wait_until("the proxy's rule fires", function()
    local fired = ask(self, { order = "fired" })
    return fired.port and fired
  end, limit_s)
end

-- What was held goes on.
function proxy:release()
  ask(self, { order = "release" })
end

function proxy:cut()
  ask(self, { order = "cut" })
end

function proxy:stop()
  self.connection:close()
  process.wait(self.pid)
end

return proxy
