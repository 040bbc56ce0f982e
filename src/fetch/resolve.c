/* SPDX-License-Identifier: MIT */
/* Looking up a name on a thread of its own, because getaddrinfo waits. */
#include "weir/fetch/resolve.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/loop/work.h"

struct resolve {
	struct work *work;
	resolve_done *done;
	void *arg;
	char host[256];
	uint16_t port;
	struct addr addrs[RESOLVE_MAX];
	size_t n;
};

static void take(struct resolve *r, const struct addrinfo *info)
{
	struct addr *addr = &r->addrs[r->n];
	if (info->ai_addrlen > sizeof(addr->in6))
		return;
	memcpy(&addr->sa, info->ai_addr, info->ai_addrlen);
	addr->len = info->ai_addrlen;
	if (info->ai_family == AF_INET)
		addr->in4.sin_port = htons(r->port);
	else if (info->ai_family == AF_INET6)
		addr->in6.sin6_port = htons(r->port);
	r->n++;
}

static void look_up(void *arg)
{
	struct resolve *r = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
	if (getaddrinfo(r->host, NULL, &hints, &found))
		return;
	for (const struct addrinfo *info = found; info && r->n < RESOLVE_MAX; info = info->ai_next)
		take(r, info);
	freeaddrinfo(found);
}

static void looked_up(void *arg)
{
	struct resolve *r = arg;
	r->done(r->arg, r->addrs, r->n);
	free(r);
}

struct resolve *resolve_begin(struct loop *loop, struct view host, uint16_t port,
			      resolve_done *done, void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));
	check(r != NULL && host.len < sizeof(r->host));
	r->done = done;
	r->arg = arg;
	r->port = port;
	memcpy(r->host, host.ptr, host.len);
	r->work = work_begin(
	    loop, &(struct work_job){.run = look_up, .done = looked_up, .drop = free, .arg = r});
	if (r->work)
		return r;
	free(r);
	return NULL;
}

void resolve_cancel(struct resolve *r)
{
	if (r)
		work_cancel(r->work);
}
