-- TLS by the proxy of config/nginx.conf: requests arrive as they were sent.

local cjson = require "cjson"
local clock = require "clock"
local process = require "process"
local server = require "server"

local TOKEN = "shop-0123456789abcdef"

local engine, proxy, url

-- The example, with a port, a certificate and an upstream of this test.
local function write_settings(folder, port)
  local text, count = server.read_file(server.root .. "/config/nginx.conf"), 0
  local function replace(what, by)
    local found
    text, found = text:gsub(what, by)
    count = count + found
  end
  replace("listen 443 ssl", "listen 127.0.0.1:" .. port .. " ssl")
  replace("/etc/ssl/perigee/", folder .. "/")
  replace("server 127%.0%.0%.1:8000", "server " .. engine.address)
  assert(count == 4, "config/nginx.conf has other lines than this test knows")
  local temporary = {}
  for _, kind in ipairs { "client_body", "proxy", "fastcgi", "uwsgi", "scgi" } do
    temporary[#temporary + 1] = ("%s_temp_path %s/%s;"):format(kind, folder, kind)
  end
  server.write_file(folder .. "/nginx.conf", ("pid %s/nginx.pid;\ndaemon off;\n"
    .. "events {}\nhttp {\naccess_log off;\n%s\n%s}\n"):format(folder,
    table.concat(temporary, "\n"), text))
end

local function make_certificate(folder)
  assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
    .. "-days 1 -subj /CN=localhost -keyout %s/tls.key -out %s/tls.crt 2>/dev/null")
    :format(folder, folder)) == 0)
end

-- Status and body of one request by curl.
local function ask(path, options)
  local pipe = io.popen(("curl -sk --path-as-is -m 20 -w '\\n%%{http_code}' %s '%s%s'"):format(
    options or "", url, path))
  local text = pipe:read("*a")
  pipe:close()
  local body, status = text:match("^(.*)\n(%d+)$")
  return tonumber(status), body
end

local AS_SHOP = "-H 'Authorization: Bearer " .. TOKEN .. "' "
local APPEND = AS_SHOP .. "-H 'Content-Type: application/json' -H 'X-Actor-Id: ada' "
  .. [[-d '{"events":[{"event_type":"Noted","data":{}}]}']]

describe("behind a proxy that speaks TLS", function()
  setup(function()
    engine = server.start_new { settings = { http = { tokens = {
      shop = { token = TOKEN, role = "writer" },
    } } } }
    local folder, port = engine.folder, server.free_port()
    url = "https://127.0.0.1:" .. port
    make_certificate(folder)
    write_settings(folder, port)
    proxy = process.spawn {
      argv = { "/usr/sbin/nginx", "-p", folder, "-e", folder .. "/nginx.log",
        "-c", folder .. "/nginx.conf" },
      stdout = folder .. "/nginx.out", stderr = folder .. "/nginx.err",
    }
    clock.wait_until("the proxy answers", function()
      local status = ask("/api/events")
      return status == 401, server.read_file(folder .. "/nginx.err")
    end)
  end)
  teardown(function()
    process.signal(proxy, "TERM")
    process.wait(proxy)
    server.remove_all()
  end)

  it("tokens and headers arrive", function()
    assert.equal(401, (ask("/api/streams/Log/1", APPEND:gsub("shop%-", "nobody-"))))
    local status, body = ask("/api/streams/Log/1", APPEND)
    assert.equal(200, status, body)
    status, body = ask("/api/streams/Log/1", AS_SHOP)
    assert.equal(200, status, body)
    assert.equal("ada", cjson.decode(body).events[1].actor_id)
  end)

  it("an escaped slash stays one", function()
    local status, body = ask("/api/streams/Log/a%2Fb", APPEND)
    assert.equal(200, status, body)
    status, body = ask("/api/streams/Log/a%2Fb", AS_SHOP)
    assert.equal(200, status, body)
    assert.equal("a/b", cjson.decode(body).events[1].aggregate_id)
  end)

  it("probes and metrics are hidden", function()
    for _, path in ipairs { "/health", "/health/ready", "/metrics", "/%68ealth", "//metrics" } do
      assert.equal(404, (ask(path)), path)
    end
  end)

  it("live events come at once", function()
    local path = engine.folder .. "/live"
    local curl = process.spawn {
      argv = { "/usr/bin/curl", "-skN", "-H", "Authorization: Bearer " .. TOKEN,
        url .. "/api/events/live?after=0" },
      stdout = path,
    }
    clock.wait_until("an event comes", function()
      return server.read_file(path):find("Noted", 1, true)
    end)
    process.signal(curl, "TERM")
    process.wait(curl)
  end)
end)
