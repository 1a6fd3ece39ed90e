-- Counts the results in TAP, as cmocka and busted print it:
--
--     1..2
--     ok 1 - a sentence
--     not ok 2 - another
--
-- A program that ends early must not look like one that passed: results which
-- the plan promised and nobody gave are failures, and so is an exit status
-- that no failed test explains.

local tap = {}

local function count_line(line, counts)
  local planned = line:match("^%s*1%.%.(%d+)")
  local verdict = line:match("^%s*(n?o?t? ?ok) ")
  if planned then
    counts.planned = counts.planned + tonumber(planned)
  elseif verdict == "not ok" then
    counts.failed = counts.failed + 1
  elseif verdict == "ok" and line:find("# SKIP") then
    counts.skipped = counts.skipped + 1
  elseif verdict == "ok" then
    counts.passed = counts.passed + 1
  end
end

-- {passed, failed, skipped, trouble}; `trouble` says in words why a program
-- failed beyond its failed tests, or is nil.
function tap.count(text, status)
  local counts = { planned = 0, passed = 0, failed = 0, skipped = 0 }
  for line in text:gmatch("[^\n]+") do
    count_line(line, counts)
  end
  local given = counts.passed + counts.failed + counts.skipped
  if given < counts.planned then
    local lost = counts.planned - given
    counts.trouble = ("%d of %d tests gave no result"):format(lost, counts.planned)
    counts.failed = counts.failed + lost
  elseif given == 0 then
    counts.trouble = "no test was run"
    counts.failed = 1
  elseif status ~= 0 and counts.failed == 0 then
    counts.trouble = ("exit status %s although no test failed"):format(status)
    counts.failed = 1
  end
  return counts
end

return tap
