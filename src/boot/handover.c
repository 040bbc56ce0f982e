/* SPDX-License-Identifier: MIT */
/*
 * Handing over to a new process, so that weir itself can be replaced without a
 * refused connection.  The new one is started with our command line and gets
 * the listening sockets (net/inherit.h); once it serves, it says so, and we drain.
 * Both have the same queues in the kernel: whatever arrives meanwhile is accepted
 * by one of them.
 *
 *   this process                          the new one
 *   what pools are built with  --file-->  reads it, builds its generation
 *   answers no API call any more <--S---
 *   what was learned           --file, D-->  reads it, runs its workers
 *   drains                       <--R---
 *   what it still has            <-> see before.c
 *
 * An older weir says R alone, and one that gives no file is not asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handover_state.h"
#include "supervisor.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/parse.h"
#include "weir/net/inherit.h"
#include "weir/net/socket.h"

#define READY_ENV "WEIR_READY_FD"
#define STATE_ENV "WEIR_STATE_FD"
#define CLOCK_ENV "WEIR_CLOCK_AHEAD_US"
#define PATIENCE_S 60.0

/* So long the new process waits for what was learned; it serves nobody meanwhile. */
#define STATE_PATIENCE_MS 10000

/* ---- the new process ---- */

static int ready_fd = -1, state_fd = -1;
static struct str legacy; /* owns; blocks of what was learned, until all are read */

static int take_fd(const char *name)
{
	const char *text = getenv(name);
	int fd = text ? atoi(text) : -1;
	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC))
		fd = -1;
	unsetenv(name);
	return fd;
}

bool handover_is_coming(void)
{
	return getenv(READY_ENV) != NULL;
}

void handover_take_clock(void)
{
	const char *text = getenv(CLOCK_ENV);
	uint64_t ahead = 0;
	if (text && parse_u64(view_str(text), &ahead))
		clock_ahead_us = ahead;
	unsetenv(CLOCK_ENV);
}

void handover_init(void)
{
	ready_fd = take_fd(READY_ENV);
	state_fd = take_fd(STATE_ENV);
}

void handover_inherit_early(struct control *control)
{
	struct str blocks = STR_INIT, why = STR_INIT;
	if (state_fd >= 0 && state_load(state_fd, &blocks, &why))
		state_unpack_early(str_as_view(&blocks), control);
	else if (state_fd >= 0)
		log_warn("what was changed at run time before the hand-over is lost: %s", why.ptr);
	if (blocks.len)
		explicit_bzero(blocks.ptr, blocks.len); /* keys */
	str_fini(&blocks);
	str_fini(&why);
}

/* True when the process before has put into the file what it knows. */
static bool ask_for_state(void)
{
	struct pollfd p = {.fd = ready_fd, .events = POLLIN};
	char answer = 0;
	if (ready_fd < 0 || write(ready_fd, "S", 1) != 1)
		return false;
	return poll(&p, 1, STATE_PATIENCE_MS) == 1 && read(ready_fd, &answer, 1) == 1 &&
	       answer == 'D';
}

bool handover_inherit(struct control *control)
{
	struct str said = STR_INIT;
	bool has = false;
	if (state_fd < 0) {
		if (ready_fd >= 0)
			log_info("the process before gives no statistics: starting afresh");
		return false;
	}
	if (!ask_for_state()) {
		log_warn("the process before did not tell what it has learned: starting afresh");
	} else if (state_load(state_fd, &legacy, &said)) {
		has = true;
		state_unpack(str_as_view(&legacy), control, &said);
		log_info("taken over: %s", said.ptr);
	} else {
		log_warn("what the process before has learned is lost, starting afresh: %s",
			 said.ptr);
	}
	str_fini(&said);
	if (!has) { /* its answer may yet come: nothing else is asked */
		socket_close(state_fd);
		state_fd = -1;
	}
	return has;
}

void handover_inherit_health(struct control *control)
{
	state_unpack_health(str_as_view(&legacy), control);
	str_fini(&legacy);
}

void handover_ready(struct control *control)
{
	char state[64];
	/* a manager with NotifyAccess=all takes our own word for it, too */
	snprintf(state, sizeof(state), "READY=1\nSTATUS=\nMAINPID=%d", (int)getpid());
	notify_state(ready_fd < 0 ? "READY=1" : state);
	if (ready_fd < 0)
		return;
	if (write(ready_fd, "R", 1) != 1)
		log_warn("nobody waited for this process to be ready");
	if (state_fd >= 0)
		before_begin(control, ready_fd, state_fd);
	else
		close(ready_fd);
	ready_fd = state_fd = -1;
}

/* ---- what the new process gets ---- */

struct estate {
	posix_spawn_file_actions_t files;
	struct str sockets, ready, state, clock; /* variables of its environment */
	char **env;                              /* owns the array */
};

/* The same number there: to "duplicate" it onto itself only drops close-on-exec. */
static void leave_open(struct estate *e, int fd)
{
	check(posix_spawn_file_actions_adddup2(&e->files, fd, fd) == 0);
}

static void leave_socket(struct estate *e, int fd)
{
	if (fd < 0)
		return;
	leave_open(e, fd);
	str_printf(&e->sockets, "%d,", fd);
}

static void leave_sockets(struct estate *e, struct control *control)
{
	str_text(&e->sockets, INHERIT_ENV "=");
	list_each (it, &control->listeners) {
		struct listener *l = list_entry(it, struct listener, registry_link);
		for (unsigned i = 0; i < l->n_workers; i++)
			leave_socket(e, atomic_load(&l->fds[i]));
	}
	int status[2];
	admin_sockets(control->admin, status);
	leave_socket(e, status[0]);
	leave_socket(e, status[1]);
}

/* A file without a name that has what pools are built with; -1: there is none. */
static int make_state(struct control *control)
{
	struct str blocks = STR_INIT, why = STR_INIT;
	int fd = memfd_create("weir state", MFD_CLOEXEC);
	state_pack_early(control, &blocks);
	if (fd < 0)
		str_text(&why, strerror(errno));
	if (fd < 0 || !state_store(fd, str_as_view(&blocks), &why)) {
		log_warn("the new process starts without what this one knows: %s", why.ptr);
		socket_close(fd);
		fd = -1;
	}
	explicit_bzero(blocks.ptr, blocks.len); /* keys */
	str_fini(&blocks);
	str_fini(&why);
	return fd;
}

static void estate_init(struct estate *e, struct control *control, int ready)
{
	extern char **environ;
	size_t n = 0, at = 0;
	*e = (struct estate){
	    .sockets = STR_INIT, .ready = STR_INIT, .state = STR_INIT, .clock = STR_INIT};
	check(posix_spawn_file_actions_init(&e->files) == 0);
	leave_sockets(e, control);
	leave_open(e, ready);
	str_printf(&e->ready, READY_ENV "=%d", ready);
	while (environ[n])
		n++;
	e->env = calloc(n + 5, sizeof(*e->env));
	check(e->env != NULL);
	for (size_t i = 0; i < n; i++)
		e->env[at++] = environ[i];
	e->env[at++] = e->sockets.ptr;
	e->env[at++] = e->ready.ptr;
	str_printf(&e->clock, CLOCK_ENV "=%llu", (unsigned long long)clock_ahead_us);
	e->env[at++] = e->clock.ptr;
	if (control->handover.state_fd < 0)
		return;
	leave_open(e, control->handover.state_fd);
	str_printf(&e->state, STATE_ENV "=%d", control->handover.state_fd);
	e->env[at] = e->state.ptr;
}

static void estate_fini(struct estate *e)
{
	posix_spawn_file_actions_destroy(&e->files);
	str_fini(&e->sockets);
	str_fini(&e->ready);
	str_fini(&e->state);
	str_fini(&e->clock);
	free(e->env);
}

/* ---- waiting for it ---- */

/* Nothing is said between the two any more. */
static void hang_up(struct control *control)
{
	struct handover *h = &control->handover;
	ev_io_stop(control->loop.ev, &h->ready);
	ev_timer_stop(control->loop.ev, &h->late);
	socket_close(h->ready.fd);
	socket_close(h->state_fd);
	h->ready.fd = h->state_fd = -1;
}

/* A line, an event, and a problem until the next reload or hand-over. */
static void note_failure(struct control *control, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void note_failure(struct control *control, const char *fmt, ...)
{
	struct str *why = &control->handover.error;
	va_list ap;
	str_reset(why);
	va_start(ap, fmt);
	str_vprintf(why, fmt, ap);
	va_end(ap);
	log_error("hand-over failed, this process goes on: %s", why->ptr);
	event_add(EVENT_RELOAD_FAILED, VIEW_NONE, VIEW_NONE,
		  "hand-over failed, this process goes on: %s", why->ptr);
}

/* It may have ended by itself: then its own status is what is reported. */
static void failed(struct control *control, const char *why)
{
	int status = 0;
	pid_t pid = control->handover.pid;
	hang_up(control);
	control->handover.state = HANDOVER_NONE;
	admin_pause(control->admin, false);
	notify_state("STATUS=");
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		note_failure(control, "%s: exit code %d", why, WEXITSTATUS(status));
	else
		note_failure(control, "%s", why);
}

static void succeeded(struct control *control)
{
	char state[32];
	int pid = (int)control->handover.pid;
	ev_timer_stop(control->loop.ev, &control->handover.late);
	control->handover.state = HANDOVER_DONE;
	snprintf(state, sizeof(state), "MAINPID=%d", pid);
	if (!notify_state(state))
		log_error(
		    "the service manager cannot be told that process %d is the main one now: %s",
		    pid, strerror(errno));
	log_info("process %d has taken over%s", pid,
		 notify_wanted() ? "; a service manager follows if its NotifyAccess= is main or all"
				 : "");
	event_add(EVENT_DRAIN, VIEW_NONE, VIEW_NONE, "process %d has taken over", pid);
	admin_leave(control->admin);
	listeners_keep_files(control);
	control->handover.done(control);
}

static uint64_t exchanges_ended(const struct control *control)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < control->n_workers; i++)
		for (unsigned o = 0; o < N_OUTCOMES; o++)
			n += counter_get(&control->workers[i]->counters.outcomes[o]);
	return n;
}

void handover_bye(const struct control *control)
{
	uint64_t n = exchanges_ended(control) - control->handover.ended;
	if (control->handover.state == HANDOVER_DONE && n)
		log_info("%llu request%s ended here after the hand-over, which the counters of "
			 "process %d do not have",
			 (unsigned long long)n, n == 1 ? "" : "s", (int)control->handover.pid);
}

/* It is about to serve, and asks for what was learned.  Numbers of the API must not fall
 * when it answers: from now on this process does not. */
static void tell(struct control *control)
{
	struct handover *h = &control->handover;
	struct str blocks = STR_INIT, why = STR_INIT;
	admin_pause(control->admin, true);
	h->ended = exchanges_ended(control);
	state_pack(control, &blocks);
	if (blocks.overflow)
		str_text(&why, "no memory");
	bool told = !why.len && state_store(h->state_fd, str_as_view(&blocks), &why);
	if (!told)
		log_warn("the new process starts without what this one has learned: %s", why.ptr);
	if (write(h->ready.fd, told ? "D" : "N", 1) != 1)
		log_warn("the new process cannot be told: %s", strerror(errno));
	str_fini(&blocks);
	str_fini(&why);
}

static void on_ready(struct ev_loop *ev, ev_io *w, int revents)
{
	struct control *control = w->data;
	char byte;
	(void)ev;
	(void)revents;
	bool waits = control->handover.state == HANDOVER_WAITING;
	ssize_t n = read(w->fd, &byte, 1);
	if (n == 1 && byte == 'Q')
		before_answer(control);
	else if (n == 1 && byte == 'S')
		tell(control);
	else if (n == 1 && waits)
		succeeded(control);
	else if (n < 0 && errno == EAGAIN)
		return;
	else if (waits)
		failed(control, "the new process ended before it was ready");
	else
		hang_up(control);
}

static void on_late(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev;
	(void)revents;
	failed(w->data, "the new process was not ready in time");
}

static void wait_for_it(struct control *control, int fd)
{
	struct handover *h = &control->handover;
	h->state = HANDOVER_WAITING;
	ev_io_init(&h->ready, on_ready, fd, EV_READ);
	ev_timer_init(&h->late, on_late, PATIENCE_S, 0.0);
	h->ready.data = h->late.data = control;
	ev_io_start(control->loop.ev, &h->ready);
	ev_timer_start(control->loop.ev, &h->late);
}

static bool may_begin(struct control *control)
{
	struct supervisor supervisor = supervisor_find();
	struct str why = STR_INIT;
	if (control->state != CONTROL_RUNNING || control->handover.state != HANDOVER_NONE) {
		log_warn("no hand-over now: one is under way, or weir is about to stop");
		return false;
	}
	bool may = supervisor_lets_hand_over(&supervisor, &why);
	if (may && !notify_state("STATUS=handing over to another process")) {
		may = false;
		str_printf(&why, "the service manager cannot be told: %s: %s",
			   getenv("NOTIFY_SOCKET"), strerror(errno));
	}
	if (!may)
		note_failure(control, "%s", why.ptr);
	str_fini(&why);
	return may;
}

void handover_begin(struct control *control)
{
	int ends[2];
	if (!may_begin(control))
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
		note_failure(control, "no socket: %s", strerror(errno));
		return;
	}
	control->handover.state_fd = make_state(control);
	struct estate estate;
	char **argv = control->options->argv;
	estate_init(&estate, control, ends[1]);
	int error =
	    posix_spawnp(&control->handover.pid, argv[0], &estate.files, NULL, argv, estate.env);
	estate_fini(&estate);
	close(ends[1]);
	if (error) {
		close(ends[0]);
		socket_close(control->handover.state_fd);
		note_failure(control, "cannot start %s: %s", argv[0], strerror(error));
		return;
	}
	str_reset(&control->handover.error);
	log_info("handing over to process %d", (int)control->handover.pid);
	wait_for_it(control, ends[0]);
}

void handover_cancel(struct control *control)
{
	if (control->handover.state == HANDOVER_WAITING)
		failed(control, "this process was told to stop");
}

void handover_free(struct control *control)
{
	if (control->handover.state == HANDOVER_DONE)
		hang_up(control);
}
