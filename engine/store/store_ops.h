#pragma once
/*
 * Inside of store/: the table of functions that a store fills, and the head of
 * its struct.  store.c dispatches; the functions have the contract of
 * store/store.h, with the same order of arguments.
 */
#include "store/store.h"

struct store_ops {
    enum store_kind kind;
    void (*close)(struct store *store);
    void (*pool_status)(struct store *store, struct pool_status *out);
    bool (*server_limits)(struct store *, struct server_limits *, struct err *);
    bool (*migrate)(struct store *, uint32_t *, struct err *);
    bool (*check_schema)(struct store *, struct err *);
    bool (*log_id)(struct store *, struct uuid *, struct err *);
    bool (*log_renew)(struct store *, struct err *);
    bool (*claim)(struct store *, const char *, struct err *);
    struct store_writer *(*writer_open)(struct store *, struct err *);
    void (*writer_close)(struct store_writer *);
    bool (*append_begin)(struct store_writer *, struct log_place,
                         struct arena *, struct append_delta *, struct err *);
    bool (*append_lookup)(struct store_writer *, struct append_lookup *,
                          struct err *);
    enum append_end (*append_commit)(struct store_writer *,
                                     const struct append_batch *, struct err *);
    void (*append_abort)(struct store_writer *);
    /* NULL where it saves nothing. */
    enum append_end (*append_guarded)(struct store_writer *, struct log_place,
                                      const struct append_batch *, int64_t *,
                                      struct err *);
    bool (*request_find)(struct store *, struct request_ask *, struct arena *,
                         struct err *);
    bool (*request_forget)(struct store *, struct err *);
    bool (*snapshot_find)(struct store *, struct str, struct str, struct str,
                          uint64_t, struct arena *, struct snapshot *, bool *,
                          struct err *);
    bool (*snapshot_save)(struct store *, const struct snapshot *, size_t,
                          struct err *);
    bool (*snapshot_sample)(struct store *, struct str, struct str, struct str,
                            uint32_t, struct arena *, struct snapshot **,
                            size_t *, struct err *);
    bool (*declare_types)(struct store *, const struct declared_type *, size_t,
                          struct err *);
    bool (*head)(struct store *, uint64_t *, struct err *);
    bool (*read_after)(struct store *, uint64_t, uint32_t,
                       const struct event_filter *, struct event_page **,
                       struct err *);
    bool (*read_stream)(struct store *, struct str, struct str, uint64_t,
                        uint32_t, enum read_direction, struct event_page **,
                        struct err *);
    bool (*list_streams)(struct store *, struct str, uint64_t, uint32_t,
                         struct arena *, struct stream_row **, size_t *,
                         struct err *);
    enum lease_end (*lease_take)(struct store *, const struct slice *,
                                 struct uuid, uint32_t, struct checkpoint *,
                                 struct err *);
    bool (*lease_release)(struct store *, struct uuid, struct err *);
    bool (*list_checkpoints)(struct store *, struct arena *,
                             struct checkpoint **, size_t *, struct err *);
    struct store_keeper *(*keeper_open)(struct store *, struct err *);
    void (*keeper_close)(struct store_keeper *);
    bool (*keeper_beat)(struct store_keeper *, struct uuid, uint32_t,
                        struct arena *, struct beat *, struct err *);
    bool (*keeper_wait)(struct store_keeper *, int, uint32_t, uint64_t *);
    bool (*projection_find)(struct store *, struct str, struct arena *,
                            struct projection_def *, struct err *);
    bool (*projection_install)(struct store *, const struct projection_def *,
                               uint64_t, struct err *);
    bool (*projection_note)(struct store *, const struct projection_def *,
                            struct err *);
    enum commit_end (*commit_batch)(struct store *, const struct batch_commit *,
                                    struct err *);
    enum commit_end (*commit_settle)(struct store *,
                                     const struct batch_commit *, struct err *);
    bool (*rows_get)(struct store *, const struct table_def *, uint32_t,
                     const struct value *, size_t, struct arena *,
                     struct row **, struct err *);
    bool (*rows_list)(struct store *, const struct row_query *, struct arena *,
                      struct row **, size_t *, struct err *);
};

/* First member of every store. */
struct store {
    const struct store_ops *ops;
};
/* First members of every writer and keeper. */
struct store_writer {
    struct store *store; /* borrowed: it outlives its writer */
};
struct store_keeper {
    struct store *store; /* borrowed: it outlives its keeper */
};

/* Opens with the URL's rest behind `sqlite:`. */
struct store *lite_store_open(const struct store_options *options,
                              const char *path, struct err *err) MUST_USE;
struct store *pg_store_open(const struct store_options *options,
                            struct err *err) MUST_USE;
/* See store_find_server. */
bool lite_find_server(const char *path, char *address, size_t size) MUST_USE;
