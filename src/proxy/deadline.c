/* SPDX-License-Identifier: MIT */
/*
 * Deadlines that clients set (grpc-timeout, a field of the configuration), and what is left for
 * backends.
 */
#include "deadline.h"

#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/parse.h"

/* What the way to the backend and back takes, at least. */
#define MARGIN_US 2000
/* "99999999" and a unit: padded with spaces, which are no part of a field's value. */
#define ROOM 9
#define MS_MAX 99999999

bool deadline_parse_grpc(struct view text, uint64_t *us)
{
	static const struct {
		char unit;
		uint64_t ns;
	} units[] = {{'H', UINT64_C(3600000000000)},
		     {'M', UINT64_C(60000000000)},
		     {'S', 1000000000},
		     {'m', 1000000},
		     {'u', 1000},
		     {'n', 1}};
	uint64_t n;
	if (text.len < 2 || text.len > 9 || !parse_u64(view_head(text, text.len - 1), &n))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (units[i].unit != text.ptr[text.len - 1])
			continue;
		*us = n * (units[i].ns / 1000);
		if (units[i].ns < 1000)
			*us = n / 1000;
		return true;
	}
	return false;
}

static bool parse_ms(struct view text, uint64_t *us)
{
	uint64_t ms;
	if (text.len > 9 || !parse_u64(text, &ms))
		return false;
	*us = ms * 1000;
	return true;
}

static void shorten(struct exchange *ex, uint64_t us)
{
	uint64_t at = ex->start_us + us;
	if (ex->total_deadline_us && ex->total_deadline_us <= at)
		return;
	ex->total_deadline_us = at;
	ex->client_deadline = true;
}

static void read_fields(struct exchange *ex, struct message *msg)
{
	struct view name = ex->view->pool->conf->timeouts.deadline_header;
	uint64_t us;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *h = &msg->headers[i];
		bool is_grpc = h->id == HDR_GRPC_TIMEOUT && deadline_parse_grpc(h->value, &us);
		bool is_own =
		    !is_grpc && name.ptr && view_ieq(h->name, name) && parse_ms(h->value, &us);
		if (h->drop || (!is_grpc && !is_own))
			continue;
		shorten(ex, us);
		h->drop = true;
		ex->stamp_at[is_grpc ? 0 : 1] = 1; /* deadline_put finds the place */
	}
}

bool deadline_request(struct exchange *ex, struct message *msg)
{
	read_fields(ex, msg);
	if (!ex->client_deadline)
		return true;
	uint64_t now = clock_us(), typical;
	typical = atomic_load_explicit(&ex->view->pool->state->typical_us, memory_order_relaxed);
	return ex->total_deadline_us > now + (typical > MARGIN_US ? typical : MARGIN_US);
}

static uint16_t put_room(struct h1_out *out, struct view name)
{
	char room[ROOM];
	memset(room, ' ', sizeof(room));
	h1_put(out, name);
	h1_put(out, VIEW(": "));
	size_t at = out->len;
	h1_put(out, view_of(room, sizeof(room)));
	h1_put(out, VIEW("\r\n"));
	return at <= UINT16_MAX - ROOM ? (uint16_t)at : 0;
}

void deadline_put(struct exchange *ex, struct h1_out *out)
{
	if (ex->stamp_at[0])
		ex->stamp_at[0] = put_room(out, VIEW("grpc-timeout"));
	if (ex->stamp_at[1])
		ex->stamp_at[1] = put_room(out, ex->view->pool->conf->timeouts.deadline_header);
}

static void stamp(char *head, uint16_t at, uint64_t ms, char unit)
{
	char digits[ROOM];
	unsigned n = 0;
	if (!at)
		return;
	memset(head + at, ' ', ROOM);
	do {
		digits[n++] = (char)('0' + ms % 10);
	} while ((ms /= 10) != 0);
	for (unsigned i = 0; i < n; i++)
		head[at + i] = digits[n - 1 - i];
	if (unit)
		head[at + n] = unit;
}

bool deadline_stamp(struct exchange *ex)
{
	uint64_t now = clock_us();
	uint64_t left = ex->total_deadline_us > now ? ex->total_deadline_us - now : 0;
	if (left < MARGIN_US + 1000)
		return false;
	uint64_t ms = (left - MARGIN_US) / 1000;
	char *head = ex->direct.len ? ex->direct.ptr : ex->req->data + ex->req->start;
	ms = ms < MS_MAX ? ms : MS_MAX;
	stamp(head, ex->stamp_at[0], ms, 'm');
	stamp(head, ex->stamp_at[1], ms, '\0');
	return true;
}
