local layers = require "layers"
local headers = require "headers"
local words = require "words"
local source = require "source"

local function messages(faults)
  local list = {}
  for i, fault in ipairs(faults) do
    list[i] = fault[1] .. ": " .. fault[2]
  end
  return list
end

local function one_fault(lint, path, text, pattern)
  local list = messages(lint.check(path, text))
  assert.equal(1, #list, table.concat(list, "; "))
  assert.truthy(list[1]:find(pattern), list[1])
end

local function no_fault(lint, path, text)
  assert.same({}, messages(lint.check(path, text)))
end

describe("the lint of layers", function()
  it("lets a folder include itself and what is right of it", function()
    no_fault(layers, "engine/core/a.c", '#include "core/a.h"\n#include "store/store.h"\n')
    no_fault(layers, "engine/app.c", '#include "http/server.h"\n#include "config.h"\n')
    no_fault(layers, "engine/cli/serve.c", '#include "app.h"\n')
  end)
  it("refuses an include that points left", function()
    one_fault(layers, "engine/base/a.c", '#include "run/loop.h"\n', "^1: base/ may not include")
  end)
  it("refuses the neighbour", function()
    one_fault(layers, "engine/vm/a.c", '\n#include "store/store.h"\n', "^2: vm/ may not")
  end)
  it("refuses the files of the root to all but cli/", function()
    one_fault(layers, "engine/core/a.c", '#include "config.h"\n', "core/ may not include")
  end)
  it("fences a library into its folder", function()
    no_fault(layers, "engine/store/a.c", "#include <sqlite3.h>\n#include <libpq-fe.h>\n")
    one_fault(layers, "engine/core/a.c", "#include <libpq-fe.h>\n", "belongs to store/ alone")
    one_fault(layers, "engine/cli/a.c", "#include <lua.h>\n", "belongs to vm/ alone")
  end)
  it("holds unit tests to the layer they test", function()
    one_fault(layers, "tests/unit/store/test_a.c", '#include "core/head.h"\n', "store/ may not")
    one_fault(layers, "tests/unit/store/test_a.c", '#include "config.h"\n', "store/ may not")
    no_fault(layers, "tests/unit/store/test_a.c", '#include "pg_support.h"\n')
    no_fault(layers, "tests/unit/app/test_a.c", '#include "config.h"\n#include "http/server.h"\n')
  end)
  it("does not read comments", function()
    no_fault(layers, "engine/base/a.c", '/*\n#include "run/loop.h"\n*/\n')
  end)
end)

describe("the lint of headers", function()
  local function header(body)
    return "#pragma once\n/*\n * A story.\n */\n" .. body
  end
  it("takes a comment above, behind, or above the group", function()
    no_fault(headers, "engine/base/a.h", header("\n/* Says. */\nint a(void);\nint b(void);\n"))
    no_fault(headers, "engine/base/a.h", header("\nint a(void); /* says */\n"))
    no_fault(headers, "engine/base/a.h",
      header("\n/* Says,\n * more. */\nint a(int b,\n      int c);\n"))
  end)
  it("refuses a prototype without one", function()
    one_fault(headers, "engine/base/a.h", header("\nint first(void);\n"), "^6: first has no")
    one_fault(headers, "engine/base/a.h",
      header("\n/* Says. */\nint a(void);\n\nint b(void);\n"), "b has no")
  end)
  it("does not take a comment beside other code", function()
    one_fault(headers, "engine/base/a.h",
      header("\nint x; /* beside */\nint b(void);\n"), "b has no")
  end)
  it("leaves structs, macros and functions with a body alone", function()
    no_fault(headers, "engine/base/a.h",
      header("\nstruct a {\n    int (*f)(void);\n};\n#define F(x) \\\n    g(x);\n" ..
        "static inline int f(void)\n{\n    return g();\n}\n"))
  end)
  it("wants #pragma once first, and the story next", function()
    one_fault(headers, "engine/base/a.h", "/* story */\n#pragma once\n", "begins with #pragma once")
    one_fault(headers, "engine/base/a.h", "#pragma once\n#include <a.h>\n", "story")
  end)
end)

describe("the lint of words", function()
  it("refuses functions that cannot be used safely", function()
    one_fault(words, "engine/a.c", "\n  strcpy(a, b);\n", "^2: strcpy%(%) is banned")
    one_fault(words, "engine/a.c", "x = atoi (s);\n", "atoi")
    one_fault(words, "engine/a.c", "assert(x);\n", "assert")
  end)
  it("does not take a part of a name for a name", function()
    no_fault(words, "engine/a.c", "buf_strcpy(a); assert_true(b); _Static_assert(c); a_gets(d);\n")
  end)
  it("does not read comments and literals", function()
    no_fault(words, "engine/a.c", '/* strcpy(a) */ f("atoi(", \'"\', "gets(");\n')
  end)
  it("refuses notes to oneself and paths of one machine", function()
    one_fault(words, "README.md", "-- TO" .. "DO later\n", "TO" .. "DO")
    one_fault(words, "README.md", "see /wor" .. "k/main\n", "one machine")
    no_fault(words, "README.md", "mktemp perigee.XXXXXX\n")
  end)
end)

describe("source.strip", function()
  it("keeps every line and column where it was", function()
    local text = 'a /* b\nc */ d "e\\"f" g\n'
    local stripped = source.strip(text, { comments = true, literals = true })
    assert.equal("a     \n     d        g\n", stripped)
  end)
end)
