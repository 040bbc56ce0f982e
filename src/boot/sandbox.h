/* SPDX-License-Identifier: MIT */
/*
 * What a thread that reads the bytes of strangers may ask of the kernel, should one
 * of them get hold of it: no new program, no new process, no file but the system's
 * certificate authorities, no new place to listen, no memory with new code (seccomp,
 * Landlock).  What it needs was opened before.
 *
 * The control thread stays outside: it reads keys again, opens logs and listeners,
 * starts the process that takes over.  Threads share memory, so this stops what the
 * kernel is asked for by the thread itself, and no more than that.
 */
#ifndef WEIR_BOOT_SANDBOX_H
#define WEIR_BOOT_SANDBOX_H

#include <stdbool.h>

#include "weir/base/str.h"

struct sandbox; /* made once, before the threads, by who may still read everything */

enum sandbox_part { SANDBOX_SECCOMP = 1, SANDBOX_LANDLOCK = 2 };

/* NULL when it does not work here: `why` says so. */
struct sandbox *sandbox_new(struct str *why);
/* The calling thread is in it from now on, for good; what of it could be had, as bits. */
unsigned sandbox_enter(struct sandbox *sandbox);
/* For a thread that reads no bytes of strangers and writes files of one directory: Landlock
 * keeps it there.  False: it is not to be had. */
bool sandbox_keep_to(const char *directory);
/* After all threads have entered. */
void sandbox_free(struct sandbox *sandbox);

/* For -V: a name and a version, NULL when weir was built without. */
const char *sandbox_library(void);

#endif
