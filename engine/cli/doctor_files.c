#include "cli/doctor.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define GIBI (UINT64_C(1) << 30)

/* A settings file is some kilobytes; what is longer is not read to its end. */
#define SETTINGS_MAX_BYTES (1u << 20)

/* ---- SQLite's file, its folder, its disk ---- */

static void judge_mode(const char *path, const struct stat *about,
                       struct findings *findings)
{
    struct arena *arena = &findings->arena;

    if (access(path, R_OK | W_OK) != 0)
        finding_problem(findings, "permissions",
                        arena_printf(arena,
                                     "give it to the user that runs Perigee: "
                                     "chown %ju '%s'",
                                     (uintmax_t)geteuid(), path),
                        "%s may not be written: %s", path, strerror(errno));
    else if ((about->st_mode & S_IWOTH) != 0)
        finding_warning(findings, "permissions",
                        arena_printf(arena, "chmod o-w '%s'", path),
                        "everybody on this machine may change %s", path);
    else
        finding_ok(findings, "permissions", "%s: %s", path,
                   S_ISDIR(about->st_mode) ? "files can be made in it"
                                           : "can be written");
}

bool doctor_disk_is_low(uint64_t free_bytes, uint64_t total_bytes)
{
    return free_bytes < GIBI || free_bytes < total_bytes / 10;
}

static void judge_disk(const char *folder, struct findings *findings)
{
    struct statvfs disk;
    uint64_t free_bytes, total_bytes;

    if (statvfs(folder, &disk) != 0)
        return;
    free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    if (doctor_disk_is_low(free_bytes, total_bytes))
        finding_warning(findings, "disk",
                        "make room, or move the database: when the disk is "
                        "full nothing can be appended",
                        "%" PRIu64 " MB of %" PRIu64 " MB are free in %s",
                        free_bytes >> 20, total_bytes >> 20, folder);
    else
        finding_ok(findings, "disk",
                   "%" PRIu64 " MB of %" PRIu64 " MB are free in %s",
                   free_bytes >> 20, total_bytes >> 20, folder);
}

/* The folder a path is in, cut off behind its name. */
static const char *folder_of(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return ".";
    if (slash == path)
        return "/";
    return arena_str(arena, str_n(path, (size_t)(slash - path))).ptr;
}

/* The store makes folders that are missing, below one that is there. */
static void examine_folder(const char *folder, struct findings *findings)
{
    struct stat about;

    while (stat(folder, &about) != 0 && errno == ENOENT)
        folder = folder_of(&findings->arena, folder);
    if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode)) {
        finding_problem(findings, "permissions",
                        "name a file in another folder in database.url",
                        "%s is no folder for a database", folder);
        return;
    }
    judge_mode(folder, &about, findings);
    judge_disk(folder, findings);
}

static void examine_database_file(const char *path, struct findings *findings)
{
    struct stat about;

    if (stat(path, &about) == 0)
        judge_mode(path, &about, findings);
    examine_folder(folder_of(&findings->arena, path), findings);
}

/* ---- files with secrets ---- */

static bool is_open_to_others(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && (about.st_mode & S_IROTH) != 0;
}

static void warn_open(const char *path, const char *why,
                      struct findings *findings)
{
    finding_warning(findings, "permissions",
                    arena_printf(&findings->arena, "chmod o-r '%s'", path),
                    "everybody on this machine may read %s, %s", path, why);
}

static bool read_settings(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rbe");
    char chunk[4096];
    size_t got;

    if (file == NULL)
        return false;
    while (out->len < SETTINGS_MAX_BYTES &&
           (got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buf_add(out, chunk, got);
    fclose(file);
    return out->len > 0;
}

/* The text between the quotes that follow, behind nothing but `skipped`;
 * STR_NONE where something else stands, a call or a variable. */
static struct str quoted_behind(const char *at, const char *skipped)
{
    size_t len;

    at += strspn(at, skipped);
    if (*at != '"' && *at != '\'')
        return STR_NONE;
    len = strcspn(at + 1, "\"'\n");
    return str_n(at + 1, len);
}

static bool has_token(const char *text)
{
    for (const char *at = text; (at = strstr(at, "token")) != NULL; at++) {
        const char *behind = at + strlen("token");

        behind += strspn(behind, " \t]\"'");
        if (*behind == '=' && quoted_behind(behind + 1, " \t").len > 0)
            return true;
    }
    return false;
}

static bool has_password(const char *text, const char *url)
{
    struct buf masked = {0};
    bool is_masked;

    config_mask_url(str_of(url), &masked);
    is_masked = !str_eq(buf_as_str(&masked), str_of(url));
    buf_done(&masked);
    return is_masked && strstr(text, url) != NULL;
}

/* Each file that is named by its text: secret_file "/run/secrets/token". */
static void examine_secret_files(const char *text, struct findings *findings)
{
    static const char call[] = "secret_file";

    for (const char *at = text; (at = strstr(at, call)) != NULL; at++) {
        struct str name = quoted_behind(at + strlen(call), " \t\n(");
        const char *path = arena_str(&findings->arena, name).ptr;

        if (name.len > 0 && is_open_to_others(path))
            warn_open(path, "which holds a secret", findings);
    }
}

/* What stands in the settings file is found in its text: whoever reads the
 * file needs no more. */
static void examine_secrets(const struct config *config,
                            struct findings *findings)
{
    struct buf text = {0};

    if (config->file == NULL || !read_settings(config->file, &text)) {
        buf_done(&text);
        return;
    }
    if (is_open_to_others(config->file) &&
        (has_token(text.ptr) || has_password(text.ptr, config->database_url) ||
         has_password(text.ptr, config->database_direct_url)))
        warn_open(config->file,
                  "which holds a token or a password (better: secret_file or "
                  "env)",
                  findings);
    examine_secret_files(text.ptr, findings);
    buf_done(&text);
}

/* ---- public ---- */

void doctor_examine_files(const struct config *config,
                          struct findings *findings)
{
    const char *path = store_sqlite_path(config->database_url);

    if (path != NULL)
        examine_database_file(path, findings);
    examine_secrets(config, findings);
}
