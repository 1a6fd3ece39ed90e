#include "cli/token.h"

#include "api/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static bool read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "re");
    char bytes[ACCESS_TOKEN_MAX + 2];
    size_t got;

    if (file == NULL)
        return err_set(err, ERR_USAGE, "--token-file %s: %s", path,
                       strerror(errno));
    setvbuf(file, NULL, _IONBF, 0);
    got = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    while (got > 0 && (bytes[got - 1] == '\n' || bytes[got - 1] == '\r'))
        got--;
    buf_add(out, bytes, got);
    return true;
}

bool token_find(const struct cli_args *args, struct buf *out, struct err *err)
{
    const char *path = args_value(args, "token-file");
    const char *text = getenv("PERIGEE_TOKEN");

    if (path != NULL && !read_file(path, out, err))
        return false;
    if (path == NULL && text != NULL)
        buf_text(out, text);
    if ((path == NULL && out->len == 0) || access_is_token(buf_as_str(out)))
        return true;
    return err_set(err, ERR_USAGE,
                   "%s: a token has %d to %d visible characters of ASCII",
                   path != NULL ? path : "PERIGEE_TOKEN", ACCESS_TOKEN_MIN,
                   ACCESS_TOKEN_MAX);
}
