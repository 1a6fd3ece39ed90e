#include "store/schema.h"

/*
 * The door for programs that append in SQL: perigee.append_events, and the
 * functions it is made of, named perigee.door_*.
 *
 *   door_text     checks JSON as it is written: escapes, depth
 *   door_twin     checks it for keys that stand twice in one object
 *   door_member   what is wrong with one member of an event
 *   door_fault    what is wrong first with all of them
 *   door_compact, door_time, door_version, door_id, door_uuid   values
 *   door_read     all events, checked and complete but for their places
 *   door_stored   the answer for events that are stored already
 *   door_insert   gives places and inserts
 *
 * It is the same door as POST /api/streams/…: the same things are refused, in
 * the same words, and what it stores cannot be told from what an engine does.
 * Words and rules of the others are in api/append_body.c, api/fields.c,
 * base/json_check.c and core/append_decide.c; tests compare them.
 *
 * Everything that can be said without the log is said before the log's lock is
 * taken.  The lock has a statement of its own: those behind it have younger
 * snapshots.  It is held until the caller's transaction ends.
 *
 * All of it is plpgsql, which keeps its plans for the session; functions in SQL
 * would be planned at each call, at twice the time.
 *
 * append_events runs with its owner's rights, which is why its search_path is
 * fixed and nobody may call it unless it is granted.
 */

#define STRING "\"[^\"\\\\]*(?:\\\\.[^\"\\\\]*)*\""
/* Of the list, which in a body has an object around it. */
#define DEPTH_MAX "63"

#define REFUSED "raise exception using errcode = 'PGV03', message = "

/* A backslash behind an even number of them is an escape's; pairs are taken
 * out first.  Brackets are all that is left of a text to know its depth: each
 * round takes the innermost away. */
#define TEXT_SQL                                                               \
    "create function perigee.door_text(p_text text) returns text"              \
    "  language plpgsql immutable as $$"                                       \
    " declare"                                                                 \
    "   bare text := replace(p_text, '\\\\', '..');"                           \
    "   depth integer := 0;"                                                   \
    " begin"                                                                   \
    "   if strpos(bare, '\\u') > 0 then"                                       \
    "     if bare ~ '\\\\u0000' then"                                          \
    "       return '\\u0000 is not allowed';"                                  \
    "     end if;"                                                             \
    "     if regexp_replace(bare, '\\\\u[dD][89abAB][0-9a-fA-F]{2}"            \
    "\\\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g') ~ '\\\\u[dD][89a-fA-F]' then"  \
    "       return 'a surrogate without the other half';"                      \
    "     end if;"                                                             \
    "   end if;"                                                               \
    "   bare := regexp_replace(bare, '" STRING "|[^][{}\"]+', '', 'g');"       \
    "   while bare <> '' loop"                                                 \
    "     depth := depth + 1;"                                                 \
    "     if depth > " DEPTH_MAX " then"                                       \
    "       return 'nested deeper than 64';"                                   \
    "     end if;"                                                             \
    "     bare := regexp_replace(bare, '\\{\\}|\\[\\]', '', 'g');"             \
    "   end loop;"                                                             \
    "   return null;"                                                          \
    " end $$;"

#define TWIN_SQL                                                               \
    "create function perigee.door_twin(p_json json) returns text"              \
    "  language plpgsql immutable as $$ begin return ("                        \
    "  with recursive node(v) as ("                                            \
    "    select p_json where json_typeof(p_json) in ('object', 'array')"       \
    "    union all"                                                            \
    "    select c.value from node n cross join lateral ("                      \
    "      select e.value from json_each(case json_typeof(n.v)"                \
    "        when 'object' then n.v else '{}' end) e"                          \
    "      union all"                                                          \
    "      select a.value from json_array_elements(case json_typeof(n.v)"      \
    "        when 'array' then n.v else '[]' end) a) c"                        \
    "     where json_typeof(c.value) in ('object', 'array'))"                  \
    "  select t.key from node n cross join lateral ("                          \
    "    select k.key from json_object_keys(case json_typeof(n.v)"             \
    "      when 'object' then n.v else '{}' end) k(key)"                       \
    "     group by k.key having count(*) > 1) t limit 1"                       \
    " ); end $$;"

/* White space between tokens: strings are kept as they are found. */
#define COMPACT_SQL                                                            \
    "create function perigee.door_compact(p_json json) returns json"           \
    "  language plpgsql immutable as $$ begin return ("                        \
    "  select regexp_replace(p_json::text, '(" STRING ")|[ \\t\\n\\r]+',"      \
    "    '\\1', 'g')::json"                                                    \
    " ); end $$;"

#define UUID "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

/* NULL where an engine refuses it too; what is behind the sixth digit is cut,
 * and a leap second is the last microsecond before it. */
#define TIME_SQL                                                               \
    "create function perigee.door_time(p_text text) returns timestamptz"       \
    "  language plpgsql immutable as $$"                                       \
    " declare"                                                                 \
    "   p text[] := regexp_match(p_text, '^([0-9]{4}-[0-9]{2}-[0-9]{2})"       \
    "[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"                     \
    "(?:\\.([0-9]{1,6})[0-9]*)?"                                               \
    "(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$');"                       \
    "   at timestamp;"                                                         \
    " begin"                                                                   \
    "   if p is null then return null; end if;"                                \
    "   at := p[1]::date + (p[2] || ':' || p[3] || ':' || case p[4]"           \
    "     when '60' then '59.999999' else p[4] || '.'"                         \
    "       || coalesce(p[5], '0') end)::time"                                 \
    "     - coalesce((p[6] || p[7] || ':' || p[8])::interval, '0');"           \
    "   if at < '0001-01-01' or at >= '10000-01-01' then"                      \
    "     return null;"                                                        \
    "   end if;"                                                               \
    "   return at at time zone 'UTC';"                                         \
    " exception when datetime_field_overflow or invalid_datetime_format then"  \
    "   return null;"                                                          \
    " end $$;"

/* 3, 3.0 and 3e0 are the same number; NULL for any that is none from 1 on. */
#define VERSION_SQL                                                            \
    "create function perigee.door_version(p_text text) returns integer"        \
    "  language plpgsql immutable as $$ begin return ("                        \
    "  select case when n between 1 and 2147483647 and n = trunc(n)"           \
    "    then n::integer end"                                                  \
    "  from (select case when length(p_text) <= 100"                           \
    "      and p_text ~ '^[0-9]+(\\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$'"          \
    "    then p_text::numeric end) x(n)"                                       \
    " ); end $$;"

#define ONE_OF_255 "octet_length(t) not between 1 and 255"

#define MEMBER_SQL                                                             \
    "create function perigee.door_member(p_key text, p_value json)"            \
    "  returns text language plpgsql immutable as $$ begin return ("           \
    "  select case"                                                            \
    "    when p_key not in ('event_type', 'data', 'event_id',"                 \
    "        'event_version', 'metadata', 'tenant_id', 'actor_id',"            \
    "        'correlation_id', 'causation_id', 'occurred_at',"                 \
    "        'aggregate_type', 'aggregate_id') then 'unknown field'"           \
    "    when json_typeof(p_value) = 'null'"                                   \
    "      and p_key not in ('event_type', 'data') then null"                  \
    "    when p_key in ('data', 'metadata') then"                              \
    "      case when json_typeof(p_value) <> 'object'"                         \
    "        then 'expected an object' end"                                    \
    "    when p_key = 'event_version' then"                                    \
    "      case when perigee.door_version(p_value::text) is null"              \
    "        then 'expected a whole number from 1 to 2147483647' end"          \
    "    when json_typeof(p_value) <> 'string' then 'expected a text'"         \
    "    else (select case"                                                    \
    "      when p_key = 'event_type' then case when " ONE_OF_255               \
    "          or t !~ '^[A-Za-z][A-Za-z0-9_.-]*$' then 'expected a letter,"   \
    " then letters, digits, ''_'', ''.'' and ''-'', at most 255 bytes' end"    \
    "      when p_key = 'event_id' then case when t !~ '" UUID "'"             \
    "          or t !~ '[1-9a-fA-F]' then 'expected a UUID' end"               \
    "      when p_key = 'occurred_at' then"                                    \
    "        case when perigee.door_time(t) is null"                           \
    "          then 'expected an RFC 3339 time' end"                           \
    "      when " ONE_OF_255 " or t ~ '[\\u0001-\\u001f\\u007f]' then"         \
    "        'expected 1 to 255 bytes of text without control characters'"     \
    "      end from (select p_value #>> '{}') x(t))"                           \
    "  end"                                                                    \
    " ); end $$;"

/* A UUID in lower case, anything else as it is; NULL when it is no id. */
#define ID_SQL                                                                 \
    "create function perigee.door_id(p_id text) returns text"                  \
    "  language plpgsql immutable as $$ begin return ("                        \
    "  select case when octet_length(p_id) not between 1 and 255"              \
    "      or p_id ~ '[\\u0001-\\u001f\\u007f-\\u009f]' then null"             \
    "    when p_id ~ '" UUID "' then lower(p_id) else p_id end"                \
    " ); end $$;"

/* Time first, so that new ids stay together. */
#define UUID_SQL                                                               \
    "create function perigee.door_uuid() returns uuid"                         \
    "  language plpgsql volatile as $$ begin return ("                         \
    "  select encode(set_byte(id, 6, get_byte(id, 6) & 15 | 112), "            \
    "'hex')::uuid"                                                             \
    "  from (select overlay(uuid_send(gen_random_uuid()) placing substring("   \
    "    int8send((extract(epoch from clock_timestamp()) * 1000)::bigint)"     \
    "    from 3) from 1 for 6)) x(id)"                                         \
    " ); end $$;"

#define EVENT_SQL                                                              \
    "create type perigee.door_event as (place integer, event_id uuid,"         \
    "  is_given boolean, event_type text, event_version integer,"              \
    "  tenant_id text, actor_id text, correlation_id text, causation_id text," \
    "  occurred_at timestamptz, data json, metadata json);"

/* The first fault of the first event that has one: its members in their order,
 * then what is missing, then what does not fit the stream. */
#define FAULT_SQL                                                              \
    "create function perigee.door_fault(p_type text, p_id text,"               \
    "    p_events json) returns text language plpgsql stable as $$ begin "     \
    "return ("                                                                 \
    "  with item as (select place - 1 as place, value"                         \
    "      from json_array_elements(p_events) with ordinality e(value, "       \
    "place)),"                                                                 \
    " member as (select i.place, m.turn, m.key, m.value"                       \
    "      from item i cross join lateral json_each("                          \
    "        case json_typeof(i.value) when 'object' then i.value"             \
    "          else '{}' end) with ordinality m(key, value, turn)),"           \
    " fault as ("                                                              \
    "    select place, 0 as stage, 0::bigint as turn, 'event_type' as key,"    \
    "      'an event is expected to be an object' as message"                  \
    "      from item where json_typeof(value) <> 'object'"                     \
    "    union all"                                                            \
    "    select place, 1, turn, key, perigee.door_member(key, value)"          \
    "      from member"                                                        \
    "    union all"                                                            \
    "    select i.place, 2, k.turn, k.key, 'missing'"                          \
    "      from item i, (values (1, 'event_type'), (2, 'data')) k(turn, key)"  \
    "      where json_typeof(i.value) = 'object' and i.value -> k.key is null" \
    "    union all"                                                            \
    "    select m.place, 3, 1, key, 'is not that of the stream, '''"           \
    "        || p_type || ''''"                                                \
    "      from member m where key = 'aggregate_type'"                         \
    "       and json_typeof(value) = 'string' and value #>> '{}' <> p_type"    \
    "    union all"                                                            \
    "    select m.place, 3, 2, key, 'is not that of the stream, '''"           \
    "        || p_id || ''''"                                                  \
    "      from member m where key = 'aggregate_id'"                           \
    "       and json_typeof(value) = 'string'"                                 \
    "       and perigee.door_id(value #>> '{}') is distinct from p_id"         \
    "    union all"                                                            \
    "    select m.place, 4, 1, key, 'aggregate ' || p_type || ' does not"      \
    " know the event type \"' || (value #>> '{}') || '\"; its `apply` has: '"  \
    "        || (select string_agg(t.event_type, ', ' order by t.event_type)"  \
    "              from perigee.event_types t"                                 \
    "             where t.aggregate_type = p_type)"                            \
    "      from member m where key = 'event_type'"                             \
    "       and json_typeof(value) = 'string'"                                 \
    "       and exists (select from perigee.event_types t"                     \
    "             where t.aggregate_type = p_type)"                            \
    "       and not exists (select from perigee.event_types t"                 \
    "             where t.aggregate_type = p_type"                             \
    "               and coalesce(t.event_type, value #>> '{}')"                \
    "                 = value #>> '{}')"                                       \
    "    union all"                                                            \
    "    select i.place, 4, 2, 'event_version',"                               \
    "      perigee.door_version(i.value ->> 'event_version')"                  \
    "        || ' is newer than what aggregate ' || p_type || ' knows of '"    \
    "        || t.event_type || ' (' || t.newest || '): its `upcast` leads"    \
    " there'"                                                                  \
    "      from item i join perigee.event_types t"                             \
    "        on t.aggregate_type = p_type"                                     \
    "       and t.event_type = i.value ->> 'event_type'"                       \
    "      where json_typeof(i.value) = 'object'"                              \
    "       and perigee.door_version(i.value ->> 'event_version') > t.newest)" \
    "  select 'events[' || place || '].' || key || ': ' || message"            \
    "    from fault where message is not null"                                 \
    "   order by place, stage, turn limit 1"                                   \
    " ); end $$;"

/* Members that are null are as if they were not there. */
#define READ_SQL                                                               \
    "create function perigee.door_read(p_type text, p_id text,"                \
    "    p_events json) returns perigee.door_event[]"                          \
    "  language plpgsql volatile as $$"                                        \
    " declare"                                                                 \
    "   fault text := perigee.door_text(p_events::text);"                      \
    "   events perigee.door_event[];"                                          \
    " begin"                                                                   \
    "   if fault is null then"                                                 \
    "     fault := 'duplicate key \"' || perigee.door_twin(p_events) || '\"';" \
    "   end if;"                                                               \
    "   if fault is not null then " REFUSED "fault; end if;"                   \
    "   if p_events is null or json_typeof(p_events) <> 'array' then"          \
    "     " REFUSED "'events: expected a list';"                               \
    "   end if;"                                                               \
    "   if json_array_length(p_events) not between 1 and 1000 then"            \
    "     " REFUSED "'events: expected 1 to 1000 events, not '"                \
    "       || json_array_length(p_events);"                                   \
    "   end if;"                                                               \
    "   fault := perigee.door_fault(p_type, p_id, p_events);"                  \
    "   if fault is not null then " REFUSED "fault; end if;"                   \
    "   select array_agg(row(place - 1,"                                       \
    "       coalesce((e ->> 'event_id')::uuid, perigee.door_uuid()),"          \
    "       e ->> 'event_id' is not null, e ->> 'event_type',"                 \
    "       coalesce(perigee.door_version(e ->> 'event_version'), 1),"         \
    "       e ->> 'tenant_id', e ->> 'actor_id', e ->> 'correlation_id',"      \
    "       e ->> 'causation_id', coalesce("                                   \
    "         perigee.door_time(e ->> 'occurred_at'), clock_timestamp()),"     \
    "       perigee.door_compact(e -> 'data'),"                                \
    "       case when e ->> 'metadata' is null then '{}'"                      \
    "         else perigee.door_compact(e -> 'metadata') end"                  \
    "     )::perigee.door_event order by place) into events"                   \
    "     from json_array_elements(p_events) with ordinality x(e, place);"     \
    "   return events;"                                                        \
    " end $$;"

/* All ids there, in one stream, one after the other, with the same content:
 * the first answer again.  Nothing when none is there. */
#define STORED_SQL                                                             \
    "create function perigee.door_own(p_metadata json) returns text"           \
    "  language plpgsql immutable as $$ begin return ("                        \
    "  select regexp_replace(p_metadata::text,"                                \
    "    '(,?\"traceparent\":\"[^\"]{55}\")?\\}$', '')"                        \
    " ); end $$;"                                                              \
    "create function perigee.door_stored(p_type text, p_id text,"              \
    "    p_events perigee.door_event[], out version bigint,"                   \
    "    out first_position bigint, out last_position bigint)"                 \
    "  language plpgsql volatile as $$"                                        \
    " declare"                                                                 \
    "   place record;"                                                         \
    "   same bigint;"                                                          \
    " begin"                                                                   \
    "   select e.* into place"                                                 \
    "     from unnest(p_events) g"                                             \
    "     join perigee.event_ids i on i.event_id = g.event_id"                 \
    "     join perigee.events e on e.position = i.position"                    \
    "    order by g.place limit 1;"                                            \
    "   if not found then return; end if;"                                     \
    "   select count(*), min(e.position), max(e.position),"                    \
    "       max(e.aggregate_version)"                                          \
    "     into same, first_position, last_position, version"                   \
    "     from unnest(p_events) g"                                             \
    "     join perigee.event_ids i on i.event_id = g.event_id"                 \
    "     join perigee.events e on e.position = i.position"                    \
    "    where e.aggregate_type = p_type and e.aggregate_id = p_id"            \
    "      and e.event_type = g.event_type"                                    \
    "      and e.event_version = g.event_version"                              \
    "      and e.data::text = g.data::text"                                    \
    "      and perigee.door_own(e.metadata) = perigee.door_own(g.metadata)"    \
    "      and e.aggregate_version = place.aggregate_version + g.place;"       \
    "   if same = cardinality(p_events) then return; end if;"                  \
    "   raise exception using errcode = 'PGV02',"                              \
    "     message = format('event %s is stored already, as %s/%s version %s'," \
    "       place.event_id, place.aggregate_type, place.aggregate_id,"         \
    "       place.aggregate_version),"                                         \
    "     detail = json_build_object('event_id', place.event_id, 'position',"  \
    "       place.position, 'aggregate_version', place.aggregate_version);"    \
    " end $$;"

#define INSERT_SQL                                                             \
    "create function perigee.door_insert(p_type text, p_id text,"              \
    "    p_stream bigint, p_version bigint, p_head bigint,"                    \
    "    p_events perigee.door_event[]) returns void"                          \
    "  language plpgsql volatile as $$ begin"                                  \
    "  with clock as materialized (select clock_timestamp() as at),"           \
    " u as materialized (select p_head + 1 + g.place as position, clock.at,"   \
    "     g.* from clock, unnest(p_events) g),"                                \
    " new_stream as (insert into perigee.streams (id, type, key)"              \
    "   select p_stream, p_type, p_id where p_stream = p_head + 1),"           \
    " new_ids as (insert into perigee.event_ids (event_id, position)"          \
    "   select event_id, position from u)"                                     \
    "  insert into perigee.events (stream_id, position, aggregate_version,"    \
    "    event_id, event_type, event_version, aggregate_type, aggregate_id,"   \
    "    tenant_id, actor_id, correlation_id, causation_id, occurred_at,"      \
    "    recorded_at, data, metadata)"                                         \
    "  select p_stream, position, p_version + 1 + place, event_id, "           \
    "event_type,"                                                              \
    "    event_version, p_type, p_id, tenant_id, actor_id, correlation_id,"    \
    "    causation_id, occurred_at, at, data, metadata from u order by "       \
    "position"                                                                 \
    " ; end $$;"

#define APPEND_SQL                                                             \
    "create function perigee.append_events(aggregate_type text,"               \
    "    aggregate_id text, events json, expected text default 'any',"         \
    "    out version bigint, out first_position bigint,"                       \
    "    out last_position bigint, out idempotent boolean)"                    \
    "  language plpgsql volatile security definer"                             \
    "  set search_path = pg_catalog, pg_temp"                                  \
    "  set enable_seqscan = off set enable_bitmapscan = off"                   \
    "  set enable_hashjoin = off set enable_mergejoin = off"                   \
    "  set jit = off set plan_cache_mode = force_generic_plan"                 \
    "  set lock_timeout = '5s' as $$"                                          \
    " declare"                                                                 \
    "   kind constant text := append_events.aggregate_type;"                   \
    "   name constant text := perigee.door_id(append_events.aggregate_id);"    \
    "   given perigee.door_event[];"                                           \
    "   stream bigint;"                                                        \
    "   was bigint;"                                                           \
    "   head bigint;"                                                          \
    "   twice record;"                                                         \
    " begin"                                                                   \
    "   if current_setting('transaction_isolation') <> 'read committed' then"  \
    "     raise exception using errcode = 'PGV03', message ="                  \
    "       'append_events: expected isolation level read committed';"         \
    "   end if;"                                                               \
    "   if kind is null or octet_length(kind) > 255"                           \
    "     or kind !~ '^[A-Za-z][A-Za-z0-9_.-]*$' then"                         \
    "     " REFUSED "'aggregate_type: expected a letter, then letters,"        \
    " digits, ''_'', ''.'' and ''-'', at most 255 bytes';"                     \
    "   end if;"                                                               \
    "   if name is null then"                                                  \
    "     " REFUSED "'aggregate_id: expected 1 to 255 bytes of UTF-8 without"  \
    " control characters';"                                                    \
    "   end if;"                                                               \
    "   if coalesce(expected, '') not in ('any', 'no_stream',"                 \
    "       'stream_exists') and (coalesce(expected, '') !~ '^[0-9]{1,19}$'"   \
    "       or expected::numeric > 9223372036854775807) then"                  \
    "     " REFUSED "'expected_version: expected a version from 0 on,"         \
    " \"any\", \"no_stream\" or \"stream_exists\"';"                           \
    "   end if;"                                                               \
    "   given := perigee.door_read(kind, name, append_events.events);"         \
    "   select array_agg(g.place order by g.place) as places into twice"       \
    "     from unnest(given) g"                                                \
    "    group by g.event_id having count(*) > 1 order by 1 limit 1;"          \
    "   if found then"                                                         \
    "     raise exception using errcode = 'PGV02', message = format("          \
    "       'events %s and %s of the request have the same event_id',"         \
    "       twice.places[1], twice.places[2]);"                                \
    "   end if;"                                                               \
    "   perform pg_advisory_xact_lock(x'7065726967656501'::bigint);"           \
    "   select s.* into version, first_position, last_position"                \
    "     from perigee.door_stored(kind, name, given) s;"                      \
    "   idempotent := version is not null;"                                    \
    "   if idempotent then return; end if;"                                    \
    "   select s.id, (select e.aggregate_version from perigee.events e"        \
    "       where e.stream_id = s.id order by 1 desc limit 1)"                 \
    "     into stream, was from perigee.streams s"                             \
    "    where s.type = kind and s.key = name;"                                \
    "   was := coalesce(was, 0);"                                              \
    "   if not (case expected when 'any' then true"                            \
    "       when 'no_stream' then was = 0 when 'stream_exists' then was > 0"   \
    "       else was = expected::bigint end) then"                             \
    "     raise exception using errcode = 'PGV01', message = format("          \
    "       '%s/%s is at version %s, expected %s', kind, name, was,"           \
    "       case when expected ~ '^[0-9]' then (expected::bigint)::text"       \
    "         else '\"' || expected || '\"' end),"                             \
    "       detail = format('{\"expected_version\" : %s,"                      \
    " \"actual_version\" : %s}', case when expected ~ '^[0-9]'"                \
    "         then (expected::bigint)::text else '\"' || expected || '\"' "    \
    "end,"                                                                     \
    "         was);"                                                           \
    "   end if;"                                                               \
    "   select coalesce(max(e.position), 0) into head from perigee.events e;"  \
    "   perform perigee.door_insert(kind, name, coalesce(stream, head + 1), "  \
    "was,"                                                                     \
    "     head, given);"                                                       \
    "   first_position := head + 1;"                                           \
    "   last_position := head + cardinality(given);"                           \
    "   version := was + cardinality(given);"                                  \
    "   perform pg_notify('perigee', last_position::text);"                    \
    " end $$;"

/* A function is everybody's unless that is taken back. */
#define RIGHTS_SQL                                                             \
    "revoke all on function"                                                   \
    "  perigee.append_events(text, text, json, text) from public;"

const char pg_door_sql[] = TEXT_SQL TWIN_SQL COMPACT_SQL TIME_SQL VERSION_SQL
    MEMBER_SQL ID_SQL UUID_SQL EVENT_SQL FAULT_SQL READ_SQL STORED_SQL
        INSERT_SQL APPEND_SQL RIGHTS_SQL;
