-- Words that must not be: functions of C that overflow, forget or cannot
-- report, notes to oneself, and paths of somebody's machine.

local source = require "source"
local words = {}

local banned = {
  strcpy = "str or buf", strcat = "buf", sprintf = "snprintf or buf_printf",
  vsprintf = "vsnprintf or buf_vprintf", atoi = "a checked parse",
  atol = "a checked parse", strtok = "str", gets = "getline",
  alloca = "an arena", assert = "CHECK, or an error",
}

-- Written in two parts, or this file would be its own first fault.
local notes = { "TO" .. "DO", "FIX" .. "ME", "X" .. "XX" }
local machine_paths = { "/wor" .. "k/", "/tmp/" .. "b-", "/ro" .. "ot/" }

local function add(faults, number, ...)
  faults[#faults + 1] = { number, (...):format(select(2, ...)) }
end

local function check_functions(text, faults)
  local code = source.strip(text, { comments = true, literals = true })
  for number, line in source.lines(code) do
    for name in line:gmatch("%f[%w_]([%l_]+)%s*%(") do
      if banned[name] then
        add(faults, number, "%s() is banned: use %s", name, banned[name])
      end
    end
  end
end

local function check_line(number, line, faults)
  for _, note in ipairs(notes) do
    if line:find("%f[%w_]" .. note .. "%f[^%w_]") then
      add(faults, number, "%s: do it, or open an issue", note)
    end
  end
  for _, path in ipairs(machine_paths) do
    if line:find(path, 1, true) then
      add(faults, number, "%s is a path of one machine", path)
    end
  end
end

function words.check(path, text)
  local faults = {}
  if text:find("%z") then
    return faults -- not a text
  end
  if path:find("%.[ch]$") then
    check_functions(text, faults)
  end
  for number, line in source.lines(text) do
    check_line(number, line, faults)
  end
  return faults
end

return words
