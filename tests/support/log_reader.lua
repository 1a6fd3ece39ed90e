-- Reads the log of all events through the API, as any consumer would, and
-- checks on the way what is promised of it: position after position, without
-- a gap, and each stream's versions in order.

local cjson = require "cjson"

local log_reader = {}
log_reader.__index = log_reader

-- `request(path)` gives an answer of http.lua.
function log_reader.new(request, limit)
  return setmetatable({
    request = request, limit = limit or 1000, position = 0, versions = {}, ids = {},
  }, log_reader)
end

function log_reader:check(event)
  if event.position ~= self.position + 1 then
    error(("position %d came after %d"):format(event.position, self.position))
  end
  local stream = event.aggregate_type .. "/" .. event.aggregate_id
  local before = self.versions[stream] or 0
  if event.aggregate_version ~= before + 1 then
    error(("%s: version %d came after %d"):format(stream, event.aggregate_version, before))
  end
  if self.ids[event.event_id] then
    error("event id " .. event.event_id .. " came twice")
  end
  self.position, self.versions[stream] = event.position, event.aggregate_version
  self.ids[event.event_id] = event.position
end

-- One page; `each(event)` for every event.  True when it reached the end.
function log_reader:page(each)
  local answer = self.request(("/api/events?after=%d&limit=%d"):format(self.position, self.limit))
  if answer.status ~= 200 then
    error(answer.body)
  end
  for _, event in ipairs(answer.json.events) do
    self:check(event)
    if each then
      each(event)
    end
  end
  return answer.json.next == cjson.null
end

function log_reader:all(each)
  while not self:page(each) do
    -- the next page
  end
  return self.position
end

return log_reader
