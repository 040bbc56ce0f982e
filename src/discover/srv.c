/* SPDX-License-Identifier: MIT */
/* SRV records out of a DNS message. */
#include "srv.h"

#include <string.h>

#define TYPE_SRV 33
#define CLASS_IN 1
/* Compressed names go backwards; so many jumps are more than any has. */
#define JUMPS_MAX 32
/* RFC 1035 4.1: before the first record; of the shortest one: two names of the root, type, class,
 * TTL, length, and what an SRV record has beside its target. */
#define HEAD_BYTES 12
#define RECORD_BYTES (1 + 10 + 6 + 1)

struct cursor {
	const unsigned char *msg;
	size_t len, at;
	bool bad;
};

static unsigned get(struct cursor *c, size_t n)
{
	unsigned value = 0;
	if (c->len - c->at < n) {
		c->bad = true;
		c->at = c->len;
		return 0;
	}
	while (n--)
		value = value << 8 | c->msg[c->at++];
	return value;
}

static void skip(struct cursor *c, size_t n)
{
	c->bad |= c->len - c->at < n;
	c->at = c->bad ? c->len : c->at + n;
}

/* Other bytes do not occur in names of hosts, and this one is looked up again. */
static bool is_plain(unsigned char b)
{
	return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
	       b == '-' || b == '_';
}

static size_t put_label(const unsigned char *label, unsigned n, char *out, size_t used, bool *bad)
{
	if (used + n + 2 > DNS_NAME_MAX) {
		*bad = true;
		return used;
	}
	if (used)
		out[used++] = '.';
	for (unsigned i = 0; i < n; i++) {
		*bad |= !is_plain(label[i]);
		out[used++] = (char)label[i];
	}
	return used;
}

/* The name at the cursor, which moves behind it; `out` NULL: only that. */
static void read_name(struct cursor *c, char *out)
{
	struct cursor walk = *c;
	size_t used = 0;
	bool jumped = false, bad = false;
	for (unsigned jumps = 0; !walk.bad && !bad;) {
		unsigned n = get(&walk, 1);
		if ((n & 0xc0) == 0xc0) {
			size_t to = (size_t)(n & 0x3f) << 8 | get(&walk, 1);
			if (!jumped)
				c->at = walk.at;
			jumped = true;
			bad = to >= walk.len || ++jumps > JUMPS_MAX;
			walk.at = bad ? walk.at : to;
		} else if (n == 0) {
			break;
		} else {
			bad = n > 63 || walk.len - walk.at < n;
			if (!bad && out)
				used = put_label(walk.msg + walk.at, n, out, used, &bad);
			skip(&walk, n);
		}
	}
	if (!jumped)
		c->at = walk.at;
	c->bad |= walk.bad || bad;
	if (out)
		out[used] = '\0';
}

/* True when the record is one of ours; the cursor is behind it in any case. */
static bool read_record(struct cursor *c, struct srv_record *out, uint32_t *ttl_s)
{
	read_name(c, NULL);
	unsigned type = get(c, 2), class = get(c, 2);
	uint32_t ttl = get(c, 4);
	size_t len = get(c, 2), end = c->at + len;
	if (c->bad || c->len - c->at < len) {
		c->bad = true;
		return false;
	}
	if (type != TYPE_SRV || class != CLASS_IN) {
		c->at = end;
		return false;
	}
	out->priority = (uint16_t)get(c, 2);
	out->weight = (uint16_t)get(c, 2);
	out->port = (uint16_t)get(c, 2);
	read_name(c, out->target);
	c->bad |= c->at != end;
	*ttl_s = ttl;
	return !c->bad;
}

size_t srv_most(const unsigned char *msg, size_t len)
{
	if (len < HEAD_BYTES)
		return 0;
	size_t claimed = (size_t)msg[6] << 8 | msg[7];
	size_t fit = (len - HEAD_BYTES) / RECORD_BYTES + 1; /* the last may be cut */
	return claimed < fit ? claimed : fit;
}

int srv_parse(const unsigned char *msg, size_t len, struct srv_record *out, uint32_t *ttl_s)
{
	struct cursor c = {.msg = msg, .len = len};
	int n = 0;
	skip(&c, 4);
	unsigned n_questions = get(&c, 2), n_answers = get(&c, 2);
	skip(&c, 4);
	while (n_questions-- && !c.bad) {
		read_name(&c, NULL);
		skip(&c, 4);
	}
	*ttl_s = UINT32_MAX;
	while (n_answers-- && !c.bad) {
		uint32_t ttl;
		if (!read_record(&c, &out[n], &ttl))
			continue;
		*ttl_s = ttl < *ttl_s ? ttl : *ttl_s;
		n++;
	}
	return c.bad ? -1 : n;
}
