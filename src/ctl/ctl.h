/* SPDX-License-Identifier: MIT */
/*
 * weirctl: what every command gets and gives.  One thread, one request at a
 * time.  A command appends what it prints to ctl->out, sets ctl->why when it
 * fails, and returns its exit status; main.c does the writing.
 */
#ifndef WEIR_CTL_CTL_H
#define WEIR_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/str.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
};

#define CTL_MAX_HEADERS 32

struct ctl {
	/* global options */
	const char *socket;
	bool socket_given; /* by -s */
	bool json;
	bool colour;
	double watch_s; /* 0: once */
	/* options of single commands, NULL or false when not given */
	const char *phase;
	const char *window;
	const char *name;
	const char *weight;
	const char *client;
	const char *seconds, *since, *step;
	const char *headers[CTL_MAX_HEADERS];
	size_t n_headers;
	bool wait;
	bool read_only;
	const char *wait_time; /* of --wait=TIME, or NULL */
	bool follow;
	/* arguments after the command */
	const char *const *args;
	size_t n_args;

	struct str out; /* for standard output */
	struct str why; /* why the command failed, without the program's name */
	bool forbidden; /* CTL_UNREACHABLE because of the socket's permissions */
};

/* Appends to ctl->why and returns `code`. */
enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Writes ctl->out to standard output and empties it; for commands that go on. */
void ctl_flush(struct ctl *ctl);

#endif
