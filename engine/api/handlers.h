#pragma once
/*
 * The handlers behind the table of routes, one file a group.  Each fills the
 * reply, with a problem document when it fails; segments are those of the
 * route's path, decoded, and neither they nor the query are checked yet.
 */
#include "api/api.h"

#define HANDLER(name)                                                          \
    void name(struct engine *engine, struct api_request *request,              \
              struct api_reply *reply)

/* api_aggregates.c: run a command, read a folded state. */
HANDLER(api_command_run);
HANDLER(api_aggregate_read);
/* api_streams.c: append, read one stream, list streams. */
HANDLER(api_stream_append);
HANDLER(api_stream_read);
HANDLER(api_stream_list);
/* api_events.c: what log this is, and its events in global order; api_live.c:
 * as they come. */
HANDLER(api_log_read);
HANDLER(api_event_list);
HANDLER(api_event_live);
/* api_projections.c: how projections stand. */
HANDLER(api_projection_list);
HANDLER(api_projection_read);
/* api_rows.c: what projections made. */
HANDLER(api_row_list);
HANDLER(api_row_read);
/* api_scripts.c, api_shutdown.c */
HANDLER(api_script_list);
HANDLER(api_shutdown);
/* api_health.c: the probes; api_metrics.c. */
HANDLER(api_health);
HANDLER(api_health_ready);
HANDLER(api_health_live);
HANDLER(api_metrics);
