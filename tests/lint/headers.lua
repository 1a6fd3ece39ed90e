-- Headers are manuals: `#pragma once` on the first line, then a story, and
-- each prototype has a comment directly above it, at its end, or above the
-- group of lines it stands in (a blank line ends a group).  A function whose
-- body is right there speaks for itself.

local source = require "source"
local headers = {}

-- The lines of `code` that are no preprocessor's, with their numbers.
local function plain_lines(code)
  local list, continues = {}, false
  for number, line in source.lines(code) do
    local directive = continues or line:find("^%s*#") ~= nil
    continues = directive and line:find("\\%s*$") ~= nil
    if not directive then
      list[#list + 1] = { number = number, text = line }
    end
  end
  return list
end

-- What ends with a semicolon outside of all braces: {first, last, text}.
local function declarations(code)
  local list, depth, text, first = {}, 0, {}, nil
  for _, line in ipairs(plain_lines(code)) do
    for c in (line.text .. " "):gmatch(".") do
      if c == "{" then
        depth = depth + 1
      elseif c == "}" then
        depth, text, first = depth - 1, {}, nil
      elseif depth == 0 and c == ";" then
        list[#list + 1] = { first = first, last = line.number, text = table.concat(text) }
        text, first = {}, nil
      elseif depth == 0 then
        first = first or (c:find("%S") and line.number)
        text[#text + 1] = c
      end
    end
  end
  return list
end

local function is_prototype(text)
  return text:find("[%w_]+%s*%(") ~= nil
    and not text:find("^%s*typedef%f[%W]")
    and not text:find("^%s*_Static_assert")
    and not text:find("=")
end

-- What each line is: has it code, does it end with a comment?
local function look(text, code)
  local has_code, has_comment = {}, {}
  for number, line in source.lines(code) do
    has_code[number] = line:find("%S") ~= nil
  end
  for number, line in source.lines(text) do
    has_comment[number] = line:find("%*/%s*$") ~= nil
  end
  return has_code, has_comment
end

-- A comment beside the code of one line says nothing of the lines below it.
local function is_documented(declaration, has_code, has_comment)
  if has_comment[declaration.last] then
    return true
  end
  local number = declaration.first - 1
  while has_code[number] do
    number = number - 1
  end
  return has_comment[number] == true
end

local function check_opening(text, faults)
  if not text:find("^#pragma once\n") then
    faults[#faults + 1] = { 1, "a header begins with #pragma once" }
  elseif not text:find("^#pragma once\n/%*") then
    faults[#faults + 1] = { 2, "after #pragma once comes the header's story" }
  end
end

function headers.check(path, text)
  local faults = {}
  if not path:find("^engine/.*%.h$") then
    return faults
  end
  check_opening(text, faults)
  local code = source.strip(text, { comments = true, literals = true })
  local has_code, has_comment = look(text, code)
  for _, declaration in ipairs(declarations(code)) do
    if is_prototype(declaration.text)
      and not is_documented(declaration, has_code, has_comment) then
      local name = declaration.text:match("([%w_]+)%s*%(")
      faults[#faults + 1] = { declaration.first, name .. " has no comment" }
    end
  end
  return faults
end

return headers
