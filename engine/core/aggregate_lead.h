#pragma once
/*
 * Commands on one aggregate, decided together.
 *
 * Commands that wait for the same aggregate are taken by one of them, the
 * leader, in order of arrival.  Each is decided on the state that those before
 * it have left; then what they emitted is appended at once, each with the
 * version that it was decided on, and none behind one that fails.  So a hot
 * aggregate costs one commit for all that wait, not one a command.
 *
 * An answer that rests on a neighbour's events is given when they are stored.
 * If they are not, the state is dropped, and those behind are decided anew.
 */
#include "core/aggregate_fold.h"

/* A command's events, its answer, or its error, go to the memory of whoever
 * asked, who sleeps meanwhile. */
struct job {
    struct turn turn;
    const struct command_request *request;
    struct arena *arena;
    struct command_result *out;
    struct err *err;
    bool ok; /* once it is done */
    /* --- the leader, while it is decided --- */
    enum {
        JOB_AGAIN,   /* not decided, or not to be believed */
        JOB_EVENTS,  /* decided; its events are to be stored */
        JOB_NOTHING, /* accepted, and nothing to store */
        JOB_REFUSED, /* by the state as it was */
        JOB_FAILED,  /* by what no other state would change */
        JOB_DONE,
    } stage;
    unsigned attempts;
};

/* Leads until `own`, whose turn it is, is done, and releases the entry. */
void lead_commands(const struct fold *fold, struct aggregate_entry *entry,
                   struct job *own);
