/* SPDX-License-Identifier: MIT */
/* Clients and backends of a script: who they are, and turns of all of them. */
#include "script_parts.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/parse.h"

static void address_of(struct script *s, const char *name, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", s->world->dir, name);
}

static struct peer *client(struct script *s, unsigned i)
{
	struct sockaddr_un to;
	if (s->clients[i])
		return s->clients[i];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address_of(s, "web", &to);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		script_fail(s, "cannot connect to weir");
	world_settle(s->world);
	s->clients[i] = peer_new(s->world, &s->cut, s->versions[0], fd, false);
	return s->clients[i];
}

void place_listen(struct script *s, unsigned i)
{
	struct sockaddr_un at;
	char name[8];
	snprintf(name, sizeof(name), "b%u", i + 1);
	address_of(s, name, &at);
	unlink(at.sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 64))
		script_fail(s, "cannot listen");
	s->places[i].listener = fd;
}

void place_refuse(struct place *place)
{
	if (place->listener >= 0)
		close(place->listener);
	place->listener = -1;
}

static bool place_accept(struct script *s, struct place *place)
{
	if (place->listener < 0 || place->idle_at == kernel_moves())
		return false;
	int fd = accept4(place->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		place->idle_at = kernel_moves();
		return false;
	}
	if (place->n_conns == CONNS_MAX)
		script_fail(s, "too many connections to a backend");
	place->at = peer_new(s->world, &s->cut, s->versions[1], fd, true);
	place->conns[place->n_conns++] = place->at;
	return true;
}

/* One round of everybody; false: nothing moved, and nothing does of itself. */
bool script_round(struct script *s)
{
	bool any = world_turn(s->world);
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		any |= s->clients[i] && peer_pump(s->clients[i]);
	for (unsigned i = 0; i < s->n_backends; i++) {
		any |= place_accept(s, &s->places[i]);
		for (unsigned k = 0; k < s->places[i].n_conns; k++)
			any |= peer_pump(s->places[i].conns[k]);
	}
	return any;
}

void script_settle(struct script *s)
{
	while (script_round(s))
		;
}

/* A connection of this backend that has something to say about a message. */
struct peer *place_heard(struct place *place)
{
	for (unsigned k = place->n_conns; k-- > 0;) {
		const struct peer_message *m = &place->conns[k]->heard;
		if (m->has_head || m->is_broken)
			return place->conns[k];
	}
	return NULL;
}

/* Who a line is about; *place is NULL for a client. */
struct peer *script_who(struct script *s, struct view name, struct place **place)
{
	uint64_t n = 1;
	*place = NULL;
	if (view_starts(name, VIEW("client"))) {
		struct view number = view_skip(name, 6);
		if (number.len && (!parse_u64(number, &n) || n < 1 || n > CLIENTS_MAX))
			script_fail(s, "there are clients 1 to %d", CLIENTS_MAX);
		return client(s, (unsigned)n - 1);
	}
	if (!view_starts(name, VIEW("b")) || !parse_u64(view_skip(name, 1), &n) || n < 1 ||
	    n > s->n_backends)
		script_fail(s, "who is '" VIEW_FMT "'?", VIEW_ARG(name));
	*place = &s->places[n - 1];
	return (*place)->at;
}
