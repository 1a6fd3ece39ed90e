#include "cli/commands.h"

#include "run/loop.h"
#include "store/store.h"
#include "vm/vm.h"

#include <stdio.h>

static int version(const struct cli_args *args)
{
    const struct cli_program *program = args->program;

    if (args_has(args, "json")) {
        struct buf text = {0};
        struct json_out out;

        json_begin(&out, &text);
        json_object(&out, NULL);
        json_put_text(&out, "version", program->version);
        json_put_text(&out, "commit", program->commit);
        json_put_text(&out, "lua", vm_lua_version());
        json_put_text(&out, "libpq", store_library_version(STORE_POSTGRES));
        json_put_text(&out, "sqlite", store_library_version(STORE_SQLITE));
        json_put_text(&out, "libuv", loop_uv_version());
        json_put_text(&out, "http", program->http_library);
        json_end(&out, '}');
        puts(text.ptr);
        buf_done(&text);
        return CLI_DONE;
    }
    printf("perigee %s (%s)\n%s\nlibpq %s\nSQLite %s\nlibuv %s\n%s\n",
           program->version, program->commit, vm_lua_version(),
           store_library_version(STORE_POSTGRES),
           store_library_version(STORE_SQLITE), loop_uv_version(),
           program->http_library);
    return CLI_DONE;
}

const struct cli_command cli_version = {
    .name = "version",
    .usage = "",
    .summary = "Prints the version, and those of the libraries",
    .options = {OPTION_JSON},
    .run = version,
};
