-- Writes N events on 5,000 accounts as NDJSON, the same ones each time.
local count = tonumber(arg[1]) or 1000
local line = '{"aggregate_type":"Account","aggregate_id":"account-%d","event_type":"Deposited",'
  .. '"data":{"amount":"%d.%02d","currency":"EUR","note":"a deposit like any other"}}\n'

io.stdout:setvbuf("full")
for i = 1, count do
  io.write(line:format(1 + i % 5000, i % 1000, i % 100))
end
