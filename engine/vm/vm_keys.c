#include "vm/vm_keys.h"

#include "base/mem.h"

/* ---- the sort ---- */

/* Lets the item at `root` sink until no child is greater. */
static void sink(lua_State *L, const struct vm_sort *sort, size_t root,
                 size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        vm_charge(L, vm_of(L), 10);
        if (child + 1 < count && sort->less(L, sort->context, child, child + 1))
            child++;
        if (!sort->less(L, sort->context, root, child))
            return;
        sort->swap(L, sort->context, root, child);
    }
}

void vm_sort(lua_State *L, const struct vm_sort *sort, size_t count)
{
    for (size_t root = count / 2; root > 0; root--)
        sink(L, sort, root - 1, count);
    for (size_t last = count; last > 1; last--) {
        sort->swap(L, sort->context, 0, last - 1);
        sink(L, sort, 0, last - 1);
    }
}

/* ---- keys ---- */

static int rank(const struct vm_key *key)
{
    return key->type == LUA_TNUMBER ? 0 : key->type == LUA_TSTRING ? 1 : 2;
}

static bool key_less(const struct vm_key *a, const struct vm_key *b)
{
    if (a->type != b->type)
        return rank(a) < rank(b);
    switch (a->type) {
    case LUA_TNUMBER:
        return a->number < b->number;
    case LUA_TSTRING:
        return str_cmp(a->text, b->text) < 0;
    default:
        return !a->flag && b->flag;
    }
}

static bool less(lua_State *L, void *context, size_t a, size_t b)
{
    const struct vm_key *keys = context;

    (void)L;
    return key_less(&keys[a], &keys[b]);
}

static void swap(lua_State *L, void *context, size_t a, size_t b)
{
    struct vm_key *keys = context;
    struct vm_key held = keys[a];

    (void)L;
    keys[a] = keys[b];
    keys[b] = held;
}

/* Most tables have a few fields: no heap is built for those. */
static void sort_few(struct vm_key *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct vm_key key = keys[i];
        size_t at = i;

        for (; at > 0 && key_less(&key, &keys[at - 1]); at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* Long arrays come in order. */
static bool is_sorted(const struct vm_key *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (!key_less(&keys[i - 1], &keys[i]))
            return false;
    return true;
}

static void sort_keys(lua_State *L, struct vm_key *keys, size_t count)
{
    if (count <= 12)
        sort_few(keys, count);
    else if (!is_sorted(keys, count))
        vm_sort(L, &(struct vm_sort){less, swap, keys}, count);
}

static void make_room(lua_State *L, struct vm *vm)
{
    struct vm_keys *keys = &vm->keys;

    if (keys->count < keys->capacity)
        return;
    if (!vm_has_room(vm, 2 * (keys->count + 1) * sizeof(keys->items[0])))
        vm_stop_memory(L);
    GROW(keys->items, keys->capacity, keys->count + 1);
}

static void read_key(lua_State *L, int index, struct vm_key *key)
{
    key->type = lua_type(L, index);
    switch (key->type) {
    case LUA_TNUMBER:
        key->number = lua_tonumber(L, index);
        break;
    case LUA_TSTRING:
        key->text = vm_str(L, index);
        break;
    case LUA_TBOOLEAN:
        key->flag = lua_toboolean(L, index);
        break;
    default:
        vm_throw(L, "a table with a %s for a key has no order",
                 luaL_typename(L, index));
    }
}

size_t vm_keys_collect(lua_State *L, struct vm *vm, int table)
{
    size_t from = vm->keys.count;

    table = vm_abs(L, table);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        make_room(L, vm);
        read_key(L, -1, &vm->keys.items[vm->keys.count]);
        vm->keys.count++;
        vm_charge(L, vm, 5);
    }
    if (vm->keys.count > from) /* else there may be no items at all */
        sort_keys(L, vm->keys.items + from, vm->keys.count - from);
    return from;
}

void vm_push_key(lua_State *L, const struct vm_key *key)
{
    switch (key->type) {
    case LUA_TNUMBER:
        lua_pushnumber(L, key->number);
        break;
    case LUA_TSTRING:
        vm_push_str(L, key->text);
        break;
    default:
        lua_pushboolean(L, key->flag);
    }
}

void vm_keys_trim(struct vm *vm, size_t keep)
{
    vm->keys.count = 0;
    if (vm->keys.capacity * sizeof(vm->keys.items[0]) <= keep)
        return;
    mem_free(vm->keys.items);
    vm->keys = (struct vm_keys){0};
}
