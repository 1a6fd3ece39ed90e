-- A database for one test, on either store: made empty, asked in SQL, and
-- dropped.  What SQL sees is what any other program would see.

local cjson = require "cjson"

local database = {}
database.__index = database

local function server_url()
  return assert(os.getenv("PERIGEE_TEST_PG_URL"), "run below tests/support/pg.sh")
end

local function connect(url)
  local driver = require("luasql.postgres").postgres()
  local connection, why = driver:connect(url)
  assert(connection, why)
  return connection
end

local function run_on_server(statement)
  local connection = connect(server_url())
  assert(connection:execute(statement))
  connection:close()
end

local made = 0

local function new_postgresql()
  made = made + 1
  local pid = require("posix.unistd").getpid()
  local name = ("perigee_test_%d_%d"):format(pid, made)
  run_on_server("create database " .. name)
  return setmetatable({
    store = "postgresql",
    name = name,
    url = server_url():gsub("/[^/]*$", "/" .. name),
  }, database)
end

-- One that somebody else made, and takes away.
function database.at(url)
  local path = url:match("^sqlite:(.*)")
  return setmetatable({
    store = path and "sqlite" or "postgresql", url = url, path = path, is_foreign = true,
  }, database)
end

-- `store` is "sqlite" or "postgresql"; `folder` is where a file goes.
function database.new(store, folder)
  if store == "postgresql" then
    return new_postgresql()
  end
  local path = folder .. "/perigee.db"
  return setmetatable({ store = "sqlite", path = path, url = "sqlite:" .. path }, database)
end

local function postgresql_rows(self, statement)
  self.connection = self.connection or connect(self.url)
  local cursor = assert(self.connection:execute(statement))
  local rows = {}
  if type(cursor) ~= "number" then
    local row = cursor:fetch({}, "a")
    while row do
      rows[#rows + 1] = row
      row = cursor:fetch({}, "a")
    end
    cursor:close()
  end
  return rows
end

local function sqlite_rows(self, statement)
  local pipe = assert(io.popen(("sqlite3 -json -cmd '.timeout 5000' '%s' \"%s\" 2>&1"):format(
    self.path, statement:gsub('"', '\\"'))))
  local text = pipe:read("*a")
  pipe:close()
  if text == "" then
    return {}
  end
  local ok, rows = pcall(cjson.decode, text)
  return ok and rows or error(text)
end

-- Rows as tables by column name.
function database:rows(statement)
  if self.store == "postgresql" then
    return postgresql_rows(self, statement)
  end
  return sqlite_rows(self, statement)
end

-- One of the engine's own tables.
function database:own(table_name)
  return (self.store == "postgresql" and "perigee." or "perigee_") .. table_name
end

function database:close()
  if self.connection then
    self.connection:close()
    self.connection = nil
  end
end

function database:drop()
  self:close()
  if self.store == "postgresql" and not self.is_foreign then
    run_on_server(("drop database if exists %s with (force)"):format(self.name))
  end
end

return database
