-- Counts the results in TAP, as cmocka and busted print it:
--
--     1..2
--     ok 1 - a sentence
--     not ok 2 - another
--
-- and in cmocka's own form, which it falls back to in a test that empties its
-- environment.  A program that ends early must not look like one that passed:
-- results which the plan promised and nobody gave are failures, and so is an
-- exit status that no failed test explains.

local tap = {}

-- Pattern, counter, and by how much: the number found, or 1.
local FORMS = {
  { "^%s*1%.%.(%d+)", "planned" },
  { "^%s*not ok ", "failed" },
  { "^%s*ok .*# SKIP", "skipped" },
  { "^%s*ok ", "passed" },
  { "^%[=+%] Running (%d+) test", "planned" },
  { "^%[ +OK %]", "passed" },
  { "^%[ +SKIPPED %] [%w_]+$", "skipped" },
  { "^%[ +FAILED +%] (%d+) test", "failed" },
}

local function count_line(line, counts)
  for _, form in ipairs(FORMS) do
    local from, _, number = line:find(form[1])
    if from then
      counts[form[2]] = counts[form[2]] + (tonumber(number) or 1)
      return
    end
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
