/* SPDX-License-Identifier: MIT */
#include "stop.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <unistd.h>

#include "weir/base/defs.h"

/* To cut, free and write what is left takes a moment; sanitizers take longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define AT_ONCE_S 6
#else
#define AT_ONCE_S 2
#endif

static volatile sig_atomic_t n_terms;

static void on_stop_signal(int number)
{
	int error = errno;
	if (number != SIGTERM || n_terms++ > 0)
		alarm(AT_ONCE_S);
	ev_feed_signal(number);
	errno = error;
}

static void on_alarm(int number)
{
	(void)number;
	_exit(1);
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
