/* SPDX-License-Identifier: MIT */
/*
 * A file of members, watched.  What is watched is its directory: a new file that is renamed
 * over the old one is another inode, and mounted configuration (Kubernetes) changes a link
 * beside it.  Where nothing tells of changes, as on NFS, it is read every half minute.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "source.h"

#include "weir/base/check.h"
#include "weir/base/file.h"

#define FILE_MAX (8u << 20)
#define LOOK_US UINT64_C(30000000)
/* Of several events in a row: an editor's, or a writer's that writes in pieces. */
#define SETTLE_US UINT64_C(20000)
/* A directory in which something happens all the time is read nevertheless. */
#define SETTLE_MOST_US UINT64_C(200000)
#define EVENTS                                                                              \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | \
	 IN_DELETE_SELF | IN_MOVE_SELF)

struct watch {
	ev_io io; /* fd -1: nobody tells of changes */
	struct source *source;
	int wd;
	struct str text; /* as it was understood last; owns */
	bool read;
	uint64_t told_us; /* of the first change since it was read; 0: of none */
};

static void unwatch(struct watch *w)
{
	if (w->io.fd < 0)
		return;
	ev_io_stop(w->source->discover->loop->ev, &w->io);
	close(w->io.fd);
	w->io.fd = -1;
}

/* The directory may be another one by now. */
static void watch_directory(struct watch *w)
{
	char directory[4096];
	file_directory(w->source->conf->text.ptr, directory, sizeof(directory));
	if (w->wd >= 0)
		inotify_rm_watch(w->io.fd, w->wd);
	w->wd = inotify_add_watch(w->io.fd, directory, EVENTS);
}

static void settle(struct watch *w)
{
	struct loop *loop = w->source->discover->loop;
	if (!w->told_us)
		w->told_us = loop->now_us;
	uint64_t due = loop->now_us + SETTLE_US, last = w->told_us + SETTLE_MOST_US;
	timer_set(&loop->timers, &w->source->timer, due < last ? due : last);
}

static void on_event(struct ev_loop *ev, ev_io *io, int revents)
{
	struct watch *w = io->data;
	char events[4096] __attribute__((aligned(8)));
	bool lost = false;
	ssize_t n;
	(void)ev;
	(void)revents;
	while ((n = read(io->fd, events, sizeof(events))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(events + at);
			lost |= (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0 &&
				e->wd == w->wd;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	if (lost)
		watch_directory(w);
	settle(w);
}

/* ---- reading ---- */

static void answer(struct source *s, const struct conf_members *members)
{
	struct found *rows = arena_array(members->arena, members->n, sizeof(*rows));
	for (size_t i = 0; i < members->n; i++)
		rows[i] = (struct found){.backend = members->rows[i], .cause = VIEW("listed")};
	source_answer(s, rows, members->n, NULL);
}

static void understand(struct source *s, struct view text)
{
	struct conf_members members;
	struct conf_diags diags;
	conf_diags_init(&diags);
	if (conf_members_parse(text, s->conf->text.ptr, &members, &diags)) {
		answer(s, &members);
		source_again(s, LOOK_US);
	} else {
		const struct conf_diag *d = &diags.rows[0];
		source_fail(s, "%s:%u:%u: %s", s->conf->text.ptr, d->line, d->column, d->message);
	}
	conf_members_free(&members);
	conf_diags_fini(&diags);
}

static void look(struct source *s)
{
	struct watch *w = s->state;
	struct str text = STR_INIT, reason = STR_INIT;
	w->told_us = 0;
	if (w->io.fd >= 0 && w->wd < 0)
		watch_directory(w);
	if (file_read(s->conf->text.ptr, FILE_MAX, 0, &text, &reason) != ERR_OK) {
		source_fail(s, "%s: cannot be read: %s", s->conf->text.ptr,
			    reason.ptr ? reason.ptr : "");
		w->read = false;
	} else if (w->read && view_eq(str_as_view(&text), str_as_view(&w->text)) && !s->error[0]) {
		source_again(s, LOOK_US);
	} else {
		str_reset(&w->text);
		str_view(&w->text, str_as_view(&text));
		w->read = true;
		understand(s, str_as_view(&w->text));
	}
	str_fini(&text);
	str_fini(&reason);
}

static void file_start(struct source *s)
{
	struct watch *w = calloc(1, sizeof(*w));
	check(w != NULL);
	s->state = w;
	w->source = s;
	w->wd = -1;
	w->text = STR_INIT;
	ev_io_init(&w->io, on_event, inotify_init1(IN_NONBLOCK | IN_CLOEXEC), EV_READ);
	w->io.data = w;
	if (w->io.fd >= 0)
		ev_io_start(s->discover->loop->ev, &w->io);
	look(s);
}

static void file_stop(struct source *s)
{
	struct watch *w = s->state;
	unwatch(w);
	str_fini(&w->text);
	free(w);
	s->state = NULL;
}

const struct source_kind source_file = {
    .keyword = "file",
    .start = file_start,
    .stop = file_stop,
    .ask = look,
};
