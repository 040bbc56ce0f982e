/* SPDX-License-Identifier: MIT */
/* Descriptors that are only asked whether their peer is gone: see weir/net/hangup.h. */
#include "weir/net/hangup.h"

#include <sys/epoll.h>
#include <unistd.h>

#define GONE_PER_TURN 16

/* One at a time: what the first leads to may end the second. */
static void on_gone(struct ev_loop *ev, ev_io *io, int revents)
{
	struct hangups *hangups = io->data;
	struct epoll_event event;
	(void)ev;
	(void)revents;
	for (int i = 0; i < GONE_PER_TURN && epoll_wait(hangups->fd, &event, 1, 0) == 1; i++)
		hangups->gone(event.data.ptr);
}

enum err hangups_init(struct hangups *hangups, struct loop *loop, void (*gone)(void *obj))
{
	hangups->loop = loop;
	hangups->gone = gone;
	hangups->fd = epoll_create1(EPOLL_CLOEXEC);
	if (hangups->fd < 0)
		return ERR_FDS;
	ev_io_init(&hangups->io, on_gone, hangups->fd, EV_READ);
	hangups->io.data = hangups;
	ev_io_start(loop->ev, &hangups->io);
	return ERR_OK;
}

void hangups_fini(struct hangups *hangups)
{
	if (hangups->fd < 0)
		return;
	ev_io_stop(hangups->loop->ev, &hangups->io);
	close(hangups->fd);
	hangups->fd = -1;
}

/* Fails when it is watched already, or without memory: then a write will tell, or a timeout. */
void hangups_watch(struct hangups *hangups, int fd, void *obj)
{
	/* ERR and HUP come unasked; once */
	struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = obj};
	epoll_ctl(hangups->fd, EPOLL_CTL_ADD, fd, &event);
}

void hangups_forget(struct hangups *hangups, int fd)
{
	epoll_ctl(hangups->fd, EPOLL_CTL_DEL, fd, NULL);
}
