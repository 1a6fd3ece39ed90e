-- The layers: an include may only point to the right.
--
--     http/ cli/ -> api/ -> core/ -> store/ vm/ -> run/ -> base/
--
-- A folder sees itself and what is right of it, not its neighbour.  The files
-- right in engine/ see all, and only they and cli/ see those.  The header of
-- a library belongs to one folder.  tests/unit/<layer>/ obeys as its layer.

local source = require "source"
local layers = {}

local rank = { http = 6, cli = 6, api = 5, core = 4, store = 3, vm = 3, run = 2, base = 1 }

local fences = {
  { "^libpq", "store" }, { "^postgres", "store" }, { "^sqlite3", "store" },
  { "^lua%.h", "vm" }, { "^lualib%.h", "vm" }, { "^lauxlib%.h", "vm" }, { "^luajit", "vm" },
  { "^uv%.h", "run" }, { "^uv/", "run" }, { "^curl/", "run" },
  { "^civetweb", "http" },
  { "^gmp", "base" }, { "^openssl/", "base" },
}

-- The layer of a file: a folder's name, "root", or nil where no rule holds.
local function layer_of(path)
  local inside = path:match("^engine/(.+)$") or path:match("^tests/unit/(%w+/.+)$")
  local folder = inside and inside:match("^(%w+)/")
  return inside and (rank[folder] and folder or "root")
end

local function may_see(from, to)
  if from == "root" then
    return true
  end
  if to == "root" then
    return from == "cli"
  end
  return from == to or rank[to] < rank[from]
end

-- A test may have headers of its own beside it; those of engine/ are known.
local function check_ours(from, header, path)
  local to = header:match("^(%w+)/") or "root"
  local is_engines = rank[to] or header == "app.h" or header == "config.h"
  if path:find("^tests/") and not is_engines or to ~= "root" and not rank[to] then
    return nil
  end
  if not may_see(from, to) then
    return ("%s/ may not include \"%s\""):format(from, header)
  end
end

local function check_library(from, header)
  for _, fence in ipairs(fences) do
    if header:find(fence[1]) and from ~= fence[2] then
      return ("<%s> belongs to %s/ alone"):format(header, fence[2])
    end
  end
end

function layers.check(path, text)
  local faults, from = {}, layer_of(path)
  if not path:find("%.[ch]$") or not from then
    return faults
  end
  for number, line in source.lines(source.strip(text, { comments = true })) do
    local open, header = line:match('^%s*#%s*include%s*(["<])([^">]+)')
    local message = open == '"' and check_ours(from, header, path)
      or open and check_library(from, header)
    if message then
      faults[#faults + 1] = { number, message }
    end
  end
  return faults
end

return layers
