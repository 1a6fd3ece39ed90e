-- A PgBouncer in transaction mode between an engine and its PostgreSQL.
--
--     local way = pooler.start(database.new("postgresql"), 3)
--     server.start_new { settings = { database = { url = way.url, … } } }
--     way:stop()

local clock = require "clock"
local process = require "process"
local server = require "server"
local socket = require "socket"

local pooler = {}
pooler.__index = pooler

local CONFIG = [[
[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
auth_type = any
pool_mode = transaction
default_pool_size = %d
server_reset_query =
unix_socket_dir =
logfile = /dev/null
]]

local function wait_for(self)
  clock.wait_until("PgBouncer listens", function()
    assert(not process.poll(self.pid), server.read_file(self.folder .. "/said"))
    local connection = socket.connect("127.0.0.1", self.port)
    return connection and (connection:close() or true)
  end)
end

-- All share `size` connections to the server.
function pooler.start(database, size)
  local user, host, port, name = database.url:match("^postgresql://([^@]+)@([^:]+):(%d+)/(.*)$")
  local self = setmetatable({ folder = server.temporary_folder(), port = server.free_port() },
    pooler)
  local config = self.folder .. "/pgbouncer.ini"
  server.write_file(config, CONFIG:format(host, port, user, self.port, size))
  os.execute(("chmod 755 '%s'"):format(self.folder))
  local argv = { "pgbouncer", "-q" }
  local runs_as = os.getenv("PERIGEE_TEST_PG_USER")
  if require("posix.unistd").geteuid() == 0 and runs_as then
    argv[3], argv[4] = "-u", runs_as
  end
  argv[#argv + 1] = config
  self.pid = process.spawn { argv = argv, stdout = self.folder .. "/said" }
  self.url = ("postgresql://%s@127.0.0.1:%d/%s"):format(user, self.port, name)
  wait_for(self)
  return self
end

function pooler:stop()
  process.signal(self.pid, "TERM")
  process.wait(self.pid)
  os.execute("rm -rf '" .. self.folder .. "'")
end

return pooler
