/* SPDX-License-Identifier: MIT */
/* Looking up a name on a thread of its own, because getaddrinfo waits. */
#include "resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

struct resolve {
	struct mail mail;
	struct loop *loop;
	void (*done)(void *arg, const struct addr *addr);
	void *arg;
	char host[256];
	uint16_t port;
	struct addr addr; /* the thread's until posted; len 0: none */
	/* guards the rest: who is last frees it */
	pthread_mutex_t lock;
	bool cancelled, posted;
};

static void resolve_free(struct resolve *r)
{
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void look_up(struct resolve *r)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found;
	if (getaddrinfo(r->host, NULL, &hints, &found))
		return;
	const struct addrinfo *first = found;
	if (first->ai_addrlen <= sizeof(r->addr.in6)) {
		memcpy(&r->addr.sa, first->ai_addr, first->ai_addrlen);
		r->addr.len = first->ai_addrlen;
	}
	if (first->ai_family == AF_INET)
		r->addr.in4.sin_port = htons(r->port);
	else if (first->ai_family == AF_INET6)
		r->addr.in6.sin6_port = htons(r->port);
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
		r->done(r->arg, r->addr.len ? &r->addr : NULL);
	resolve_free(r);
}

struct resolve *resolve_begin(struct loop *loop, struct view host, uint16_t port,
			      void (*done)(void *arg, const struct addr *addr), void *arg)
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
