#include "api/cursor.h"

#include <inttypes.h>

void cursor_write(struct uuid log_id, uint64_t position, struct buf *out)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(log_id, text);
    buf_printf(out, "%s:%" PRIu64, text, position);
}

static bool fail_foreign(struct uuid given, struct uuid log_id, struct err *err)
{
    char theirs[UUID_TEXT_SIZE], ours[UUID_TEXT_SIZE];

    uuid_format(given, theirs);
    uuid_format(log_id, ours);
    return err_set(err, ERR_FOREIGN_CURSOR,
                   "the cursor is of log %s, and this is log %s: read from the "
                   "beginning",
                   theirs, ours);
}

static bool is_position(struct str text, uint64_t *out)
{
    return str_to_u64(text, out) && *out <= INT64_MAX;
}

bool cursor_read(struct str text, struct uuid log_id, uint64_t *position_out,
                 struct err *err)
{
    struct str position = text;
    struct str id = str_cut(&position, ':');
    struct uuid given = log_id;
    uint64_t found;

    if (!is_position(str_is_none(position) ? id : position, &found) ||
        (!str_is_none(position) && !uuid_parse(id, &given)))
        return err_set(err, ERR_BAD_REQUEST,
                       "expected a position or a cursor, LOG_ID:POSITION");
    if (!uuid_eq(given, log_id))
        return fail_foreign(given, log_id, err);
    *position_out = found;
    return true;
}

bool cursor_check(uint64_t position, uint64_t head, struct err *err)
{
    if (position <= head)
        return true;
    return err_set(err, ERR_FOREIGN_CURSOR,
                   "position %" PRIu64 " is beyond the log's end at %" PRIu64
                   ": it is of another log, or this one lost its end",
                   position, head);
}
