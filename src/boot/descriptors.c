/* SPDX-License-Identifier: MIT */
/* Whether the process may open what the configuration allows. */
#include <sys/resource.h>

#include "control.h"

/* So many clients at once surprise nobody. */
#define FEW 4096
/* The default of limits.connections, written or not: it is high enough for anybody. */
#define DEFAULT 50000

/* One in eight, up to a thousand, is kept for connections to backends: clients alone must
 * not use them up. */
uint32_t descriptors_for_clients(uint32_t n)
{
	return n - (n / 8 < 1024 ? n / 8 : 1024);
}

/* Standard streams, the loops of the control and the health thread, the sockets of status, logs. */
#define OWN 12
/* Its loop, and what tells of clients that hang up. */
#define OF_WORKER 3
/* One client, and its backend. */
#define OF_EXCHANGE 2

/* The hard limit: the soft one is raised to it at start. */
static uint64_t may_open(void)
{
	struct rlimit fds;
	if (getrlimit(RLIMIT_NOFILE, &fds) || fds.rlim_max > UINT32_MAX)
		return UINT32_MAX;
	return fds.rlim_max;
}

/* What listeners may take; `unlimited`: one of them any number, which counts as the default.
 * The default itself counts where few clients are possible at all. */
static uint64_t clients_of(const struct conf *conf, bool few, bool *unlimited)
{
	uint64_t n = 0;
	*unlimited = false;
	for (size_t i = 0; i < conf->n_listeners; i++) {
		uint32_t most = conf->listeners[i].limits.connections;
		*unlimited |= !most;
		if (few || most != DEFAULT)
			n += most ? most : DEFAULT;
	}
	return n;
}

/* Unix sockets are one for all workers. */
static uint64_t listening(const struct conf *conf)
{
	uint64_t n = 0;
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t k = 0; k < conf->listeners[i].n_binds; k++)
			n += addr_is_unix(&conf->listeners[i].binds[k]) ? 1 : conf->workers;
	return n;
}

bool descriptors_serve(const struct conf *conf, struct str *why)
{
	uint64_t most = may_open();
	uint64_t least = OWN + OF_WORKER * conf->workers + listening(conf) + OF_EXCHANGE;
	if (most >= least)
		return true;
	str_printf(why,
		   "the process may open %llu descriptors, but these workers and listeners need "
		   "%llu at least: raise LimitNOFILE or ulimit -n",
		   (unsigned long long)most, (unsigned long long)least);
	return false;
}

bool descriptors_suffice(const struct conf *conf, struct str *why)
{
	uint64_t most = may_open();
	uint32_t room = descriptors_for_clients((uint32_t)most);
	bool unlimited;
	uint64_t clients = clients_of(conf, room < FEW, &unlimited);
	if (clients <= room)
		return true;
	if (unlimited)
		str_text(why, "limits.connections: 0 allows any number of clients");
	else
		str_printf(why, "limits.connections of the listeners allow %llu clients",
			   (unsigned long long)clients);
	str_printf(why,
		   ", but the process may open %llu descriptors: beyond about %u clients idle "
		   "ones are closed to make room (raise LimitNOFILE or ulimit -n, or %s "
		   "limits.connections)",
		   (unsigned long long)most, room, unlimited ? "set" : "lower");
	return false;
}
