/*
 * Our matcher and LuaJIT's, which it replaces, must say the same.  Where ours
 * ran out of time the other is not asked: it would not come back.
 */
#include "fuzz/targets.h"

#include "vm/vm_state.h"

#include <lualib.h>
#include <string.h>

#define MEMORY_BYTES ((size_t)64 << 20)
#define TIMEOUT_MS   20

/* Called with subject and pattern; errors differ in words, so only that there
 * was one is compared. */
static const char program[] =
    "local subject, pattern = ...\n"
    "local all = {}\n"
    "local function note(good, ...)\n"
    "  all[#all + 1] = good and 'found' or 'error'\n"
    "  for i = 1, good and select('#', ...) or 0 do\n"
    "    all[#all + 1] = tostring((select(i, ...)))\n"
    "  end\n"
    "end\n"
    "note(pcall(string.find, subject, pattern))\n"
    "note(pcall(string.match, subject, pattern))\n"
    "note(pcall(string.gsub, subject, pattern, '<%0>'))\n"
    "return table.concat(all, '\\n')\n";

struct question {
    struct str subject;
    struct str pattern;
    struct buf *answer;
};

static void push_question(lua_State *L, const struct question *question)
{
    lua_pushlstring(L, question->subject.ptr, question->subject.len);
    lua_pushlstring(L, question->pattern.ptr, question->pattern.len);
}

static void take_answer(lua_State *L, struct buf *answer)
{
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);

    buf_add(answer, text, len);
}

static int ask_sandbox(lua_State *L, struct vm *vm, void *context)
{
    const struct question *question = context;

    CHECK(luaL_loadbuffer(L, program, sizeof(program) - 1, "=program") == 0);
    vm_push_ref(L, vm->env_ref);
    lua_setfenv(L, -2);
    push_question(L, question);
    vm_lua_call(L, vm, 2, 1);
    take_answer(L, question->answer);
    return 0;
}

/* False when it took too long or too much. */
static bool ask_ours(struct question *question)
{
    static struct vm *vm;
    struct vm_options options = {.memory_bytes = MEMORY_BYTES,
                                 .load_timeout_ms = TIMEOUT_MS};
    struct err err = {0};
    bool ok;

    if (vm == NULL)
        vm = vm_new(&options, &err);
    CHECK(vm != NULL);
    ok = vm_enter(vm, ask_sandbox, question, TIMEOUT_MS, &err);
    CHECK(ok || err.code == ERR_SCRIPT_TIMEOUT ||
          err.code == ERR_SCRIPT_MEMORY);
    vm_rest(vm);
    if (vm_is_broken(vm)) {
        vm_free(vm);
        vm = NULL;
    }
    return ok;
}

static void ask_theirs(struct question *question)
{
    static lua_State *L;

    if (L == NULL) {
        L = luaL_newstate();
        luaL_openlibs(L);
    }
    lua_settop(L, 0);
    CHECK(luaL_loadbuffer(L, program, sizeof(program) - 1, "=program") == 0);
    push_question(L, question);
    CHECK(lua_pcall(L, 2, 1, 0) == 0);
    take_answer(L, question->answer);
}

/* The pattern is the first line.  LuaJIT's ends at a NUL. */
void fuzz_pattern(struct str input)
{
    struct buf ours = {0}, theirs = {0};
    struct question question = {.answer = &ours, .subject = input};

    question.pattern = str_cut(&question.subject, '\n');
    if (str_is_none(question.subject))
        question.subject = STR("");
    if (ask_ours(&question) &&
        memchr(question.pattern.ptr, '\0', question.pattern.len) == NULL) {
        question.answer = &theirs;
        ask_theirs(&question);
        CHECK(str_eq(buf_as_str(&ours), buf_as_str(&theirs)));
    }
    buf_done(&ours);
    buf_done(&theirs);
}
