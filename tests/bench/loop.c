/*
 * The limit that projections are measured against: a hand-written loop over
 * libpq, one connection, exactly once.  It reads 1000 events, sums their
 * amounts by account in memory, upserts by arrays, moves its checkpoint, and
 * commits.  No scripts, no leases, no general anything.
 *
 *     loop CONNECTION     prints events and seconds
 */
#include <libpq-fe.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE     1000
#define SLOTS    4096
#define KEY_SIZE 64

struct account {
    char key[KEY_SIZE];
    long count;
    long cents;
};

struct page {
    struct account accounts[SLOTS]; /* open addressing, empty key: free */
    size_t used[PAGE];
    size_t used_count;
};

static PGconn *db;

static void fail(const char *what)
{
    fprintf(stderr, "loop: %s: %s", what, PQerrorMessage(db));
    exit(1);
}

static PGresult *run(const char *sql, int count, const char *const *values)
{
    PGresult *result =
        PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail(sql);
    return result;
}

static void command(const char *sql)
{
    PQclear(run(sql, 0, NULL));
}

static struct account *account_of(struct page *page, const char *key)
{
    size_t hash = 5381;

    for (const char *at = key; *at != '\0'; at++)
        hash = hash * 33 + (unsigned char)*at;
    for (hash %= SLOTS; page->accounts[hash].key[0] != '\0';
         hash = (hash + 1) % SLOTS)
        if (strcmp(page->accounts[hash].key, key) == 0)
            return &page->accounts[hash];
    snprintf(page->accounts[hash].key, KEY_SIZE, "%s", key);
    page->used[page->used_count++] = hash;
    return &page->accounts[hash];
}

/* {"amount":"12.34",…} as cents */
static long cents_of(const char *data)
{
    const char *at = strstr(data, "\"amount\":\"");
    char *point;
    long whole;

    if (at == NULL)
        return 0;
    whole = strtol(at + 10, &point, 10);
    return whole * 100 + (*point == '.' ? strtol(point + 1, NULL, 10) : 0);
}

static void fold(struct page *page, PGresult *events)
{
    memset(page, 0, sizeof(*page));
    for (int i = 0; i < PQntuples(events); i++) {
        struct account *account = account_of(page, PQgetvalue(events, i, 1));

        account->count++;
        account->cents += cents_of(PQgetvalue(events, i, 2));
    }
}

static void write_page(const struct page *page)
{
    static char keys[PAGE * (KEY_SIZE + 4)], counts[PAGE * 24], sums[PAGE * 32];
    const char *values[] = {keys, counts, sums};
    size_t k = 0, c = 0, s = 0;

    for (size_t i = 0; i < page->used_count; i++) {
        const struct account *account = &page->accounts[page->used[i]];
        char mark = i == 0 ? '{' : ',';

        k += (size_t)snprintf(keys + k, sizeof(keys) - k, "%c\"%s\"", mark,
                              account->key);
        c += (size_t)snprintf(counts + c, sizeof(counts) - c, "%c%ld", mark,
                              account->count);
        s += (size_t)snprintf(sums + s, sizeof(sums) - s, "%c%ld.%02ld", mark,
                              account->cents / 100, account->cents % 100);
    }
    snprintf(keys + k, sizeof(keys) - k, "}");
    snprintf(counts + c, sizeof(counts) - c, "}");
    snprintf(sums + s, sizeof(sums) - s, "}");
    PQclear(run("insert into bench_loop as t (account, events, total)"
                " select * from unnest($1::text[], $2::bigint[],"
                " $3::numeric[])"
                " on conflict (account) do update set events = t.events +"
                " excluded.events, total = t.total + excluded.total",
                3, values));
}

/* One page; how many events there were. */
static int step(char position[32], struct page *page)
{
    const char *after[] = {position};
    PGresult *events =
        run("select position, aggregate_id, data from perigee.events"
            " where position > $1::bigint order by position limit 1000",
            1, after);
    int count = PQntuples(events);

    if (count > 0) {
        fold(page, events);
        snprintf(position, 32, "%s", PQgetvalue(events, count - 1, 0));
        command("begin");
        write_page(page);
        PQclear(run("update bench_loop_checkpoint set position = $1::bigint", 1,
                    after));
        command("commit");
    }
    PQclear(events);
    return count;
}

int main(int argc, char **argv)
{
    static struct page page;
    char position[32] = "0";
    struct timespec began, ended;
    long total = 0;
    int count;

    db = PQconnectdb(argc > 1 ? argv[1] : "");
    if (PQstatus(db) != CONNECTION_OK)
        fail("connect");
    command("set client_min_messages = warning");
    command("drop table if exists bench_loop, bench_loop_checkpoint");
    command("create table bench_loop (account text collate \"C\" primary key,"
            " events bigint not null, total numeric not null)"
            " with (fillfactor = 70)");
    command("create table bench_loop_checkpoint (position bigint)");
    command("insert into bench_loop_checkpoint values (0)");
    clock_gettime(CLOCK_MONOTONIC, &began);
    while ((count = step(position, &page)) > 0)
        total += count;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%ld %.3f\n", total,
           (double)(ended.tv_sec - began.tv_sec) +
               (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    PQfinish(db);
    return 0;
}
