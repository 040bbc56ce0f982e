/* SPDX-License-Identifier: MIT */
/*
 * After a hand-over the process before this one goes on until its requests are done.  It still
 * has requests at backends, and may yet send one of those that wait to any backend that it
 * believes to take some.  So the new process tells it what state backends are in, as soon as
 * that changes, and asks it every 100 ms what it has, over what the hand-over went (handover.c):
 *
 *   the process before                      this one
 *                 <--file, Q--  states that have changed
 *   its workers know them
 *   what is in flight  --file, D-->
 *   ...
 *   ends  --the socket's end-->  nothing is left
 *
 * Never are two questions under way, so the file has one writer at a time.  A chain of processes
 * works alike: who answers counts what the one before it said, and does not end before that one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "handover_state.h"

#include "weir/net/socket.h"
#include "weir/pool/pack.h"

#define ASK_S 0.1

/* Not those of handover_state.c. */
enum { BLOCK_STATE = 32, BLOCK_PROCESS = 33, BLOCK_LEFT = 34 };

/* ---- the process that answers ---- */

static enum backend_state state_named(struct view name)
{
	enum backend_state state = 0;
	while (state < N_BACKEND_STATES && !view_eq(name, view_str(backend_state_name(state))))
		state++;
	return state;
}

static void hear(struct unpack *in, struct control *control)
{
	struct view pool = unpack_view(in), name = unpack_view(in), text = unpack_view(in);
	enum backend_state state = state_named(text);
	if (!in->bad && state < N_BACKEND_STATES)
		control->before.hear(control, pool, name, state);
}

static void pack_answer(const struct control *control, struct str *out)
{
	size_t at = pack_begin(out, BLOCK_PROCESS);
	struct workers_have have = workers_have(control);
	pack_u64(out, have.conns + control->before.n_conns);
	pack_u64(out, have.exchanges + control->before.n_exchanges);
	pack_end(out, at);
	at = pack_begin(out, BLOCK_LEFT);
	pool_registry_before_pack(&control->registry, out);
	pack_end(out, at);
}

/* Every worker knows the states that were told. */
static void answer(struct control *control)
{
	const struct handover *h = &control->handover;
	struct str blocks = STR_INIT, why = STR_INIT;
	if (h->ready.fd < 0)
		return;
	pack_answer(control, &blocks);
	if (blocks.overflow)
		str_text(&why, "no memory");
	if (why.len || !state_store(h->state_fd, str_as_view(&blocks), &why) ||
	    write(h->ready.fd, "D", 1) != 1)
		log_warn("the new process does not hear what is in flight here: %s",
			 why.len ? why.ptr : strerror(errno));
	str_fini(&blocks);
	str_fini(&why);
}

void before_answer(struct control *control)
{
	struct str blocks = STR_INIT, why = STR_INIT;
	struct unpack in, block;
	uint32_t id;
	if (!state_load(control->handover.state_fd, &blocks, &why))
		log_warn("what the new process asks cannot be read: %s", why.ptr);
	in = unpack_of(str_as_view(&blocks));
	while (unpack_block(&in, &id, &block))
		if (id == BLOCK_STATE)
			hear(&block, control);
	str_fini(&blocks);
	str_fini(&why);
	workers_barrier(control, answer);
}

/* ---- the process that asks ---- */

static void gone(struct control *control)
{
	struct before *b = &control->before;
	ev_io_stop(control->loop.ev, &b->said);
	ev_timer_stop(control->loop.ev, &b->next);
	socket_close(b->said.fd);
	socket_close(b->file);
	*b = (struct before){.hear = b->hear};
	pool_registry_before_gone(&control->registry);
}

static void pack_state(struct backend *backend, struct str *out)
{
	size_t at = pack_begin(out, BLOCK_STATE);
	pack_view(out, backend->pool_name);
	pack_view(out, backend->name);
	pack_view(out, view_str(backend_state_name((enum backend_state)backend->told)));
	pack_end(out, at);
	backend->before_news = false;
}

/* However long the last answer took, and however often a state has changed since: a block for
 * each backend. */
static void pack_news(struct before *b, const struct pool_registry *reg, struct str *out)
{
	list_each (it, &reg->backends) {
		struct backend *backend = list_entry(it, struct backend, registry_link);
		if (backend->before_news)
			pack_state(backend, out);
	}
	b->news = false;
}

static void ask(struct control *control)
{
	struct before *b = &control->before;
	struct str blocks = STR_INIT, why = STR_INIT;
	if (b->state != BEFORE_RESTS)
		return;
	if (b->news)
		pack_news(b, &control->registry, &blocks);
	if (blocks.overflow || !state_store(b->file, str_as_view(&blocks), &why)) {
		log_warn("the process before cannot be told what backends it may use: %s",
			 why.len ? why.ptr : "no memory");
		gone(control);
	} else if (write(b->said.fd, "Q", 1) == 1) { /* else its end is about to be heard */
		b->question++;
		b->state = BEFORE_ASKED;
	}
	str_fini(&blocks);
	str_fini(&why);
}

/* At the end of the loop's turn: states often change together. */
static void ask_soon(struct control *control)
{
	struct before *b = &control->before;
	ev_timer_stop(control->loop.ev, &b->next);
	ev_timer_set(&b->next, 0.0, ASK_S);
	ev_timer_start(control->loop.ev, &b->next);
}

static void take_answer(struct control *control, struct view blocks)
{
	struct before *b = &control->before;
	struct unpack in = unpack_of(blocks), block;
	uint32_t id;
	while (unpack_block(&in, &id, &block)) {
		if (id == BLOCK_LEFT)
			pool_registry_before_unpack(&block, &control->registry, b->question);
		if (id != BLOCK_PROCESS)
			continue;
		b->n_conns = unpack_u64(&block);
		b->n_exchanges = unpack_u64(&block);
	}
}

static void on_said(struct ev_loop *ev, ev_io *w, int revents)
{
	struct control *control = w->data;
	struct str blocks = STR_INIT, why = STR_INIT;
	char byte;
	ssize_t n = read(w->fd, &byte, 1);
	(void)ev;
	(void)revents;
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		gone(control);
	} else if (n == 1 && control->before.state == BEFORE_ASKED) {
		if (state_load(control->before.file, &blocks, &why))
			take_answer(control, str_as_view(&blocks));
		control->before.state = BEFORE_RESTS;
		if (control->before.news)
			ask_soon(control);
	}
	str_fini(&blocks);
	str_fini(&why);
}

static void on_next(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev;
	(void)revents;
	ask(w->data);
}

void before_begin(struct control *control, int fd, int file)
{
	struct before *b = &control->before;
	b->state = BEFORE_RESTS;
	b->file = file;
	b->pid = getppid();
	ev_io_init(&b->said, on_said, fd, EV_READ);
	ev_timer_init(&b->next, on_next, ASK_S, ASK_S);
	b->said.data = b->next.data = control;
	ev_io_start(control->loop.ev, &b->said);
	ev_timer_start(control->loop.ev, &b->next);
	ask(control);
}

void before_tell(struct control *control, struct backend *backend)
{
	struct before *b = &control->before;
	if (b->state == BEFORE_GONE)
		return;
	b->news = backend->before_news = true;
	backend->before_untold = b->question + 1;
	if (b->state == BEFORE_RESTS)
		ask_soon(control);
}

void before_status(const struct control *control, struct admin_status *out)
{
	const struct before *b = &control->before;
	if (b->state == BEFORE_GONE)
		return;
	out->before.pid = (uint64_t)b->pid;
	out->before.connections = b->n_conns;
	out->before.exchanges = b->n_exchanges;
}

void before_free(struct control *control)
{
	if (control->before.state != BEFORE_GONE)
		gone(control);
}
