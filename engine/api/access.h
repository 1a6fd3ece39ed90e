#pragma once
/*
 * Who may do what: bearer tokens (`http.tokens`), each with a role and, if its
 * owner says so, a tenant and an actor that all it writes must carry.
 *
 * Only SHA-256 digests of tokens are here.  A token has at least
 * ACCESS_TOKEN_MIN bytes of somebody's randomness, so a fast digest tells no
 * more of it than a slow one would, and a wrong one costs an attacker a
 * request, not us a second.
 */
#include "api/api.h"
#include "base/hash.h"

#define ACCESS_TOKEN_MIN 16
#define ACCESS_TOKEN_MAX 512

struct access_token {
    const char *name;
    uint8_t digest[SHA256_SIZE];
    enum api_role role;
    const char *tenant; /* "" when it is bound to none, as `actor` */
    const char *actor;
};

struct access {
    const struct access_token *tokens; /* borrowed from the settings */
    size_t count;
};

/* Fills request->caller and checks that its role is enough.
 * ERR_UNAUTHORIZED without a token, or with one that is not known;
 * ERR_FORBIDDEN when it is not enough, or when X-Tenant-Id or X-Actor-Id
 * differ from what the token says. */
bool access_check(struct api_request *request, enum api_role needed,
                  struct err *err) MUST_USE;
/* True for 16 to 512 visible characters of ASCII, which is what a header can
 * carry. */
bool access_is_token(struct str text) MUST_USE;
