/* SPDX-License-Identifier: MIT */
/* Windows between a sender and a receiver of nghttp2, in round trips. */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "weir/base/rng.h"
#include "weir/http/h2_window.h"

#define N_STREAMS 8
#define MIB (1024 * 1024)

struct end {
	nghttp2_session *session;
	uint8_t wire[32 * MIB]; /* sent, not received yet */
	size_t len;
};

static struct end sender, receiver;
static struct h2_budget worker, conn;
static struct h2_window windows[N_STREAMS];
static size_t left[N_STREAMS], arrived[N_STREAMS];
static bool reads; /* the receiver takes what comes at once */
static size_t padding;

static struct h2_window_at at(unsigned i)
{
	return (struct h2_window_at){receiver.session, (int32_t)(2 * i + 1)};
}

static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t cap,
			 uint32_t *flags, nghttp2_data_source *source, void *user)
{
	size_t *rest = &left[id / 2], n = *rest < cap ? *rest : cap;
	(void)session, (void)source, (void)user;
	memset(to, 'x', n);
	*rest -= n;
	if (*rest == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static ssize_t on_padding(nghttp2_session *session, const nghttp2_frame *frame, size_t max,
			  void *user)
{
	size_t whole = frame->hd.length + padding;
	(void)session, (void)user;
	return (ssize_t)(frame->hd.type != NGHTTP2_DATA ? frame->hd.length
			 : whole < max                  ? whole
							: max);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *ptr,
		   size_t len, void *user)
{
	(void)flags, (void)ptr, (void)user;
	nghttp2_session_consume_connection(session, len);
	arrived[id / 2] += len;
	h2_window_came(&windows[id / 2], len);
	if (reads)
		h2_window_took(&windows[id / 2], at((unsigned)id / 2), len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	unsigned i = (unsigned)frame->hd.stream_id / 2;
	(void)session, (void)user;
	if (frame->hd.type != NGHTTP2_DATA)
		return 0;
	if (frame->data.padlen)
		h2_window_padding(&windows[i], at(i), frame->data.padlen);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		h2_window_end(&windows[i]);
	return 0;
}

/* What one has to say is on its way to the other. */
static void speak(struct end *end)
{
	const uint8_t *ptr;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(end->session, &ptr)) > 0) {
		cr_assert(end->len + (size_t)n <= sizeof(end->wire));
		memcpy(end->wire + end->len, ptr, (size_t)n);
		end->len += (size_t)n;
	}
	cr_assert_eq(n, 0);
}

static void hear(struct end *to, struct end *from)
{
	cr_assert_eq(nghttp2_session_mem_recv(to->session, from->wire, from->len),
		     (ssize_t)from->len);
	from->len = 0;
}

static void round_trip(void)
{
	speak(&sender);
	hear(&receiver, &sender);
	speak(&receiver);
	hear(&sender, &receiver);
}

static void request(unsigned i)
{
	nghttp2_nv head[] = {
	    {(uint8_t *)":method", (uint8_t *)"POST", 7, 4, 0},
	    {(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, 0},
	    {(uint8_t *)":authority", (uint8_t *)"a", 10, 1, 0},
	    {(uint8_t *)":path", (uint8_t *)"/", 5, 1, 0},
	};
	nghttp2_data_provider source = {.read_callback = on_source};
	cr_assert_eq(nghttp2_submit_request(sender.session, NULL, head, 4, &source, NULL),
		     at(i).id);
	h2_window_init(&windows[i], &conn);
}

/* `n` streams of `bytes` each. */
static void start(unsigned n, size_t bytes, uint64_t limit)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	nghttp2_option_new(&option);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	if (padding)
		nghttp2_session_callbacks_set_select_padding_callback(cb, on_padding);
	nghttp2_session_server_new2(&receiver.session, cb, NULL, option);
	nghttp2_session_client_new2(&sender.session, cb, NULL, option);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	worker = (struct h2_budget){.limit = 4 * limit};
	conn = (struct h2_budget){.limit = limit, .all = &worker};
	reads = true;
	nghttp2_submit_settings(receiver.session, 0, NULL, 0);
	nghttp2_submit_settings(sender.session, 0, NULL, 0);
	nghttp2_session_set_local_window_size(receiver.session, 0, 0, INT32_MAX);
	round_trip();
	memset(arrived, 0, sizeof(arrived));
	for (unsigned i = 0; i < n; i++) {
		left[i] = bytes;
		request(i);
	}
}

static void stop(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		h2_window_fini(&windows[i]);
	cr_assert_eq(conn.used, 0);
	cr_assert_eq(worker.used, 0);
	nghttp2_session_del(sender.session);
	nghttp2_session_del(receiver.session);
	padding = 0;
}

static unsigned rounds_for(size_t bytes)
{
	unsigned n = 0;
	while (arrived[0] < bytes && n < 1000) {
		round_trip();
		n++;
	}
	return n;
}

Test(h2_window, grows_with_a_reader_that_takes)
{
	start(1, 8 * MIB, 8 * MIB);
	unsigned n = rounds_for(8 * MIB);
	cr_assert(n <= 6, "%u round trips", n);
	cr_assert_eq(conn.used, 0, "nothing more may come");
	stop(1);
}

Test(h2_window, stays_without_a_budget)
{
	start(1, 2 * MIB, 0);
	unsigned n = rounds_for(2 * MIB);
	cr_assert(n >= 2 * MIB / H2_WINDOW_FIRST, "%u round trips", n);
	stop(1);
}

Test(h2_window, what_lies_here_is_bounded)
{
	start(N_STREAMS, 20 * MIB, 4 * MIB);
	for (unsigned i = 0; i < 5; i++)
		round_trip();
	cr_assert(conn.used > 2 * MIB && conn.used <= 4 * MIB);
	size_t taken = 0, whole = 0;
	for (unsigned i = 0; i < N_STREAMS; i++)
		taken += arrived[i];
	reads = false;
	for (unsigned i = 0; i < 20; i++)
		round_trip();
	for (unsigned i = 0; i < N_STREAMS; i++)
		whole += arrived[i];
	cr_assert(whole - taken > 2 * MIB);
	cr_assert(whole - taken <= 4 * MIB + N_STREAMS * H2_WINDOW_FIRST);
	cr_assert(conn.used <= 4 * MIB);
	stop(N_STREAMS);
}

Test(h2_window, one_does_not_take_what_others_may_need)
{
	start(2, 64 * MIB, 8 * MIB);
	for (unsigned i = 0; i < 8; i++)
		round_trip();
	cr_assert(windows[0].extra <= 4 * MIB && windows[1].extra <= 4 * MIB);
	cr_assert(windows[0].extra >= MIB && windows[1].extra >= MIB);
	stop(2);
}

/* Who stops reads the rest slowly: in the end it holds no more than at first. */
Test(h2_window, shrinks_behind_a_slow_reader)
{
	start(1, 100 * MIB, 8 * MIB);
	for (unsigned i = 0; i < 6; i++)
		round_trip();
	cr_assert(conn.used > MIB);
	reads = false;
	round_trip();
	for (unsigned i = 0; i < 5000 && windows[0].extra; i++) {
		if (windows[0].held >= 4096)
			h2_window_took(&windows[0], at(0), 4096);
		if (i % 4 == 0)
			round_trip();
	}
	cr_assert_eq(conn.used, 0);
	cr_assert(windows[0].held <= H2_WINDOW_FIRST);
	stop(1);
}

/* However it is taken, and with padding, it goes on to its end. */
Test(h2_window, never_stands_still)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rng rng;
		unsigned i = 0;
		rng_init(&rng, seed);
		padding = rng_below(&rng, 3) * 120;
		size_t bytes = 100000 + rng_below(&rng, 4 * MIB);
		start(2, bytes, rng_below(&rng, 4 * MIB));
		reads = rng_below(&rng, 2);
		for (; (arrived[0] < bytes || arrived[1] < bytes) && i < 20000; i++) {
			round_trip();
			for (unsigned k = 0; k < 2; k++) {
				size_t n = rng_below(&rng, 200000);
				n = n < windows[k].held ? n : windows[k].held;
				h2_window_took(&windows[k], at(k), n);
			}
			if (rng_below(&rng, 16) == 0)
				reads = !reads;
			cr_assert(conn.used <= conn.limit);
		}
		cr_assert(i < 20000, "seed %lu stands still", (unsigned long)seed);
		stop(2);
	}
}
