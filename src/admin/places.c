/* SPDX-License-Identifier: MIT */
/*
 * Who may be connected at the same time: places by kind of reader and address, so that nobody
 * holds all of them.
 */
#include "places.h"

#include <string.h>

void places_init(struct places *places)
{
	list_init(&places->all);
}

struct place place_of(const struct addr *peer, bool remote)
{
	struct place place = {.remote = remote, .address = addr_pack_client(peer)};
	list_init(&place.link);
	return place;
}

void places_take(struct places *places, struct place *place)
{
	list_init(&place->link);
	list_push_back(&places->all, &place->link);
}

void place_leave(struct place *place)
{
	list_del(&place->link);
}

void place_waits(struct place *place, enum conn_wait wait, uint64_t now_us)
{
	place->wait = wait;
	place->since_us = now_us;
}

static bool same_address(const struct place *a, const struct place *b)
{
	return memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

/* One of a kind of places: their number, and who leaves first. */
struct kind {
	unsigned n;
	struct place *first;
};

static void count(struct kind *kind, struct place *p)
{
	const struct place *first = kind->first;
	kind->n++;
	if (p->wait >= WAIT_ANSWER)
		return;
	if (!first || p->wait < first->wait ||
	    (p->wait == first->wait && p->since_us < first->since_us))
		kind->first = p;
}

/* True when there is a place of that kind; *leaver has to make room, if anybody has. */
static bool has_place(const struct kind *kind, unsigned most, struct place **leaver)
{
	if (kind->n < most)
		return true;
	*leaver = kind->first;
	return kind->first != NULL;
}

bool places_find(const struct places *places, struct place *newcomer, struct place **leaver)
{
	struct kind alike = {0}, address = {0}, probes = {0};
	list_each (it, &places->all) {
		struct place *p = list_entry(it, struct place, link);
		if (p->only_probes) {
			count(&probes, p);
			continue;
		}
		if (p->remote != newcomer->remote)
			continue;
		count(&alike, p);
		if (same_address(p, newcomer))
			count(&address, p);
	}
	*leaver = NULL;
	bool ok = newcomer->remote ? has_place(&address, ADDRESS_PLACES, leaver) : true;
	if (ok &&
	    (*leaver || has_place(&alike, newcomer->remote ? TCP_PLACES : UNIX_PLACES, leaver)))
		return true;
	newcomer->only_probes = true;
	return has_place(&probes, PROBE_PLACES, leaver);
}
