-- A real engine for a test: its own folder, database, scripts and settings.
--
--     local engine = server.start { projections = { ["a.lua"] = source } }
--     engine:post("/api/streams/Order/1", { events = … })
--     engine:wait_position("a", 1)
--     engine:kill() engine:start() … engine:remove()
--
-- Which binary: PERIGEE_BIN; which store: PERIGEE_TEST_STORE, or an option.
-- Everything waits for a condition, and what was left running is ended by
-- server.remove_all, or at the latest with the test's process group.

local cjson = require "cjson"
local clock = require "clock"
local database = require "database"
local http = require "http"
local process = require "process"
local stdlib = require "posix.stdlib"
local unistd = require "posix.unistd"

local server = {}
server.__index = server

server.root = unistd.getcwd()
local BINARY = os.getenv("PERIGEE_BIN") or server.root .. "/build/perigee"
-- Variables of the tests, which the engine would take for wrong settings.
local OURS = "^PERIGEE_"
local alive = {}

server.store = os.getenv("PERIGEE_TEST_STORE") or "sqlite"

-- ---- files ----

function server.read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return ""
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- Whole or not at all, whoever reads it meanwhile.
function server.write_file(path, text)
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

function server.temporary_folder()
  return assert(stdlib.mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/perigee-test.XXXXXX"))
end

local function write_scripts(folder, scripts)
  assert(os.execute("mkdir -p '" .. folder .. "'") == 0)
  for name, text in pairs(scripts or {}) do
    server.write_file(folder .. "/" .. name, text)
  end
end

-- ---- settings ----

local function merge(into, from)
  for section, keys in pairs(from or {}) do
    into[section] = into[section] or {}
    for key, value in pairs(keys) do
      into[section][key] = value
    end
  end
  return into
end

local function as_lua(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  local fields = {}
  for key, field in pairs(value) do
    fields[#fields + 1] = ("[%s] = %s"):format(as_lua(key), as_lua(field))
  end
  return "{ " .. table.concat(fields, ", ") .. " }"
end

local function settings_text(settings)
  local lines = { "return {" }
  for section, keys in pairs(settings) do
    lines[#lines + 1] = ("  %s = {"):format(section)
    for key, value in pairs(keys) do
      lines[#lines + 1] = ("    %s = %s,"):format(key, as_lua(value))
    end
    lines[#lines + 1] = "  },"
  end
  lines[#lines + 1] = "}\n"
  return table.concat(lines, "\n")
end

-- ---- making one ----

-- Options: store, aggregates and projections ({file = source}, or a folder's
-- path), settings ({section = {key = value}}), database (of another engine, to
-- share), env, arguments (further ones for `serve`).  Nothing runs yet.
function server.new(options)
  options = options or {}
  local folder = server.temporary_folder()
  local self = setmetatable({
    folder = folder,
    options = options,
    env = options.env or {},
    database = options.database or database.new(options.store or server.store, folder),
    log_path = folder .. "/log",
    error_path = folder .. "/stderr",
    config_path = folder .. "/config.lua",
  }, server)
  self.store = self.database.store
  local paths = {}
  for _, kind in ipairs { "aggregates", "projections" } do
    local given = options[kind]
    paths[kind] = type(given) == "string" and given or folder .. "/" .. kind
    write_scripts(folder .. "/" .. kind, type(given) == "table" and given or nil)
  end
  server.write_file(self.config_path, settings_text(merge({
    database = { url = self.database.url },
    scripts = paths,
    http = { listen = "127.0.0.1:0" },
    log = { format = "json" },
  }, options.settings)))
  alive[self] = true
  return self
end

-- Makes one, starts it and waits until it is ready.
function server.start_new(options)
  local self = server.new(options)
  self:start()
  return self
end

-- ---- its life ----

-- A port of the loopback that nobody uses now.
function server.free_port()
  local listener = assert(require("socket").bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  return port
end

-- Starts the program and waits for its address, unless it is given, but not
-- for its being ready.
function server:launch(address)
  local argv = { BINARY, "serve", "--config", self.config_path }
  for _, word in ipairs(self.options.arguments or {}) do
    argv[#argv + 1] = word
  end
  self.log_start = #server.read_file(self.log_path)
  self.ended = nil
  self.pid = process.spawn {
    argv = argv, env = self.env, without = OURS, cwd = self.folder,
    stdout = self.log_path, stderr = self.error_path,
  }
  self.address = address or clock.wait_until("the engine says where it listens", function()
    if self:poll() then
      error("the engine ended: " .. tostring(self.ended) .. "\n" .. self:output(), 0)
    end
    for _, record in ipairs(self:log()) do
      if record.address then
        return record.address
      end
    end
  end)
  self.client = http.new(self.address)
end

function server:start()
  self:launch()
  self:wait_ready()
end

-- How it ended, or nil while it runs.
function server:poll()
  self.ended = self.ended or self.pid and process.poll(self.pid)
  return self.ended
end

function server:signal(name)
  process.signal(self.pid, name)
end

-- Waits for the end and gives the exit status.
function server:wait_end(limit_s)
  clock.wait_until("the engine ends", function()
    return self:poll()
  end, limit_s)
  if self.client then
    self.client:close()
  end
  return self.ended
end

function server:stop()
  self:signal("TERM")
  return self:wait_end()
end

function server:kill()
  self:signal("KILL")
  return self:wait_end()
end

function server:restart()
  self:stop()
  self:start()
end

-- What a sanitizer found makes the test fail, wherever it was.
local function check_sanitizers(self)
  local said = server.read_file(self.error_path)
  for _, sign in ipairs { "ERROR: AddressSanitizer", "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer", "runtime error: " } do
    assert(not said:find(sign, 1, true), said)
  end
end

-- Ends it and removes its folder and, unless it is another's, its database.
function server:remove()
  if self.pid and not self:poll() then
    self:kill()
  end
  if self.options.database then
    self.database = nil
  else
    self.database:drop()
  end
  alive[self] = nil
  check_sanitizers(self)
  os.execute("rm -rf '" .. self.folder .. "'")
end

-- For `after_each`: engines that share a database go before its owner.
function server.remove_all()
  for self in pairs(alive) do
    if self.options.database then
      self:remove()
    end
  end
  for self in pairs(alive) do
    self:remove()
  end
end

-- ---- what it says ----

-- The records of the log since the last launch.
function server:log()
  local records = {}
  local text = server.read_file(self.log_path):sub((self.log_start or 0) + 1)
  for line in text:gmatch("([^\n]*)\n") do
    local ok, record = pcall(cjson.decode, line)
    records[#records + 1] = ok and record or { not_json = line }
  end
  return records
end

function server:last_record()
  local records = self:log()
  return records[#records]
end

-- Everything it has written, for an error's text.
function server:output()
  return server.read_file(self.log_path) .. server.read_file(self.error_path)
end

-- ---- HTTP ----

function server:request(method, path, body, headers)
  local ok, answer = pcall(self.client.request, self.client, method, path, body, headers)
  if ok then
    return answer
  end
  clock.pause(0.01) -- a process that dies closes its connections first
  if type(answer) == "table" and self:poll() then
    answer = ("the engine ended: %s\n%s"):format(self.ended, self:output())
  end
  error(answer, 0)
end

function server:get(path, headers)
  return self:request("GET", path, nil, headers)
end

function server:post(path, body, headers)
  return self:request("POST", path, body or "{}", headers)
end

-- A client of its own connection.
function server:connect()
  return http.new(self.address)
end

-- Appends and wants it to work; `events` are {event_type, data, …}.
function server:append(stream, events, expected)
  local answer = self:post("/api/streams/" .. stream, {
    expected_version = expected, events = events,
  })
  assert(answer.status == 200, answer.body)
  return answer.json
end

-- ---- waiting ----

function server:wait_ready()
  clock.wait_until("the engine is ready", function()
    if self:poll() then
      error("the engine ended: " .. tostring(self.ended) .. "\n" .. self:output(), 0)
    end
    local ok, answer = pcall(self.get, self, "/health/ready")
    return ok and answer.status == 200, ok and answer.body
  end)
end

function server:projection(name)
  return self:get("/api/projections/" .. name).json
end

-- Until the projection has committed up to `position`.
function server:wait_position(name, position)
  return clock.wait_until(name .. " reaches position " .. position, function()
    local answer = self:get("/api/projections/" .. name)
    return answer.json and (answer.json.position or 0) >= position and answer.json, answer.body
  end)
end

function server:wait_state(name, state)
  return clock.wait_until(name .. " is " .. state, function()
    local answer = self:get("/api/projections/" .. name)
    return answer.json and answer.json.state == state and answer.json, answer.body
  end)
end

-- One row of a read model; nil while there is none.
function server:row(projection, table_name, key)
  local answer = self:get(("/api/projections/%s/tables/%s/%s"):format(projection, table_name, key))
  return answer.status == 200 and answer.json or nil, answer.body
end

-- All rows, page by page, in the order of the key.
function server:all_rows(projection, table_name)
  local path = ("/api/projections/%s/tables/%s?limit=1000"):format(projection, table_name)
  local rows, after = {}, nil
  repeat
    local answer = self:get(path .. (after and "&after=" .. after or ""))
    assert(answer.status == 200, answer.body)
    for _, row in ipairs(answer.json.rows) do
      rows[#rows + 1] = row
    end
    after = answer.json.next
  until after == cjson.null
  return rows
end

-- ---- the command line ----

-- Runs a command to its end: {status, out, err}.  Options: env, cwd, stdin
-- (its text).
function server.cli(arguments, options)
  options = options or {}
  local folder = server.temporary_folder()
  local argv = { BINARY }
  for _, word in ipairs(arguments) do
    argv[#argv + 1] = word
  end
  if options.stdin then
    server.write_file(folder .. "/in", options.stdin)
  end
  local pid = process.spawn {
    argv = argv, env = options.env, without = OURS, cwd = options.cwd or folder,
    stdin = options.stdin and folder .. "/in",
    stdout = folder .. "/out", stderr = folder .. "/err",
  }
  local status = process.wait(pid, options.limit_s)
  local result = {
    status = status,
    out = server.read_file(folder .. "/out"),
    err = server.read_file(folder .. "/err"),
  }
  os.execute("rm -rf '" .. folder .. "'")
  return result
end

-- The same with this engine's configuration.
function server:run(arguments, options)
  local words = { arguments[1], "--config", self.config_path }
  for i = 2, #arguments do
    words[#words + 1] = arguments[i]
  end
  options = options or {}
  options.env = options.env or self.env
  return server.cli(words, options)
end

return server
