/*
 * Life of a text.  It arrives as bytes that nobody vouches for: json_check goes
 * over them once, and whoever keeps them keeps what it let through.  From then
 * on the same bytes are walked, never parsed into a tree: struct json and
 * struct json_in are slices of them.  The walk believes that it is on a checked
 * text; on any other its answers are wrong, but it stays inside the slice.
 *
 * The check keeps, beside the text, one stack of the keys of all objects that
 * are open: each object owns the part above the place where it began, and takes
 * it off when it ends.  The stack begins on the C stack and moves to an arena
 * when it grows; keys with escapes are decoded into that arena, which dies with
 * the check.
 *
 * All of it runs on whichever thread calls it; nothing is shared.
 */
#include "base/json.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- bytes ---- */

/* Bytes that stand for themselves in a string. */
static const bool is_plain[256] = {
    [0x20 ... 0x21] = true, /* then the quote */
    [0x23 ... 0x5b] = true, /* then the backslash */
    [0x5d ... 0x7f] = true, /* then UTF-8 sequences */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_plain(const char *at, const char *end)
{
    while (at < end && is_plain[(unsigned char)*at])
        at++;
    return at;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

/* Length of the well-formed UTF-8 sequence at `at`, which is not ASCII, or 0:
 * no overlong forms, no surrogates, nothing over U+10FFFF (Unicode, table
 * 3-7: only the second byte has limits that depend on the first). */
static size_t utf8_length(const char *at, const char *end)
{
    const unsigned char *b = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    unsigned char least = 0x80;
    unsigned char most = 0xbf;
    size_t length = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;

    if (b[0] < 0xc2 || b[0] > 0xf4 || left < length)
        return 0;
    if (b[0] == 0xe0)
        least = 0xa0;
    else if (b[0] == 0xed)
        most = 0x9f;
    else if (b[0] == 0xf0)
        least = 0x90;
    else if (b[0] == 0xf4)
        most = 0x8f;
    if (b[1] < least || b[1] > most)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static size_t utf8_write(uint32_t point, char out[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t length = point < 0x80      ? 1
                    : point < 0x800   ? 2
                    : point < 0x10000 ? 3
                                      : 4;

    for (size_t i = length - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)(length == 1 ? point : lead[length] | point);
    return length;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The unit of `\uXXXX`, or -1. */
static int32_t hex_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* ---- the check ---- */

/* Objects with up to so many members compare each key with those before it;
 * larger ones sort their keys when they end. */
#define SCAN_KEYS 16

struct key {
    struct str raw;  /* as written: says where it stands */
    struct str text; /* decoded */
    uint64_t print;  /* equal texts have equal prints */
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
    if (c->at == c->end || !is_space(*c->at))
        return;
    flush_copy(c, c->at);
    c->at = skip_space(c->at, c->end);
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
    int32_t unit = hex_unit(c->at, c->end);

    if (unit < 0)
        return fail_at(c, c->at, "\\u needs four hexadecimal digits");
    if (unit == 0)
        return fail_at(c, c->at, "\\u0000 is not allowed");
    if (is_low_surrogate(unit))
        return fail_at(c, c->at, "a low surrogate without its high one");
    if (is_high_surrogate(unit)) {
        if (!is_low_surrogate(hex_unit(c->at + 6, c->end)))
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
    length = utf8_length(c->at, c->end);
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

        c->at = skip_plain(c->at, c->end);
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
static uint64_t key_print(struct str text)
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
    return a->print == b->print && str_eq(a->text, b->text);
}

static int key_order(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    int order;

    if (a->print != b->print)
        return a->print < b->print ? -1 : 1;
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
    key.print = key_print(key.text);
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

/* ---- walking ---- */

/* Behind the string whose opening quote is at `at`. */
static const char *after_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        at = skip_plain(at, end);
        if (at < end && *at == '"')
            return at + 1;
        if (at < end && *at == '\\')
            at++;
    }
    return end;
}

/* Behind the container whose opening bracket is at `at`. */
static const char *after_container(const char *at, const char *end)
{
    size_t depth = 0;

    while (at < end) {
        char c = *at;

        if (c == '"') {
            at = after_string(at, end);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return end;
}

/* Behind a number or a word. */
static const char *after_scalar(const char *at, const char *end)
{
    while (at < end && *at != ',' && *at != '}' && *at != ']' && !is_space(*at))
        at++;
    return at;
}

static enum json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static const char *after_value(enum json_kind kind, const char *at,
                               const char *end)
{
    if (kind == JSON_STRING)
        return after_string(at, end);
    if (kind == JSON_OBJECT || kind == JSON_ARRAY)
        return after_container(at, end);
    return after_scalar(at, end);
}

struct json json_value(struct str checked)
{
    const char *end = checked.ptr + checked.len;
    const char *at = skip_space(checked.ptr, end);

    if (at == end)
        return (struct json){JSON_END, STR_NONE};
    while (is_space(end[-1]))
        end--;
    return (struct json){kind_of(*at), {at, (size_t)(end - at)}};
}

struct json_in json_open(struct json value)
{
    struct json_in in = {value.raw.ptr, value.raw.ptr,
                         value.kind == JSON_OBJECT};

    if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY) {
        in.at = value.raw.ptr + 1;
        in.end = value.raw.ptr + value.raw.len - 1;
    }
    return in;
}

/* From the quote of a key to the value behind its colon. */
static const char *take_key(const char *at, const char *end, struct str *raw)
{
    const char *after = after_string(at, end);

    *raw = str_n(at + 1, (size_t)(after - at - 2));
    after = skip_space(after, end);
    return after < end ? skip_space(after + 1, end) : end;
}

bool json_next(struct json_in *in, struct str *raw_key, struct json *item)
{
    const char *at = skip_space(in->at, in->end);

    if (at < in->end && *at == ',')
        at = skip_space(at + 1, in->end);
    if (at < in->end && in->object)
        at = take_key(at, in->end, raw_key);
    if (at >= in->end) {
        in->at = in->end;
        *item = (struct json){JSON_END, STR_NONE};
        return false;
    }
    item->kind = kind_of(*at);
    in->at = after_value(item->kind, at, in->end);
    item->raw = str_n(at, (size_t)(in->at - at));
    return true;
}

/* Decodes the escape at `*at` and steps over it. */
static size_t take_escape(const char **at, const char *end, char out[4])
{
    static const char plain[128] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
    };
    int32_t unit = hex_unit(*at, end);
    int32_t low;

    if (unit < 0) {
        char what = end - *at > 1 ? (*at)[1] : '\\';

        out[0] = plain[what & 0x7f] != '\0' ? plain[what & 0x7f] : what;
        *at += MIN(end - *at, 2);
        return 1;
    }
    *at += 6;
    low = is_high_surrogate(unit) ? hex_unit(*at, end) : -1;
    if (low >= 0) {
        *at += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    return utf8_write((uint32_t)unit, out);
}

bool json_key_is(struct str raw_key, struct str name)
{
    const char *at = raw_key.ptr;
    const char *end = at + raw_key.len;
    size_t done = 0;

    if (memchr(raw_key.ptr, '\\', raw_key.len) == NULL)
        return str_eq(raw_key, name);
    while (at < end) {
        char piece[4] = {*at};
        size_t len = 1;

        if (*at == '\\')
            len = take_escape(&at, end, piece);
        else
            at++;
        if (name.len - done < len || memcmp(name.ptr + done, piece, len) != 0)
            return false;
        done += len;
    }
    return done == name.len;
}

struct json json_get(struct json object, struct str name)
{
    struct json_in in = json_open(object);
    struct json item = {JSON_END, STR_NONE};
    struct str key;

    if (object.kind != JSON_OBJECT)
        return item;
    while (json_next(&in, &key, &item))
        if (json_key_is(key, name))
            return item;
    return item;
}

void json_unescape(struct json string, struct buf *out)
{
    const char *at = string.raw.ptr + 1;
    const char *end = string.raw.ptr + string.raw.len - 1;

    while (at < end) {
        const char *stop = memchr(at, '\\', (size_t)(end - at));
        char piece[4];

        buf_add(out, at, (size_t)((stop != NULL ? stop : end) - at));
        if (stop == NULL)
            return;
        at = stop;
        buf_add(out, piece, take_escape(&at, end, piece));
    }
}

/* ---- numbers ---- */

/* 3.0 and 3e2 in plain digits; false when it is no whole number. */
static bool whole_digits(struct json value, struct buf *out)
{
    struct decimal number;
    struct err ignored;
    bool whole = false;

    decimal_init(&number);
    if (decimal_parse(&number, value.raw, &ignored)) {
        struct str fraction;

        decimal_format(&number, out);
        fraction = buf_as_str(out);
        out->len = str_cut(&fraction, '.').len;
        whole = true;
        for (size_t i = 0; i < fraction.len; i++)
            whole = whole && fraction.ptr[i] == '0';
    }
    decimal_done(&number);
    return whole;
}

bool json_u64(struct json value, uint64_t *out)
{
    struct buf digits = {0};
    bool fits;

    if (value.kind != JSON_NUMBER)
        return false;
    if (str_to_u64(value.raw, out))
        return true;
    fits = whole_digits(value, &digits) && str_to_u64(buf_as_str(&digits), out);
    buf_done(&digits);
    return fits;
}

bool json_i64(struct json value, int64_t *out)
{
    struct buf digits = {0};
    bool fits;

    if (value.kind != JSON_NUMBER)
        return false;
    if (str_to_i64(value.raw, out))
        return true;
    fits = whole_digits(value, &digits) && str_to_i64(buf_as_str(&digits), out);
    buf_done(&digits);
    return fits;
}

bool json_double(struct json value, double *out)
{
    char brief[64];
    char *text = brief;
    double number;

    if (value.kind != JSON_NUMBER)
        return false;
    /* strtod wants a NUL, and what follows a slice may be another digit. */
    if (value.raw.len < sizeof(brief)) {
        memcpy(brief, value.raw.ptr, value.raw.len);
        brief[value.raw.len] = '\0';
    } else {
        text = mem_str_copy(value.raw);
    }
    number = strtod(text, NULL);
    if (text != brief)
        mem_free(text);
    if (!isfinite(number))
        return false;
    *out = number;
    return true;
}

/* ---- writing ---- */

void json_quote(struct buf *out, struct str s)
{
    static const char brief[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };
    const char *at = s.ptr;
    const char *end = at + s.len;
    const char *copied = at;

    buf_char(out, '"');
    while ((at = skip_plain(at, end)) < end) {
        unsigned char c = (unsigned char)*at;
        size_t length = c < 0x80 ? 0 : utf8_length(at, end);

        if (length > 0) {
            at += length;
            continue;
        }
        buf_add(out, copied, (size_t)(at - copied));
        if (c >= 0x80)
            buf_text(out, "\xef\xbf\xbd");
        else if (brief[c] != '\0')
            buf_add(out, (char[]){'\\', brief[c]}, 2);
        else
            buf_printf(out, "\\u%04x", c);
        copied = ++at;
    }
    buf_add(out, copied, (size_t)(end - copied));
    buf_char(out, '"');
}

void json_begin(struct json_out *out, struct buf *buf)
{
    *out = (struct json_out){.buf = buf};
}

static void put_comma(struct json_out *out)
{
    if (out->comma)
        buf_char(out->buf, ',');
    out->comma = true;
}

void json_key(struct json_out *out, struct str key)
{
    put_comma(out);
    json_quote(out->buf, key);
    buf_char(out->buf, ':');
    out->comma = false; /* the value follows its colon */
}

/* What stands before any value. */
static void lead_in(struct json_out *out, const char *key)
{
    if (key != NULL)
        json_key(out, str_of(key));
    put_comma(out);
}

static void open_container(struct json_out *out, const char *key, char opener)
{
    lead_in(out, key);
    buf_char(out->buf, opener);
    out->comma = false;
    out->depth++;
}

void json_object(struct json_out *out, const char *key)
{
    open_container(out, key, '{');
}

void json_array(struct json_out *out, const char *key)
{
    open_container(out, key, '[');
}

void json_end(struct json_out *out, char closer)
{
    CHECK(out->depth > 0);
    out->depth--;
    out->comma = true;
    buf_char(out->buf, closer);
}

void json_put_str(struct json_out *out, const char *key, struct str value)
{
    lead_in(out, key);
    json_quote(out->buf, value);
}

void json_put_text(struct json_out *out, const char *key, const char *value)
{
    json_put_str(out, key, str_of(value));
}

void json_put_u64(struct json_out *out, const char *key, uint64_t value)
{
    lead_in(out, key);
    buf_printf(out->buf, "%" PRIu64, value);
}

void json_put_i64(struct json_out *out, const char *key, int64_t value)
{
    lead_in(out, key);
    buf_printf(out->buf, "%" PRId64, value);
}

void json_put_double(struct json_out *out, const char *key, double value)
{
    char text[32];

    if (!isfinite(value)) {
        json_put_null(out, key);
        return;
    }
    lead_in(out, key);
    buf_add(out->buf, text, decimal_double_text(value, text));
}

void json_put_bool(struct json_out *out, const char *key, bool value)
{
    json_put_raw(out, key, value ? STR("true") : STR("false"));
}

void json_put_null(struct json_out *out, const char *key)
{
    json_put_raw(out, key, STR("null"));
}

void json_put_raw(struct json_out *out, const char *key, struct str json)
{
    CHECK(json.len > 0);
    lead_in(out, key);
    buf_str(out->buf, json);
}

void json_put_time(struct json_out *out, const char *key, int64_t wall_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(wall_us, text);
    json_put_text(out, key, text);
}

void json_put_members(struct json_out *out, struct str members)
{
    if (members.len == 0)
        return;
    put_comma(out);
    buf_str(out->buf, members);
}

void json_put_opt(struct json_out *out, const char *key, struct str value)
{
    if (str_is_none(value))
        json_put_null(out, key);
    else
        json_put_str(out, key, value);
}
