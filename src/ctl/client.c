/* SPDX-License-Identifier: MIT */
/* A request to weir, sent again when nobody has seen it: connect.c makes the connection, answer.c
 * reads what comes. */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "connect.h"

#include "weir/base/base64.h"
#include "weir/base/parse.h"

#define RETRY_MS 1000

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

static void put_authorization(struct str *s, const struct client_request *req)
{
	if (req->token.len) {
		str_printf(s, "Authorization: Bearer " VIEW_FMT "\r\n", VIEW_ARG(req->token));
	} else if (req->user.len) {
		str_text(s, "Authorization: Basic ");
		base64_put(s, req->user, '+', '/');
		for (size_t n = req->user.len; n % 3; n++)
			str_char(s, '=');
		str_text(s, "\r\n");
	}
}

static bool send_request(int fd, const struct client_request *req, const char *host)
{
	struct str s = STR_INIT;
	str_printf(&s,
		   "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weirctl/" WEIR_VERSION
		   "\r\nAccept: application/json\r\nConnection: close\r\n",
		   req->method, req->path, host);
	put_authorization(&s, req);
	if (req->body.len)
		str_text(&s, "Content-Type: application/json\r\n");
	if (req->body.len || strcmp(req->method, "POST") == 0)
		str_printf(&s, "Content-Length: %zu\r\n", req->body.len);
	str_text(&s, "\r\n");
	str_view(&s, req->body);
	bool ok = !s.overflow && send_all(fd, s.ptr, s.len);
	str_fini(&s);
	return ok;
}

/* Whom a request goes to, for people; the Host field; what it is. */
struct peer {
	const char *name, *host, *what;
};

struct client_answer {
	int *status;
	struct str *body, *why;
};

/* Over a connection, which is closed. */
static enum client_result exchange(struct answer_reader *r, const struct client_request *req,
				   struct peer peer, struct client_answer to)
{
	/* a refusal may arrive although the request could not be sent in full: read anyway */
	send_request(r->fd, req, peer.host);
	bool ok = answer_read(r, to.status, to.body);
	close(r->fd);
	if (ok)
		return CLIENT_OK;
	if (r->timed_out) {
		str_printf(to.why,
			   "weir does not answer on %s within %u s: is it overloaded or stopped?",
			   peer.name, req->timeout_s);
		return CLIENT_UNREACHABLE;
	}
	str_printf(to.why, "the answer on %s is no complete HTTP/1.1 response: is that weir's %s?",
		   peer.name, peer.what);
	return CLIENT_BROKEN;
}

/* One connection, one request; `r` tells how it went. */
typedef enum client_result call_fn(struct answer_reader *r, const char *where,
				   const struct client_request *req, struct client_answer to);

/*
 * A process that hands over to another at this moment says that it has done nothing, or leaves
 * with a request that it has not read: the other one is asked, a second later.
 */
static enum client_result call_twice(call_fn *call, const char *where,
				     const struct client_request *req, struct client_answer to)
{
	struct answer_reader r = {0};
	enum client_result result = call(&r, where, req, to);
	bool left = result == CLIENT_BROKEN && !r.said && strcmp(req->method, "GET") == 0;
	if (!left && !(result == CLIENT_OK && r.again))
		return result;
	str_reset(to.body);
	str_reset(to.why);
	poll(NULL, 0, RETRY_MS);
	r = (struct answer_reader){0};
	return call(&r, where, req, to);
}

static enum client_result call_socket(struct answer_reader *r, const char *path,
				      const struct client_request *req, struct client_answer to)
{
	enum client_result result = connect_socket(path, req->timeout_s, &r->fd, to.why);
	r->timeout_s = req->timeout_s;
	if (result != CLIENT_OK)
		return result;
	return exchange(r, req, (struct peer){path, "weir", "socket"}, to);
}

enum client_result client_call(const char *socket_path, const struct client_request *req,
			       int *status, struct str *body, struct str *why)
{
	return call_twice(call_socket, socket_path, req, (struct client_answer){status, body, why});
}

static enum client_result call_node(struct answer_reader *r, const char *node,
				    const struct client_request *req, struct client_answer to)
{
	struct str at = STR_INIT;
	enum client_result result = CLIENT_UNREACHABLE;
	r->fd = connect_node(node, req->connect_s, &at, to.why);
	r->timeout_s = req->timeout_s;
	/* by address: that weir serves under any, under names only those it knows */
	if (r->fd >= 0)
		result = exchange(r, req, (struct peer){node, at.ptr, "status port"}, to);
	str_fini(&at);
	return result;
}

enum client_result client_call_node(const char *node, const struct client_request *req, int *status,
				    struct str *body, struct str *why)
{
	return call_twice(call_node, node, req, (struct client_answer){status, body, why});
}

void client_escape(struct str *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
		if (letter || char_is_digit((char)*p) || strchr("-._~:@", *p))
			str_char(out, (char)*p);
		else
			str_printf(out, "%%%02X", *p);
	}
}
