#include "cli/setup.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

#define MEBI (1024u * 1024u)

/* Requests that wait for the writer at most, and blocks of the log that the
 * feed keeps: bounds on memory that nobody needs to turn. */
#define APPEND_MAX_WAITING 10000
#define FEED_BLOCKS        64

static void print_faults(struct buf *faults)
{
    struct str rest = buf_as_str(faults);

    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        fprintf(stderr, "perigee: %.*s\n", STR_ARG(line));
    }
}

bool setup_config(const struct cli_args *args,
                  const struct setting_override *overrides, size_t count,
                  struct config *config)
{
    struct buf faults = {0};
    struct err err = {0};
    bool ok = config_load(config, args_value(args, "config"), overrides, count,
                          &faults, &err);

    print_faults(&faults);
    buf_done(&faults);
    return ok;
}

void setup_script_options(const struct config *config,
                          struct script_set_options *out)
{
    *out = (struct script_set_options){
        .aggregates = config->scripts_aggregates,
        .projections = config->scripts_projections,
        .memory_bytes = (size_t)config->sandbox_memory_mb * MEBI,
        .any_events = !config->aggregates_strict_events,
    };
}

/* What somebody said himself is not computed. */
static struct pool_plan plan_pool(const struct config *config)
{
    bool has_numbers = config->is_given.database_instance_count ||
                       config->is_given.database_max_db_connections;
    bool has_size = config->is_given.database_pool_size;
    bool has_overflow = config->is_given.database_max_overflow;
    struct pool_plan plan = {
        .size = config->database_pool_size,
        .overflow = config->database_max_overflow,
        .instances = config->database_instance_count,
        .source = has_size || has_overflow ? POOL_BY_SETTINGS : POOL_BY_DEFAULT,
    };

    if (!has_numbers || has_size)
        return plan;
    plan = pool_plan_of(config->database_instance_count,
                        config->database_max_db_connections);
    if (has_overflow)
        plan.overflow = config->database_max_overflow;
    return plan;
}

void setup_engine_options(const struct config *config,
                          struct engine_options *out)
{
    const char *direct = config->database_direct_url;
    struct pool_plan pool = plan_pool(config);

    *out = (struct engine_options){
        .store =
            {
                .url = config->database_url,
                .direct_url = direct[0] != '\0' ? direct : NULL,
                .read_schema = config->database_read_schema,
                .pool_size = pool.size,
                .max_overflow = pool.overflow,
                .pool_timeout_ms = config->database_pool_timeout,
                .pool_recycle_ms = config->database_pool_recycle,
                .pool_pre_ping = config->database_pool_pre_ping,
                .statement_timeout_ms = config->database_statement_timeout,
                .tls =
                    {
                        .sslmode = config->database_sslmode,
                        .sslrootcert = config->database_sslrootcert,
                        .sslcert = config->database_sslcert,
                        .sslkey = config->database_sslkey,
                    },
            },
        .pool = pool,
        .migrate = config->database_migrate,
        .command_timeout_ms = config->aggregates_command_timeout,
        .append_timeout_ms = config->database_pool_timeout,
        .append_max_waiting = APPEND_MAX_WAITING,
        .workers = config->subscriptions_workers,
        .lease_ms = config->partitions_lease_seconds * 1000,
        .batch_size = config->subscriptions_batch_size,
        .processing_timeout_ms = config->subscriptions_processing_timeout,
        .feed_blocks = FEED_BLOCKS,
        .stall_timeout_ms = config->health_stall_timeout,
        .lag_warning = config->health_max_lag_events_warning,
        .lag_critical = config->health_max_lag_events_critical,
    };
    setup_script_options(config, &out->scripts);
}

void setup_command_log(void)
{
    log_setup(LOG_WARNING, LOG_FORMAT_TEXT, STDERR_FILENO);
}

static enum log_level level_of(const char *name)
{
    static const char *const names[] = {
        [LOG_DEBUG] = "DEBUG",       [LOG_INFO] = "INFO",
        [LOG_WARNING] = "WARNING",   [LOG_ERROR] = "ERROR",
        [LOG_CRITICAL] = "CRITICAL",
    };
    size_t level = 0;

    while (level + 1 < COUNT(names) && strcmp(names[level], name) != 0)
        level++;
    return (enum log_level)level;
}

void setup_server_log(const struct config *config)
{
    bool is_auto = strcmp(config->log_format, "auto") == 0;
    bool text = is_auto ? isatty(STDOUT_FILENO) != 0
                        : strcmp(config->log_format, "text") == 0;

    log_setup(level_of(config->log_level),
              text ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON, STDOUT_FILENO);
}

int setup_fail(const struct err *err)
{
    fprintf(stderr, "perigee: %s\n", err->text);
    return err->code == ERR_USAGE || err->code == ERR_CONFIG ? CLI_WRONG_USAGE
                                                             : CLI_FAILED;
}
