/* SPDX-License-Identifier: MIT */
/* The way of a request over a connection, a step at a time: head, body, service, answer, tunnel. */
#include <errno.h>
#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

#include "app.h"

#define OUTPUT_MAX 262144

static void count_start(struct conn *conn)
{
	struct instance *instance = conn->instance;
	conn->is_counted = true;
	conn->began_us = clock_us();
	instance->in_progress++;
	if (instance->in_progress > instance->n.max_in_progress)
		instance->n.max_in_progress = instance->in_progress;
}

static void count_end(struct conn *conn)
{
	conn->is_counted = false;
	conn->instance->in_progress--;
	conn->instance->n.responses[conn->status]++;
}

static void served(struct conn *conn)
{
	conn_leave_stations(conn);
	if (conn->plan.hang) {
		list_push_back(&conn->instance->hanging, &conn->hanging);
		return;
	}
	if (conn->plan.head_delay)
		timer_start(&conn->timer, conn->plan.head_delay);
	else
		reply_start(conn);
	conn_run(conn, VIEW_NONE);
}

void conns_go(struct instance *instance)
{
	while (!list_is_empty(&instance->hanging)) {
		struct conn *conn = list_first(&instance->hanging, struct conn, hanging);
		list_del(&conn->hanging);
		conn->plan.hang = 0;
		served(conn);
	}
}

static void on_shared_served(struct job *job)
{
	served(container_of(job, struct conn, shared_job));
}

static void on_served(struct job *job)
{
	struct conn *conn = container_of(job, struct conn, job);
	struct server *server = conn->instance->server;
	if (!server->has_shared) {
		served(conn);
		return;
	}
	conn->shared_job.service_us =
	    service_draw(server->shared_service_us, server->shared_dist, &server->shared_rng);
	station_enter(&server->shared, &conn->shared_job);
}

static void conn_serve(struct conn *conn)
{
	struct instance *instance = conn->instance;
	conn->state = CONN_SERVE;
	conn->job.done = on_served;
	conn->shared_job.done = on_shared_served;
	conn->job.service_us =
	    service_draw(conn->plan.service, (enum plan_dist)conn->plan.dist, &instance->rng);
	station_enter(&instance->station, &conn->job);
}

/* GET without wishes, the case that has to be fast: the answer is ready. */
static bool answer_fast(struct conn *conn, const struct request *req)
{
	struct instance *instance = conn->instance;
	if (!instance->is_plain || req->has_options || req->http10 || !req->keep_alive ||
	    req->wants_upgrade || req->body != REQUEST_BODY_NONE ||
	    !view_eq(req->method, VIEW("GET")) || view_starts(req->path, VIEW("/bytes/")) ||
	    view_eq(req->path, VIEW("/echo")))
		return false;
	str_view(&conn->out, str_as_view(&instance->fast));
	instance->n.responses[200]++;
	if (instance->n.max_in_progress <= instance->in_progress)
		instance->n.max_in_progress = instance->in_progress + 1;
	return true;
}

static void begin_body(struct conn *conn, const struct request *req)
{
	bool has_body = req->body != REQUEST_BODY_NONE;
	body_start(&conn->body, req, conn->plan.echo);
	if (conn->plan.echo)
		reply_echo_head(conn, req);
	if (conn->plan.early || !has_body || conn->body.state == BODY_DONE) {
		conn_serve(conn);
		return;
	}
	if (req->expect_continue && conn->plan.expect == EXPECT_SEND)
		str_view(&conn->out, VIEW("HTTP/1.1 100 Continue\r\n\r\n"));
	conn->state = CONN_BODY;
	if (conn->plan.read_delay || conn->plan.read_rate) {
		conn->slow_read_wait = true;
		timer_start(&conn->timer, conn->plan.read_delay + 1);
	}
}

static void begin_request(struct conn *conn, const struct request *req)
{
	struct instance *instance = conn->instance;
	timer_stop(&conn->timer);
	if (view_starts(req->path, VIEW("/_")) && control_answer(conn, req))
		return;
	conn->n_requests++;
	instance->n.requests++;
	if (answer_fast(conn, req))
		return;
	conn->plan = instance->defaults;
	conn->is_head = req->is_head;
	conn->http10 = req->http10;
	conn->chunked_ok = !req->http10;
	str_reset(&conn->text);
	str_reset(&conn->extra);
	conn->is_raw = conn->breaking = false;
	count_start(conn);
	if (!options_from_request(conn, req)) {
		plan_init(&conn->plan);
		conn->plan.status = 400;
		str_reset(&conn->text);
		str_text(&conn->text, "weir-app: unknown option or bad value\n");
		conn->is_raw = false;
	}
	conn->keep_alive = req->keep_alive && conn->plan.keepalive;
	if (req->wants_upgrade && req->upgrade.len && conn->plan.upgrade)
		reply_tunnel(conn, req);
	else
		begin_body(conn, req);
}

static bool step_head(struct conn *conn, struct view *input)
{
	static struct request req; /* one at a time; its views die with the step */
	if (input->len == 0 || (conn->out.len > OUTPUT_MAX && !conn_flush(conn)))
		return false;
	switch (request_parse(*input, &req)) {
	case REQUEST_MORE:
		return false;
	case REQUEST_BAD:
		conn->instance->n.bad_requests++;
		str_view(&conn->out, VIEW("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"
					  "Connection: close\r\n\r\n"));
		if (conn_flush(conn))
			conn_linger(conn);
		else
			conn_drop(conn);
		return false;
	default:
		*input = view_skip(*input, req.head_len);
		begin_request(conn, &req);
		return true;
	}
}

static bool step_body(struct conn *conn, struct view *input)
{
	if (input->len == 0)
		return false;
	*input = view_skip(*input, body_read(&conn->body, *input));
	if (conn->body.state == BODY_BAD) {
		conn->instance->n.bad_requests++;
		conn_drop(conn);
		return false;
	}
	if (conn->body.state != BODY_DONE)
		return false;
	timer_stop(&conn->timer);
	conn->slow_read_wait = false;
	if (conn->state == CONN_DRAIN)
		conn->state = CONN_HEAD;
	else
		conn_serve(conn);
	return true;
}

/* The answer is out: what becomes of the connection? */
static void end_answer(struct conn *conn)
{
	bool body_unread = conn->body.state != BODY_DONE;
	count_end(conn);
	if (body_unread && conn->plan.early == EARLY_RESET)
		conn_reset(conn);
	else if (!conn->keep_alive || (body_unread && conn->plan.early == EARLY_CLOSE))
		conn_linger(conn);
	else if (body_unread)
		conn->state = CONN_DRAIN;
	else if (conn->plan.close_after == 0)
		conn_drop(conn);
	else
		conn->state = CONN_HEAD;
	if (conn->state == CONN_HEAD && conn->plan.close_after != PLAN_UNSET)
		timer_start(&conn->timer, conn->plan.close_after);
}

static bool step_answer(struct conn *conn)
{
	if (!reply_pump(conn) || conn->state == CONN_DEAD)
		return false;
	end_answer(conn);
	return true;
}

static bool step_tunnel(struct conn *conn, struct view *input)
{
	if (conn->body_at < conn->body_len && !reply_pump(conn))
		return false;
	if (conn->state == CONN_DEAD || !conn_flush(conn))
		return false;
	if (conn->peer_done && input->len == 0) {
		conn_drop(conn);
		return false;
	}
	if (input->len == 0)
		return false;
	str_view(&conn->out, *input);
	*input = view_skip(*input, input->len);
	return true;
}

bool conn_step(struct conn *conn, struct view *input)
{
	switch (conn->state) {
	case CONN_HEAD:
		return step_head(conn, input);
	case CONN_BODY:
	case CONN_DRAIN:
		return step_body(conn, input);
	case CONN_ANSWER:
		return step_answer(conn);
	case CONN_TUNNEL:
		return step_tunnel(conn, input);
	case CONN_LINGER:
		*input = view_skip(*input, input->len);
		return false;
	default: /* CONN_SERVE: a timer or a station wakes it; CONN_DEAD */
		return false;
	}
}
