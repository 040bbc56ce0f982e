/* SPDX-License-Identifier: MIT */
/* What is told to the process before this one, which may be slow to answer. */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "boot/control.h"
#include "boot/handover_state.h"

#include "weir/pool/pack.h"

static struct control control;
static struct backend backends[2] = {
    {.pool_name = VIEW("app"), .name = VIEW("b1"), .key = VIEW("1")},
    {.pool_name = VIEW("app"), .name = VIEW("b2"), .key = VIEW("2")},
};
static int theirs, file;

static void turn(void)
{
	ev_run(control.loop.ev, EVRUN_ONCE);
}

static void begin(void)
{
	int pair[2];
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	theirs = pair[1];
	file = memfd_create("test", MFD_CLOEXEC);
	cr_assert_eq(loop_init(&control.loop, "test"), ERR_OK);
	pool_registry_init(&control.registry, 0, NULL);
	for (size_t i = 0; i < ARRAY_LEN(backends); i++)
		list_push_back(&control.registry.backends, &backends[i].registry_link);
	before_begin(&control, pair[0], dup(file));
}

static void end(void)
{
	before_free(&control);
	loop_fini(&control.loop);
	close(theirs);
	close(file);
}

/* How many states the question at hand tells, and of the last one which. */
static unsigned told(struct str *last)
{
	struct str blocks = STR_INIT, why = STR_INIT;
	struct unpack in, block;
	uint32_t id;
	unsigned n = 0;
	char question;
	cr_assert_eq(read(theirs, &question, 1), 1);
	cr_assert(state_load(file, &blocks, &why));
	in = unpack_of(str_as_view(&blocks));
	for (; unpack_block(&in, &id, &block); n++) {
		str_reset(last);
		for (int i = 0; i < 3; i++) {
			str_view(last, unpack_view(&block));
			str_char(last, ' ');
		}
	}
	str_fini(&blocks);
	return n;
}

#define BLOCK_LEFT 34 /* of boot/before.c */

/* Nothing is in flight there. */
static void answer(void)
{
	struct str blocks = STR_INIT, why = STR_INIT;
	pack_end(&blocks, pack_begin(&blocks, BLOCK_LEFT));
	cr_assert(state_store(file, str_as_view(&blocks), &why));
	cr_assert_eq(write(theirs, "D", 1), 1);
	turn();
	str_fini(&blocks);
}

static void want(struct backend *b, enum backend_state state)
{
	b->told = (uint8_t)state;
	before_tell(&control, b);
}

Test(before, a_state_is_told_once)
{
	struct str last = STR_INIT;
	begin();
	cr_expect_eq(told(&last), 0);
	answer();
	want(&backends[1], BACKEND_draining);
	turn();
	cr_expect_eq(told(&last), 1);
	cr_expect_str_eq(last.ptr, "app b2 draining ");
	answer();
	turn(); /* the next question, a moment later */
	cr_expect_eq(told(&last), 0);
	str_fini(&last);
	end();
}

Test(before, who_does_not_answer_is_told_the_last_state_only)
{
	struct str last = STR_INIT;
	begin();
	cr_expect_eq(told(&last), 0);
	for (unsigned i = 0; i < 1000; i++)
		want(&backends[0], i % 2 ? BACKEND_up : BACKEND_maintenance);
	answer();
	turn();
	cr_expect_eq(told(&last), 1);
	cr_expect_str_eq(last.ptr, "app b1 up ");
	str_fini(&last);
	end();
}

Test(before, what_is_not_told_yet_is_not_idle)
{
	struct str last = STR_INIT;
	begin();
	cr_expect_eq(told(&last), 0);
	want(&backends[0], BACKEND_draining);
	cr_expect_not(backend_is_idle(&backends[0]));
	answer(); /* to a question that did not say so */
	cr_expect_not(backend_is_idle(&backends[0]));
	turn();
	cr_expect_eq(told(&last), 1);
	answer();
	cr_expect(backend_is_idle(&backends[0]));
	str_fini(&last);
	end();
}
