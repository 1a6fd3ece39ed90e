#pragma once
/*
 * `http.tokens`, the one setting that is no scalar: a table of tokens by name,
 *
 *     http = { tokens = {
 *       shop = { token = env "SHOP_TOKEN", role = "writer", tenant = "acme" },
 *     } }
 *
 * For config.c only.  A token's text is digested where it is read and copied
 * nowhere; no fault says it.
 */
#include "api/access.h"
#include "vm/vm_settings.h"

#define CONFIG_TOKENS_MAX 256

struct config_token;

struct config_tokens {
    struct arena *texts; /* borrowed; what config_tokens_end gives is there */
    struct buf *faults;  /* borrowed; a line a mistake */
    const char *origin;
    struct config_token *items; /* in `texts`; made at the first one */
    size_t count;
};

/* True when the value is of http.tokens, and taken, or refused with a line. */
bool config_tokens_take(struct config_tokens *tokens,
                        const struct setting_value *value);
/* What was read as a whole: NULL when there are no tokens. */
const struct access *config_tokens_end(struct config_tokens *tokens);
/* The tokens as lines of text, without the tokens. */
void config_tokens_print(const struct access *access, struct buf *out);
/* What `perigee help settings` says of them. */
void config_tokens_describe(struct buf *out);
