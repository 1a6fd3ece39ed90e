-- Hostile input: thousands of malformed requests, each answered by a problem
-- document or a closed connection; and clients that are slow on purpose, who
-- are cut while others are served.  PERIGEE_TEST_SEED repeats a run.

local cjson = require "cjson"
local clock = require "clock"
local hostile = require "hostile"
local server = require "server"
local socket = require "socket"

local FULL = os.getenv("PERIGEE_TEST_FULL") == "1"
local REQUESTS = FULL and 10000 or 2000
local SEED = tonumber(os.getenv("PERIGEE_TEST_SEED") or 20260)
local SLOW = 100
local GROWTH_KIB = 64 * 1024
-- Statuses of ours in the 500s that a client can cause: 501 for what HTTP has
-- and we have not, 503 while too much is going on.
local MAY_BE = { [501] = true, [503] = true }

local AGGREGATE = [[
return {
  type = "Counter",
  initial = function(id) return { n = 0 } end,
  commands = { add = { run = function(counter) counter:emit("Added", {}) end } },
  apply = { Added = function(state) state.n = state.n + 1 end },
}
]]

local engine

local function connect()
  local host, port = engine.address:match("^(.*):(%d+)$")
  local it = assert(socket.connect(host, tonumber(port)))
  it:settimeout(30)
  return it
end

-- Everything that comes back until the connection ends.
local function exchange(request)
  local it = connect()
  it:send(request)
  it:shutdown("send")
  local list = {}
  while true do
    local part, why, rest = it:receive(65536)
    list[#list + 1] = part or rest
    if not part then
      it:close()
      assert(why ~= "timeout", "no answer and no end")
      return table.concat(list)
    end
  end
end

local function check_problem(status, headers, body)
  assert.equal("application/problem+json", headers["content-type"])
  local problem = cjson.decode(body)
  assert.equal(status, problem.status)
  for _, member in ipairs { "type", "title", "detail", "code" } do
    assert.is_string(problem[member], member)
  end
end

-- Takes one answer from the front of `text`; what is behind it, and the status.
local function take_answer(text, to_head)
  local head, from = text:match("^(HTTP/1%.1 %d%d%d [%w '-]+\r\n.-\r\n)\r\n()")
  assert(head, "not an answer: " .. text:sub(1, 200))
  local status = tonumber(head:match("^HTTP/1%.1 (%d+)"))
  local headers = {}
  for name, value in head:gmatch("\n([%w-]+): ([^\r\n]*)\r") do
    headers[name:lower()] = value
  end
  if status < 200 then
    return text:sub(from), status
  end
  local length = tonumber(headers["content-length"])
  -- What cannot be parsed has no method, so its HEAD gets a body.
  if status == 304 or to_head and text:sub(from, from) ~= "{" then
    length = 0
  end
  local body = text:sub(from, from + length - 1)
  assert.equal(length, #body, "a body of another length")
  assert(status < 500 or MAY_BE[status], text:sub(1, 400))
  if status >= 400 and length > 0 then
    check_problem(status, headers, body)
  end
  return text:sub(from + length), status
end

local function check_answers(text, request, counts)
  local to_head = request:sub(1, 5) == "HEAD "
  if text == "" then
    counts.closed = (counts.closed or 0) + 1
  end
  while text ~= "" do
    local status
    text, status = take_answer(text, to_head)
    counts[status] = (counts[status] or 0) + 1
  end
end

local function memory_kib()
  local text = server.read_file("/proc/" .. engine.pid .. "/status")
  return tonumber(text:match("VmRSS:%s*(%d+)"))
end

local function told(counts)
  local list = {}
  for status, count in pairs(counts) do
    list[#list + 1] = ("%s: %d"):format(status, count)
  end
  table.sort(list)
  return table.concat(list, ", ")
end

describe("hostile clients", function()
  setup(function()
    engine = server.start_new {
      aggregates = { ["counter.lua"] = AGGREGATE },
      settings = { log = { level = "DEBUG" } },
    }
  end)
  teardown(server.remove_all)

  it("get a problem document or a closed connection for anything malformed", function()
    local counts, warm = {}, nil
    hostile.seed(SEED)
    for i = 1, REQUESTS do
      local request = hostile.next()
      local ok, why = pcall(function()
        check_answers(exchange(request), request, counts)
      end)
      if not ok then
        error(("request %d of seed %d, %q: %s"):format(i, SEED, request:sub(1, 300),
          tostring(why)), 0)
      end
      if i == REQUESTS / 4 then
        warm = memory_kib()
      end
    end
    local grown = memory_kib() - warm
    print(("# %d malformed requests, seed %d: %s; memory grew by %d KiB"):format(
      REQUESTS, SEED, told(counts), grown))
    assert.is_true(grown < GROWTH_KIB, "memory grew by " .. grown .. " KiB")
    assert.equal(200, engine:get("/health").status)
    assert.equal(200, engine:get("/health/ready").status)
    engine:append("Log/after", { { event_type = "Noted", data = {} } })
    assert.is_nil(engine:output():find(hostile.MARK, 1, true), "the log has a payload")
  end)

  it("that are slow are cut, and others are served meanwhile", function()
    local head = "POST /api/streams/Log/slow HTTP/1.1\r\nHost: x\r\n"
      .. "Content-Type: application/json\r\n"
    local begin = { "", "GET /health HTTP/1.1\r\nX: ", head .. "Content-Length: 900000\r\n\r\n",
      head .. "Transfer-Encoding: chunked\r\n\r\n1\r\n" }
    local slow, began = {}, clock.now()
    for i = 1, SLOW do
      local it = connect()
      it:send(begin[i % #begin + 1])
      it:settimeout(0)
      slow[i] = { socket = it, silent = i % #begin == 0 }
    end
    local served, longest, last_cut = 0, 0, 0
    clock.wait_until("all slow clients are cut", function()
      local left = 0
      for _, it in ipairs(slow) do
        if not it.cut then
          local _, why = it.socket:receive(4096)
          if why ~= "closed" and not it.silent then
            why = select(2, it.socket:send("1"))
          end
          it.cut = why == "closed"
          left = left + (it.cut and 0 or 1)
        end
      end
      last_cut = clock.now() - began
      local asked = clock.now()
      local client = engine:connect()
      local answer = client:request("POST", "/api/streams/Log/quick",
        { events = { { event_type = "Noted", data = {} } } })
      assert.equal(200, answer.status, answer.body)
      client:close()
      served, longest = served + 1, math.max(longest, clock.now() - asked)
      clock.pause(0.2)
      return left == 0
    end, 90)
    for _, it in ipairs(slow) do
      it.socket:close()
    end
    print(("# %d slow clients, the last cut after %.1f s; %d others served meanwhile, "
      .. "the longest wait %.1f s"):format(SLOW, last_cut, served, longest))
    assert.equal(200, engine:get("/health").status)
  end)
end)
