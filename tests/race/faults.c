/* SPDX-License-Identifier: MIT */
/*
 * What workers and the watcher share about one backend, by force: workers fail and
 * succeed, the watcher opens a trial again and again.  Never are two attempts of
 * one trial under way, and every letter that was due arrives.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "weir/base/check.h"
#include "weir/pool/fault.h"

#define WORKERS 3
#define LETTERS 20000

static struct fault_shared shared;
static struct fault_local locals[WORKERS] CACHE_ALIGNED;
static _Atomic unsigned n_trying, n_letters, n_workers_left = WORKERS;
static struct loop watcher_loop;
static unsigned n_rows, n_passed, n_failed;

/* Opens the next trial. */
static void on_letter(struct loop *loop, struct mail *mail)
{
	struct fault_local *local = container_of(mail, struct fault_local, letter);
	unsigned news = atomic_exchange(&local->news, 0);
	(void)loop;
	check(news);
	atomic_fetch_add(&n_letters, 1);
	n_rows += (news & FAULT_NEWS_ROW) != 0;
	n_passed += (news & FAULT_NEWS_TRIAL_PASSED) != 0;
	n_failed += (news & FAULT_NEWS_TRIAL_FAILED) != 0;
	if (news & (FAULT_NEWS_TRIAL_FAILED | FAULT_NEWS_TRIAL_PASSED)) {
		check(atomic_load(&n_trying) == 0);
		atomic_store(&shared.trial, TRIAL_FREE);
	}
}

/* Like leases: taken, judged, dropped. */
static bool attempt(struct fault_local *local, unsigned round)
{
	if (!fault_take_trial(&shared)) {
		fault_note(&shared, local,
			   &(struct fault_facts){"it failed", 0, false, true, false});
		return false;
	}
	check(atomic_fetch_add(&n_trying, 1) == 0);
	atomic_fetch_sub(&n_trying, 1);
	if (round % 3 == 0)
		fault_leave_trial(&shared);
	else if (round % 3 == 1)
		fault_note(&shared, local, &(struct fault_facts){NULL, 500, true, true, false});
	else
		fault_note_served(&shared, local);
	return true;
}

static void *work(void *arg)
{
	struct fault_local *local = arg;
	unsigned round = 0;
	while (atomic_load(&n_letters) < LETTERS)
		if (attempt(local, round))
			round++;
		else
			sched_yield();
	atomic_fetch_sub(&n_workers_left, 1);
	return NULL;
}

int main(void)
{
	pthread_t threads[WORKERS];
	uint64_t faults = 0, served = 0;
	check(loop_init(&watcher_loop, "watcher") == ERR_OK);
	shared.watcher = &watcher_loop;
	atomic_store(&shared.limit, 5);
	atomic_store(&shared.trial, TRIAL_FREE);
	for (unsigned i = 0; i < WORKERS; i++) {
		locals[i].letter.fn = on_letter;
		check(pthread_create(&threads[i], NULL, work, &locals[i]) == 0);
	}
	while (atomic_load(&n_workers_left))
		if (!loop_read_mail(&watcher_loop))
			sched_yield();
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	loop_read_mail(&watcher_loop);
	for (unsigned i = 0; i < WORKERS; i++) {
		check(atomic_load(&locals[i].news) == 0);
		faults += counter_get(&locals[i].faults);
		served += counter_get(&locals[i].served);
	}
	/* only a trial's attempt succeeds here, and each success is told */
	check(n_rows && n_failed && n_passed == served);
	printf("%u letters: %u rows, %u trials passed, %u failed; %llu faults\n",
	       atomic_load(&n_letters), n_rows, n_passed, n_failed, (unsigned long long)faults);
	loop_fini(&watcher_loop);
	return 0;
}
