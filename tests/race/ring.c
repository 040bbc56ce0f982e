/* SPDX-License-Identifier: MIT */
/*
 * A worker puts numbered lines of every length into its ring, faster than the
 * writer takes them: what comes out is whole lines, in order, none twice, and
 * exactly those that were accepted.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/ring.h"

#define LINES 200000

static struct ring ring;
static _Atomic bool done;
static unsigned long n_put, n_dropped;

/* "NUMBER LENGTH xxxx...\n" */
static size_t make_line(char *out, unsigned long number)
{
	size_t fill = number * 37 % 700;
	int n = sprintf(out, "%lu %zu ", number, fill);
	memset(out + n, 'x', fill);
	out[(size_t)n + fill] = '\n';
	return (size_t)n + fill + 1;
}

static void *write_lines(void *arg)
{
	char line[1024];
	(void)arg;
	for (unsigned long i = 0; i < LINES; i++) {
		size_t len = make_line(line, i);
		if (ring_put(&ring, view_of(line, len)))
			n_put++;
		else
			n_dropped++;
	}
	atomic_store(&done, true);
	return NULL;
}

struct reader {
	char line[1024];
	size_t len;
	unsigned long n_read, last;
	int n_wrong;
};

static void take_line(struct reader *r)
{
	char want[1024];
	unsigned long number = strtoul(r->line, NULL, 10);
	size_t len = make_line(want, number);
	r->n_wrong += len != r->len || memcmp(want, r->line, len) != 0;
	r->n_wrong += r->n_read > 0 && number <= r->last;
	r->last = number;
	r->n_read++;
	r->len = 0;
}

static void take_bytes(struct reader *r, struct view bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (r->len == sizeof(r->line)) {
			r->n_wrong++;
			r->len = 0;
		}
		r->line[r->len++] = bytes.ptr[i];
		if (bytes.ptr[i] == '\n')
			take_line(r);
	}
}

int main(void)
{
	static struct reader reader;
	pthread_t thread;
	alarm(120);
	if (!ring_init(&ring, 1u << 20) || pthread_create(&thread, NULL, write_lines, NULL))
		return 1;
	for (;;) {
		bool last = atomic_load(&done);
		struct view run = ring_peek(&ring);
		if (run.len == 0 && last)
			break;
		take_bytes(&reader, run);
		ring_took(&ring, run.len);
	}
	pthread_join(thread, NULL);
	ring_fini(&ring);
	if (reader.n_wrong || reader.len || reader.n_read != n_put || n_put + n_dropped != LINES) {
		fprintf(stderr, "FAIL: %lu put, %lu dropped, %lu read, %d wrong\n", n_put,
			n_dropped, reader.n_read, reader.n_wrong);
		return 1;
	}
	return 0;
}
