-- Requests that no client should make, from a seed: the same number gives the
-- same bytes on every machine.  `MARK` is in bodies and in values of headers,
-- none of which a log may show.

local hostile = { MARK = "s3cret-payload" }

local random = math.random
local HEAD = "Host: x\r\nContent-Type: application/json\r\n"
local GOOD = '{"events":[{"event_type":"Noted","data":{"mark":"' .. hostile.MARK .. '"}}]}'

-- ---- parts ----

local function pick(list)
  return list[random(#list)]
end

local function bytes(count)
  local list = {}
  for i = 1, count do
    list[i] = string.char(random(0, 255))
  end
  return table.concat(list)
end

-- Some bytes of the text are others now.
local function spoil(text)
  for _ = 1, random(4) do
    local at = random(#text)
    text = text:sub(1, at - 1) .. bytes(1) .. text:sub(at + random(0, 1))
  end
  return text
end

local function request(line, headers, body)
  return line .. "\r\n" .. headers .. "\r\n" .. (body or "")
end

local function post(path, body, headers)
  return request("POST " .. path .. " HTTP/1.1",
    HEAD .. (headers or "") .. "Content-Length: " .. #body .. "\r\n", body)
end

local function path()
  return pick { "/api/streams/Log/1", "/api/aggregates/Counter/1/add", "/api/streams/Log/a%2Fb" }
end

-- ---- kinds ----

local function data(text)
  return '{"events":[{"event_type":"Noted","data":' .. text .. "}]}"
end

local TOKENS = { '"\\ud800"', '"\\u0000"', "NaN", "1e999999", "-", "01", "nul", "{]", "" }
local VERSIONS = { "-1", "1.5", "1e30", '"x"', "[]" }

local JSON = {
  function() return GOOD:sub(1, random(#GOOD - 1)) end,
  function() return spoil(GOOD) end,
  function() return ("["):rep(random(60, 4000)) end,
  function() return ('{"a":'):rep(random(60, 4000)) .. "1" end,
  function() return '{"events":[],' .. data("{}"):sub(2) end,
  function() return data '{"a":1,"a":2}' end,
  function() return data('{"a":"' .. bytes(20) .. '"}') end,
  function() return pick(TOKENS) end,
  function() return data(pick(TOKENS)) end,
  function() return data(pick { "1", "null", "[]", '"x"' }) end,
  function() return '{"events":' .. ("9"):rep(random(400)) .. "}" end,
  function() return '{"expected_version":' .. pick(VERSIONS) .. "," .. GOOD:sub(2) end,
  function() return bytes(random(2000)) end,
}

local ROOTS = { "/api/streams", "/api/aggregates", "/api/events", "/api/projections", "", "*",
  "/health", "http://x/api/events", "/api/../health", "//api" }
local ESCAPES = { "%", "%0", "%zz", "%00", "%0d%0a", "%c0%af", "%ff", "%ed%a0%80", "%2e%2e", "%2F",
  "..", "", "%25%30", "\127", "\200", "?", "#", "&&", "=", "+" }

local function odd_path()
  local parts = { pick(ROOTS) }
  for _ = 1, random(0, 12) do
    local name = pick { "a", "", ("x"):rep(random(400)) }
    parts[#parts + 1] = "/" .. pick(ESCAPES) .. name .. pick(ESCAPES)
  end
  if random(3) == 1 then
    local name = pick { "limit", "after", "x", "" }
    parts[#parts + 1] = "?" .. name .. "=" .. pick(ESCAPES) .. random(1e9)
  end
  return table.concat(parts)
end

local NAMES = { "If-Match", "If-None-Match", "Idempotency-Key", "X-Tenant-Id", "X-Actor-Id",
  "X-Correlation-Id", "X-Causation-Id", "traceparent", "Authorization", "Last-Event-ID", "Expect",
  "Connection", "Host", "Range", "Transfer-Encoding", "Content-Type", "Upgrade", "Cookie",
  "Sec-WebSocket-Key" }

local function odd_value()
  return hostile.MARK .. pick { "", (bytes(random(30)):gsub("[\r\n]", ".")), '"', "\t", "\r",
    ("x"):rep(random(3000)), "\r\n folded", "\194\128" }
end

local function odd_method()
  return pick { "get", "", "PROPFIND", "BREW", bytes(5), ("M"):rep(300), "CONNECT", "TRACE" }
end

local PROTOCOLS = { "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "HTTP/2", "http/1.1", "", "HTTP/" }
local LENGTHS = { "-1", "+5", "0x10", "99999999999999999999", "5, 5", "", "five", "1e3", " ",
  "2000000", "9223372036854775807" }
local FRAMINGS = { "Content-Length: 3", "Transfer-Encoding: chunked",
  "content-length: " .. #GOOD }
local ENCODINGS = { "chunked", "chunked", "gzip", "chunked, chunked" }
local SIZES = { "-1", "zz", "ffffffffffffffff", "7fffffffffffffff", "", "5;x=y", "0x5",
  (" "):rep(50) .. "5" }

-- A good body under headers that say something of their own about it.
local function framed(headers, body)
  return request("POST " .. path() .. " HTTP/1.1", HEAD .. headers .. "\r\n", body or GOOD)
end

local function odd_chunks()
  return framed("Transfer-Encoding: " .. pick(ENCODINGS), pick(SIZES) .. pick { "\r\n", "\n", "" }
    .. GOOD .. pick { "\r\n0\r\n\r\n", "0", "" })
end

local function odd_head()
  local odd = { "X: " .. ("x"):rep(random(8000, 60000)), ("X-Many: 1\r\n"):rep(random(60, 900)),
    "no colon", ": no name", "Na me: x", bytes(200), "X\0Y: z", "X:" .. ("\t"):rep(100) }
  return request("GET /api/events HTTP/1.1", HEAD .. pick(odd) .. "\r\n")
end

local function junk_behind()
  return request("GET /health HTTP/1.1", HEAD) .. pick { bytes(random(500)), "\r\n\r\n", "GET ",
    spoil(post(path(), GOOD)), ("\r\n"):rep(200) }
end

local KINDS = {
  function() return post(path(), pick(JSON)()) end,
  function() return post(path(), pick(JSON)()) end,
  function()
    local method = pick { "GET", "POST", "HEAD", "DELETE" }
    return request(method .. " " .. odd_path() .. " HTTP/1.1", HEAD)
  end,
  function() return post(path(), GOOD, pick(NAMES) .. ": " .. odd_value() .. "\r\n") end,
  function() return request(odd_method() .. " " .. path() .. " " .. pick(PROTOCOLS), HEAD) end,
  function() return framed("Content-Length: " .. pick(LENGTHS)) end,
  function() return framed("Content-Length: " .. #GOOD .. "\r\n" .. pick(FRAMINGS)) end,
  odd_chunks,
  odd_head,
  junk_behind,
  function() return bytes(random(1, 3000)) end,
  function() return "\22\3\1\2\0\1\0\1\252\3\3" .. bytes(500) end, -- a TLS hello
  function() return spoil(post(path(), GOOD)) end,
}

function hostile.seed(seed)
  math.randomseed(seed)
end

function hostile.next()
  return pick(KINDS)()
end

return hostile
