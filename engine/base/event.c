#include "base/event.h"
#include "base/mem.h"

void event_copy(struct event *to, const struct event *from, struct arena *arena)
{
    *to = *from;
    to->event_type = arena_str(arena, from->event_type);
    to->aggregate_type = arena_str(arena, from->aggregate_type);
    to->aggregate_id = arena_str(arena, from->aggregate_id);
    to->data = arena_str(arena, from->data);
    to->metadata = arena_str(arena, from->metadata);
    to->tenant_id = arena_str(arena, from->tenant_id);
    to->actor_id = arena_str(arena, from->actor_id);
    to->correlation_id = arena_str(arena, from->correlation_id);
    to->causation_id = arena_str(arena, from->causation_id);
}

/* ---- pages ---- */

struct event_page *event_page_new(void)
{
    struct event_page *page = NEW(struct event_page);

    page->refs = 1;
    return page;
}

/* The array doubles inside the arena, and what it outgrows stays there, so
 * room is needed whenever the count is a power of two from the first one on. */
#define FIRST_ROOM 16

static void make_room(struct event_page *page)
{
    size_t count = page->count;
    bool is_full =
        count == 0 || (count >= FIRST_ROOM && (count & (count - 1)) == 0);

    if (!is_full)
        return;

    struct event *more =
        ARENA_ARRAY(&page->arena, struct event, MAX(count * 2, FIRST_ROOM));

    if (count > 0)
        memcpy(more, page->events, count * sizeof(*more));
    page->events = more;
}

static size_t bytes_of(const struct event *event)
{
    return event->event_type.len + event->aggregate_type.len +
           event->aggregate_id.len + event->data.len + event->metadata.len +
           event->tenant_id.len + event->actor_id.len +
           event->correlation_id.len + event->causation_id.len;
}

void event_page_add(struct event_page *page, const struct event *event)
{
    make_room(page);
    event_copy(&page->events[page->count++], event, &page->arena);
    page->bytes += bytes_of(event);
    page->scanned_to = MAX(page->scanned_to, event->position);
}

struct event_page *event_page_ref(struct event_page *page)
{
    __atomic_add_fetch(&page->refs, 1, __ATOMIC_RELAXED);
    return page;
}

/* Released by each, acquired by the last: whoever frees the page sees all that
 * the others did with it before they let go. */
void event_page_unref(struct event_page *page)
{
    if (page == NULL ||
        __atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    arena_done(&page->arena);
    mem_free(page);
}

/* ---- JSON ---- */

static void put_uuid(struct json_out *out, const char *key, struct uuid id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    json_put_text(out, key, text);
}

static void put_present(struct json_out *out, const char *key, struct str value)
{
    if (!str_is_none(value))
        json_put_str(out, key, value);
}

void event_write(struct json_out *out, const char *key,
                 const struct event *event)
{
    json_object(out, key);
    json_put_u64(out, "position", event->position);
    put_uuid(out, "event_id", event->event_id);
    json_put_str(out, "event_type", event->event_type);
    json_put_u64(out, "event_version", event->event_version);
    json_put_str(out, "aggregate_type", event->aggregate_type);
    json_put_str(out, "aggregate_id", event->aggregate_id);
    json_put_u64(out, "aggregate_version", event->aggregate_version);
    json_put_raw(out, "data", event->data);
    json_put_raw(out, "metadata", event->metadata);
    put_present(out, "tenant_id", event->tenant_id);
    put_present(out, "actor_id", event->actor_id);
    put_present(out, "correlation_id", event->correlation_id);
    put_present(out, "causation_id", event->causation_id);
    json_put_time(out, "occurred_at", event->occurred_at_us);
    json_put_time(out, "recorded_at", event->recorded_at_us);
    json_end(out, '}');
}

/* ---- names and ids ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_name_byte(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
}

static bool is_name(struct str name)
{
    if (name.len == 0 || name.len > EVENT_ID_MAX_BYTES ||
        !is_letter(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++)
        if (!is_name_byte(name.ptr[i]))
            return false;
    return true;
}

bool event_check_name(struct str name, const char *what, struct err *err)
{
    if (is_name(name))
        return true;
    return err_set(err, ERR_INVALID_ID,
                   "%s: expected a letter, then letters, digits, '_', '.' and "
                   "'-', at most %d bytes",
                   what, EVENT_ID_MAX_BYTES);
}

#define TRACEPARENT_BYTES 55

struct str event_own_metadata(struct str metadata)
{
    struct str name = STR("\"traceparent\":\"");
    size_t member = name.len + TRACEPARENT_BYTES + 1; /* a quote ends it */
    struct str own = metadata;
    const char *at;

    if (own.len > 0)
        own.len--;
    if (own.len <= member)
        return own;
    at = own.ptr + own.len - member;
    if (memcmp(at, name.ptr, name.len) != 0 ||
        memchr(at + name.len, '"', TRACEPARENT_BYTES) != NULL)
        return own;
    own.len -= member;
    if (own.ptr[own.len - 1] == ',')
        own.len--;
    return own;
}

/* ASCII's control characters, and U+0080 to U+009F, which are C2 80 to C2 9F
 * in UTF-8. */
static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < text.len &&
            (unsigned char)text.ptr[i + 1] < 0xa0)
            return true;
    }
    return false;
}

bool event_check_id(struct str id, char *normal, struct str *out,
                    struct err *err)
{
    struct uuid uuid;

    if (id.len == 0 || id.len > EVENT_ID_MAX_BYTES || !str_is_utf8(id) ||
        has_control(id))
        return err_set(err, ERR_INVALID_ID,
                       "aggregate_id: expected 1 to %d bytes of UTF-8 without "
                       "control characters",
                       EVENT_ID_MAX_BYTES);
    if (uuid_parse(id, &uuid))
        uuid_format(uuid, normal);
    else
        memcpy(normal, id.ptr, id.len);
    *out = str_n(normal, id.len);
    return true;
}
