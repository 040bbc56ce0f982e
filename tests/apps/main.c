/* SPDX-License-Identifier: MIT */
/*
 * weir-app: an app server whose behaviour is chosen by the one who asks.  See
 * --help; the demo, the experiments and the end-to-end tests stand on it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/addr.h"
#include "weir/base/check.h"
#include "weir/base/json.h"
#include "weir/base/parse.h"

#include "app.h"

#define INSTANCES_MAX 1024

struct options {
	struct addr listen;
	uint64_t instances, seed, rcvbuf, sndbuf;
	struct view name;
	struct plan defaults;
	struct view overrides[INSTANCES_MAX]; /* "2:service=50ms" */
	size_t n_overrides;
	struct view shared; /* "workers=2,service=1ms"; empty: none */
};

static const char usage_head[] =
    "usage: weir-app [OPTIONS]\n"
    "An app server for trying load balancers: N instances in one process.\n"
    "When it is ready it prints one JSON line: {\"pid\": N, \"ports\": [...]}.\n\n"
    "  --listen HOST:PORT     first port; 0 lets the system choose   [127.0.0.1:0]\n"
    "  --instances N          number of instances, each on its port  [1]\n"
    "  --name NAME            instances are called NAME-0, NAME-1 .. [app]\n"
    "  --set KEY=VALUE,...    how all instances answer\n"
    "  --instance I:KEY=VALUE,...  how instance I (from 0) answers\n"
    "  --shared workers=C,service=T,dist=D  a bottleneck behind all instances: each\n"
    "                         request passes it while it holds its instance's worker\n"
    "  --seed N               seed of the random service times       [1]\n"
    "  --rcvbuf N, --sndbuf N socket buffers of connections\n\n"
    "Keys (also per request, as query parameter or X-App-KEY header):\n";

static const char usage_tail[] =
    "Only per request:\n"
    "  header        a header line for the answer, \"Name: value\", percent-encoded\n"
    "  raw           all bytes of the answer, percent-encoded; the connection ends then\n\n"
    "Paths: /bytes/N is body=N, /echo is echo=1, anything else answers the name.\n"
    "Of each instance: /_stats (JSON), /_reset (zero them), /_set?KEY=VALUE (change),\n"
    "/_go (answer what hangs).\n";

static _Noreturn void usage_error(const char *what, const char *value)
{
	fprintf(stderr, "weir-app: %s: '%s' (see weir-app --help)\n", what, value);
	exit(2);
}

static void help(void)
{
	struct str rows = STR_INIT;
	plan_help(&rows);
	printf("%s%s%s", usage_head, rows.ptr, usage_tail);
	str_fini(&rows);
}

static uint64_t number(const char *option, const char *text, uint64_t max)
{
	uint64_t n;
	if (!parse_u64(view_str(text), &n) || n > max)
		usage_error(option, text);
	return n;
}

enum option_id {
	O_LISTEN = 256,
	O_INSTANCES,
	O_NAME,
	O_SET,
	O_INSTANCE,
	O_SHARED,
	O_SEED,
	O_RCVBUF,
	O_SNDBUF
};

static const struct option long_options[] = {
    {"listen", required_argument, NULL, O_LISTEN},
    {"instances", required_argument, NULL, O_INSTANCES},
    {"name", required_argument, NULL, O_NAME},
    {"set", required_argument, NULL, O_SET},
    {"instance", required_argument, NULL, O_INSTANCE},
    {"shared", required_argument, NULL, O_SHARED},
    {"seed", required_argument, NULL, O_SEED},
    {"rcvbuf", required_argument, NULL, O_RCVBUF},
    {"sndbuf", required_argument, NULL, O_SNDBUF},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void take_option(struct options *o, int option, const char *value)
{
	switch (option) {
	case O_LISTEN:
		if (!addr_parse(view_str(value), &o->listen) || addr_is_unix(&o->listen))
			usage_error("bad address", value);
		break;
	case O_INSTANCES:
		o->instances = number("bad --instances", value, INSTANCES_MAX);
		break;
	case O_NAME:
		o->name = view_str(value);
		break;
	case O_SET:
		if (!plan_set_list(&o->defaults, view_str(value)))
			usage_error("bad --set", value);
		break;
	case O_INSTANCE:
		if (o->n_overrides == INSTANCES_MAX)
			usage_error("too many --instance", value);
		o->overrides[o->n_overrides++] = view_str(value);
		break;
	case O_SHARED:
		o->shared = view_str(value);
		break;
	case O_SEED:
		o->seed = number("bad --seed", value, UINT64_MAX);
		break;
	case O_RCVBUF:
		o->rcvbuf = number("bad --rcvbuf", value, 1 << 30);
		break;
	case O_SNDBUF:
		o->sndbuf = number("bad --sndbuf", value, 1 << 30);
		break;
	case 'h':
		help();
		exit(0);
	default:
		exit(2);
	}
}

static void parse_options(int argc, char **argv, struct options *o)
{
	*o = (struct options){.instances = 1, .seed = 1, .name = VIEW("app")};
	plan_init(&o->defaults);
	check(addr_parse(VIEW("127.0.0.1:0"), &o->listen));
	int option;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1)
		take_option(o, option, optarg);
	if (optind < argc)
		usage_error("unexpected argument", argv[optind]);
	if (o->instances == 0)
		usage_error("bad --instances", "0");
}

static void apply_override(struct server *server, struct view text)
{
	uint64_t i;
	ptrdiff_t colon = view_chr(text, ':');
	if (colon <= 0 || !parse_u64(view_head(text, (size_t)colon), &i) ||
	    i >= server->n_instances ||
	    !plan_set_list(&server->instances[i].defaults, view_skip(text, (size_t)colon + 1)))
		usage_error("bad --instance", text.ptr);
}

static void apply_shared(struct server *server, const struct options *o)
{
	struct plan plan;
	plan_init(&plan);
	if (!plan_set_list(&plan, o->shared))
		usage_error("bad --shared", o->shared.ptr);
	server->has_shared = o->shared.len > 0;
	server->shared_service_us = plan.service;
	server->shared_dist = (enum plan_dist)plan.dist;
	rng_init(&server->shared_rng, o->seed);
	station_init(&server->shared, plan.workers);
}

static int open_socket(const struct server *server, const struct addr *addr)
{
	int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (server->rcvbuf)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &server->rcvbuf, sizeof(int));
	if (server->sndbuf)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &server->sndbuf, sizeof(int));
	if (bind(fd, &addr->sa, addr->len) == 0 && listen(fd, 4096) == 0)
		return fd;
	close(fd);
	return -1;
}

static void open_instance(struct instance *instance, struct addr addr, size_t i)
{
	/* The port is at the same place in both families. */
	if (addr.in4.sin_port)
		addr.in4.sin_port = htons((uint16_t)(ntohs(addr.in4.sin_port) + i));
	instance->fd = open_socket(instance->server, &addr);
	addr.len = sizeof(addr.in6);
	if (instance->fd < 0 || getsockname(instance->fd, &addr.sa, &addr.len) != 0) {
		fprintf(stderr, "weir-app: cannot listen: %s\n", strerror(errno));
		exit(1);
	}
	instance->port = ntohs(addr.in4.sin_port);
	ev_io_init(&instance->accept_io, conn_accept, instance->fd, EV_READ);
	ev_io_start(instance->server->loop, &instance->accept_io);
}

static void start_instances(struct server *server, const struct options *o)
{
	server->instances = calloc(o->instances, sizeof(struct instance));
	check(server->instances != NULL);
	server->n_instances = o->instances;
	for (size_t i = 0; i < server->n_instances; i++) {
		struct instance *instance = &server->instances[i];
		instance->server = server;
		instance->defaults = o->defaults;
		instance->took = hist_new();
		check(instance->took != NULL);
		snprintf(instance->name, sizeof(instance->name), VIEW_FMT "-%zu", VIEW_ARG(o->name),
			 i);
		rng_init(&instance->rng, o->seed * 1000003 + i);
	}
	for (size_t i = 0; i < o->n_overrides; i++)
		apply_override(server, o->overrides[i]);
	for (size_t i = 0; i < server->n_instances; i++) {
		struct instance *instance = &server->instances[i];
		station_init(&instance->station, instance->defaults.workers);
		list_init(&instance->hanging);
		reply_prepare(instance);
		open_instance(instance, o->listen, i);
	}
}

static void print_ready(const struct server *server)
{
	struct str out = STR_INIT;
	struct json j;
	json_init(&j, &out, false);
	json_object_begin(&j);
	json_member_u64(&j, "pid", (uint64_t)getpid());
	json_key(&j, "ports");
	json_array_begin(&j);
	for (size_t i = 0; i < server->n_instances; i++)
		json_u64(&j, server->instances[i].port);
	json_array_end(&j);
	json_object_end(&j);
	puts(out.ptr);
	fflush(stdout);
	str_fini(&out);
}

static void on_signal(struct ev_loop *loop, ev_signal *signal, int events)
{
	(void)signal, (void)events;
	ev_break(loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct server server;
	static ev_signal on_term, on_int;
	parse_options(argc, argv, &options);
	signal(SIGPIPE, SIG_IGN);
	server.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
	server.rcvbuf = (int)options.rcvbuf;
	server.sndbuf = (int)options.sndbuf;
	if (!server.loop || !timers_init(server.loop)) {
		fprintf(stderr, "weir-app: no event loop: %s\n", strerror(errno));
		return 1;
	}
	ev_signal_init(&on_term, on_signal, SIGTERM);
	ev_signal_init(&on_int, on_signal, SIGINT);
	ev_signal_start(server.loop, &on_term);
	ev_signal_start(server.loop, &on_int);
	apply_shared(&server, &options);
	start_instances(&server, &options);
	print_ready(&server);
	ev_run(server.loop, 0);
	return 0;
}
