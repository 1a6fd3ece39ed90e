#include "api/handlers.h"
#include "api/reply.h"
#include "api/request.h"

/* Asking twice is not a second signal: the first shutdown goes on. */
static bool ask(struct engine *engine, struct err *err)
{
    if (engine->on_shutdown_asked == NULL)
        return err_set(err, ERR_CONFLICT,
                       "nothing is served here that could be shut down");
    if (__atomic_exchange_n(&engine->shutdown_asked, 1, __ATOMIC_ACQ_REL) == 0)
        engine->on_shutdown_asked(engine->on_shutdown_arg);
    return true;
}

void api_shutdown(struct engine *engine, struct api_request *request,
                  struct api_reply *reply)
{
    struct json_out out;
    struct err err;

    if (!request_allow(request, NULL, 0, &err) || !ask(engine, &err)) {
        api_problem(reply, &err);
        return;
    }
    reply_json(reply, 202, &out);
    json_object(&out, NULL);
    json_put_text(&out, "requested", "shutdown");
    json_put_text(&out, "reason", "programmatic");
    json_end(&out, '}');
}
