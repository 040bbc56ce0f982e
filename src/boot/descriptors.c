/* SPDX-License-Identifier: MIT */
/* Whether the process may open what the configuration allows. */
#include <sys/resource.h>

#include "control.h"

/* So many clients at once surprise nobody. */
#define FEW 4096

/* One in eight, up to a thousand, is kept for connections to backends: clients alone must
 * not use them up. */
uint32_t descriptors_for_clients(uint32_t n)
{
	return n - (n / 8 < 1024 ? n / 8 : 1024);
}

/* The hard limit: the soft one is raised to it at start. */
static uint64_t may_open(void)
{
	struct rlimit fds;
	if (getrlimit(RLIMIT_NOFILE, &fds) || fds.rlim_max > UINT32_MAX)
		return UINT32_MAX;
	return fds.rlim_max;
}

/*
 * What listeners may take.  The limit of those that do not write it is high enough
 * for anybody: it counts where few clients are possible at all.
 */
static uint64_t clients_of(const struct conf *conf, bool few)
{
	uint64_t n = 0;
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (few || conf->listeners[i].limits.connections_set)
			n += conf->listeners[i].limits.connections;
	return n;
}

bool descriptors_suffice(const struct conf *conf, struct str *why)
{
	uint64_t most = may_open();
	uint32_t room = descriptors_for_clients((uint32_t)most);
	uint64_t clients = clients_of(conf, room < FEW);
	if (clients <= room)
		return true;
	str_printf(why,
		   "limits.connections of the listeners allow %llu clients, but the process may "
		   "open %llu descriptors: beyond about %u clients idle ones are closed to make "
		   "room (raise LimitNOFILE or ulimit -n, or lower limits.connections)",
		   (unsigned long long)clients, (unsigned long long)most, room);
	return false;
}
