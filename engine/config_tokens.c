/*
 * A table's life: its scalars come one by one, named http.tokens.NAME.FIELD,
 * and are gathered by NAME, a table without any likewise, because who wrote it
 * believes to have a token; config_tokens_end looks at each token as a whole,
 * then at all together, and makes the list that the server is given.
 */
#include "config_tokens.h"

#include "api/request.h"

#define PREFIX "http.tokens"

#define NAME_MAX_BYTES 64

struct config_token {
    const char *name;
    struct access_token token;
    bool has_token, has_role; /* given, right or wrong */
    bool is_sound;            /* its digest may be compared */
};

/* ---- saying what is wrong ---- */

static void fault(struct config_tokens *tokens, const char *name,
                  const char *field, const char *what)
{
    buf_printf(tokens->faults, PREFIX ".%s%s%s (%s): %s\n", name,
               *field != '\0' ? "." : "", field, tokens->origin, what);
}

/* ---- one field ---- */

static void take_token(struct config_tokens *tokens, struct config_token *item,
                       struct str text)
{
    item->has_token = true;
    item->is_sound = access_is_token(text);
    if (item->is_sound)
        hash_sha256(text, item->token.digest);
    else
        fault(tokens, item->name, "token",
              "must have 16 to 512 visible characters of ASCII, such as "
              "`openssl rand -hex 32` prints");
}

static void take_role(struct config_tokens *tokens, struct config_token *item,
                      struct str text)
{
    item->has_role = true;
    for (enum api_role role = API_READER; role <= API_ADMIN; role++) {
        if (str_eq(text, str_of(api_role_name(role))))
            item->token.role = role;
    }
    if (item->token.role == API_ANYONE)
        fault(tokens, item->name, "role", "must be reader, writer or admin");
}

static const char *take_label(struct config_tokens *tokens,
                              struct config_token *item, const char *field,
                              struct str text)
{
    if (request_is_label(text))
        return arena_str(tokens->texts, text).ptr;
    fault(tokens, item->name, field,
          "must have 1 to 255 bytes of UTF-8 without control characters");
    return "";
}

static void take_tenant(struct config_tokens *tokens, struct config_token *item,
                        struct str text)
{
    item->token.tenant = take_label(tokens, item, "tenant", text);
}

static void take_actor(struct config_tokens *tokens, struct config_token *item,
                       struct str text)
{
    item->token.actor = take_label(tokens, item, "actor", text);
}

static const struct token_field {
    const char *name;
    void (*take)(struct config_tokens *tokens, struct config_token *item,
                 struct str text);
} fields[] = {
    {"token", take_token},
    {"role", take_role},
    {"tenant", take_tenant},
    {"actor", take_actor},
};

static const struct token_field *find_field(const char *name)
{
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    }
    return NULL;
}

static void take_field(struct config_tokens *tokens, struct config_token *item,
                       const char *name, const struct setting_value *value)
{
    const struct token_field *field = find_field(name);

    if (field == NULL)
        fault(tokens, item->name, name,
              "no such field; a token has token, role, tenant and actor");
    else if (value->kind != SETTING_IS_TEXT)
        fault(tokens, item->name, name, "must be a text");
    else
        field->take(tokens, item, value->text);
}

/* ---- by name ---- */

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return name.len > 0 && name.len <= NAME_MAX_BYTES;
}

/* The token of that name, made when it is new; NULL when there are too many. */
static struct config_token *find(struct config_tokens *tokens, struct str name)
{
    struct config_token *item;

    for (size_t i = 0; i < tokens->count; i++) {
        if (str_eq(str_of(tokens->items[i].name), name))
            return &tokens->items[i];
    }
    if (tokens->count == CONFIG_TOKENS_MAX)
        return NULL;
    if (tokens->items == NULL)
        tokens->items =
            ARENA_ARRAY(tokens->texts, struct config_token, CONFIG_TOKENS_MAX);
    item = &tokens->items[tokens->count++];
    item->name = arena_str(tokens->texts, name).ptr;
    item->token =
        (struct access_token){.name = item->name, .tenant = "", .actor = ""};
    return item;
}

/* Without a field the value is the whole of a token, which is a table. */
static void take_named(struct config_tokens *tokens, struct str name,
                       const char *field, const struct setting_value *value)
{
    struct config_token *item = find(tokens, name);

    if (item == NULL)
        buf_printf(tokens->faults, PREFIX " (%s): more than %d tokens\n",
                   tokens->origin, CONFIG_TOKENS_MAX);
    else if (field != NULL)
        take_field(tokens, item, field, value);
}

static void take(struct config_tokens *tokens, struct str path,
                 const struct setting_value *value)
{
    struct str field = path;
    struct str name = str_cut(&field, '.');

    if (str_is_none(field) && value->kind != SETTING_IS_EMPTY)
        buf_printf(tokens->faults,
                   "%s (%s): must be a table, as in " PREFIX
                   " = { NAME = { token = env \"X\", role = \"writer\" } }\n",
                   value->key, tokens->origin);
    else if (!is_name(name))
        buf_printf(tokens->faults,
                   "%s (%s): a token's name has 1 to %d letters, digits, _ "
                   "and -\n",
                   value->key, tokens->origin, NAME_MAX_BYTES);
    else
        take_named(tokens, name, field.ptr, value);
}

bool config_tokens_take(struct config_tokens *tokens,
                        const struct setting_value *value)
{
    struct str rest = str_of(value->key);
    struct str prefix = STR(PREFIX);

    if (str_starts(rest, STR(PREFIX ".")))
        take(tokens,
             str_n(rest.ptr + prefix.len + 1, rest.len - prefix.len - 1),
             value);
    else if (!str_eq(rest, prefix))
        return false;
    else if (value->kind != SETTING_IS_EMPTY)
        take(tokens, STR_NONE, value);
    return true;
}

/* ---- as a whole ---- */

static void check_whole(struct config_tokens *tokens,
                        const struct config_token *item)
{
    if (!item->has_token)
        fault(tokens, item->name, "token",
              "is missing: env \"NAME\" or secret_file(path)");
    if (!item->has_role)
        fault(tokens, item->name, "role",
              "is missing: reader, writer or admin");
}

static void check_twice(struct config_tokens *tokens, size_t index)
{
    const struct config_token *item = &tokens->items[index];

    for (size_t i = 0; i < index; i++) {
        const struct config_token *other = &tokens->items[i];

        if (item->is_sound && other->is_sound &&
            hash_is_same(item->token.digest, other->token.digest))
            buf_printf(tokens->faults,
                       PREFIX ".%s.token (%s): is the same as that of " PREFIX
                              ".%s\n",
                       item->name, tokens->origin, other->name);
    }
}

const struct access *config_tokens_end(struct config_tokens *tokens)
{
    struct access_token *list;
    struct access *access;

    if (tokens->count == 0)
        return NULL;
    list = ARENA_ARRAY(tokens->texts, struct access_token, tokens->count);
    for (size_t i = 0; i < tokens->count; i++) {
        check_whole(tokens, &tokens->items[i]);
        check_twice(tokens, i);
        list[i] = tokens->items[i].token;
    }
    access = ARENA_NEW(tokens->texts, struct access);
    *access = (struct access){.tokens = list, .count = tokens->count};
    return access;
}

/* ---- telling ---- */

void config_tokens_print(const struct access *access, struct buf *out)
{
    for (size_t i = 0; access != NULL && i < access->count; i++) {
        const struct access_token *token = &access->tokens[i];

        buf_printf(out, PREFIX ".%s = *** role %s", token->name,
                   api_role_name(token->role));
        if (token->tenant[0] != '\0')
            buf_printf(out, " tenant %s", token->tenant);
        if (token->actor[0] != '\0')
            buf_printf(out, " actor %s", token->actor);
        buf_char(out, '\n');
    }
}

void config_tokens_describe(struct buf *out)
{
    buf_printf(out,
               PREFIX ".NAME\n"
                      "    a bearer token: { token = env \"X\" or "
                      "secret_file(path), role = \"reader\", \"writer\" or "
                      "\"admin\", tenant = \"…\", actor = \"…\" }\n"
                      "    a table, of the file alone; tenant and actor may be "
                      "left out; up to %d tokens\n",
               CONFIG_TOKENS_MAX);
}
