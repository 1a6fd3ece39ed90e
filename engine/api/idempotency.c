#include "api/idempotency.h"

static struct str or_empty(struct str text)
{
    return str_is_none(text) ? STR("") : text;
}

/* Lengths before the parts: no two lists of parts make the same text. */
static void hash_parts(const struct str *parts, size_t count,
                       uint8_t hash[SHA256_SIZE])
{
    struct buf text = {0};

    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%zu:", parts[i].len);
        buf_str(&text, parts[i]);
    }
    hash_sha256(buf_as_str(&text), hash);
    buf_done(&text);
}

bool idempotency_key(const struct api_request *request, const struct str *parts,
                     size_t count, struct append_key *out)
{
    bool bound = request->caller.tenant.len > 0;

    if (str_is_none(request->idempotency_key))
        return false;
    out->key = (struct request_key){
        .token = request->caller.token,
        .tenant = bound ? request->caller.tenant : or_empty(request->tenant_id),
        .key = request->idempotency_key,
    };
    hash_parts(parts, count, out->hash);
    return true;
}
