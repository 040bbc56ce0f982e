/* SPDX-License-Identifier: MIT */
/* The answer to a fetch as it comes in, and how a fetch ends. */
#include <stdlib.h>

#include "question.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

static const struct h1_limits limits = {
    .head_bytes = FETCH_HEAD_MAX,
    .line_bytes = 16 * 1024,
    .n_headers = HEADERS_MAX,
};

/* ---- the end ---- */

static void fetch_free(struct fetch *x)
{
	list_del(&x->link);
	deferred_clear(&x->start);
	timer_del(&x->timer);
	tls_client_put(x->req.tls);
	view_disown(&x->req.url);
	view_disown(&x->req.at);
	view_disown(&x->req.tls_host);
	str_fini(&x->place);
	str_fini(&x->out);
	str_fini(&x->head);
	str_fini(&x->in);
	x->magic = 0;
	free(x);
}

void fetch_reap(struct fetcher *f)
{
	list_each_safe (it, tmp, &f->over)
		fetch_free(list_entry(it, struct fetch, link));
	conn_reap(f);
}

void fetch_on_reap(struct deferred *deferred)
{
	fetch_reap(container_of(deferred, struct fetcher, reap));
}

/* Nothing more comes to it; the connection goes. */
static void stop(struct fetch *x)
{
	x->state = FETCH_OVER;
	resolve_cancel(x->question);
	x->question = NULL;
	timer_clear(&x->timer);
	deferred_clear(&x->start);
	conn_close(x->conn);
	x->conn = NULL;
	list_del(&x->link);
	list_push_back(&x->fetcher->over, &x->link);
	loop_next_turn(x->fetcher->loop, &x->fetcher->reap);
}

static struct message *head_of(struct fetch *x)
{
	enum reject why;
	if (!x->head_len || h1_parse_response(view_of(x->head.ptr, x->head_len), &limits, x->method,
					      &x->fetcher->msg, &why) != H1_OK)
		return NULL;
	return &x->fetcher->msg;
}

static void tell(struct fetch *x, enum fetch_end end)
{
	stop(x);
	struct fetch_answer answer = {
	    .end = end,
	    .why = x->why,
	    .status = x->status,
	    .msg = head_of(x),
	    .body = str_as_view(&x->in),
	};
	x->req.done(x->req.arg, &answer);
}

void fetch_fail(struct fetch *x, enum fetch_end end, const char *fmt, ...)
{
	struct str text = str_fixed(x->why, sizeof(x->why));
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	tell(x, end);
}

void fetch_answered(struct fetch *x)
{
	if (x->keep && x->req.keep && x->sent == x->out.len) {
		conn_keep(x->conn);
		x->conn = NULL;
	}
	tell(x, FETCH_OK);
}

void fetch_cancel(struct fetch *x)
{
	if (!x || x->state == FETCH_OVER)
		return;
	check_magic(x, FETCH_MAGIC);
	stop(x);
}

/* ---- the answer ---- */

static void give_piece(struct fetch *x, struct view bytes)
{
	if (!bytes.len)
		return;
	if (!x->req.piece)
		str_view(&x->in, bytes);
	else
		x->req.piece(x->req.arg, bytes);
}

static void read_body(struct fetch *x, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&x->body, ptr, len, &piece, &why);
	if (result == H1_BAD) {
		if (why == REJECT_BODY_TOO_LARGE)
			fetch_fail(x, FETCH_TOO_LONG, "the answer has more than %llu bytes",
				   (unsigned long long)x->req.body_max);
		else
			fetch_fail(x, FETCH_FAILED, "the answer's body is refused: %s",
				   reject_sentence(why));
		return;
	}
	give_piece(x, piece.data);
	if (x->state == FETCH_OVER)
		return;
	x->keep &= result == H1_OK && piece.consumed == len;
	if (x->in.overflow)
		fetch_fail(x, FETCH_TOO_LONG, "no memory for the answer");
	else if (result == H1_OK || x->body.state == H1_BODY_TRAILERS) /* they say nothing to us */
		fetch_answered(x);
	else if (x->req.piece && x->req.silence_us)
		timer_set(&x->fetcher->loop->timers, &x->timer, clock_us() + x->req.silence_us);
}

static void take_head(struct fetch *x, struct message *msg, char *rest, size_t len)
{
	x->state = FETCH_BODY;
	x->head_len = msg->head_len;
	x->status = msg->status;
	x->keep = msg->keep_alive;
	h1_body_init(&x->body, msg, &limits, x->req.piece ? 0 : x->req.body_max);
	if (x->req.piece)
		timer_clear(&x->timer);
	if (x->req.head)
		x->req.head(x->req.arg, msg);
	if (x->state != FETCH_OVER)
		read_body(x, rest, len);
}

static void read_head(struct fetch *x)
{
	struct message *msg = &x->fetcher->msg;
	enum reject why;
	for (;;) {
		switch (h1_parse_response(str_as_view(&x->head), &limits, x->method, msg, &why)) {
		case H1_BAD:
			if (reject_status(why) == 431) /* by limits of ours, not a listener's */
				fetch_fail(x, FETCH_TOO_LONG, "the head of the answer is too long");
			else
				fetch_fail(x, FETCH_FAILED, "the head of the answer is refused: %s",
					   reject_sentence(why));
			return;
		case H1_MORE:
			return;
		case H1_OK:
			break;
		}
		if (msg->status >= 200)
			break;
		if (msg->status == 101) {
			fetch_fail(x, FETCH_FAILED, "the answer is malformed: status 101");
			return;
		}
		x->head.len -= msg->head_len; /* an interim one */
		memmove(x->head.ptr, x->head.ptr + msg->head_len, x->head.len);
	}
	take_head(x, msg, x->head.ptr + msg->head_len, x->head.len - msg->head_len);
}

void fetch_feed(struct fetch *x, char *ptr, size_t len)
{
	x->answered = true;
	if (x->state == FETCH_BODY) {
		read_body(x, ptr, len);
		return;
	}
	str_put(&x->head, ptr, len);
	if (x->head.overflow)
		fetch_fail(x, FETCH_TOO_LONG, "no memory for the answer");
	else
		read_head(x);
}
