#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

static void write_aggregate(struct json_out *out,
                            const struct aggregate_decl *decl)
{
    json_object(out, NULL);
    json_put_text(out, "kind", "aggregate");
    json_put_str(out, "name", decl->type);
    json_put_str(out, "path", decl->path);
    json_put_text(out, "hash", decl->hash);
    json_array(out, "commands");
    for (size_t i = 0; i < decl->command_count; i++)
        json_put_str(out, NULL, decl->commands[i].name);
    json_end(out, ']');
    json_end(out, '}');
}

static void write_projection(struct json_out *out,
                             const struct projection_decl *decl)
{
    json_object(out, NULL);
    json_put_text(out, "kind", "projection");
    json_put_str(out, "name", decl->name);
    json_put_str(out, "path", decl->path);
    json_put_text(out, "hash", decl->hash);
    json_put_u64(out, "version", decl->version);
    json_array(out, "tables");
    for (size_t i = 0; i < decl->table_count; i++)
        json_put_str(out, NULL, decl->tables[i].name);
    json_end(out, ']');
    json_end(out, '}');
}

static void write_faults(struct json_out *out, const struct script_set *set)
{
    json_array(out, "faults");
    for (size_t i = 0; i < set->fault_count; i++) {
        json_object(out, NULL);
        json_put_text(out, "path", set->faults[i].path);
        json_put_text(out, "message", set->faults[i].text);
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void write_set(struct api_reply *reply, const struct script_set *set)
{
    struct json_out out;

    reply_json(reply, 200, &out);
    json_object(&out, NULL);
    json_array(&out, "scripts");
    for (size_t i = 0; i < set->aggregate_count; i++)
        write_aggregate(&out, &set->aggregates[i]);
    for (size_t i = 0; i < set->projection_count; i++)
        write_projection(&out, &set->projections[i]);
    json_end(&out, ']');
    json_put_null(&out, "next");
    json_put_u64(&out, "generation", set->generation);
    json_put_time(&out, "loaded_at", set->loaded_at_us);
    write_faults(&out, set);
    json_end(&out, '}');
}

void api_script_list(struct engine *engine, struct api_request *request,
                     struct api_reply *reply)
{
    struct err err;

    if (request_allow(request, NULL, 0, &err))
        write_set(reply, engine->scripts);
    else
        api_problem(reply, &err);
}
