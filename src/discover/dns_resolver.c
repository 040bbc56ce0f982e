/* SPDX-License-Identifier: MIT */
/* c-ares on our loop: its sockets, its time, its servers. */
#ifdef WEIR_DNS
#include "dns_resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

#define RESOLV_CONF "/etc/resolv.conf"

void dns_schedule(struct dns *dns)
{
	struct timeval room, *tv = ares_timeout(dns->channel, NULL, &room);
	if (!tv)
		timer_clear(&dns->timer);
	else
		timer_set(&dns->discover->loop->timers, &dns->timer,
			  clock_us() + (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec);
}

static void on_socket(struct ev_loop *ev, ev_io *io, int revents)
{
	struct dns_socket *s = io->data;
	struct dns *dns = s->dns;
	(void)ev;
	ares_process_fd(dns->channel, revents & EV_READ ? io->fd : ARES_SOCKET_BAD,
			revents & EV_WRITE ? io->fd : ARES_SOCKET_BAD);
	dns_schedule(dns);
}

static void on_timer(struct timer *timer)
{
	struct dns *dns = container_of(timer, struct dns, timer);
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_schedule(dns);
}

static struct dns_socket *socket_of(struct dns *dns, int fd)
{
	for (size_t i = 0; i < DNS_SOCKETS_MAX; i++)
		if (dns->sockets[i].io.fd == fd)
			return &dns->sockets[i];
	return NULL;
}

/* c-ares says what it waits for.  A socket that finds no place is served by the timer. */
static void on_interest(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = arg;
	struct ev_loop *ev = dns->discover->loop->ev;
	struct dns_socket *s = socket_of(dns, fd);
	int events = (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
	if (s)
		ev_io_stop(ev, &s->io);
	else
		s = socket_of(dns, -1);
	if (!s)
		return;
	ev_io_init(&s->io, on_socket, events ? fd : -1, events);
	s->io.data = s;
	if (events)
		ev_io_start(ev, &s->io);
}

static void set_servers(struct dns *dns, const struct conf_dns *conf)
{
	struct str text = STR_INIT;
	struct addr addr;
	char ip[ADDR_IP_TEXT_MAX];
	for (size_t i = 0; i < conf->servers.n; i++) {
		struct view v = conf->servers.rows[i];
		if (!addr_parse(v, &addr) && !addr_parse_ip(v, &addr))
			continue;
		bool v6 = addr.sa.sa_family == AF_INET6;
		addr_format_ip(&addr, ip);
		str_printf(&text, "%s%s%s%s:%u", text.len ? "," : "", v6 ? "[" : "", ip,
			   v6 ? "]" : "", addr_port(&addr) ? addr_port(&addr) : 53);
	}
	if (text.len)
		ares_set_servers_ports_csv(dns->channel, text.ptr);
	str_fini(&text);
}

const char *discover_library(void)
{
	static char text[32];
	snprintf(text, sizeof(text), "c-ares %s", ares_version(NULL));
	return text;
}

static struct timespec resolv_mtime(void)
{
	struct stat st;
	return stat(RESOLV_CONF, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

struct dns *dns_new(struct discover *d)
{
	const struct conf_dns *conf = &d->conf->dns;
	struct dns *dns = calloc(1, sizeof(*dns));
	check(dns != NULL && ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
	dns->discover = d;
	dns->timer.fn = on_timer;
	dns->resolv_mtime = resolv_mtime();
	for (size_t i = 0; i < DNS_SOCKETS_MAX; i++) {
		dns->sockets[i].dns = dns;
		dns->sockets[i].io.fd = -1;
	}
	struct ares_options options = {
	    .timeout = (int)(conf->timeout_us / 1000),
	    .tries = (int)conf->tries,
	    .sock_state_cb = on_interest,
	    .sock_state_cb_data = dns,
	};
	int status = ares_init_options(
	    &dns->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		ares_library_cleanup();
		free(dns);
		return NULL;
	}
	set_servers(dns, conf);
	return dns;
}

void dns_free(struct dns *dns)
{
	if (!dns)
		return;
	ares_destroy(dns->channel);
	timer_del(&dns->timer);
	ares_library_cleanup();
	free(dns);
}

bool dns_is_stale(const struct dns *dns)
{
	struct timespec now = resolv_mtime();
	return !dns->discover->conf->dns.servers.n &&
	       (now.tv_sec != dns->resolv_mtime.tv_sec || now.tv_nsec != dns->resolv_mtime.tv_nsec);
}
#else
#include "source.h"

const char *discover_library(void)
{
	return NULL;
}
#endif
