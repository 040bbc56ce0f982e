/* SPDX-License-Identifier: MIT */
/* Bound addresses: opened before a generation is published, closed when the last
 * one that names them is gone. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/net/holder.h"
#include "weir/net/inherit.h"
#include "weir/net/socket.h"

static void close_sockets(struct listener *l)
{
	for (unsigned i = 0; i < l->n_workers; i++)
		socket_close(atomic_exchange(&l->fds[i], -1));
	if (addr_is_unix(&l->addr) && !l->unlinked && !inherit_has(&l->addr))
		file_remove_socket(l->addr.un.sun_path, l->file);
	l->unlinked = true;
}

static void listener_free(struct listener *l)
{
	list_del(&l->registry_link);
	free(l->fds);
	free(l);
}

/* One socket a worker; the port the kernel chose for the first goes for all. */
static enum err open_sockets(struct listener *l)
{
	struct addr bound = l->addr;
	bool is_unix = addr_is_unix(&l->addr);
	for (unsigned i = 0; i < l->n_workers && (i == 0 || !is_unix); i++) {
		int fd;
		enum err err = socket_listen(&bound, !is_unix, 0666, &fd);
		if (err)
			return err;
		atomic_store(&l->fds[i], fd);
		if (i == 0 && !is_unix && !socket_local_addr(fd, &bound))
			return ERR_IO;
	}
	if (is_unix)
		l->file = file_identify(l->addr.un.sun_path);
	addr_format(&bound, l->text);
	return ERR_OK;
}

static struct listener *listener_new(struct control *control, const struct addr *addr)
{
	size_t size = sizeof(struct listener) + control->n_workers * sizeof(struct listener_local);
	struct listener *l = aligned_alloc(WEIR_CACHE_LINE, (size + WEIR_CACHE_LINE - 1) /
								WEIR_CACHE_LINE * WEIR_CACHE_LINE);
	check(l != NULL);
	memset(l, 0, size);
	l->addr = *addr;
	l->n_workers = control->n_workers;
	l->fds = calloc(control->n_workers, sizeof(*l->fds));
	check(l->fds != NULL);
	for (unsigned i = 0; i < l->n_workers; i++) {
		atomic_init(&l->fds[i], -1);
		list_init(&l->local[i].shaking);
		list_init(&l->local[i].waiting);
		list_init(&l->local[i].greedy);
	}
	list_push_back(&control->listeners, &l->registry_link);
	return l;
}

/* What this process has at the port, of whatever address and generation, is in nobody's way. */
static bool is_ours(const struct control *control, const struct addr *addr)
{
	uint16_t port = addr_port(addr);
	list_each (it, &control->listeners) {
		const struct listener *l = list_entry(it, struct listener, registry_link);
		if (!addr_is_unix(&l->addr) && addr_port(&l->addr) == port &&
		    atomic_load(&l->fds[0]) >= 0)
			return true;
	}
	return port == 0 || inherit_has_port(port);
}

/* Workers share a port, and would share it with any other process of the same user. */
static bool is_taken(const struct control *control, const struct addr *addr)
{
	return !addr_is_unix(addr) && !is_ours(control, addr) && socket_try(addr) == EADDRINUSE;
}

struct listener *listener_get(struct control *control, const struct addr *addr, struct view text,
			      struct str *why)
{
	list_each (it, &control->listeners) {
		struct listener *l = list_entry(it, struct listener, registry_link);
		if (l->refs > 0 && !l->retired && addr_eq(&l->addr, addr)) {
			l->refs++;
			return l;
		}
	}
	bool taken = is_taken(control, addr);
	struct listener *l = listener_new(control, addr);
	errno = 0;
	if (taken || open_sockets(l)) {
		int number = taken ? EADDRINUSE : errno;
		str_printf(why, "cannot listen on " VIEW_FMT ": ", VIEW_ARG(text));
		if (number == EADDRINUSE)
			holder_say(addr, why);
		else
			str_text(why, number ? strerror(number) : "unknown error");
		str_char(why, '\n');
		l->unlinked = true; /* whoever has it may be alive */
		close_sockets(l);
		listener_free(l);
		return NULL;
	}
	l->refs = 1;
	return l;
}

void listener_put(struct listener *l)
{
	check(l->refs > 0);
	if (--l->refs > 0)
		return;
	close_sockets(l);
}

static bool is_named(const struct generation *gen, const struct listener *l)
{
	for (uint32_t i = 0; i < gen->n_listeners; i++)
		if (gen->listeners[i].listener == l)
			return true;
	return false;
}

void listeners_retire(struct control *control)
{
	list_each (it, &control->listeners) {
		struct listener *l = list_entry(it, struct listener, registry_link);
		l->retired |= !is_named(control->current, l);
	}
}

void listeners_prune(struct control *control)
{
	list_each (it, &control->listeners) {
		struct listener *l = list_entry(it, struct listener, registry_link);
		if (l->refs > 0 && l->retired)
			close_sockets(l);
	}
}

void listeners_keep_files(struct control *control)
{
	list_each (it, &control->listeners)
		list_entry(it, struct listener, registry_link)->unlinked = true;
}

void listeners_close(struct control *control)
{
	list_each (it, &control->listeners)
		close_sockets(list_entry(it, struct listener, registry_link));
}

void listeners_tick(struct control *control)
{
	list_each_safe (it, tmp, &control->listeners) {
		struct listener *l = list_entry(it, struct listener, registry_link);
		/* acquire: the last to let go has done with it; one on its way between two
		 * workers counts, too */
		if (l->refs == 0 && atomic_load_explicit(&l->n_conns, memory_order_acquire) == 0)
			listener_free(l);
	}
}

void listeners_free(struct control *control)
{
	list_each_safe (it, tmp, &control->listeners)
		listener_free(list_entry(it, struct listener, registry_link));
}
