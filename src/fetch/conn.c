/* SPDX-License-Identifier: MIT */
/* Connections that are kept between fetches. */
#include "conn.h"

#include <stdlib.h>

#include "weir/base/check.h"

void conn_close(struct fetch_conn *conn)
{
	if (!conn)
		return;
	if (list_is_linked(&conn->link))
		conn->fetcher->n_kept--;
	list_del(&conn->link);
	if (conn->line && conn->line->conn == conn)
		conn->line->conn = NULL;
	conn->line = NULL;
	timer_del(&conn->idle);
	stream_close(&conn->stream);
	str_fini(&conn->place);
	conn->user = NULL;
	list_push_back(&conn->fetcher->closed, &conn->link);
	loop_next_turn(conn->fetcher->loop, &conn->fetcher->reap);
}

void conn_reap(struct fetcher *f)
{
	list_each_safe (it, tmp, &f->closed) {
		struct fetch_conn *conn = list_entry(it, struct fetch_conn, link);
		list_del(&conn->link);
		free(conn);
	}
}

static void on_idle(struct timer *timer)
{
	conn_close(container_of(timer, struct fetch_conn, idle));
}

struct fetch_conn *conn_new(struct fetcher *f, struct fetch_line *line, struct view place,
			    uint64_t tls_id)
{
	struct fetch_conn *conn = calloc(1, sizeof(*conn));
	check(conn != NULL);
	conn->fetcher = f;
	conn->line = line;
	conn->stream.io.fd = -1;
	conn->place = STR_INIT;
	conn->tls_id = tls_id;
	list_init(&conn->link);
	str_view(&conn->place, place);
	return conn;
}

/* To be used again, unless it has ended or says what nobody asked. */
static struct fetch_conn *if_clean(struct fetch_conn *conn)
{
	if (!conn || !stream_is_spoilt(&conn->stream))
		return conn;
	conn_close(conn);
	return NULL;
}

static bool leads_to(const struct fetch_conn *conn, struct view place, uint64_t tls_id)
{
	return conn->tls_id == tls_id && view_eq(str_as_view(&conn->place), place);
}

struct fetch_conn *conn_take(struct fetcher *f, struct fetch_line *line, struct view place,
			     uint64_t tls_id)
{
	if (line) {
		struct fetch_conn *conn = line->conn;
		if (conn && !leads_to(conn, place, tls_id))
			conn_close(conn);
		conn = line->conn;
		line->conn = NULL;
		return if_clean(conn);
	}
	list_each (it, &f->kept) {
		struct fetch_conn *conn = list_entry(it, struct fetch_conn, link);
		if (!leads_to(conn, place, tls_id))
			continue;
		list_del(&conn->link);
		f->n_kept--;
		timer_clear(&conn->idle);
		return if_clean(conn);
	}
	return NULL;
}

void fetch_line_drop(struct fetch_line *line)
{
	conn_close(line->conn);
}

/* The one that nobody wanted for longest makes room. */
void conn_keep(struct fetch_conn *conn)
{
	struct fetcher *f = conn->fetcher;
	conn->user = NULL;
	conn->used = true;
	if (conn->line) {
		conn->line->conn = conn;
		return;
	}
	list_push_front(&f->kept, &conn->link);
	conn->idle.fn = on_idle;
	loop_timer(f->loop, &conn->idle, FETCH_KEPT_US);
	if (++f->n_kept > FETCH_KEPT_MAX)
		conn_close(container_of(f->kept.prev, struct fetch_conn, link));
}
