/* SPDX-License-Identifier: MIT */
/* The line of those whose passwords are checked: turns, and shares. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "weir/filter/passwords.h"

#define MOST (PASSWORDS_WAITING + 1)

static sem_t gate;
static struct loop loop;
static struct users *users;
static struct password_wait waits[MOST];
static struct password_wait *done[MOST];
static size_t n_asked, n_done;
static struct addr_packed clients[4]; /* from 1, with places of their own */

/* The thread takes nobody before it is let in. */
static void enter(void *arg)
{
	(void)arg;
	sem_wait(&gate);
}

static void on_done(struct password_wait *wait, bool right)
{
	cr_expect(!right);
	done[n_done++] = wait;
}

static bool shares_place(unsigned which)
{
	for (unsigned other = 1; other < which; other++)
		if (passwords_place(&clients[other]) == passwords_place(&clients[which]))
			return true;
	return false;
}

static void choose_clients(void)
{
	for (unsigned which = 1; which < 4; which++)
		for (clients[which].ip[0] = (uint8_t)which; shares_place(which);)
			clients[which].ip[1]++;
}

static void setup(void)
{
	struct str why = STR_INIT;
	char path[] = "/tmp/weir-passwords-XXXXXX";
	if (!passwords_library())
		cr_skip_test("built without libcrypt");
	FILE *file = fdopen(mkstemp(path), "w");
	cr_assert(file &&
		  fputs("ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n",
			file) >= 0 &&
		  fclose(file) == 0);
	users = users_get(view_str(path), &why);
	remove(path);
	cr_assert(users, "%s", why.ptr);
	cr_assert_eq(sem_init(&gate, 0, 0), 0);
	cr_assert_eq(loop_init(&loop, "asks"), ERR_OK);
	passwords_enter(enter, NULL);
	cr_assert(passwords_start(1, &why), "%s", why.ptr);
	choose_clients();
}

static void teardown(void)
{
	sem_post(&gate); /* a test may have failed before it did */
	passwords_stop();
	loop_read_mail(&loop);
	passwords_fini();
	users_put(users);
	loop_fini(&loop);
	sem_destroy(&gate);
}

TestSuite(passwords, .init = setup, .fini = teardown);

/* Another password each time, of a client by its number. */
static enum password_verdict guess(unsigned client)
{
	struct credentials c = {.name = VIEW("ann")};
	struct password_wait *wait = &waits[n_asked];
	int len = snprintf(c.room, sizeof(c.room), "guess %zu", n_asked++);
	c.password = view_of(c.room, (size_t)len);
	wait->done = on_done;
	wait->client = clients[client];
	return passwords_ask(users, &c, 0, &loop, wait);
}

static void let_in_until(size_t n)
{
	sem_post(&gate);
	while (n_done < n)
		ev_run(loop.ev, EVRUN_ONCE);
}

Test(passwords, whose_turn_it_is_goes_round_the_clients)
{
	for (int i = 0; i < 20; i++)
		cr_assert_eq(guess(1), PASSWORD_ASK);
	cr_assert_eq(guess(2), PASSWORD_ASK);
	cr_assert_eq(guess(2), PASSWORD_ASK);
	let_in_until(22);
	const size_t order[] = {0, 20, 1, 21, 2};
	for (size_t i = 0; i < 5; i++)
		cr_expect_eq(done[i] - waits, (ptrdiff_t)order[i], "%zu: %td", i, done[i] - waits);
}

/* Else one question after the other, each while the last one is looked at, keeps away whatever
 * others have besides their first. */
Test(passwords, who_has_just_had_his_turn_waits_for_the_next)
{
	cr_assert_eq(guess(2), PASSWORD_ASK);
	let_in_until(1);
	passwords_enter(enter, NULL);
	cr_assert_eq(guess(1), PASSWORD_ASK);
	cr_assert_eq(guess(1), PASSWORD_ASK);
	cr_assert_eq(guess(2), PASSWORD_ASK);
	let_in_until(4);
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(done[i] - waits, (ptrdiff_t)i, "%zu: %td", i, done[i] - waits);
}

Test(passwords, nobody_keeps_others_out)
{
	for (int i = 0; i < PASSWORDS_WAITING / 2; i++)
		cr_assert_eq(guess(1), PASSWORD_ASK);
	cr_expect_eq(guess(1), PASSWORD_BUSY);
	for (int i = 0; i < PASSWORDS_SHARE; i++)
		cr_assert_eq(guess(2), PASSWORD_ASK);
	cr_expect_eq(guess(2), PASSWORD_BUSY);
	cr_expect_eq(guess(3), PASSWORD_ASK);
	let_in_until(PASSWORDS_WAITING / 2 + PASSWORDS_SHARE + 1);
	cr_expect_eq(guess(1), PASSWORD_ASK, "places are given back");
}
