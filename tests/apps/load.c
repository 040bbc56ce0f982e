/* SPDX-License-Identifier: MIT */
/*
 * weir-load: an open-loop HTTP client.  Requests are sent when a Poisson (or
 * even) schedule says so, whether or not earlier ones were answered, and latency
 * counts from the scheduled time: a server that stalls cannot slow its own
 * measurement down (no coordinated omission).  One thread, one connection for
 * each request under way, kept and used again last in first out.
 *
 * With --sessions N requests belong to N clients that are not equally busy (the
 * i-th comes with weight 1/i) and keep the cookie the server gave them.
 *
 * One JSON line for each --rate: what was offered, what was answered, quantiles,
 * and with --buckets the histogram [[lower_us, count], ...].
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/addr.h"
#include "weir/base/clock.h"
#include "weir/base/list.h"
#include "weir/base/parse.h"
#include "weir/base/rng.h"
#include "weir/stats/hist.h"

#define CONNS_MAX 20000
#define SESSIONS_MAX 100000
#define STEPS_MAX 64
#define HEAD_MAX 4096
#define DRAIN_US 5000000 /* for answers after the last request of a step */

struct session {
	char cookie[256]; /* "name=value", empty: not known yet */
	double upto;      /* running sum of weights */
};

struct conn {
	struct conn *next; /* idle ones */
	int fd;
	bool connecting;
	uint64_t due_us; /* scheduled time of the request under way */
	struct session *session;
	char head[HEAD_MAX + 1];
	size_t head_len;
	bool in_body;
	uint64_t body_left;
};

struct load {
	struct addr target;
	char host[ADDR_TEXT_MAX];
	const char *path;
	bool even, buckets;
	uint64_t max_conns;
	struct session *sessions; /* owns */
	size_t n_sessions;
	struct rng rng;
	int epoll;
	struct conn *idle;
	uint64_t n_conns, n_busy;
	/* of the step */
	struct hist *hist;
	uint64_t n_sent, n_ok, n_errors, n_skipped;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- random ---- */

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

static struct session *draw_session(struct load *l)
{
	if (!l->n_sessions)
		return NULL;
	double at = uniform(&l->rng) * l->sessions[l->n_sessions - 1].upto;
	size_t low = 0, high = l->n_sessions - 1;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (l->sessions[mid].upto < at)
			low = mid + 1;
		else
			high = mid;
	}
	return &l->sessions[low];
}

/* ---- connections ---- */

static void conn_drop(struct load *l, struct conn *c)
{
	close(c->fd);
	free(c);
	l->n_conns--;
	l->n_busy--;
}

static void conn_failed(struct load *l, struct conn *c)
{
	l->n_errors++;
	conn_drop(l, c);
}

static void conn_send(struct load *l, struct conn *c)
{
	char text[1024];
	const char *cookie = c->session ? c->session->cookie : "";
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", l->path,
			 l->host, *cookie ? "Cookie: " : "", cookie, *cookie ? "\r\n" : "");
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		conn_failed(l, c);
}

static struct conn *conn_open(struct load *l)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;
	if (!c)
		die("calloc");
	c->fd = socket(l->target.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->connecting = connect(c->fd, &l->target.sa, l->target.len) != 0;
	if (c->connecting && errno != EINPROGRESS)
		die("connect");
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev))
		die("epoll_ctl");
	l->n_conns++;
	return c;
}

static void request(struct load *l, uint64_t due_us)
{
	struct conn *c = l->idle;
	if (c)
		l->idle = c->next;
	else if (l->n_conns < l->max_conns)
		c = conn_open(l);
	if (!c) {
		l->n_skipped++;
		return;
	}
	l->n_sent++;
	l->n_busy++;
	c->due_us = due_us;
	c->session = draw_session(l);
	c->head_len = 0;
	c->in_body = false;
	if (!c->connecting)
		conn_send(l, c);
}

/* ---- answers ---- */

static void learn_cookie(struct conn *c)
{
	const char *at = strcasestr(c->head, "\r\nset-cookie:");
	if (!at || !c->session)
		return;
	at += strlen("\r\nset-cookie:");
	at += strspn(at, " ");
	size_t n = strcspn(at, ";\r");
	if (n < sizeof(c->session->cookie)) {
		memcpy(c->session->cookie, at, n);
		c->session->cookie[n] = '\0';
	}
}

static void conn_done(struct load *l, struct conn *c)
{
	hist_record(l->hist, clock_us() - c->due_us);
	l->n_busy--;
	if (strncmp(c->head + 9, "200", 3) == 0)
		l->n_ok++;
	else
		l->n_errors++;
	learn_cookie(c);
	c->next = l->idle;
	l->idle = c;
}

/* False when the answer is broken. */
static bool take(struct load *l, struct conn *c, const char *bytes, size_t n)
{
	if (!c->in_body) {
		size_t room = HEAD_MAX - c->head_len, part = n < room ? n : room;
		memcpy(c->head + c->head_len, bytes, part);
		size_t before = c->head_len;
		c->head_len += part;
		c->head[c->head_len] = '\0';
		char *end = strstr(c->head, "\r\n\r\n");
		if (!end)
			return c->head_len < HEAD_MAX;
		end[2] = '\0';
		const char *length = strcasestr(c->head, "\r\ncontent-length:");
		if (!length)
			return false;
		c->body_left = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
		c->in_body = true;
		n -= (size_t)(end + 4 - c->head) - before;
	}
	if (n > c->body_left)
		return false;
	c->body_left -= n;
	if (c->body_left == 0)
		conn_done(l, c);
	return true;
}

static bool is_idle(const struct conn *c)
{
	return c->in_body && c->body_left == 0;
}

/* The server closed a connection that waits: out of the list. */
static void forget_idle(struct load *l, struct conn *c)
{
	for (struct conn **at = &l->idle; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	l->n_busy++; /* conn_drop counts it out */
	conn_drop(l, c);
}

static void on_event(struct load *l, struct conn *c, uint32_t events)
{
	char room[65536];
	if (c->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		int err = 0;
		socklen_t len = sizeof(err);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		c->connecting = false;
		if (err)
			conn_failed(l, c);
		else
			conn_send(l, c);
		return; /* an answer comes with an edge of its own */
	}
	for (;;) {
		ssize_t n = recv(c->fd, room, sizeof(room), 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (is_idle(c)) {
			forget_idle(l, c);
			return;
		}
		if (n <= 0 || !take(l, c, room, (size_t)n)) {
			conn_failed(l, c);
			return;
		}
	}
}

static void run_events(struct load *l, uint64_t until_us)
{
	struct epoll_event events[256];
	uint64_t now = clock_us(), wait = until_us > now ? until_us - now : 0;
	struct timespec ts = {(time_t)(wait / 1000000), (long)(wait % 1000000) * 1000};
	int n = epoll_pwait2(l->epoll, events, 256, &ts, NULL);
	for (int i = 0; i < n; i++)
		on_event(l, events[i].data.ptr, events[i].events);
}

/* ---- a step ---- */

static void report(const struct load *l, double rate, double seconds)
{
	struct hist_total t = {0};
	hist_total_add_hist(&t, l->hist);
	printf("{\"offered\": %.1f, \"seconds\": %.2f, \"sent\": %llu, \"ok\": %llu, "
	       "\"errors\": %llu, \"skipped\": %llu, \"rate\": %.1f, \"mean_us\": %.0f",
	       rate, seconds, (unsigned long long)l->n_sent, (unsigned long long)l->n_ok,
	       (unsigned long long)l->n_errors, (unsigned long long)l->n_skipped,
	       (double)l->n_ok / seconds, hist_total_mean_us(&t));
	static const double q[] = {0.5, 0.9, 0.95, 0.99, 0.999};
	static const char *const names[] = {"p50", "p90", "p95", "p99", "p999"};
	for (size_t i = 0; i < ARRAY_LEN(q); i++)
		printf(", \"%s_us\": %llu", names[i],
		       (unsigned long long)hist_total_quantile(&t, q[i]));
	if (l->buckets) {
		const char *comma = "";
		printf(", \"buckets\": [");
		for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
			if (!t.count[i])
				continue;
			printf("%s[%llu, %llu]", comma, (unsigned long long)hist_lower_us(i),
			       (unsigned long long)t.count[i]);
			comma = ", ";
		}
		printf("]");
	}
	printf("}\n");
	fflush(stdout);
}

static void run_step(struct load *l, double rate, uint64_t span_us)
{
	uint64_t begin = clock_us(), end = begin + span_us;
	double due = (double)begin;
	l->n_sent = l->n_ok = l->n_errors = l->n_skipped = 0;
	l->hist = hist_new();
	if (!l->hist)
		die("hist_new");
	while (due < (double)end) {
		uint64_t now = clock_us();
		while (due <= (double)now && due < (double)end) {
			request(l, (uint64_t)due);
			due += (l->even ? 1 : -log(uniform(&l->rng))) * 1e6 / rate;
		}
		run_events(l, (uint64_t)fmin(due, (double)end));
	}
	uint64_t late = clock_us() + DRAIN_US;
	while (l->n_busy && clock_us() < late)
		run_events(l, late);
	report(l, rate, (double)span_us / 1e6);
	hist_free(l->hist);
}

/* ---- the command ---- */

static const char usage[] = "usage: weir-load --target HOST:PORT --rate R[,R...] [OPTIONS]\n"
			    "An open-loop HTTP client: latency counts from the scheduled time.\n\n"
			    "  --rate R,R,...     requests per second, one step after the other\n"
			    "  --seconds T        length of a step, as in 500ms or 5s   [5s]\n"
			    "  --path PATH        what is asked for                      [/]\n"
			    "  --even             evenly spaced instead of Poisson\n"
			    "  --sessions N       unequally busy clients that keep their cookie\n"
			    "  --connections N    at most so many                        [4000]\n"
			    "  --buckets          print the histogram, too\n"
			    "  --seed N           of the schedule                        [1]\n";

static _Noreturn void usage_error(const char *what)
{
	fprintf(stderr, "weir-load: %s\n\n%s", what, usage);
	exit(2);
}

static void make_sessions(struct load *l, uint64_t n)
{
	double sum = 0;
	l->sessions = calloc(n, sizeof(*l->sessions));
	if (!l->sessions)
		die("calloc");
	l->n_sessions = n;
	for (uint64_t i = 0; i < n; i++)
		l->sessions[i].upto = sum += 1 / (double)(i + 1);
}

static size_t parse_rates(const char *text, double *rates)
{
	size_t n = 0;
	for (char *end; n < STEPS_MAX; text = end + 1) {
		rates[n] = strtod(text, &end);
		if (end == text || !(rates[n] > 0 && rates[n] <= 1e6))
			usage_error("--rate needs numbers above 0");
		n++;
		if (*end != ',')
			return *end ? usage_error("--rate needs numbers and commas"), 0 : n;
	}
	return n;
}

static uint64_t number(const char *text, uint64_t max)
{
	uint64_t n;
	if (!parse_u64(view_str(text), &n) || n > max)
		usage_error("a number is wrong or too large");
	return n;
}

int main(int argc, char **argv)
{
	enum { TARGET = 1, RATE, SECONDS, PATH, EVEN, SESSIONS, CONNECTIONS, BUCKETS, SEED, HELP };
	static const struct option options[] = {{"target", 1, NULL, TARGET},
						{"rate", 1, NULL, RATE},
						{"seconds", 1, NULL, SECONDS},
						{"path", 1, NULL, PATH},
						{"even", 0, NULL, EVEN},
						{"sessions", 1, NULL, SESSIONS},
						{"connections", 1, NULL, CONNECTIONS},
						{"buckets", 0, NULL, BUCKETS},
						{"seed", 1, NULL, SEED},
						{"help", 0, NULL, HELP},
						{0}};
	struct load l = {.path = "/", .max_conns = 4000};
	double rates[STEPS_MAX];
	uint64_t seconds_us = 5000000, seed = 1;
	size_t n_rates = 0;
	bool targeted = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (c) {
		case TARGET:
			if (!addr_parse(view_str(optarg), &l.target))
				usage_error("--target must be an address with a port");
			targeted = true;
			break;
		case RATE:
			n_rates = parse_rates(optarg, rates);
			break;
		case SECONDS:
			if (!parse_duration_us(view_str(optarg), &seconds_us))
				usage_error("--seconds needs a duration, as in 5s");
			break;
		case PATH:
			l.path = optarg;
			break;
		case EVEN:
			l.even = true;
			break;
		case SESSIONS:
			make_sessions(&l, number(optarg, SESSIONS_MAX));
			break;
		case CONNECTIONS:
			l.max_conns = number(optarg, CONNS_MAX);
			break;
		case BUCKETS:
			l.buckets = true;
			break;
		case SEED:
			seed = number(optarg, UINT64_MAX);
			break;
		case HELP:
			fputs(usage, stdout);
			return 0;
		default:
			return 2;
		}
	if (!targeted || !n_rates)
		usage_error("--target and --rate are needed");
	prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
	rng_init(&l.rng, seed);
	addr_format(&l.target, l.host);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l.epoll < 0)
		die("epoll_create1");
	for (size_t i = 0; i < n_rates; i++)
		run_step(&l, rates[i], seconds_us);
	while (l.idle) {
		struct conn *c = l.idle;
		l.idle = c->next;
		l.n_busy++; /* conn_drop counts it out */
		conn_drop(&l, c);
	}
	free(l.sessions);
	return 0;
}
