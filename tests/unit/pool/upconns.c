/* SPDX-License-Identifier: MIT */
/* A backend that listens, and exchanges one after the other, seen from the pool. */
#include "upconns.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

#include "weir/net/socket.h"

struct world upconns_world;
struct world_gen upconns_gen;
int upconns_listener;

void upconns_begin_with(unsigned n_workers, size_t n_backends)
{
	struct addr any;
	world_init(&upconns_world, n_workers, n_backends);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &any));
	cr_assert_eq(socket_listen(&any, false, 0, &upconns_listener), ERR_OK);
	cr_assert(socket_local_addr(upconns_listener, &upconns_world.backends[0].address));
	world_build(&upconns_world, &upconns_gen);
}

void upconns_begin(unsigned n_workers)
{
	upconns_begin_with(n_workers, 1);
}

void upconns_finish(void)
{
	for (unsigned i = 0; i < upconns_world.n_workers; i++)
		upconn_close_idle(&upconns_world.pws[i], upconns_gen.pool.backends[0]);
	cr_expect_eq(atomic_load(&upconns_gen.pool.backends[0]->n_upconns), 0);
	for (unsigned i = 0; i < upconns_world.n_workers; i++) {
		cr_expect_eq(upconns_world.pws[i].upconns.n_live, 0);
		cr_expect_eq(buf_pool_live(&upconns_world.pws[i].bufs), 0);
	}
	world_release(&upconns_world, &upconns_gen);
	world_fini(&upconns_world);
	close(upconns_listener);
}

static void on_connected(struct stream *stream, enum err err)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	struct user *user = up->owner;
	user->connected++;
	user->err = err;
}

static void on_other(struct stream *stream)
{
	(void)stream;
	cr_assert_fail("nothing was to happen on a busy connection");
}

const struct stream_events user_events = {
    .connected = on_connected,
    .readable = on_other,
    .drained = on_other,
    .broken = on_other,
};

const struct upconn_intro user_intro;

enum err user_open(struct user *user)
{
	struct pool_worker *pw = &upconns_world.pws[user->worker];
	bool connected;
	cr_assert_eq(pool_take(&upconns_gen.views[user->worker], pw, NULL, 0, &user->lease),
		     POOL_TAKEN);
	user->up = upconn_take(&upconns_gen.views[user->worker], pw, user->lease.backend, 0,
			       &user_events, user);
	user->reused = user->up != NULL;
	if (user->up)
		return ERR_OK;
	enum err err = upconn_connect(pw, user->lease.backend, &upconns_gen.views[user->worker],
				      &user_intro, &user_events, user, &user->up, &connected);
	if (err) {
		lease_drop(&user->lease, true, 0);
		return err;
	}
	for (int i = 0; i < 200 && !connected && !user->connected; i++) {
		poll(NULL, 0, 1);
		ev_run(upconns_world.loops[user->worker].ev, EVRUN_NOWAIT);
	}
	cr_assert(connected || user->connected == 1);
	return user->err;
}

void user_done(struct user *user, bool keep)
{
	if (keep)
		upconn_release(user->up, &upconns_world.conf);
	else
		upconn_close(user->up);
	lease_drop(&user->lease, false, 0);
}

struct user user_new(unsigned worker)
{
	return (struct user){.worker = worker};
}

uint32_t upconns_idle(unsigned worker)
{
	return upconns_gen.pool.backends[0]->local[worker]->n_idle;
}

int upconns_accept(void)
{
	struct addr peer;
	int fd = -1;
	for (int i = 0; i < 200 && fd < 0; i++) {
		cr_assert_eq(socket_accept(upconns_listener, &peer, &fd), ERR_OK);
		if (fd < 0)
			poll(NULL, 0, 1);
	}
	cr_assert_geq(fd, 0);
	return fd;
}

void upconns_pass(unsigned worker, uint64_t us)
{
	struct loop *loop = &upconns_world.loops[worker];
	loop->now_us += us;
	timer_wheel_run(&loop->timers, loop->now_us);
}
