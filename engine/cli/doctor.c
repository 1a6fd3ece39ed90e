/*
 * What is wrong here, and what to change: settings, files, scripts, the
 * database and the way to it.  Everything is looked at, whatever is found
 * before, and nothing is changed: it may be asked beside running engines.
 */
#include "cli/doctor.h"

#include "api/access.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/setup.h"
#include "config_rules.h"

#include <stdio.h>

/* ---- settings ---- */

static void report_faults(const struct buf *faults, struct findings *findings)
{
    struct str rest = buf_as_str(faults);

    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');

        finding_problem(findings, "configuration",
                        "see `perigee help settings`", "%.*s", STR_ARG(line));
    }
}

static void examine_settings(const struct cli_args *args, struct config *config,
                             struct findings *findings)
{
    struct buf faults = {0};
    struct err ignored = {0};

    if (config_load(config, args_value(args, "config"), NULL, 0, &faults,
                    &ignored))
        finding_ok(findings, "configuration", "%s and the environment",
                   config->file != NULL ? config->file : "defaults");
    else
        report_faults(&faults, findings);
    buf_done(&faults);
}

/* ---- who may reach it ---- */

static void examine_listening(const struct config *config,
                              struct findings *findings)
{
    const struct access *access = config->http_tokens;
    const char *listen = config->http_listen;

    if (access != NULL)
        finding_ok(findings, "http", "%s, %zu token%s", listen, access->count,
                   access->count == 1 ? "" : "s");
    else if (config_is_loopback(listen))
        finding_ok(findings, "http",
                   "%s, without tokens: for this machine alone", listen);
    else
        finding_warning(findings, "http",
                        "set http.tokens, unless everybody who reaches this "
                        "address is meant",
                        "%s, without tokens: who reaches it may do everything",
                        listen);
}

static void examine_probes(const struct config *config,
                           struct findings *findings)
{
    if (config->http_probe_listen[0] != '\0')
        finding_ok(findings, "probes", "%s", config->http_probe_listen);
    else if (config_is_loopback(config->http_listen))
        finding_ok(findings, "probes", "with everything else on %s",
                   config->http_listen);
    else
        finding_warning(findings, "probes",
                        "set http.probe_listen, for instance 0.0.0.0:8001",
                        "they share %s with clients, who can keep every "
                        "thread busy while an orchestrator waits",
                        config->http_listen);
}

/* ---- scripts ---- */

static void examine_scripts(const struct config *config,
                            struct findings *findings)
{
    struct script_set_options options;
    struct script_set *set;

    setup_script_options(config, &options);
    set = script_set_load(&options);
    for (size_t i = 0; i < set->fault_count; i++)
        finding_problem(findings, "scripts", "mend it; `perigee check` tells",
                        "%s", set->faults[i].text);
    if (set->fault_count == 0)
        finding_ok(findings, "scripts", "%zu of aggregates, %zu of projections",
                   set->aggregate_count, set->projection_count);
    script_set_unref(set);
}

/* ---- telling ---- */

static void print_settings(const struct config *config)
{
    struct buf text = {0};

    config_print(config, &text);
    print_line(buf_as_str(&text));
    buf_done(&text);
}

/* A record of its own before the findings: names and values as texts. */
static void print_settings_json(const struct config *config)
{
    struct buf text = {0}, line = {0};
    struct json_out out;

    config_print(config, &text);
    json_begin(&out, &line);
    json_object(&out, NULL);
    json_object(&out, "settings");
    for (struct str rest = buf_as_str(&text); rest.len > 0;) {
        struct str value = str_cut(&rest, '\n');
        struct str name = str_cut(&value, ' ');

        str_cut(&value, ' '); /* "=" */
        json_key(&out, name);
        json_put_str(&out, NULL, str_is_none(value) ? STR("") : value);
    }
    json_end(&out, '}');
    json_end(&out, '}');
    print_line(buf_as_str(&line));
    buf_done(&line);
    buf_done(&text);
}

static void tell(const struct cli_args *args, const struct config *config,
                 const struct findings *findings)
{
    if (args_has(args, "json")) {
        print_settings_json(config);
        findings_print_json(findings);
    } else {
        print_settings(config);
        findings_print(findings);
    }
}

static int doctor(const struct cli_args *args)
{
    struct findings findings = {0};
    struct config config;
    size_t problems;

    setup_command_log();
    examine_settings(args, &config, &findings);
    doctor_examine_files(&config, &findings);
    examine_scripts(&config, &findings);
    examine_listening(&config, &findings);
    examine_probes(&config, &findings);
    doctor_examine_stores(&config, &findings);
    tell(args, &config, &findings);
    problems = findings_count(&findings, FINDING_PROBLEM);
    findings_done(&findings);
    config_done(&config);
    return problems == 0 ? CLI_DONE : CLI_FAILED;
}

const struct cli_command cli_doctor = {
    .name = "doctor",
    .usage = "",
    .summary = "Looks for what is wrong, and says what to change",
    .help = "The settings that hold, secrets masked; then each thing that was "
            "looked at: ok,\na warning, or a problem, and what to change.  "
            "Changes nothing itself and may run\nbeside an engine.  Exit "
            "status 1 when there is a problem.\n",
    .options = {OPTION_JSON},
    .run = doctor,
};
