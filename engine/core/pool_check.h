#pragma once
/*
 * What an engine says about its pool when it starts: how large it is and why,
 * and whether the pools of all engines together fit the server.  Nothing here
 * keeps an engine from starting: the server itself says no when it is full.
 */
#include "store/pool_size.h"
#include "store/store.h"

/* Connections that all engines together may open on the server; 0: as many as
 * they like, because there is none, or a pooler is between. */
uint32_t pool_check_room(const struct server_limits *limits);
/* Writes to the log, and asks the store for the limits of its server. */
void pool_check(struct store *store, const struct pool_plan *plan);
