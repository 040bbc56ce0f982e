/* SPDX-License-Identifier: MIT */
/* Whether the process may open what the configuration allows. */
#include <sys/resource.h>

#include "control.h"

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

static uint64_t clients_of(const struct conf *conf)
{
	uint64_t n = 0;
	for (size_t i = 0; i < conf->n_listeners; i++)
		n += conf->listeners[i].limits.connections;
	return n;
}

bool descriptors_suffice(const struct conf *conf, struct str *why)
{
	uint64_t most = may_open(), clients = clients_of(conf);
	uint32_t room = descriptors_for_clients((uint32_t)most);
	if (clients <= room)
		return true;
	str_printf(why,
		   "limits.connections of the listeners allow %llu clients, but the process may "
		   "open %llu descriptors: beyond about %u clients idle ones are closed to make "
		   "room (raise LimitNOFILE or ulimit -n, or lower limits.connections)",
		   (unsigned long long)clients, (unsigned long long)most, room);
	return false;
}
