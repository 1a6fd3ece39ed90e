-- Runs tests and says at the end how it went:
--
--     luajit tests/run.lua SUITE… [-- UNIT_PROGRAM…]
--
-- Suites: `unit` (the programs given), `spec` (tests/spec), `e2e` (tests/e2e on
-- each store) and `proofs` (tests/proofs on each store).  The stores: SQLite,
-- and PostgreSQL when PERIGEE_TEST_PG_URL names a server, as
-- tests/support/pg.sh does.  From the environment:
--
--     PERIGEE_BIN          the engine that e2e and proofs drive
--     PERIGEE_TEST_LOGS    folder of the full outputs (build/test-logs)
--     PERIGEE_TEST_ONLY    a Lua pattern: only programs with such a name
--     PERIGEE_TEST_WITHOUT another: all but those
--     PERIGEE_TEST_FULL    1: proofs at the size that issues name
--     PERIGEE_TEST_REDUCED 1: leave out what is tagged #slow
--
-- A line a program; the whole output of one that failed; the last line is
-- `N passed, N failed`.

package.path = "tests/support/?.lua;" .. package.path

local database = require "database"
local jobs = require "jobs"
local tap = require "tap"

local logs = os.getenv("PERIGEE_TEST_LOGS") or "build/test-logs"
local full = os.getenv("PERIGEE_TEST_FULL") == "1"
local reduced = os.getenv("PERIGEE_TEST_REDUCED") == "1"

local function read_file(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

local function stores()
  local list = { "sqlite" }
  if os.getenv("PERIGEE_TEST_PG_URL") then
    list[2] = "postgresql"
  end
  return list
end

local function spec_files(folder, suffix)
  local list = {}
  local pipe = assert(io.popen(("ls %s/*_%s.lua 2>/dev/null"):format(folder, suffix)))
  for path in pipe:lines() do
    list[#list + 1] = path
  end
  pipe:close()
  return list
end

local function busted_job(path, suffix, store)
  local argv = { "busted", "--lua=luajit", "-o", "TAP", "--pattern=_" .. suffix .. "$",
    "--helper=tests/support/helper.lua" }
  if reduced then
    argv[#argv + 1] = "--exclude-tags=slow"
  end
  argv[#argv + 1] = path
  local name = path:gsub("^tests/", ""):gsub("%.lua$", "")
  return {
    name = store and name .. " on " .. store or name,
    argv = argv,
    env = { PERIGEE_TEST_STORE = store, PERIGEE_TEST_FULL = full and "1" or "0" },
    limit_s = full and 3600 or 300,
  }
end

local suites = {}

-- Programs that run beside each other must not meet in one database.
local function give_database(job)
  if os.getenv("PERIGEE_TEST_PG_URL") then
    job.database = database.new("postgresql")
    job.env.PERIGEE_TEST_PG_URL = job.database.url
  end
end

-- Settings of the whole server are everybody's.
local function changes_server(program)
  local source = program:gsub("^.*(unit/)", "tests/%1") .. ".c"
  return read_file(source):find("alter system", 1, true) ~= nil
end

function suites.unit(programs)
  local list = {}
  for i, path in ipairs(programs) do
    list[i] = {
      name = path:match("unit/.*$") or path,
      argv = { path },
      env = { CMOCKA_MESSAGE_OUTPUT = "TAP" },
      limit_s = 300,
      prepare = give_database,
      alone = changes_server(path),
    }
  end
  return list
end

function suites.spec()
  local list = {}
  for i, path in ipairs(spec_files("tests/spec", "spec")) do
    list[i] = busted_job(path, "spec")
  end
  return list
end

local function on_each_store(folder, suffix)
  local list = {}
  for _, path in ipairs(spec_files(folder, suffix)) do
    for _, store in ipairs(stores()) do
      list[#list + 1] = busted_job(path, suffix, store)
    end
  end
  return list
end

function suites.e2e()
  return on_each_store("tests/e2e", "spec")
end

-- What a proof has counted is shown: figures are the point.
function suites.proofs()
  local list = on_each_store("tests/proofs", "proof")
  for _, job in ipairs(list) do
    job.shows_notes = true
  end
  return list
end

local function parse_arguments(words)
  local names, programs, into = {}, {}, nil
  for _, word in ipairs(words) do
    if word == "--" and not into then
      into = programs
    else
      local list = into or names
      list[#list + 1] = word
    end
  end
  return names, programs
end

local function collect(names, programs)
  local only, without = os.getenv("PERIGEE_TEST_ONLY"), os.getenv("PERIGEE_TEST_WITHOUT")
  local list = {}
  for _, name in ipairs(names) do
    local suite = suites[name] or error("no suite is called " .. name)
    for _, job in ipairs(suite(programs)) do
      if (not only or job.name:find(only)) and not (without and job.name:find(without)) then
        job.log = ("%s/%s.log"):format(logs, job.name:gsub("[/ ]", "-"))
        list[#list + 1] = job
      end
    end
  end
  return list
end

-- Why tests were left out, each reason once: a machine may lack something.
local function print_reasons(output)
  local seen = {}
  for reason in output:gmatch("# SKIP [^\n]-:%d+: ([^\n]+)") do
    if not seen[reason] then
      print("     skipped: " .. reason)
    end
    seen[reason] = true
  end
end

local function report(job, counts, output)
  local word = counts.failed == 0 and "ok  " or "FAIL"
  local more = counts.skipped > 0 and (", %d skipped"):format(counts.skipped) or ""
  print(("%s %-44s %4d passed%s %6.1f s"):format(word, job.name, counts.passed, more, job.seconds))
  print_reasons(output)
  for note in output:gmatch("%f[^\n%z](# [^\n]+)") do
    if job.shows_notes and counts.failed == 0 then
      print("     " .. note)
    end
  end
  if counts.failed > 0 then
    print(output)
    print(("FAIL %s: %d failed%s; see %s"):format(job.name, counts.failed,
      counts.trouble and " (" .. counts.trouble .. ")" or "", job.log))
  end
  io.stdout:flush()
end

local function main(words)
  local names, programs = parse_arguments(words)
  local passed, failed = 0, 0
  os.execute(("mkdir -p '%s'"):format(logs))
  jobs.run(collect(names, programs), tonumber(os.getenv("PERIGEE_TEST_WIDTH") or 2), function(job)
    local output = read_file(job.log)
    local counts = tap.count(output, job.status)
    report(job, counts, output)
    passed, failed = passed + counts.passed, failed + counts.failed
    if job.database then
      job.database:drop()
    end
  end)
  print(("%d passed, %d failed"):format(passed, failed))
  return failed == 0 and passed > 0
end

os.exit(main(arg) and 0 or 1)
