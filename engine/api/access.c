#include "api/access.h"

#include <strings.h>

/* All are compared, each to its end: how long it takes tells nothing. */
static const struct access_token *find_token(const struct access *access,
                                             struct str token)
{
    const struct access_token *found = NULL;
    uint8_t digest[SHA256_SIZE];

    hash_sha256(token, digest);
    for (size_t i = 0; i < access->count; i++) {
        if (hash_is_same(access->tokens[i].digest, digest))
            found = &access->tokens[i];
    }
    return found;
}

/* What stands behind "Bearer ", in any case; STR_NONE for another scheme. */
static struct str bearer_of(struct str header)
{
    struct str rest = header;
    struct str scheme = str_cut(&rest, ' ');

    if (scheme.len != 6 || strncasecmp(scheme.ptr, "bearer", 6) != 0)
        return STR_NONE;
    while (rest.len > 0 && rest.ptr[0] == ' ')
        rest = str_n(rest.ptr + 1, rest.len - 1);
    return rest;
}

static bool resolve(const struct access *access, struct api_request *request,
                    struct err *err)
{
    const struct access_token *token;
    struct str text;

    if (str_is_none(request->authorization))
        return err_set(err, ERR_UNAUTHORIZED,
                       "a token is needed: Authorization: Bearer TOKEN");
    text = bearer_of(request->authorization);
    if (str_is_none(text))
        return err_set(err, ERR_UNAUTHORIZED,
                       "header Authorization: expected Bearer and a token");
    token = find_token(access, text);
    if (token == NULL)
        return err_set(err, ERR_UNAUTHORIZED, "the token is not known here");
    request->caller = (struct api_caller){
        .token = str_of(token->name),
        .role = token->role,
        .tenant = str_of(token->tenant),
        .actor = str_of(token->actor),
    };
    return true;
}

static bool check_role(const struct api_caller *caller, enum api_role needed,
                       struct err *err)
{
    return caller->role >= needed ||
           err_set(err, ERR_FORBIDDEN,
                   "token '%.*s' is a %s; this needs the role %s",
                   STR_ARG(caller->token), api_role_name(caller->role),
                   api_role_name(needed));
}

static bool check_bound(struct str bound, struct str given, const char *header,
                        struct err *err)
{
    return bound.len == 0 || str_is_none(given) || str_eq(bound, given) ||
           err_set(err, ERR_FORBIDDEN,
                   "header %s: the token is bound to '%.*s'", header,
                   STR_ARG(bound));
}

bool access_check(struct api_request *request, enum api_role needed,
                  struct err *err)
{
    struct api_caller *caller = &request->caller;

    *caller = (struct api_caller){.token = STR(""),
                                  .role = API_ADMIN,
                                  .tenant = STR(""),
                                  .actor = STR("")};
    if (needed == API_ANYONE || request->access == NULL)
        return true;
    return resolve(request->access, request, err) &&
           check_role(caller, needed, err) &&
           check_bound(caller->tenant, request->tenant_id, "X-Tenant-Id",
                       err) &&
           check_bound(caller->actor, request->actor_id, "X-Actor-Id", err);
}

bool access_is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '!' || text.ptr[i] > '~')
            return false;
    }
    return text.len >= ACCESS_TOKEN_MIN && text.len <= ACCESS_TOKEN_MAX;
}
