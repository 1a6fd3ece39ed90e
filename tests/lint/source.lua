-- What the lints share: the files they look at, and C text without what is
-- not code.  A lint is a module with `check(path, text)`, a list of faults
-- {line, message}; run by `luajit tests/lint/run.lua`, tested by
-- tests/spec/lint_spec.lua.

local source = {}

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end
source.read_file = read_file

-- Tracked files and those that git would add; all without a deleted one.
function source.files()
  local list = {}
  local pipe = assert(io.popen("git ls-files -z --cached --others --exclude-standard"))
  for path in pipe:read("*a"):gmatch("[^%z]+") do
    local file = io.open(path, "rb")
    if file then
      file:close()
      list[#list + 1] = path
    end
  end
  pipe:close()
  table.sort(list)
  return list
end

local function blank(text)
  return (text:gsub("[^\n]", " "))
end

-- Where the literal that begins with `quote` at `at` ends.
local function literal_end(text, at, quote)
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then
      i = i + 1
    elseif c == quote or c == "\n" then
      return i
    end
    i = i + 1
  end
  return #text
end

-- C text with comments, literals or both replaced by as many blanks, so that
-- lines and columns stay what they were.
function source.strip(text, what)
  local out, at, plain = {}, 1, 1
  local function cut(to, drop)
    out[#out + 1] = text:sub(plain, at - 1)
    local piece = text:sub(at, to)
    out[#out + 1] = drop and blank(piece) or piece
    at, plain = to + 1, to + 1
  end
  while at <= #text do
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    if two == "/*" then
      local _, to = text:find("*/", at + 2, true)
      cut(to or #text, what.comments)
    elseif two == "//" then
      cut((text:find("\n", at, true) or #text + 1) - 1, what.comments)
    elseif one == '"' or one == "'" then
      cut(literal_end(text, at, one), what.literals)
    else
      at = at + 1
    end
  end
  out[#out + 1] = text:sub(plain)
  return table.concat(out)
end

-- Iterates over number and text of each line.
function source.lines(text)
  local number, at = 0, 1
  return function()
    if at > #text then
      return nil
    end
    local stop = text:find("\n", at, true) or #text + 1
    local line = text:sub(at, stop - 1)
    number, at = number + 1, stop + 1
    return number, line
  end
end

return source
