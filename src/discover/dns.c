/* SPDX-License-Identifier: MIT */
/*
 * Names in the DNS: A and AAAA of a name, or of each target of its SRV records.
 *
 *   ask --> (SRV -->) A, AAAA of every part --> all are here --> conclude --> again by TTL
 *
 * What the answers mean is in dns_names.c.
 */
#ifdef WEIR_DNS
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>

#include "dns_names.h"
#include "dns_resolver.h"

#include "weir/base/check.h"

/* Questions of one source at a time: a service may have thousands of targets, and forwarders
 * drop what is too much at once (150 for dnsmasq). */
#define OPEN_MAX 128

/* ---- what is asked ---- */

/* Outlives the source that asked: c-ares calls back in any case. */
struct question {
	struct names *names; /* NULL: nobody waits any more */
	struct question *next;
	size_t part;
	unsigned family; /* index into results */
};

static void ask_more(struct names *n);

static struct question *question_new(struct names *n, size_t part, unsigned family)
{
	struct question *q = calloc(1, sizeof(*q));
	check(q != NULL);
	*q = (struct question){.names = n, .next = n->open, .part = part, .family = family};
	n->open = q;
	n->n_open++;
	return q;
}

/* Its answer is here; the names that wait for it, or NULL. */
static struct names *question_over(struct question *q)
{
	struct names *n = q->names;
	if (!n)
		return NULL;
	n->n_open--;
	for (struct question **at = &n->open; *at; at = &(*at)->next)
		if (*at == q) {
			*at = q->next;
			break;
		}
	return n;
}

static enum dns_result result_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return DNS_FOUND;
	case ARES_ENODATA:
		return DNS_EMPTY;
	case ARES_ENOTFOUND:
		return DNS_NONE;
	default:
		return DNS_FAILED;
	}
}

static void note(struct names *n, const char *host, int status)
{
	struct str text = str_fixed(n->why, sizeof(n->why));
	/* what c-ares calls so is also a server that says it cannot or will not answer */
	str_printf(&text, "%.60s: %s", host,
		   status == ARES_ECONNREFUSED
		       ? "no DNS server has an answer (SERVFAIL, REFUSED, or not there)"
		       : ares_strerror(status));
}

/* ---- addresses ---- */

static void take_address(struct names *n, const struct part *part, const struct sockaddr *sa,
			 socklen_t len)
{
	struct addr addr = {.len = len};
	if (len > sizeof(addr.in6))
		return;
	memcpy(&addr.sa, sa, len);
	if (sa->sa_family == AF_INET6)
		addr.in6.sin6_port = htons(part->port);
	else
		addr.in4.sin_port = htons(part->port);
	if (addr_unreachable(&addr))
		return;
	struct found *row = names_row(n);
	*row = (struct found){.backend = *n->source->conf->entry, .cause = part->cause};
	row->backend.weight = part->weight;
	row->backend.priority = part->priority;
	row->backend.srv = VIEW_NONE;
	found_set_address(row, &addr, n->arena);
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *q = arg;
	struct names *n = question_over(q);
	(void)timeouts;
	if (n) {
		struct part *part = &n->parts[q->part];
		part->results[q->family] = result_of(status);
		if (part->results[q->family] != DNS_FOUND)
			note(n, part->host, status);
		for (struct ares_addrinfo_node *it = info ? info->nodes : NULL; it;
		     it = it->ai_next) {
			n->ttl_s =
			    (uint32_t)it->ai_ttl < n->ttl_s ? (uint32_t)it->ai_ttl : n->ttl_s;
			take_address(n, part, it->ai_addr, it->ai_addrlen);
		}
		n->ends |= status == ARES_EDESTRUCTION;
		ask_more(n);
	}
	ares_freeaddrinfo(info);
	free(q);
}

static void ask_address(struct names *n, size_t i)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct part *part = &n->parts[i / 2];
	struct ares_addrinfo_hints hints = {.ai_family = families[i % 2],
					    .ai_socktype = SOCK_STREAM};
	if (n->ends)
		part->results[i % 2] = DNS_FAILED;
	else
		ares_getaddrinfo(n->source->discover->dns->channel, part->host, NULL, &hints,
				 on_addresses, question_new(n, i / 2, i % 2));
}

/* As many as may be open; once all are answered, which may be at once, that is the end. */
static void ask_more(struct names *n)
{
	if (n->asking)
		return;
	n->asking = true;
	while (n->n_asked < 2 * n->n_parts && n->n_open < OPEN_MAX)
		ask_address(n, n->n_asked++);
	n->asking = false;
	if (!n->n_open)
		names_conclude(n);
}

/* ---- services ---- */

static int by_priority(const void *a, const void *b)
{
	const struct srv_record *x = a, *y = b;
	return x->priority < y->priority ? -1 : x->priority > y->priority;
}

/* Priorities by their order: a pool has 256 of them.  A weight of 0 is a small one (RFC 2782). */
static void take_records(struct names *n, struct srv_record *records, size_t count)
{
	const struct conf_backend *entry = n->source->conf->entry;
	unsigned rank = entry->priority;
	qsort(records, count, sizeof(*records), by_priority);
	n->parts = arena_array(n->arena, count, sizeof(*n->parts));
	n->n_parts = 0;
	for (size_t i = 0; i < count; i++) {
		const struct srv_record *r = &records[i];
		rank += i && r->priority != records[i - 1].priority;
		n->crowded |= rank > UINT8_MAX;
		if (!r->target[0] || !r->port)
			continue;
		struct part *part = &n->parts[n->n_parts++];
		*part = (struct part){.port = r->port,
				      .weight = r->weight ? r->weight : 1,
				      .priority = (uint8_t)(rank < UINT8_MAX ? rank : UINT8_MAX)};
		memcpy(part->host, r->target, sizeof(part->host));
		part->cause = view_str(arena_printf(n->arena, "SRV %s:%u", r->target, r->port));
	}
}

static void on_records(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct question *q = arg;
	struct names *n = question_over(q);
	struct srv_record *records = NULL;
	int count = 0;
	(void)timeouts;
	free(q);
	if (!n)
		return;
	enum dns_result result = result_of(status);
	if (result == DNS_FOUND) {
		records = arena_array(n->arena, srv_most(bytes, (size_t)len) + 1, sizeof(*records));
		count = srv_parse(bytes, (size_t)len, records, &n->ttl_s);
		result = count < 0 ? DNS_FAILED : count ? DNS_FOUND : DNS_EMPTY;
		status = count < 0 ? ARES_EBADRESP : ARES_ENODATA;
	}
	if (result == DNS_FOUND)
		take_records(n, records, (size_t)count);
	if (result == DNS_FOUND && n->n_parts) {
		ask_more(n);
		return;
	}
	if (result == DNS_FOUND) /* "." says that there is no such service */
		result = DNS_NONE;
	note(n, n->source->conf->text.ptr, status);
	n->parts = arena_zalloc(n->arena, sizeof(*n->parts));
	n->n_parts = 1;
	n->parts[0].results[0] = n->parts[0].results[1] = result;
	names_conclude(n);
}

/* ---- the source ---- */

/* "app.internal:8000" */
static void one_part(struct names *n)
{
	const struct conf_backend *entry = n->source->conf->entry;
	struct view text = entry->address_text;
	size_t colon = text.len;
	while (colon && text.ptr[colon - 1] != ':')
		colon--;
	struct part *part = arena_zalloc(n->arena, sizeof(*part));
	part->port = (uint16_t)atoi(text.ptr + colon);
	part->weight = entry->weight;
	part->priority = entry->priority;
	part->cause = VIEW("DNS");
	size_t len = colon - 1 < sizeof(part->host) - 1 ? colon - 1 : sizeof(part->host) - 1;
	memcpy(part->host, text.ptr, len);
	n->parts = part;
	n->n_parts = 1;
}

/* A new resolver cannot replace the one that others wait for. */
static bool need_resolver(struct discover *d)
{
	if (d->dns && dns_is_stale(d->dns)) {
		dns_free(d->dns);
		d->dns = NULL;
	}
	if (!d->dns)
		d->dns = dns_new(d);
	return d->dns != NULL;
}

static void ask(struct source *s)
{
	struct names *n = s->state;
	if (n->open) /* it is under way */
		return;
	if (!need_resolver(s->discover)) {
		source_fail(s, "no resolver can be made");
		return;
	}
	if (n->arena)
		arena_free(n->arena);
	n->arena = arena_new();
	n->rows = NULL;
	n->n_rows = n->cap = n->n_parts = n->n_asked = 0;
	n->ends = n->crowded = false;
	n->ttl_s = UINT32_MAX;
	if (s->conf->entry->srv.ptr) {
		struct question *q = question_new(n, 0, 0);
		ares_query(s->discover->dns->channel, s->conf->entry->srv.ptr, ns_c_in, ns_t_srv,
			   on_records, q);
	} else {
		one_part(n);
		ask_more(n);
	}
	if (s->discover->dns)
		dns_schedule(s->discover->dns);
}

static void dns_start(struct source *s)
{
	struct names *n = calloc(1, sizeof(*n));
	check(n != NULL);
	n->source = s;
	s->state = n;
	ask(s);
}

static void dns_stop(struct source *s)
{
	struct names *n = s->state;
	for (struct question *q = n->open; q; q = q->next)
		q->names = NULL;
	if (n->arena)
		arena_free(n->arena);
	free(n);
	s->state = NULL;
}

const struct source_kind source_dns = {
    .keyword = "dns",
    .start = dns_start,
    .stop = dns_stop,
    .ask = ask,
};
#else
#include "source.h"

/* The configuration refuses names where there is no resolver. */
static void nothing(struct source *s)
{
	(void)s;
}

const struct source_kind source_dns = {
    .keyword = "dns",
    .start = nothing,
    .stop = nothing,
    .ask = nothing,
};
#endif
