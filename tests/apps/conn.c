/* SPDX-License-Identifier: MIT */
/*
 * Connections: bytes in, bytes out, and the states between.  Every event ends in
 * conn_run, which takes as many steps as the state, the input and the socket
 * allow, and only there a dead connection is freed.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

#include "app.h"

/* Bytes kept for later while an answer is under way; then reading stops. */
#define INPUT_MAX 65536
#define RECV_SIZE 262144
/* A limited rate is spread over this many slices a second. */
#define SLICES 20
#define SLICE_US (1000000 / SLICES)
#define LINGER_US 2000000

static char scratch[RECV_SIZE];

static bool has_output(const struct conn *conn)
{
	return conn->out.len > conn->out_at;
}

bool conn_flush(struct conn *conn)
{
	while (has_output(conn)) {
		ssize_t n = send(conn->fd, conn->out.ptr + conn->out_at,
				 conn->out.len - conn->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			conn_drop(conn);
			return false;
		}
		conn->out_at += (size_t)n;
		if (!conn->is_control)
			conn->instance->n.bytes_out += (uint64_t)n;
	}
	str_reset(&conn->out);
	conn->out_at = 0;
	return true;
}

void conn_leave_stations(struct conn *conn)
{
	if (conn->shared_job.station)
		station_leave(conn->shared_job.station, &conn->shared_job);
	if (conn->job.station)
		station_leave(conn->job.station, &conn->job);
}

void conn_drop(struct conn *conn)
{
	struct instance *instance = conn->instance;
	if (conn->state == CONN_DEAD)
		return;
	if (conn->is_counted) {
		instance->in_progress--;
		instance->n.aborted += conn->state != CONN_TUNNEL;
	}
	conn->is_counted = false;
	conn->state = CONN_DEAD;
	ev_io_stop(instance->server->loop, &conn->readable);
	ev_io_stop(instance->server->loop, &conn->writable);
	timer_stop(&conn->timer);
	conn_leave_stations(conn);
	list_del(&conn->hanging);
	close(conn->fd);
	instance->open -= !conn->is_control;
}

void conn_reset(struct conn *conn)
{
	struct linger linger = {.l_onoff = 1};
	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	conn_drop(conn);
}

void conn_fault(struct conn *conn, bool reset)
{
	conn->instance->in_progress -= conn->is_counted;
	conn->is_counted = false; /* the peer did not leave, we did */
	conn->instance->n.faults++;
	if (reset)
		conn_reset(conn);
	else
		conn_drop(conn);
}

static void conn_free(struct conn *conn)
{
	body_fini(&conn->body);
	str_fini(&conn->text);
	str_fini(&conn->extra);
	str_fini(&conn->in);
	str_fini(&conn->out);
	conn->magic = 0;
	free(conn);
}

void conn_linger(struct conn *conn)
{
	conn->state = CONN_LINGER;
	shutdown(conn->fd, SHUT_WR);
	timer_start(&conn->timer, LINGER_US);
}

/* ---- events ---- */

static bool wants_read(const struct conn *conn)
{
	if (conn->peer_done || conn->slow_read_wait)
		return false;
	return conn->in.len < INPUT_MAX || conn->state == CONN_HEAD;
}

static bool wants_write(const struct conn *conn)
{
	if (has_output(conn))
		return true;
	/* An answer is not over before reply_pump says so, even if all of its body is out. */
	if (conn->state == CONN_ANSWER)
		return !timer_is_running(&conn->timer);
	/* What came while it could not send is echoed when it can. */
	return conn->state == CONN_TUNNEL && (conn->body_at < conn->body_len || conn->in.len > 0);
}

static void set_watcher(struct ev_loop *loop, ev_io *io, bool on)
{
	if (on != (bool)ev_is_active(io)) {
		if (on)
			ev_io_start(loop, io);
		else
			ev_io_stop(loop, io);
	}
}

static void keep_rest(struct conn *conn, struct view rest, bool from_in)
{
	if (!from_in) {
		if (rest.len)
			str_view(&conn->in, rest);
		return;
	}
	memmove(conn->in.ptr, rest.ptr, rest.len);
	conn->in.len = rest.len;
	conn->in.ptr[rest.len] = '\0';
}

void conn_run(struct conn *conn, struct view fresh)
{
	struct ev_loop *loop = conn->instance->server->loop;
	if (conn->is_running)
		return; /* a station answered within a step; the loop below goes on */
	conn->is_running = true;
	bool from_in = conn->in.len > 0;
	if (from_in)
		str_view(&conn->in, fresh);
	struct view input = from_in ? str_as_view(&conn->in) : fresh;
	while (conn_step(conn, &input)) {
	}
	if (conn->state != CONN_DEAD) {
		keep_rest(conn, input, from_in);
		conn_flush(conn);
	}
	conn->is_running = false;
	if (conn->state == CONN_DEAD) {
		conn_free(conn);
		return;
	}
	set_watcher(loop, &conn->readable, wants_read(conn));
	set_watcher(loop, &conn->writable, wants_write(conn));
}

/* True when bytes came; false at the end, on an error or when there are none yet. */
static bool conn_recv(struct conn *conn, size_t max, struct view *got)
{
	ssize_t n = recv(conn->fd, scratch, max, 0);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n > 0) {
		conn->n_in += (uint64_t)n;
		if (!conn->is_control)
			conn->instance->n.bytes_in += (uint64_t)n;
		*got = view_of(scratch, (size_t)n);
		return true;
	}
	conn->peer_done = true;
	/* A tunnel still echoes what it has; anybody else wanted an answer. */
	if (n < 0 || conn->state != CONN_TUNNEL)
		conn_drop(conn);
	return false;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	struct conn *conn = container_of(io, struct conn, readable);
	check_magic(conn, CONN_MAGIC);
	struct view got = VIEW_NONE;
	conn_recv(conn, sizeof(scratch), &got);
	conn_run(conn, got);
}

static void on_writable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	struct conn *conn = container_of(io, struct conn, writable);
	check_magic(conn, CONN_MAGIC);
	conn_run(conn, VIEW_NONE);
}

/* One slice of a body that is read slowly. */
static struct view read_slice(struct conn *conn)
{
	struct view got = VIEW_NONE;
	if (conn->plan.read_rate == 0) {
		conn->slow_read_wait = false;
		return got;
	}
	uint64_t slice = conn->plan.read_rate / SLICES + 1;
	conn_recv(conn, slice < sizeof(scratch) ? slice : sizeof(scratch), &got);
	if (conn->state == CONN_BODY)
		timer_start(&conn->timer, SLICE_US);
	return got;
}

static void on_timer(struct timer *timer)
{
	struct conn *conn = container_of(timer, struct conn, timer);
	check_magic(conn, CONN_MAGIC);
	struct view got = VIEW_NONE;
	switch (conn->state) {
	case CONN_BODY:
		got = read_slice(conn);
		break;
	case CONN_SERVE:
		reply_start(conn);
		break;
	case CONN_ANSWER:
		reply_timer(conn, SLICES);
		break;
	default: /* close_after is over, or lingering */
		conn_drop(conn);
	}
	conn_run(conn, got);
}

static void conn_new(struct instance *instance, int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	check(conn != NULL);
	conn->magic = CONN_MAGIC;
	conn->instance = instance;
	conn->fd = fd;
	conn->timer.fire = on_timer;
	list_init(&conn->job.node);
	list_init(&conn->shared_job.node);
	list_init(&conn->hanging);
	instance->open++;
	instance->n.connections++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	ev_io_init(&conn->readable, on_readable, fd, EV_READ);
	ev_io_init(&conn->writable, on_writable, fd, EV_WRITE);
	ev_io_start(instance->server->loop, &conn->readable);
}

void conn_accept(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	struct instance *instance = container_of(io, struct instance, accept_io);
	for (int i = 0; i < 64; i++) {
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			conn_new(instance, fd);
		else if (errno != ECONNABORTED)
			break;
	}
}
