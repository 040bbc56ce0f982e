/* SPDX-License-Identifier: MIT */
/* The second signal to stop, which must work whatever hangs. */
#include "stop.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "weir/base/defs.h"

/* To cut, free and write what is left takes a moment: longer for who is busy with it (on a slow
 * machine, in a debugger's hands) than for who hangs. */
#define AT_ONCE_S 2
#define BUSY_NS INT64_C(500000000)
#define ROUNDS_MAX 15

static volatile sig_atomic_t n_terms;

static int64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t armed_ns; /* of CPU time; only handlers, which exclude each other, touch it */

static void arm(void)
{
	armed_ns = cpu_ns();
	alarm(AT_ONCE_S);
}

static void on_stop_signal(int number)
{
	int error = errno;
	if (number != SIGTERM || n_terms++ > 0)
		arm();
	ev_feed_signal(number);
	errno = error;
}

static void on_alarm(int number)
{
	static int rounds;
	(void)number;
	if (cpu_ns() - armed_ns < BUSY_NS || ++rounds == ROUNDS_MAX)
		_exit(1);
	arm();
}

void stop_watch(void)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT};
	struct sigaction stop = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
	struct sigaction end = {.sa_handler = on_alarm};
	sigfillset(&stop.sa_mask);
	sigfillset(&end.sa_mask);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		sigaction(numbers[i], &stop, NULL);
	sigaction(SIGALRM, &end, NULL);
}
