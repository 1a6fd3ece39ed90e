-- Clients that want their work done however often the engine dies, refuses or
-- does not answer: what a careful program does, in a process of its own.
--
--     local stop = engine.folder .. "/stop"
--     local one = producer.start(engine, stop, 1)
--     … trouble …
--     server.write_file(stop, "now")
--     producer.wait(one)
--
-- Some append, and repeat by the ids of their events; others send commands, and
-- repeat by their Idempotency-Key (scripts: producer.JAR).  Both count: the
-- n-th event of a stream has n as its data.
--
-- It writes what it got, a line each: `ok EVENT_ID POSITION` for an
-- acknowledged event, `no STATUS CODE` for each answer that was none.

local clock = require "clock"
local http = require "http"
local process = require "process"
local server = require "server"

local producer = {}

-- The aggregate that takes the commands: each only behind the one before it.
producer.JAR = [[
return {
  type = "Jar",
  initial = function() return { last = 0 } end,
  commands = {
    put = { input = { n = "integer" }, run = function(jar, input)
      jar:reject_if(input.n ~= jar.state.last + 1, "not the next")
      jar:emit("Put", { n = input.n })
    end },
  },
  apply = { Put = function(state, event) state.last = event.data.n end },
}
]]

local function addresses(path)
  local list = {}
  for address in server.read_file(path):gmatch("%S+") do
    list[#list + 1] = address
  end
  return list
end

-- Makes requests to whatever engine the file `address_file` names now; nil when
-- there was no answer, so that nobody knows whether it was done.  Where it
-- names several, the next request goes to another then.  `refused`, where
-- given, sees each answer of 500 and above.
function producer.caller(address_file, refused)
  local client, address
  local turn = 0
  return function(method, path, body, headers)
    local all = addresses(address_file)
    local now = all[turn % #all + 1]
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
    turn = turn + 1
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

-- The n-th append to Book/NUMBER: id and position of the event, and the whole
-- answer.
function producer.append(call, number, n)
  local id = producer.uuid(number, n)
  local stored = producer.insist(call, "POST", "/api/streams/Book/" .. number, {
    expected_version = n - 1,
    events = { { event_id = id, event_type = "Written", data = { n = n } } },
  })
  return id, stored.first_position, stored
end

-- The n-th command to Jar/NUMBER, likewise.
function producer.command(call, number, n)
  local done = producer.insist(call, "POST", ("/api/aggregates/Jar/%d/put"):format(number),
    { n = n }, { ["Idempotency-Key"] = ("%d-%d"):format(number, n) })
  assert(#done.events == 1 and done.events[1].data.n == n, "another command's answer")
  return done.events[1].event_id, done.events[1].position, done
end

local function work(make, address_file, stop, number, out)
  local call = producer.caller(address_file, function(answer)
    out:write(("no %d %s\n"):format(answer.status, answer.json and answer.json.code or "none"))
    out:flush()
  end)
  local n = 0
  while server.read_file(stop) == "" do
    n = n + 1
    out:write(("ok %s %d\n"):format(make(call, number, n)))
    out:flush()
  end
end

-- Does as `make` says (producer.append when it is not given) until the file
-- `stop` says something.  `engine` may be several: their `folder`, and their
-- addresses as one text.
function producer.start(engine, stop, number, make)
  local address_file = engine.folder .. "/address"
  local path = ("%s/producer-%d"):format(engine.folder, number)
  make = make or producer.append
  server.write_file(path, "")
  server.write_file(address_file, engine.address)
  local pid = process.fork(function()
    local out = assert(io.open(path, "a"))
    work(make, address_file, stop, number, out)
    out:close()
  end)
  return {
    pid = pid, path = path, number = number, make = make,
    read = 0, positions = {}, count = 0, codes = {},
  }
end

function producer.wait(self)
  assert(process.wait(self.pid, 60) == 0, "a producer failed")
end

-- Reads what it has written since.
local function follow(self)
  local file = assert(io.open(self.path))
  file:seek("set", self.read)
  for line in file:read("*a"):gmatch("[^\n]*\n") do
    local id, position = line:match("^ok (%S+) (%d+)")
    local code = line:match("^no %d+ (%S+)")
    if id then
      self.positions[id], self.count = tonumber(position), self.count + 1
    elseif code then
      self.codes[code] = (self.codes[code] or 0) + 1
    end
    self.read = self.read + #line
  end
  file:close()
end

-- Positions by event id of what was acknowledged, and their count.
function producer.acknowledged(self)
  follow(self)
  return self.positions, self.count
end

-- How often each code was the answer.
function producer.refusals(self)
  follow(self)
  return self.codes
end

return producer
