/*
 * Operands that are no decimals (numbers, strings) are converted into
 * vm->sum or vm->other, results are made in vm->sum and copied into a new
 * userdata: both belong to the state, so an error on the way loses nothing.
 */
#include "vm/vm_decimal.h"

#include "vm/vm_lib.h"

#include <math.h>

struct boxed {
    uint32_t scale;
    int32_t size; /* limbs, negative for negative numbers */
    mp_limb_t limbs[];
};

bool vm_is_decimal(lua_State *L, struct vm *vm, int index)
{
    bool same;

    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return false;
    vm_push_ref(L, vm->decimal_ref);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

struct decimal vm_decimal_view(lua_State *L, int index)
{
    const struct boxed *boxed = lua_touserdata(L, index);
    struct decimal view = {.scale = boxed->scale};

    mpz_roinit_n(view.digits, boxed->limbs, boxed->size);
    return view;
}

double vm_decimal_number(lua_State *L, int index)
{
    struct decimal view = vm_decimal_view(L, index);

    return decimal_to_double(&view);
}

void vm_decimal_text(lua_State *L, int index, struct buf *out)
{
    struct decimal view = vm_decimal_view(L, index);

    decimal_format(&view, out);
}

void vm_push_decimal(lua_State *L, struct vm *vm, const struct decimal *value)
{
    size_t limbs = mpz_size(value->digits);
    struct boxed *boxed =
        lua_newuserdata(L, sizeof(*boxed) + limbs * sizeof(boxed->limbs[0]));

    boxed->scale = value->scale;
    boxed->size = mpz_sgn(value->digits) < 0 ? -(int32_t)limbs : (int32_t)limbs;
    if (limbs > 0)
        memcpy(boxed->limbs, mpz_limbs_read(value->digits),
               limbs * sizeof(boxed->limbs[0]));
    vm_push_ref(L, vm->decimal_ref);
    lua_setmetatable(L, -2);
}

void vm_push_decimal_text(lua_State *L, struct vm *vm, struct str text)
{
    struct err err = {0};

    if (!decimal_parse(&vm->sum, text, &err))
        vm_throw_err(L, &err);
    vm_push_decimal(L, vm, &vm->sum);
}

bool vm_to_decimal(lua_State *L, struct vm *vm, int index, struct decimal *out,
                   struct err *err)
{
    struct decimal view;

    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        return decimal_from_double(out, lua_tonumber(L, index), err);
    case LUA_TSTRING:
        return decimal_parse(out, vm_str(L, index), err);
    default:
        if (!vm_is_decimal(L, vm, index))
            return err_set(err, ERR_INVALID_INPUT,
                           "a decimal is made of a string or a number, not of "
                           "a %s",
                           luaL_typename(L, index));
        view = vm_decimal_view(L, index);
        decimal_copy(out, &view);
        return true;
    }
}

/* ---- what scripts call ---- */

int vm_decimal_make(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct err err = {0};

    luaL_checkany(L, 1);
    if (vm_is_decimal(L, vm, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    if (!vm_to_decimal(L, vm, 1, &vm->sum, &err))
        vm_throw_err(L, &err);
    vm_push_decimal(L, vm, &vm->sum);
    return 1;
}

/* An operand of an operator: a view of a decimal, or of what was converted
 * into `room`. */
static struct decimal operand(lua_State *L, struct vm *vm, int index,
                              struct decimal *room)
{
    struct err err = {0};

    if (vm_is_decimal(L, vm, index))
        return vm_decimal_view(L, index);
    if (!vm_to_decimal(L, vm, index, room, &err))
        vm_throw_err(L, &err);
    return *room; /* shares the limbs, which stay where they are */
}

typedef bool operation(struct decimal *out, const struct decimal *a,
                       const struct decimal *b, struct err *err);

static int operate(lua_State *L, operation *op)
{
    struct vm *vm = vm_of(L);
    struct decimal a = operand(L, vm, 1, &vm->other);
    struct decimal b = operand(L, vm, 2, &vm->other); /* one is a decimal */
    struct err err = {0};

    vm_charge(L, vm, 50);
    if (!op(&vm->sum, &a, &b, &err))
        vm_throw_err(L, &err);
    vm_push_decimal(L, vm, &vm->sum);
    return 1;
}

static int add(lua_State *L)
{
    return operate(L, decimal_add);
}

static int sub(lua_State *L)
{
    return operate(L, decimal_sub);
}

static int mul(lua_State *L)
{
    return operate(L, decimal_mul);
}

static int div_(lua_State *L)
{
    return operate(L, decimal_div);
}

static int neg(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct decimal a = vm_decimal_view(L, 1);

    decimal_neg(&vm->sum, &a);
    vm_push_decimal(L, vm, &vm->sum);
    return 1;
}

static int compare(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct decimal a = operand(L, vm, 1, &vm->other);
    struct decimal b = operand(L, vm, 2, &vm->other);

    return decimal_cmp(&a, &b);
}

static int eq(lua_State *L)
{
    lua_pushboolean(L, compare(L) == 0);
    return 1;
}

static int lt(lua_State *L)
{
    lua_pushboolean(L, compare(L) < 0);
    return 1;
}

static int le(lua_State *L)
{
    lua_pushboolean(L, compare(L) <= 0);
    return 1;
}

static int to_string(lua_State *L)
{
    struct vm *vm = vm_of(L);

    buf_clear(&vm->text);
    vm_decimal_text(L, 1, &vm->text);
    vm_push_str(L, buf_as_str(&vm->text));
    return 1;
}

static int concat(lua_State *L)
{
    struct vm *vm = vm_of(L);

    for (int i = 1; i <= 2; i++) {
        if (!lua_isstring(L, i) && !vm_is_decimal(L, vm, i))
            vm_throw(L, "attempt to concatenate a %s value",
                     luaL_typename(L, i));
        vm_push_tostring(L, vm, i);
    }
    lua_concat(L, 2);
    return 1;
}

/* d:round(places) */
static int round_(lua_State *L)
{
    struct vm *vm = vm_of(L);
    lua_Number places = luaL_checknumber(L, 2);
    struct err err = {0};

    if (!vm_is_decimal(L, vm, 1))
        vm_throw(L, "usage: d:round(places), with d a decimal");
    if (!(places >= 0 && places <= DECIMAL_MAX_DIGITS) ||
        places != floor(places))
        vm_throw(L, "round: places must be a whole number from 0 to %d",
                 DECIMAL_MAX_DIGITS);

    struct decimal a = vm_decimal_view(L, 1);

    if (!decimal_round(&vm->sum, &a, (uint32_t)places, &err))
        vm_throw_err(L, &err);
    vm_push_decimal(L, vm, &vm->sum);
    return 1;
}

static const luaL_Reg metamethods[] = {
    {"__add", add},       {"__sub", sub}, {"__mul", mul},
    {"__div", div_},      {"__unm", neg}, {"__eq", eq},
    {"__lt", lt},         {"__le", le},   {"__tostring", to_string},
    {"__concat", concat}, {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"round", round_},
    {NULL, NULL},
};

void vm_decimal_open(lua_State *L, struct vm *vm)
{
    lua_newtable(L);
    vm_set_functions(L, metamethods);
    lua_newtable(L);
    vm_set_functions(L, methods);
    lua_setfield(L, -2, "__index");
    vm_close_metatable(L);
    vm->decimal_ref = vm_ref(L);
}
