/* SPDX-License-Identifier: MIT */
/*
 * What the answers about the names of a source mean:
 *
 *   addresses      members; of a family that has none beside one that has some: none
 *   empty          nothing changes, and it is said: a zone half loaded looks like that
 *   SERVFAIL, ...  nothing changes, and it is said
 *   NXDOMAIN       members go when it has been the answer for dns.gone
 */
#ifdef WEIR_DNS
#include "dns_names.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/clock.h"

/* How often is asked while a name does not exist. */
#define GONE_LOOK_US UINT64_C(5000000)

struct found *names_row(struct names *n)
{
	if (n->n_rows == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 16;
		struct found *rows = arena_array(n->arena, cap, sizeof(*rows));
		if (n->n_rows)
			memcpy(rows, n->rows, n->n_rows * sizeof(*rows));
		n->rows = rows;
		n->cap = cap;
	}
	return &n->rows[n->n_rows++];
}

static bool is_of(const struct member *m, const struct part *part, unsigned family)
{
	bool v6 = m->backend.address.sa.sa_family == AF_INET6;
	return view_eq(m->cause, part->cause) && v6 == (family == 1);
}

/* The members that this question had the last time stay. */
static void carry_over(struct names *n, const struct part *part, unsigned family)
{
	const struct source *s = n->source;
	for (size_t i = 0; i < s->n_members; i++) {
		const struct member *m = s->members[i];
		if (!is_of(m, part, family) || m->backend.member == CONF_MEMBER_GONE)
			continue;
		struct found *row = names_row(n);
		row->backend = m->backend;
		row->cause = part->cause;
		row->backend.name = arena_view(n->arena, m->backend.name);
		row->backend.address_text = arena_view(n->arena, m->backend.address_text);
	}
}

/* What its two answers are together; one that failed beside a good one keeps what it had. */
static enum dns_result judge(struct names *n, const struct part *part)
{
	const enum dns_result *r = part->results;
	bool found = r[0] == DNS_FOUND || r[1] == DNS_FOUND;
	bool failed = r[0] == DNS_FAILED || r[1] == DNS_FAILED;
	for (unsigned f = 0; f < 2; f++)
		if (r[f] == DNS_FAILED || (!found && r[f] == DNS_EMPTY))
			carry_over(n, part, f);
	if (found)
		return DNS_FOUND;
	if (failed)
		return DNS_FAILED;
	return r[0] == DNS_NONE || r[1] == DNS_NONE ? DNS_NONE : DNS_EMPTY;
}

static bool is_v6(const struct found *row)
{
	return row->backend.address.sa.sa_family == AF_INET6;
}

/* Nobody here could connect to it, as where there is no IPv6.  Nothing is sent. */
static bool has_way(const struct found *row)
{
	const struct addr *addr = &row->backend.address;
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && connect(fd, &addr->sa, addr->len) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Beside IPv4, IPv6 counts only where there is a way to it. */
static void drop_unreachable(struct names *n)
{
	size_t kept = 0, n_v6 = 0;
	for (size_t i = 0; i < n->n_rows; i++)
		n_v6 += is_v6(&n->rows[i]);
	if (n_v6 == n->n_rows)
		return;
	for (size_t i = 0; i < n->n_rows; i++)
		if (!is_v6(&n->rows[i]) || has_way(&n->rows[i]))
			n->rows[kept++] = n->rows[i];
	n->n_rows = kept;
}

/*
 * Servers answer in another order each time.  Of two rows of one address the first counts, and
 * beyond SOURCE_MEMBERS_MAX none does: both shall be the same ones the next time.
 */
static int by_row(const void *a, const void *b)
{
	const struct conf_backend *x = &((const struct found *)a)->backend;
	const struct conf_backend *y = &((const struct found *)b)->backend;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	int order = view_cmp(x->name, y->name);
	if (order)
		return order;
	return x->weight > y->weight ? -1 : x->weight < y->weight;
}

static uint64_t until_next_us(const struct names *n)
{
	const struct conf_dns *conf = &n->source->discover->conf->dns;
	uint64_t us = (uint64_t)n->ttl_s * 1000000;
	us = us < conf->max_ttl_us ? us : conf->max_ttl_us;
	return us > conf->min_ttl_us ? us : conf->min_ttl_us;
}

static void conclude_none(struct names *n)
{
	struct source *s = n->source;
	uint64_t now = clock_us(), gone_us = s->discover->conf->dns.gone_us;
	if (!n->gone_since_us)
		n->gone_since_us = now;
	uint64_t past = now - n->gone_since_us;
	if (past >= gone_us)
		source_empty(s);
	source_fail(s, "%s", n->why);
	if (past < gone_us) {
		uint64_t left = gone_us - past;
		source_again(s, left < GONE_LOOK_US ? left : GONE_LOOK_US);
	}
}

void names_conclude(struct names *n)
{
	struct source *s = n->source;
	size_t count[DNS_FAILED + 1] = {0};
	for (size_t i = 0; i < n->n_parts; i++)
		count[judge(n, &n->parts[i])]++;
	if (!count[DNS_FOUND] && count[DNS_NONE] == n->n_parts) {
		conclude_none(n);
	} else if (!count[DNS_FOUND]) {
		n->gone_since_us = 0;
		if (count[DNS_FAILED])
			source_fail(s, "%s", n->why);
		else
			source_fail(s, "%s (an empty answer)", n->why);
	} else {
		n->gone_since_us = 0;
		drop_unreachable(n);
		if (n->n_rows)
			qsort(n->rows, n->n_rows, sizeof(*n->rows), by_row);
		source_answer(s, n->rows, n->n_rows,
			      count[DNS_FAILED] ? n->why
			      : n->crowded      ? "more than 256 priorities: the last ones are one"
						: NULL);
		source_again(s, until_next_us(n));
	}
	arena_free(n->arena);
	n->arena = NULL;
}
#endif
