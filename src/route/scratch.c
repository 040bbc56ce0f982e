/* SPDX-License-Identifier: MIT */
/* What one worker needs to look routes up: room for texts in their normal form, and to match. */
#include <stdlib.h>

#include "table.h"

#define ROOM_FIRST 8192

struct route_scratch *route_scratch_new(void)
{
	struct route_scratch *scratch = calloc(1, sizeof(*scratch));
	if (!scratch)
		return NULL;
	if (!regex_scratch_init(&scratch->regex) || !scratch_room(scratch, ROOM_FIRST)) {
		route_scratch_free(scratch);
		return NULL;
	}
	return scratch;
}

void route_scratch_free(struct route_scratch *scratch)
{
	if (!scratch)
		return;
	regex_scratch_fini(&scratch->regex);
	free(scratch->room);
	free(scratch->value);
	free(scratch);
}

static char *grow_room(char **room, size_t *have, size_t size)
{
	if (size <= *have)
		return *room;
	char *more = realloc(*room, size);
	if (!more)
		return NULL;
	*room = more;
	*have = size;
	return more;
}

char *scratch_room(struct route_scratch *scratch, size_t size)
{
	return grow_room(&scratch->room, &scratch->room_size, size);
}

char *scratch_value(struct route_scratch *scratch, size_t size)
{
	return grow_room(&scratch->value, &scratch->value_size, size ? size : 1);
}
