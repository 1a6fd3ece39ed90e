-- A PostgreSQL of a test's own, for what nobody may do to a shared one: it is
-- stopped, killed, frozen and set.  tests/support/pg.sh makes it, and takes it
-- away again however the test ends.

local clock = require "clock"
local database = require "database"
local process = require "process"
local server = require "server"

local cluster = {}
cluster.__index = cluster

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- What pg.sh tells its command, as a table by name.
local function wait_for_facts(folder, pid)
  local path = folder .. "/facts"
  clock.wait_until("a PostgreSQL of our own starts", function()
    assert(not process.poll(pid), server.read_file(folder .. "/pg.log"))
    return server.read_file(path):find("end\n", 1, true)
  end, 60)
  local facts = {}
  for name, value in server.read_file(path):gmatch("PERIGEE_TEST_PG_(%u+)=([^\n]*)\n") do
    facts[name] = value
  end
  return facts
end

-- `options` go to the server's command line: "-c fsync=off".
function cluster.new(options)
  local folder = server.temporary_folder()
  local script = ("cd '%s' && env | grep ^PERIGEE_TEST_PG_ >facts && echo end >>facts"
    .. " && exec sleep 3600"):format(folder)
  local pid = process.spawn {
    argv = { server.root .. "/tests/support/pg.sh", "sh", "-c", script },
    env = { PERIGEE_PG_OPTIONS = options or "-c fsync=off" },
    stdout = folder .. "/pg.log",
  }
  local facts = wait_for_facts(folder, pid)
  local self = setmetatable({
    folder = folder, keeper = pid, url = facts.URL, data = facts.DATA, user = facts.USER,
    bin = run("pg_config --bindir"):gsub("%s+$", ""),
  }, cluster)
  -- The first word is the program.
  self.options = server.read_file(self.data .. "/postmaster.opts"):match("^%S+%s+(.-)%s*$")
  return self
end

-- Runs a program of the server as its user, from a folder that user may enter.
local function as_server(self, arguments)
  local command = ("'%s'/%s"):format(self.bin, arguments)
  if run("id -un") ~= self.user .. "\n" then
    command = ("runuser -u %s -- %s"):format(self.user, command)
  end
  return run(("cd '%s/..' && %s"):format(self.data, command))
end

-- "fast" ends all connections, "immediate" is a crash.
function cluster:stop(mode)
  as_server(self, ("pg_ctl -D '%s' -m %s -w -t 60 stop"):format(self.data, mode or "fast"))
end

function cluster:start()
  local options = self.options:gsub('"', "")
  local said = as_server(self, ("pg_ctl -D '%s' -l '%s/../log' -w -t 60 -o \"%s\" start"):format(
    self.data, self.data, options))
  assert(said:find("server started", 1, true), said)
end

-- Starts again as a standby of nobody: it can be read, not written.
function cluster:demote()
  self:stop("fast")
  server.write_file(self.data .. "/standby.signal", "")
  self:start()
end

-- A standby of this server that streams from it, on a port of its own; takes
-- the same functions.  It has to be removed before its primary.
function cluster:standby()
  local folder = server.temporary_folder()
  local port = server.free_port()
  local own = { D = folder .. "/data", p = port }
  os.execute(("mkdir '%s/socket' && chown %s '%s' '%s/socket'"):format(folder, self.user, folder,
    folder))
  local said = as_server(self, ("pg_basebackup -d '%s' -D '%s/data' -R -X stream -c fast"):format(
    self.url:gsub("/[^/]*$", "/postgres"), folder))
  assert(said == "", said)
  local standby = setmetatable({
    folder = folder, data = own.D, user = self.user, bin = self.bin, is_standby = true,
    url = self.url:gsub(":%d+/", ":" .. port .. "/"),
    options = self.options:gsub('"', ""):gsub("(%-([Dp]) )%S+", function(flag, name)
      return flag .. own[name]
    end):gsub("(unix_socket_directories=)%S+", "%1" .. folder .. "/socket"),
  }, cluster)
  standby:start()
  return standby
end

function cluster:promote()
  as_server(self, ("pg_ctl -D '%s' -w promote"):format(self.data))
end

-- All processes of the server, the postmaster first.
function cluster:pids()
  local postmaster = server.read_file(self.data .. "/postmaster.pid"):match("^%d+")
  local pids = { tonumber(postmaster) }
  for pid in run("pgrep -P " .. postmaster):gmatch("%d+") do
    pids[#pids + 1] = tonumber(pid)
  end
  return pids
end

function cluster:freeze()
  self.frozen = self:pids()
  for _, pid in ipairs(self.frozen) do
    process.signal(pid, "STOP")
  end
end

function cluster:thaw()
  for _, pid in ipairs(self.frozen or {}) do
    process.signal(pid, "CONT")
  end
  self.frozen = nil
end

-- One statement as the superuser, in the database `name`; what psql prints.
function cluster:sql(statement, name)
  return run(("psql -X -q -A -t '%s' -c \"%s\""):format(
    name and self.url:gsub("/[^/]*$", "/" .. name) or self.url, statement))
end

-- Changes a setting of the whole server, or takes the change back.
function cluster:set(name, value)
  self:sql(value and ("alter system set %s = '%s'"):format(name, value)
    or "alter system reset " .. name)
  self:sql("select pg_reload_conf()")
end

-- A new, empty database, in the form in which server.new takes one.  `more` is
-- the rest of its `create database`.
function cluster:database(name, more)
  local said = self:sql(("create database %s %s"):format(name, more or ""))
  assert(said == "", said)
  return database.at(self.url:gsub("/[^/]*$", "/" .. name))
end

function cluster:remove()
  self:thaw()
  if self.is_standby then
    self:stop("immediate")
    os.execute("rm -rf '" .. self.folder .. "'")
    return
  end
  process.signal(self.keeper, "TERM")
  process.wait(self.keeper, 60)
  os.execute("rm -rf '" .. self.folder .. "'")
end

return cluster
