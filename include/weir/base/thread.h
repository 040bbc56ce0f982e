/* SPDX-License-Identifier: MIT */
/* Starting threads.  Signals are the control thread's: all others have them blocked. */
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* False: none can be had; errno says why. */
bool thread_start(pthread_t *thread, void *(*main)(void *arg), void *arg);

#endif
