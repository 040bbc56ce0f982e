/* SPDX-License-Identifier: MIT */
/* Looking up a name on a thread of its own, because getaddrinfo waits. */
#include "weir/fetch/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

struct resolve {
	struct mail mail;
	struct loop *loop;
	resolve_done *done;
	void *arg;
	char host[256];
	uint16_t port;
	struct addr addrs[RESOLVE_MAX]; /* the thread's until posted */
	size_t n;
	/* guards the rest: who is last frees it */
	pthread_mutex_t lock;
	bool cancelled, posted;
};

static void resolve_free(struct resolve *r)
{
	pthread_mutex_destroy(&r->lock);
	free(r);
}

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

static void look_up(struct resolve *r)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
	if (getaddrinfo(r->host, NULL, &hints, &found))
		return;
	for (const struct addrinfo *info = found; info && r->n < RESOLVE_MAX; info = info->ai_next)
		take(r, info);
	freeaddrinfo(found);
}

static void *resolve_main(void *arg)
{
	struct resolve *r = arg;
	look_up(r);
	pthread_mutex_lock(&r->lock);
	bool cancelled = r->cancelled;
	r->posted = !cancelled;
	if (!cancelled) /* under the lock: the loop is there until resolve_cancel returns */
		loop_post(r->loop, &r->mail);
	pthread_mutex_unlock(&r->lock);
	if (cancelled)
		resolve_free(r);
	return NULL;
}

static void on_mail(struct loop *loop, struct mail *mail)
{
	struct resolve *r = container_of(mail, struct resolve, mail);
	(void)loop;
	pthread_mutex_lock(&r->lock); /* the thread has let go of it */
	bool cancelled = r->cancelled;
	pthread_mutex_unlock(&r->lock);
	if (!cancelled)
		r->done(r->arg, r->addrs, r->n);
	resolve_free(r);
}

struct resolve *resolve_begin(struct loop *loop, struct view host, uint16_t port,
			      resolve_done *done, void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));
	pthread_attr_t attr;
	pthread_t thread;
	check(r != NULL && host.len < sizeof(r->host));
	r->mail.fn = on_mail;
	r->loop = loop;
	r->done = done;
	r->arg = arg;
	r->port = port;
	memcpy(r->host, host.ptr, host.len);
	pthread_mutex_init(&r->lock, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int failed = pthread_create(&thread, &attr, resolve_main, r);
	pthread_attr_destroy(&attr);
	if (!failed)
		return r;
	resolve_free(r);
	return NULL;
}

void resolve_cancel(struct resolve *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->cancelled = true;
	pthread_mutex_unlock(&r->lock);
}
