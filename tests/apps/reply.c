/* SPDX-License-Identifier: MIT */
/*
 * Answers: the head, the body from text or pattern in any framing and speed,
 * and the faults on demand.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/uio.h>

#include "weir/base/clock.h"
#include "weir/base/json.h"

#include "app.h"
#include "pattern.h"

/* At most so many body bytes a write, and so many writes a turn of the loop. */
#define WRITE_MAX 262144
#define TURN_WRITES 8
/* Between the first half and the fault, so that the peer has seen the half. */
#define FAULT_DELAY_US 10000
#define SLICE_US 50000

static const char garbage[] =
    "\x01\x02weir-app speaks no HTTP here\r\n\xff\xfe\r\n\r\nnor here\r\n";

static const char *reason(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 204:
		return "No Content";
	case 304:
		return "Not Modified";
	case 404:
		return "Not Found";
	case 500:
		return "Internal Server Error";
	default:
		return "Status";
	}
}

static void put_fast(struct instance *instance)
{
	str_reset(&instance->fast);
	str_printf(&instance->fast,
		   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-App: %s\r\n"
		   "Content-Length: %zu\r\n\r\n%s\n",
		   instance->name, strlen(instance->name) + 1, instance->name);
}

void reply_prepare(struct instance *instance)
{
	struct plan plain;
	plan_init(&plain);
	plain.upgrade = instance->defaults.upgrade;
	plain.workers = instance->defaults.workers;
	instance->is_plain = !instance->server->has_shared &&
			     memcmp(&plain, &instance->defaults, sizeof(plain)) == 0;
	put_fast(instance);
}

/* ---- echo ---- */

static void echo_headers(struct json *j, const struct request *req)
{
	json_key(j, "headers");
	json_array_begin(j);
	for (size_t i = 0; i < req->n_headers; i++) {
		json_array_begin(j);
		json_view(j, req->headers[i].name);
		json_view(j, req->headers[i].value);
		json_array_end(j);
	}
	json_array_end(j);
}

/* The part that borrows from the head; echo_end completes it after the body. */
void reply_echo_head(struct conn *conn, const struct request *req)
{
	struct json j;
	json_init(&j, &conn->text, false);
	json_object_begin(&j);
	json_member_text(&j, "instance", conn->instance->name);
	json_member_view(&j, "method", req->method);
	json_member_view(&j, "target", req->target);
	json_member_text(&j, "version", req->http10 ? "HTTP/1.0" : "HTTP/1.1");
	json_member_u64(&j, "connection_requests", conn->n_requests);
	echo_headers(&j, req);
}

static void echo_trailers(struct conn *conn)
{
	struct str lines = STR_INIT;
	json_quote(&lines, str_as_view(&conn->body.trailers));
	str_printf(&conn->text, ",\"trailers\":" VIEW_FMT "}\n", VIEW_ARG(str_as_view(&lines)));
	str_fini(&lines);
}

static void echo_end(struct conn *conn)
{
	char sha[65];
	body_sha256(&conn->body, sha);
	str_printf(&conn->text, ",\"body_length\":%llu,\"body_sha256\":\"%s\"",
		   (unsigned long long)conn->body.total, sha);
	echo_trailers(conn);
}

/* ---- heads ---- */

static bool status_has_body(unsigned status)
{
	return status >= 200 && status != 204 && status != 304;
}

static void put_framing(struct conn *conn, uint64_t declared)
{
	if (!status_has_body(conn->status))
		return;
	if (conn->framing_chunked)
		str_view(&conn->out, VIEW("Transfer-Encoding: chunked\r\n"));
	else if (conn->plan.framing != FRAMING_CLOSE)
		str_printf(&conn->out, "Content-Length: %llu\r\n", (unsigned long long)declared);
	if (conn->framing_chunked && conn->plan.trailers)
		str_view(&conn->out, VIEW("Trailer: X-App-Trailer, X-App-Bytes\r\n"));
}

static void put_head(struct conn *conn, uint64_t declared)
{
	struct str *out = &conn->out;
	for (uint64_t i = 0; i < conn->plan.hints && !conn->http10; i++)
		str_view(out,
			 VIEW("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"));
	str_printf(out, "HTTP/1.%d %u %s\r\n", conn->plan.http10 ? 0 : 1, conn->status,
		   reason(conn->status));
	str_printf(out, "Content-Type: %s\r\nX-App: %s\r\n",
		   conn->plan.echo                  ? "application/json"
		   : conn->source == SOURCE_PATTERN ? "application/octet-stream"
						    : "text/plain",
		   conn->instance->name);
	put_framing(conn, declared);
	str_view(out, str_as_view(&conn->extra));
	if (!conn->keep_alive)
		str_view(out, VIEW("Connection: close\r\n"));
	else if (conn->http10)
		str_view(out, VIEW("Connection: keep-alive\r\n"));
	str_view(out, VIEW("\r\n"));
}

static void choose_source(struct conn *conn)
{
	conn->source = SOURCE_TEXT;
	if (conn->plan.echo) {
		if (conn->plan.early == EARLY_NO)
			echo_end(conn);
		else
			str_char(&conn->text, '}');
	} else if (conn->plan.body != PLAN_UNSET) {
		conn->source = SOURCE_PATTERN;
	} else if (conn->text.len == 0) {
		str_printf(&conn->text, "%s\n", conn->instance->name);
	}
	conn->body_len = conn->source == SOURCE_TEXT ? conn->text.len : conn->plan.body;
}

static void choose_framing(struct conn *conn)
{
	struct plan *plan = &conn->plan;
	if (plan->http10)
		conn->keep_alive = false;
	if (plan->framing == FRAMING_CHUNKED && (plan->http10 || !conn->chunked_ok))
		plan->framing = FRAMING_CLOSE;
	conn->framing_chunked = plan->framing == FRAMING_CHUNKED && status_has_body(conn->status);
	if (plan->framing == FRAMING_CLOSE)
		conn->keep_alive = false;
	if (plan->chunk == 0)
		plan->chunk = 1;
}

static bool halfway_wanted(const struct conn *conn)
{
	return conn->plan.body_delay || conn->plan.reset == PLACE_BODY ||
	       conn->plan.cut == PLACE_BODY;
}

/* Only the beginning of what is in `out` goes before the fault. */
static void break_output(struct conn *conn)
{
	conn->out.len = conn->out_at + (conn->out.len - conn->out_at) / 2;
	conn->breaking = true;
}

static void start_body(struct conn *conn)
{
	uint64_t declared = conn->body_len;
	bool announces_close = conn->keep_alive;
	if (conn->plan.wrong == WRONG_SHORT)
		conn->body_len /= 2;
	put_head(conn, declared);
	if (conn->plan.wrong == WRONG_SHORT && announces_close)
		conn->keep_alive = false; /* not announced: it just ends */
	if (conn->is_head || !status_has_body(conn->status)) {
		conn->body_len = 0;
		conn->last_chunk_sent = true;
	}
	conn->stop_at = halfway_wanted(conn) ? conn->body_len / 2 : PLAN_UNSET;
}

static void put_bytes(struct conn *conn, struct view bytes)
{
	str_view(&conn->out, bytes);
	conn->keep_alive = false;
	conn->body_len = 0;
}

void reply_start(struct conn *conn)
{
	struct plan *plan = &conn->plan;
	if (conn->is_counted)
		hist_record(conn->instance->took, clock_us() - conn->began_us);
	conn->state = CONN_ANSWER;
	conn->status = plan->status < STATUS_MAX ? (unsigned)plan->status : 500;
	conn->body_at = conn->chunk_left = conn->allowance = 0;
	conn->last_chunk_sent = conn->framing_chunked = false;
	conn->stop_at = PLAN_UNSET;
	if (plan->reset == PLACE_BEFORE || plan->cut == PLACE_BEFORE) {
		conn_fault(conn, plan->reset == PLACE_BEFORE);
	} else if (plan->garbage) {
		conn->instance->n.faults++;
		put_bytes(conn, view_of(garbage, sizeof(garbage) - 1));
	} else if (conn->is_raw) {
		put_bytes(conn, str_as_view(&conn->text));
	} else {
		choose_source(conn);
		choose_framing(conn);
		start_body(conn);
		if (plan->reset == PLACE_HEAD || plan->cut == PLACE_HEAD)
			break_output(conn);
	}
}

/* ---- tunnels ---- */

static void put_websocket_accept(struct conn *conn, struct view key)
{
	struct str text = STR_INIT;
	unsigned char digest[SHA_DIGEST_LENGTH];
	unsigned char base64[SHA_DIGEST_LENGTH * 2];
	str_printf(&text, VIEW_FMT "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", VIEW_ARG(key));
	SHA1((const unsigned char *)text.ptr, text.len, digest);
	EVP_EncodeBlock(base64, digest, sizeof(digest));
	str_printf(&conn->out, "Sec-WebSocket-Accept: %s\r\n", (const char *)base64);
	str_fini(&text);
}

void reply_tunnel(struct conn *conn, const struct request *req)
{
	str_printf(&conn->out,
		   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		   "Upgrade: " VIEW_FMT "\r\nX-App: %s\r\n",
		   VIEW_ARG(req->upgrade), conn->instance->name);
	if (req->websocket_key.len)
		put_websocket_accept(conn, req->websocket_key);
	str_view(&conn->out, VIEW("\r\n"));
	conn->state = CONN_TUNNEL;
	conn->instance->n.tunnels++;
	conn->instance->n.responses[101]++;
	conn->source = SOURCE_PATTERN;
	conn->body_at = conn->chunk_left = 0;
	conn->framing_chunked = false;
	conn->last_chunk_sent = true;
	conn->stop_at = PLAN_UNSET;
	conn->body_len = conn->plan.tunnel_bytes;
	conn->plan.rate = 0;
}

/* ---- bodies ---- */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The next bytes of the body that may go now. */
static struct view next_piece(const struct conn *conn)
{
	uint64_t n = min_u64(conn->body_len - conn->body_at, WRITE_MAX);
	if (conn->stop_at != PLAN_UNSET)
		n = min_u64(n, conn->stop_at - conn->body_at);
	if (conn->framing_chunked)
		n = min_u64(n, conn->chunk_left);
	if (conn->plan.rate)
		n = min_u64(n, conn->allowance);
	if (conn->source == SOURCE_TEXT)
		return view_of(conn->text.ptr + conn->body_at, (size_t)n);
	return pattern_at(conn->body_at, n);
}

static void took_piece(struct conn *conn, size_t n)
{
	conn->body_at += n;
	if (conn->plan.rate)
		conn->allowance -= n;
	if (!conn->framing_chunked)
		return;
	conn->chunk_left -= n;
	if (conn->chunk_left == 0)
		str_view(&conn->out, VIEW("\r\n"));
}

/* Writes what is in `out` and the next piece at once; false when it has to wait. */
static bool write_piece(struct conn *conn)
{
	struct view piece = next_piece(conn);
	size_t queued = conn->out.len - conn->out_at;
	struct iovec iov[2] = {
	    {conn->out.ptr + conn->out_at, queued},
	    {(void *)(uintptr_t)piece.ptr, piece.len},
	};
	struct msghdr msg = {.msg_iov = queued ? iov : iov + 1, .msg_iovlen = queued ? 2 : 1};
	ssize_t n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN)
			conn_drop(conn);
		return false;
	}
	conn->instance->n.bytes_out += (uint64_t)n;
	if ((size_t)n < queued) {
		conn->out_at += (size_t)n;
		return false;
	}
	str_reset(&conn->out);
	conn->out_at = 0;
	took_piece(conn, (size_t)n - queued);
	return (size_t)n == queued + piece.len;
}

static void put_end(struct conn *conn)
{
	if (conn->last_chunk_sent)
		return;
	conn->last_chunk_sent = true;
	if (conn->framing_chunked && conn->plan.wrong != WRONG_SHORT) {
		str_view(&conn->out, VIEW("0\r\n"));
		if (conn->plan.trailers)
			str_printf(&conn->out, "X-App-Trailer: %s\r\nX-App-Bytes: %llu\r\n",
				   conn->instance->name, (unsigned long long)conn->body_at);
		str_view(&conn->out, VIEW("\r\n"));
	}
	if (conn->plan.wrong == WRONG_LONG)
		str_view(&conn->out, VIEW("more bytes than announced"));
}

static void put_chunk_head(struct conn *conn)
{
	uint64_t n = min_u64(conn->plan.chunk, conn->body_len - conn->body_at);
	str_printf(&conn->out, "%llx\r\n", (unsigned long long)n);
	conn->chunk_left = n;
}

/* The middle of the body: a pause, or the end of the connection. */
static void halfway(struct conn *conn)
{
	conn->stop_at = PLAN_UNSET;
	conn->breaking = conn->plan.reset == PLACE_BODY || conn->plan.cut == PLACE_BODY;
	timer_start(&conn->timer, conn->breaking ? FAULT_DELAY_US : conn->plan.body_delay);
}

void reply_timer(struct conn *conn, unsigned slices)
{
	if (conn->breaking)
		conn_fault(conn, conn->plan.reset != PLACE_NO);
	else if (conn->plan.rate)
		conn->allowance = conn->plan.rate / slices + 1;
}

bool reply_pump(struct conn *conn)
{
	for (int i = 0; i < TURN_WRITES; i++) {
		if (timer_is_running(&conn->timer))
			return false;
		if (conn->breaking) {
			if (conn_flush(conn))
				timer_start(&conn->timer, FAULT_DELAY_US);
			return false;
		}
		if (conn->body_at == conn->stop_at) {
			if (conn_flush(conn))
				halfway(conn);
			return false;
		}
		if (conn->body_at == conn->body_len) {
			put_end(conn);
			return conn_flush(conn);
		}
		if (conn->plan.rate && conn->allowance == 0) {
			if (conn_flush(conn))
				timer_start(&conn->timer, SLICE_US);
			return false;
		}
		if (conn->framing_chunked && conn->chunk_left == 0)
			put_chunk_head(conn);
		if (!write_piece(conn))
			return false;
	}
	return false; /* others want their turn; the socket has room and wakes us */
}
