#include "store/pg_fault.h"

/* The first row that fits decides; what fits none is the store's state. */
/* clang-format off */
static const struct {
    const char *prefix;
    enum pg_fault fault;
} faults[] = {
    {"23505", PG_FAULT_UNIQUE},
    {"22",    PG_FAULT_DATA},
    {"23",    PG_FAULT_DATA},
    {"54",    PG_FAULT_DATA},   /* too long for an index, too deep: never fits */
    {"P0",    PG_FAULT_DATA},   /* raised by somebody's trigger */
    {"PGF01", PG_FAULT_FENCED},
    {"55P03", PG_FAULT_LOCKED},
    {"25006", PG_FAULT_STALE},  /* read only: the primary is another now */
    {"0A000", PG_FAULT_STALE},  /* likewise at `begin`; or a plan whose table was
                                   made anew: prepare it again */
    {"26000", PG_FAULT_STALE},  /* somebody discarded our statements */
    {"42P05", PG_FAULT_STALE},  /* somebody else's have our names */
    {"42P07", PG_FAULT_EXISTS},
    {"42",    PG_FAULT_SETUP},
    {"3F",    PG_FAULT_SETUP},
};
/* clang-format on */

enum pg_fault pg_fault_of(const char *sqlstate)
{
    for (size_t i = 0; i < COUNT(faults); i++)
        if (str_starts(str_of(sqlstate), str_of(faults[i].prefix)))
            return faults[i].fault;
    return PG_FAULT_STORE;
}

static enum err_code code_of(enum pg_fault fault)
{
    switch (fault) {
    case PG_FAULT_STORE:
    case PG_FAULT_LOCKED:
    case PG_FAULT_STALE:
        break;
    case PG_FAULT_DATA:
    case PG_FAULT_UNIQUE:
        return ERR_DATA;
    case PG_FAULT_EXISTS:
    case PG_FAULT_FENCED:
        return ERR_CONFLICT;
    case PG_FAULT_SETUP:
        return ERR_CONFIG;
    }
    return ERR_STORE;
}

/* Statements that come and go without us: a pooler gives each transaction
 * another session. */
static const char *advice_on(const char *sqlstate)
{
    bool is_prepared =
        strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0;

    return is_prepared ? "; if a pooler is between, set database.direct_url"
                       : "";
}

bool pg_fault_set(struct err *err, enum pg_fault fault, const char *message,
                  const char *sqlstate)
{
    return err_set(err, code_of(fault), "PostgreSQL: %s (%s)%s", message,
                   sqlstate, advice_on(sqlstate));
}

void pg_one_line(const char *message, char *line, size_t size)
{
    struct str rest = str_of(message);
    size_t len = 0;

    while (!str_is_none(rest)) {
        struct str part = str_cut(&rest, '\n');

        if (part.len == 0 || part.ptr[0] == '\t')
            continue;
        for (const char *gap = len > 0 ? "; " : ""; *gap != '\0'; gap++)
            if (len + 1 < size)
                line[len++] = *gap;
        part.len = MIN(part.len, size - 1 - len);
        memcpy(line + len, part.ptr, part.len);
        len += part.len;
    }
    line[len] = '\0';
}
