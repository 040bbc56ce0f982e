/* SPDX-License-Identifier: MIT */
/*
 * Who may have a connection to the status port.  It can face anybody, so no number of
 * connections that nobody uses keeps out those who want to know:
 *
 *   - the unix socket has places of its own, status.bind has others, and of these one
 *     address (a /64 of IPv6) has at most half;
 *   - where all are taken, the one that has been idle longest leaves for a newcomer, then
 *     who has not finished a head, or a body.  Who is being answered stays;
 *   - when even so there is none, a few places are left in which only the probes are
 *     answered: /livez, /readyz, /metrics.  There nobody waits for a turn, and
 *     who has asked does not leave before the answer.
 *
 * Without sockets.
 */
#ifndef WEIR_ADMIN_PLACES_H
#define WEIR_ADMIN_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/list.h"

#define UNIX_PLACES 32
#define TCP_PLACES 224
#define ADDRESS_PLACES 112
#define PROBE_PLACES 16

/* What a connection waits for, in the order in which it has to leave. */
enum conn_wait {
	WAIT_LINGER,
	WAIT_IDLE,
	WAIT_HEAD,
	WAIT_BODY,
	WAIT_ANSWER, /* from here on it stays */
	WAIT_SEND,
	WAIT_STREAM,
};

struct place {
	struct list link; /* struct places */
	struct addr_packed address;
	bool remote;      /* came over status.bind */
	bool only_probes; /* in one of PROBE_PLACES */
	enum conn_wait wait;
	uint64_t since_us; /* it waits for that */
};

struct places {
	struct list all; /* struct place */
};

void places_init(struct places *places);
/* Who wants one. */
struct place place_of(const struct addr *peer, bool remote);
/*
 * Whether there is a place, and of which kind (only_probes); *leaver: who has to be closed
 * first, or NULL.
 */
bool places_find(const struct places *places, struct place *newcomer, struct place **leaver);
void places_take(struct places *places, struct place *place);
void place_leave(struct place *place);
void place_waits(struct place *place, enum conn_wait wait, uint64_t now_us);

#endif
