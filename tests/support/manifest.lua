-- Kubernetes' manifests as tables: scalars are texts, numbers and booleans by
-- YAML 1.1's rules (0440 is octal), the rest lists and maps.
--
--     local all = manifest.folder("config/kubernetes")
--     local container = all:find("Deployment").spec.template.spec.containers[1]

require "yaml" -- LibYAML's events; it makes a global of that name

local events = rawget(_G, "yaml")
local manifest = {}
manifest.__index = manifest

local CONSTANTS = { ["true"] = true, ["false"] = false }

local function scalar(event)
  local text = event.value
  if event.style ~= "PLAIN" then
    return text
  elseif text:find("^0[0-7]+$") then
    return tonumber(text, 8)
  elseif CONSTANTS[text] ~= nil then
    return CONSTANTS[text]
  end
  return tonumber(text) or text
end

local read

local function read_list(next_event)
  local list = {}
  while true do
    local event = next_event()
    if event.type == "SEQUENCE_END" then
      return list
    end
    list[#list + 1] = read(event, next_event)
  end
end

local function read_map(next_event)
  local map = {}
  while true do
    local event = next_event()
    if event.type == "MAPPING_END" then
      return map
    end
    assert(map[event.value] == nil, "the key comes twice: " .. event.value)
    map[event.value] = read(next_event(), next_event)
  end
end

function read(event, next_event)
  if event.type == "SCALAR" then
    return scalar(event)
  elseif event.type == "SEQUENCE_START" then
    return read_list(next_event)
  elseif event.type == "MAPPING_START" then
    return read_map(next_event)
  end
  error("not expected in a manifest: " .. event.type)
end

-- The documents of a text.
function manifest.documents(text)
  local next_event, list = events.parser(text), {}
  while true do
    local event = assert(next_event(), "the text ends early")
    if event.type == "STREAM_END" then
      return list
    elseif event.type == "DOCUMENT_START" then
      list[#list + 1] = read(next_event(), next_event)
    end
  end
end

function manifest.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return manifest.documents(text)
end

-- All that the kustomization of a folder lists, and itself, as a list.
function manifest.folder(path)
  local all = manifest.read_file(path .. "/kustomization.yaml")
  for _, name in ipairs(all[1].resources) do
    for _, document in ipairs(manifest.read_file(path .. "/" .. name)) do
      all[#all + 1] = document
    end
  end
  return setmetatable(all, manifest)
end

-- The one of that kind and, if it is given, name.
function manifest:find(kind, name)
  for _, document in ipairs(self) do
    if document.kind == kind and (not name or document.metadata.name == name) then
      return document
    end
  end
  error(("there is no %s %s"):format(kind, name or ""))
end

-- The one of a list that has that name.
function manifest.named(list, name)
  for _, item in ipairs(list) do
    if item.name == name then
      return item
    end
  end
  error("nothing here is called " .. name)
end

return manifest
