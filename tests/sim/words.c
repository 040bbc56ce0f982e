/* SPDX-License-Identifier: MIT */
/* Backends that all have traffic, and what a node says of them: written as a node does. */
#include "words.h"

#include <stdlib.h>

#include "../../src/cluster/presence.h"
#include "weir/base/arena.h"
#include "weir/base/check.h"
#include "weir/cluster/cluster.h"

size_t words_bytes(uint32_t n_backends)
{
	struct str out = STR_INIT;
	struct arena *arena = arena_new();
	struct pool_registry registry = {.n_workers = 1};
	struct backend *backends = calloc(n_backends, sizeof(*backends));
	struct history *history = history_new();
	const struct presence who = {VIEW("edge-17"), VIEW("10.0.0.17:8404"), VIEW("1.0.0")};
	check(backends && history);
	history_push(history, &(struct history_row){.requests = 100, .in_flight = 1.5f});
	list_init(&registry.backends);
	for (uint32_t i = 0; i < n_backends; i++) {
		backends[i].history = history;
		backends[i].pool_name = VIEW("app");
		backends[i].address_text = view_str(
		    arena_printf(arena, "10.1.%u.%u:8000", 100 + i / 250 % 150, 100 + i % 150));
		list_push_back(&registry.backends, &backends[i].registry_link);
	}
	presence_pack(&out, &who, &registry, PRESENCE_MAX);
	size_t len = out.len;
	str_fini(&out);
	history_free(history);
	free(backends);
	arena_free(arena);
	return len;
}
