-- Clients that want their work done however often the engine dies, refuses or
-- does not answer: what a careful program does, in a process of its own.
--
--     local stop = engine.folder .. "/stop"
--     local one = producer.start(engine, stop, 1)
--     … trouble …
--     server.write_file(stop, "now")
--     producer.wait(one)
--
-- It writes what it got, a line each: `ok EVENT_ID POSITION` for an
-- acknowledged append, `no STATUS CODE` for each answer that was none.

local clock = require "clock"
local http = require "http"
local process = require "process"
local server = require "server"

local producer = {}

-- Makes requests to whatever engine the file `address_file` names now; nil when
-- there was no answer, so that nobody knows whether it was done.  `refused`,
-- where given, sees each answer of 500 and above.
function producer.caller(address_file, refused)
  local client, address
  return function(method, path, body, headers)
    local now = server.read_file(address_file)
    if now ~= address then
      client, address = http.new(now), now
    end
    local ok, answer = pcall(client.request, client, method, path, body, headers)
    if ok and answer.status < 500 then
      return answer
    elseif not ok and type(answer) ~= "table" then
      error(answer)
    elseif ok and refused then
      refused(answer)
    end
    client:close()
    clock.pause(0.01)
  end
end

-- An answer, however often there is none.
function producer.insist(call, method, path, body, headers)
  local answer
  repeat
    answer = call(method, path, body, headers)
  until answer
  assert(answer.status == 200, answer.body)
  return answer.json
end

-- The id of a producer's n-th event.
function producer.uuid(number, n)
  return ("00000000-0000-4000-8%03x-%012x"):format(number, n)
end

local function append_all(address_file, stop, number, out)
  local call = producer.caller(address_file, function(answer)
    out:write(("no %d %s\n"):format(answer.status, answer.json and answer.json.code or "none"))
  end)
  local n = 0
  while server.read_file(stop) == "" do
    n = n + 1
    local id = producer.uuid(number, n)
    local stored = producer.insist(call, "POST", "/api/streams/Book/" .. number, {
      events = { { event_id = id, event_type = "Written", data = { n = n } } },
    })
    out:write(("ok %s %d\n"):format(id, stored.first_position))
    out:flush()
  end
end

-- Appends to Book/NUMBER until the file `stop` says something.
function producer.start(engine, stop, number)
  local address_file = engine.folder .. "/address"
  local path = ("%s/producer-%d"):format(engine.folder, number)
  server.write_file(address_file, engine.address)
  local pid = process.fork(function()
    local out = assert(io.open(path, "w"))
    append_all(address_file, stop, number, out)
    out:close()
  end)
  return { pid = pid, path = path, number = number }
end

function producer.wait(self)
  assert(process.wait(self.pid, 60) == 0, "a producer failed")
end

-- Positions by event id of what was acknowledged, and their count.
function producer.acknowledged(self)
  local positions, count = {}, 0
  for id, position in server.read_file(self.path):gmatch("ok (%S+) (%d+)\n") do
    positions[id], count = tonumber(position), count + 1
  end
  return positions, count
end

-- How often each code was the answer.
function producer.refusals(self)
  local codes = {}
  for code in server.read_file(self.path):gmatch("no %d+ (%S+)\n") do
    codes[code] = (codes[code] or 0) + 1
  end
  return codes
end

return producer
