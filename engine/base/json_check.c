/*
 * The door: one pass over a text, from the first byte to the last.
 *
 * Beside the text there is one stack of the keys of all objects that are open:
 * each object owns the part above the place where it began, and takes it off
 * when it ends.  The stack begins on the C stack and moves to an arena when it
 * grows; keys with escapes are decoded into that arena, which dies with the
 * check.  The compact copy is made in runs, cut where white space is left out.
 */
#include "base/json.h"

#include "base/arena.h"
#include "base/json_text.h"

#include <stdlib.h>

/* Objects with up to so many members compare each key with those before it;
 * larger ones sort their keys when they end. */
#define SCAN_KEYS 16

struct key {
    struct str raw;       /* as written: says where it stands */
    struct str text;      /* decoded */
    uint64_t fingerprint; /* equal for equal texts */
};

struct check {
    const char *start;
    const char *at;
    const char *end;
    struct err *err;
    /* What stands before `copied` is in `compact`, if that is wanted. */
    struct buf *compact;
    const char *copied;
    uint32_t depth;
    struct key *keys; /* of all open objects, innermost last */
    size_t key_count;
    size_t key_room;
    struct key first_keys[32];
    struct arena arena;
};

#define AT_END (-1)

static bool fail_at(struct check *c, const char *at, const char *what)
{
    return err_set(c->err, ERR_INVALID_JSON, "byte %zu: %s",
                   (size_t)(at - c->start), what);
}

static int peek(const struct check *c)
{
    return c->at < c->end ? (unsigned char)*c->at : AT_END;
}

static bool fail_here(struct check *c, const char *wanted)
{
    if (peek(c) == AT_END)
        return fail_at(c, c->at, "the text ends too early");
    return fail_at(c, c->at, wanted);
}

static void flush_copy(struct check *c, const char *until)
{
    if (c->compact != NULL && until > c->copied)
        buf_add(c->compact, c->copied, (size_t)(until - c->copied));
}

/* Between tokens: white space there is left out of the copy. */
static void next_token(struct check *c)
{
    if (c->at == c->end || !json_is_space(*c->at))
        return;
    flush_copy(c, c->at);
    c->at = json_skip_space(c->at, c->end);
    c->copied = c->at;
}

static bool take(struct check *c, char wanted)
{
    if (peek(c) != wanted)
        return false;
    c->at++;
    return true;
}

static bool check_unicode(struct check *c)
{
    int32_t unit = json_hex_unit(c->at, c->end);

    if (unit < 0)
        return fail_at(c, c->at, "\\u needs four hexadecimal digits");
    if (unit == 0)
        return fail_at(c, c->at, "\\u0000 is not allowed");
    if (json_is_low_surrogate(unit))
        return fail_at(c, c->at, "a low surrogate without its high one");
    if (json_is_high_surrogate(unit)) {
        if (!json_is_low_surrogate(json_hex_unit(c->at + 6, c->end)))
            return fail_at(c, c->at, "a high surrogate without its low one");
        c->at += 6;
    }
    c->at += 6;
    return true;
}

static bool check_escape(struct check *c)
{
    char what = c->end - c->at > 1 ? c->at[1] : '\0';

    if (what == 'u')
        return check_unicode(c);
    if (what == '\0' || strchr("\"\\/bfnrt", what) == NULL)
        return fail_at(c, c->at, "no such escape");
    c->at += 2;
    return true;
}

static bool check_utf8(struct check *c)
{
    size_t length;

    if ((unsigned char)*c->at < 0x20)
        return fail_at(c, c->at, "a control character in a string");
    length = str_utf8_len(str_n(c->at, (size_t)(c->end - c->at)));
    if (length == 0)
        return fail_at(c, c->at, "not UTF-8");
    c->at += length;
    return true;
}

/* At the opening quote; `inside_out` is what stands between the quotes. */
static bool check_string(struct check *c, struct str *inside_out,
                         bool *escaped_out)
{
    const char *opening = c->at++;

    *escaped_out = false;
    for (;;) {
        bool good;

        c->at = json_skip_plain(c->at, c->end);
        switch (peek(c)) {
        case '"':
            *inside_out = str_n(opening + 1, (size_t)(c->at - opening - 1));
            c->at++;
            return true;
        case '\\':
            *escaped_out = true;
            good = check_escape(c);
            break;
        case AT_END:
            return fail_at(c, opening, "a string that does not end");
        default:
            good = check_utf8(c);
        }
        if (!good)
            return false;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool check_digits(struct check *c, const char *wanted)
{
    if (c->at == c->end || !is_digit(*c->at))
        return fail_here(c, wanted);
    while (c->at < c->end && is_digit(*c->at))
        c->at++;
    return true;
}

static bool check_number(struct check *c)
{
    const char *first;

    take(c, '-');
    first = c->at;
    if (!check_digits(c, "a digit must follow the minus"))
        return false;
    if (*first == '0' && c->at - first > 1)
        return fail_at(c, first, "a number with a leading zero");
    if (take(c, '.') &&
        !check_digits(c, "a digit must follow the decimal point"))
        return false;
    if (take(c, 'e') || take(c, 'E')) {
        if (!take(c, '+'))
            take(c, '-');
        return check_digits(c, "a digit must follow the exponent");
    }
    return true;
}

static bool check_word(struct check *c, struct str word)
{
    if ((size_t)(c->end - c->at) < word.len ||
        memcmp(c->at, word.ptr, word.len) != 0)
        return fail_at(c, c->at, "expected a value");
    c->at += word.len;
    return true;
}

/* ---- keys of open objects ---- */

/* Fast, and no defence against collisions: those cost a comparison. */
static uint64_t key_fingerprint(struct str text)
{
    uint64_t head = 0;
    uint64_t tail = 0;

    memcpy(&head, text.ptr, MIN(text.len, 8));
    if (text.len > 8)
        memcpy(&tail, text.ptr + text.len - 8, 8);
    return (head + text.len) * UINT64_C(0x9e3779b97f4a7c15) ^ tail;
}

static bool same_key(const struct key *a, const struct key *b)
{
    return a->fingerprint == b->fingerprint && str_eq(a->text, b->text);
}

static int key_order(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    int order;

    if (a->fingerprint != b->fingerprint)
        return a->fingerprint < b->fingerprint ? -1 : 1;
    order = str_cmp(a->text, b->text);
    if (order != 0)
        return order;
    return a->raw.ptr < b->raw.ptr ? -1 : 1;
}

static bool fail_duplicate(struct check *c, const struct key *key)
{
    size_t shown = MIN(key->raw.len, 64);

    while (shown > 0 && shown < key->raw.len &&
           (key->raw.ptr[shown] & 0xc0) == 0x80)
        shown--;
    return err_set(c->err, ERR_INVALID_JSON, "byte %zu: duplicate key \"%.*s\"",
                   (size_t)(key->raw.ptr - 1 - c->start), (int)shown,
                   key->raw.ptr);
}

static struct key *push_key(struct check *c)
{
    if (c->key_count == c->key_room) {
        struct key *more;

        /* What is outgrown stays in the arena; doubling bounds it. */
        c->key_room *= 2;
        more = ARENA_ARRAY(&c->arena, struct key, c->key_room);
        memcpy(more, c->keys, c->key_count * sizeof(*more));
        c->keys = more;
    }
    return &c->keys[c->key_count++];
}

static struct str decode_key(struct check *c, struct str inside)
{
    struct str quoted = {inside.ptr - 1, inside.len + 2};
    struct buf text = {0};
    struct str kept;

    json_unescape((struct json){JSON_STRING, quoted}, &text);
    kept = arena_str(&c->arena, buf_as_str(&text));
    buf_done(&text);
    return kept;
}

/* `first` is where the object's keys begin on the stack. */
static bool check_key(struct check *c, size_t first)
{
    struct key key;
    bool escaped;

    if (peek(c) != '"')
        return fail_here(c, "expected a key");
    if (!check_string(c, &key.raw, &escaped))
        return false;
    key.text = escaped ? decode_key(c, key.raw) : key.raw;
    key.fingerprint = key_fingerprint(key.text);
    for (size_t i = first; i < c->key_count && i < first + SCAN_KEYS; i++)
        if (same_key(&c->keys[i], &key))
            return fail_duplicate(c, &key);
    *push_key(c) = key;
    return true;
}

/* The first scan has looked at SCAN_KEYS of them only. */
static bool check_many_keys(struct check *c, size_t first)
{
    struct key *keys = c->keys + first;
    size_t count = c->key_count - first;
    const struct key *twice = NULL;

    if (count <= SCAN_KEYS + 1)
        return true;
    qsort(keys, count, sizeof(*keys), key_order);
    for (size_t i = 1; i < count; i++)
        if (same_key(&keys[i - 1], &keys[i]) &&
            (twice == NULL || keys[i].raw.ptr < twice->raw.ptr))
            twice = &keys[i];
    return twice == NULL || fail_duplicate(c, twice);
}

/* ---- containers: the only recursion, bounded by JSON_MAX_DEPTH ---- */

static bool check_value(struct check *c);

static bool enter(struct check *c)
{
    if (c->depth == JSON_MAX_DEPTH)
        return err_set(c->err, ERR_INVALID_JSON,
                       "byte %zu: nested deeper than %d",
                       (size_t)(c->at - c->start), JSON_MAX_DEPTH);
    c->depth++;
    c->at++;
    next_token(c);
    return true;
}

static bool check_member(struct check *c, size_t first)
{
    if (!check_key(c, first))
        return false;
    next_token(c);
    if (!take(c, ':'))
        return fail_here(c, "expected ':'");
    next_token(c);
    return check_value(c);
}

static bool check_object(struct check *c)
{
    size_t first = c->key_count;

    if (!enter(c))
        return false;
    if (!take(c, '}')) {
        do {
            next_token(c);
            if (!check_member(c, first))
                return false;
            next_token(c);
        } while (take(c, ','));
        if (!take(c, '}'))
            return fail_here(c, "expected ',' or '}'");
        if (!check_many_keys(c, first))
            return false;
    }
    c->key_count = first;
    c->depth--;
    return true;
}

static bool check_array(struct check *c)
{
    if (!enter(c))
        return false;
    if (!take(c, ']')) {
        do {
            next_token(c);
            if (!check_value(c))
                return false;
            next_token(c);
        } while (take(c, ','));
        if (!take(c, ']'))
            return fail_here(c, "expected ',' or ']'");
    }
    c->depth--;
    return true;
}

static bool check_value(struct check *c)
{
    struct str inside;
    bool escaped;
    int byte = peek(c);

    switch (byte) {
    case '{':
        return check_object(c);
    case '[':
        return check_array(c);
    case '"':
        return check_string(c, &inside, &escaped);
    case 't':
        return check_word(c, STR("true"));
    case 'f':
        return check_word(c, STR("false"));
    case 'n':
        return check_word(c, STR("null"));
    case '-':
        return check_number(c);
    default:
        if (byte >= '0' && byte <= '9')
            return check_number(c);
        return fail_here(c, "expected a value");
    }
}

static bool check_text(struct check *c)
{
    next_token(c);
    if (!check_value(c))
        return false;
    next_token(c);
    if (c->at != c->end)
        return fail_at(c, c->at, "something behind the value");
    flush_copy(c, c->end);
    return true;
}

bool json_check(struct str text, struct buf *compact, struct err *err)
{
    struct check c;
    size_t before = compact != NULL ? compact->len : 0;
    bool good;

    if (str_is_none(text))
        text = STR("");
    /* Not zeroed as a whole: most texts use few of `first_keys`. */
    c.start = c.at = c.copied = text.ptr;
    c.end = text.ptr + text.len;
    c.err = err;
    c.compact = compact;
    c.depth = 0;
    c.keys = c.first_keys;
    c.key_count = 0;
    c.key_room = COUNT(c.first_keys);
    c.arena = (struct arena){0};

    good = check_text(&c);
    if (!good && compact != NULL)
        compact->len = before;
    arena_done(&c.arena);
    return good;
}
