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
#include "weir/base/view.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
};

#define CTL_MAX_HEADERS 32

struct fleet;
struct json_t;

struct ctl {
	/* global options */
	const char *socket;
	bool socket_given;      /* by -s */
	const char *nodes;      /* --nodes: HOST:PORT,..., or "shared" */
	bool all;               /* --all: change every node */
	const char *token_file; /* of status.token_file, to change others */
	const char *node;       /* this one is asked, HOST:PORT, in place of the socket; or NULL */
	const char *password_file; /* NAME:PASSWORD of status.auth there, to read */
	struct view token;
	struct view user;    /* what password_file has */
	struct fleet *fleet; /* all of these are asked; or NULL */
	/* what api_get does then */
	enum ctl_exit (*get_of_all)(struct ctl *ctl, const char *path, struct json_t **out);
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

	struct str out;     /* for standard output */
	struct str why;     /* why the command failed, without the program's name */
	struct str missing; /* nodes that did not answer the last question, a line each */
	size_t n_missing;
	bool forbidden; /* CTL_UNREACHABLE because of the socket's permissions */
};

/* Appends to ctl->why and returns `code`. */
enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Writes ctl->out to standard output and empties it; for commands that go on. */
void ctl_flush(struct ctl *ctl);

#endif
