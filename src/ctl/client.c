/* SPDX-License-Identifier: MIT */
/*
 * A reader that pulls: each step asks the socket for what it needs next, so the
 * answer's framing (RFC 9112 6) reads from top to bottom.  weir's own daemon is
 * on the other side, yet sizes are bounded: the path may name any socket.
 */
#include "client.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/base64.h"
#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/parse.h"

#define LINE_BYTES 8192
#define HEAD_LINES 200
#define BODY_BYTES ((size_t)256 << 20)
#define RETRY_MS 1000

struct reader {
	int fd;
	unsigned timeout_s; /* for each wait */
	size_t pos;
	size_t len;
	bool timed_out;
	bool said;  /* something has come */
	bool again; /* 503 with Retry-After: nothing was done */
	char buf[16384];
};

struct framing {
	bool chunked;
	bool sized;
	uint64_t length;
};

/* A signal, or that we were stopped for a while, does not begin the wait anew, as it would with
 * SO_RCVTIMEO. */
static bool wait_for(int fd, short events, unsigned timeout_s)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t end_us = clock_us() + (uint64_t)timeout_s * 1000000;
	for (;;) {
		uint64_t now_us = clock_us();
		uint64_t left_us = end_us > now_us ? end_us - now_us : 0;
		int n = poll(&p, 1, (int)((left_us + 999) / 1000));
		if (n >= 0 || errno != EINTR)
			return n > 0;
	}
}

static ssize_t reader_fill(struct reader *r)
{
	ssize_t n = -1;
	r->timed_out = !wait_for(r->fd, POLLIN, r->timeout_s);
	if (!r->timed_out) {
		do
			n = recv(r->fd, r->buf, sizeof(r->buf), 0);
		while (n < 0 && errno == EINTR);
	}
	r->pos = 0;
	r->len = n > 0 ? (size_t)n : 0;
	r->said |= n > 0;
	return n;
}

/* A line without its end; false at the end of input or when it is too long. */
static bool read_line(struct reader *r, char line[LINE_BYTES])
{
	size_t n = 0;
	for (;;) {
		if (r->pos == r->len && reader_fill(r) <= 0)
			return false;
		char c = r->buf[r->pos++];
		if (c == '\n')
			break;
		if (n == LINE_BYTES - 1)
			return false;
		line[n++] = c;
	}
	if (n && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return true;
}

static bool read_bytes(struct reader *r, uint64_t n, struct str *out)
{
	if (n > BODY_BYTES || out->len + n > BODY_BYTES)
		return false;
	while (n) {
		if (r->pos == r->len && reader_fill(r) <= 0)
			return false;
		size_t part = r->len - r->pos < n ? r->len - r->pos : (size_t)n;
		str_put(out, r->buf + r->pos, part);
		r->pos += part;
		n -= part;
	}
	return !out->overflow;
}

static bool read_to_end(struct reader *r, struct str *out)
{
	ssize_t n = 1;
	while (r->pos < r->len || (n = reader_fill(r)) > 0)
		if (!read_bytes(r, r->len - r->pos, out))
			return false;
	return n == 0;
}

static bool parse_chunk_size(const char *line, uint64_t *size)
{
	char *end;
	if (!strchr("0123456789abcdefABCDEF", line[0]) || !line[0])
		return false;
	errno = 0;
	*size = strtoull(line, &end, 16);
	return errno == 0 && (*end == '\0' || *end == ';' || *end == ' ');
}

static bool read_chunks(struct reader *r, struct str *out)
{
	char line[LINE_BYTES];
	for (;;) {
		uint64_t size;
		if (!read_line(r, line) || !parse_chunk_size(line, &size))
			return false;
		if (size == 0)
			break;
		if (!read_bytes(r, size, out) || !read_line(r, line) || line[0])
			return false;
	}
	for (int i = 0; i < HEAD_LINES; i++) {
		if (!read_line(r, line))
			return false;
		if (!line[0])
			return true;
	}
	return false;
}

static bool parse_status_line(const char *line, int *status)
{
	uint64_t code;
	struct view v = view_str(line);
	if (!view_starts(v, VIEW("HTTP/1.")) || v.len < 12)
		return false;
	if (!parse_u64(view_of(line + 9, 3), &code) || code < 100 || code > 599)
		return false;
	*status = (int)code;
	return true;
}

static bool read_head(struct reader *r, int *status, struct framing *framing)
{
	char line[LINE_BYTES];
	*framing = (struct framing){0};
	if (!read_line(r, line) || !parse_status_line(line, status))
		return false;
	for (int i = 0; i < HEAD_LINES; i++) {
		if (!read_line(r, line))
			return false;
		if (!line[0])
			return true;
		ptrdiff_t colon = view_chr(view_str(line), ':');
		if (colon < 0)
			return false;
		struct view name = view_of(line, (size_t)colon);
		struct view value = view_trim(view_str(line + colon + 1));
		r->again |= *status == 503 && view_ieq(name, VIEW("retry-after"));
		if (view_ieq(name, VIEW("transfer-encoding")))
			framing->chunked = view_ieq(value, VIEW("chunked"));
		if (view_ieq(name, VIEW("content-length"))) {
			framing->sized = parse_u64(value, &framing->length);
			if (!framing->sized)
				return false;
		}
	}
	return false;
}

static bool read_answer(struct reader *r, int *status, struct str *body)
{
	struct framing framing;
	do
		if (!read_head(r, status, &framing))
			return false;
	while (*status < 200);
	if (*status == 204 || *status == 304)
		return true;
	if (framing.chunked)
		return read_chunks(r, body);
	if (framing.sized)
		return read_bytes(r, framing.length, body);
	return read_to_end(r, body);
}

/* Whether everybody may make what is in this directory, or somebody else made a part of its path
 * where everybody may. */
static bool others_may_put(const char *dir)
{
	char path[PATH_MAX] = "";
	struct stat st;
	bool open_to_all = false;
	if (dir[0] != '/' && !getcwd(path, sizeof(path)))
		return true;
	size_t len = strlen(path);
	if (snprintf(path + len, sizeof(path) - len, "/%s", dir) >= (int)(sizeof(path) - len))
		return true;
	for (char *end = path; *end;) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		char rest = *end;
		*end = '\0';
		if (lstat(path, &st) || (open_to_all && st.st_uid != 0 && st.st_uid != geteuid()) ||
		    stat(path, &st))
			return true;
		open_to_all = (st.st_mode & 002) != 0;
		*end = rest;
	}
	return open_to_all;
}

/*
 * Where everybody may put a socket, the one who answers has to be us or root: he sees
 * what we ask for, and what we are told is his.
 */
static bool is_trusted(int fd, const char *path, struct str *why)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	file_directory(path, dir, sizeof(dir));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.uid == 0 ||
	    peer.uid == geteuid())
		return true;
	if (!others_may_put(dir))
		return true;
	str_printf(
	    why,
	    "%s is answered by user %u, who is neither you nor root, and everybody may put a "
	    "socket there: it may not be weir's",
	    path, (unsigned)peer.uid);
	return false;
}

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

static enum client_result say_unreachable(const char *path, int error, struct str *why)
{
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		str_printf(why, "%s is no socket: name weir's status.socket with -s", path);
		return CLIENT_UNREACHABLE;
	}
	switch (error) {
	case ENOENT:
		str_printf(why,
			   "no socket at %s: is weir running? 'systemctl status weir' tells, 'weir "
			   "-c FILE' starts it. Its socket is status.socket in the configuration; "
			   "name another with -s or $WEIR_SOCKET",
			   path);
		return CLIENT_UNREACHABLE;
	case ECONNREFUSED:
		str_printf(why, "nobody listens on %s: weir is not running; its log says why",
			   path);
		return CLIENT_UNREACHABLE;
	case EACCES:
	case EPERM:
		str_printf(why,
			   "no permission to use %s: run weirctl as root, as its owner or, where "
			   "status.mode lets them, as a member of its group",
			   path);
		return CLIENT_FORBIDDEN;
	default:
		str_printf(why, "cannot connect to %s: %s", path, strerror(error));
		return CLIENT_UNREACHABLE;
	}
}

/* The connected socket, or -1 with errno set. */
static int connect_to(const char *path, unsigned timeout_s)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = (time_t)timeout_s};
	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	int failed;
	do
		failed = connect(fd, (struct sockaddr *)&un, sizeof(un));
	while (failed && errno == EINTR);
	if (failed) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
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
static enum client_result exchange(struct reader *r, const struct client_request *req,
				   struct peer peer, struct client_answer to)
{
	/* a refusal may arrive although the request could not be sent in full: read anyway */
	send_request(r->fd, req, peer.host);
	bool ok = read_answer(r, to.status, to.body);
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
typedef enum client_result call_fn(struct reader *r, const char *where,
				   const struct client_request *req, struct client_answer to);

/*
 * A process that hands over to another at this moment says that it has done nothing, or leaves
 * with a request that it has not read: the other one is asked, a second later.
 */
static enum client_result call_twice(call_fn *call, const char *where,
				     const struct client_request *req, struct client_answer to)
{
	struct reader r = {0};
	enum client_result result = call(&r, where, req, to);
	bool left = result == CLIENT_BROKEN && !r.said && strcmp(req->method, "GET") == 0;
	if (!left && !(result == CLIENT_OK && r.again))
		return result;
	str_reset(to.body);
	str_reset(to.why);
	poll(NULL, 0, RETRY_MS);
	r = (struct reader){0};
	return call(&r, where, req, to);
}

static enum client_result call_socket(struct reader *r, const char *path,
				      const struct client_request *req, struct client_answer to)
{
	r->fd = connect_to(path, req->timeout_s);
	r->timeout_s = req->timeout_s;
	if (r->fd < 0)
		return say_unreachable(path, errno, to.why);
	if (!is_trusted(r->fd, path, to.why)) {
		close(r->fd);
		return CLIENT_FORBIDDEN;
	}
	return exchange(r, req, (struct peer){path, "weir", "socket"}, to);
}

enum client_result client_call(const char *socket_path, const struct client_request *req,
			       int *status, struct str *body, struct str *why)
{
	return call_twice(call_socket, socket_path, req, (struct client_answer){status, body, why});
}

/* ---- over TCP ---- */

/* Host and port of "a:8404" or "[::1]:8404". */
static bool split_node(const char *node, char host[NI_MAXHOST], const char **port)
{
	const char *colon = strrchr(node, ':');
	size_t len = colon ? (size_t)(colon - node) : 0;
	bool bracketed = len > 2 && node[0] == '[' && node[len - 1] == ']';
	if (bracketed) {
		node++;
		len -= 2;
	}
	if (!len || len >= NI_MAXHOST || !colon[1] || (!bracketed && memchr(node, ':', len)))
		return false;
	memcpy(host, node, len);
	host[len] = '\0';
	*port = colon + 1;
	return true;
}

/* errno says why not.  One that a signal interrupts goes on. */
static bool connects(int fd, const struct addrinfo *to, unsigned timeout_s)
{
	int error = ETIMEDOUT;
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return true;
	if (errno != EINTR)
		return false;
	if (wait_for(fd, POLLOUT, timeout_s))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	errno = error;
	return error == 0;
}

/* The first address that takes the connection, or -1 with errno set; `at` gets it as text. */
static int connect_first(const struct addrinfo *list, unsigned timeout_s, struct str *at)
{
	struct timeval limit = {.tv_sec = (time_t)timeout_s};
	char ip[NI_MAXHOST], port[NI_MAXSERV];
	int error = ENOENT;
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connects(fd, a, timeout_s) &&
		    getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof(ip), port, sizeof(port),
				NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
			str_printf(at, a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", ip, port);
			return fd;
		}
		error = errno == EINPROGRESS ? ETIMEDOUT : errno;
		close(fd);
	}
	errno = error;
	return -1;
}

static int connect_node(const char *node, unsigned timeout_s, struct str *at, struct str *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char host[NI_MAXHOST];
	const char *port = NULL;
	if (!split_node(node, host, &port)) {
		str_printf(why, "%s is not of the form HOST:PORT", node);
		return -1;
	}
	int wrong = getaddrinfo(host, port, &hints, &list);
	if (wrong) {
		str_printf(why, "cannot find %s: %s", node, gai_strerror(wrong));
		return -1;
	}
	int fd = connect_first(list, timeout_s, at);
	if (fd < 0)
		str_printf(why, "cannot connect to %s: %s", node, strerror(errno));
	freeaddrinfo(list);
	return fd;
}

static enum client_result call_node(struct reader *r, const char *node,
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
