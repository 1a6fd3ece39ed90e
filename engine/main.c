#include "app.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "http/server.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    char http_library[64];
    struct cli_program program = {
        .version = PERIGEE_VERSION,
        .commit = PERIGEE_COMMIT,
        .http_library = http_library,
        .serve = app_serve,
    };

    mem_setup();
    snprintf(http_library, sizeof(http_library), "civetweb %s",
             http_civetweb_version());
    return cli_main(argc, argv, &program);
}
