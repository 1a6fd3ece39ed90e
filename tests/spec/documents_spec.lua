-- What can be checked of the documents: every source file has its line in
-- ARCHITECTURE.md and every line its file; links between pages lead somewhere.

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function list(command)
  local lines, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do
    lines[#lines + 1] = line
  end
  pipe:close()
  return lines
end

local function exists(path)
  return os.execute(("test -e '%s'"):format(path)) == 0
end

local LIBRARIES = {
  ["sqlite3.h"] = true, ["lua.h"] = true, ["uv.h"] = true, ["curl.h"] = true,
  ["civetweb.h"] = true, ["gmp.h"] = true,
}

-- Without code, in which brackets mean something else.
local function prose(page)
  return (read(page):gsub("```.-```", ""):gsub("`[^`\n]*`", ""))
end

describe("ARCHITECTURE.md", function()
  local text = read("ARCHITECTURE.md")

  it("has a line for each source file", function()
    for _, path in ipairs(list("git ls-files 'engine/*.c'")) do
      local name = path:match("[^/]+$")
      local known = text:find("`" .. name .. "`", 1, true) or name:find("^api_")
      assert.truthy(known, path .. " has no line")
    end
  end)

  it("names no source file that is not there", function()
    local there = {}
    for _, path in ipairs(list("git ls-files 'engine/*.[ch]'")) do
      there[path:match("[^/]+$")] = true
    end
    for name in text:gmatch("`([%w_]+%.[ch])`") do
      assert.truthy(there[name] or LIBRARIES[name], name .. " is not there")
    end
  end)
end)

describe("a link between pages", function()
  for _, page in ipairs(list("git ls-files '*.md'")) do
    it("in " .. page .. " leads somewhere", function()
      local folder = page:match("^(.*/)") or ""
      for target in prose(page):gmatch("%]%(([^)#]+)[^)]*%)") do
        assert.truthy(target:find("^https?:") or exists(folder .. target), page .. ": " .. target)
      end
    end)
  end
end)
