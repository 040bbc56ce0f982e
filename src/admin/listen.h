/* SPDX-License-Identifier: MIT */
/* The two sockets the API listens on, and how a reload moves them. */
#ifndef WEIR_ADMIN_LISTEN_H
#define WEIR_ADMIN_LISTEN_H

#include "weir/base/addr.h"
#include "weir/base/err.h"
#include "weir/base/file.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

enum { END_UNIX, END_TCP, N_ENDS };

struct endpoint {
	struct addr addr;    /* len 0: off */
	unsigned mode;       /* of a unix socket */
	int fd;              /* owns; -1: off, or to be taken over from the one before */
	bool kept;           /* the address is the same: fd comes from the one before */
	struct file_id file; /* of a unix socket: only our own is removed */
};

struct listening {
	struct endpoint ends[N_ENDS];
	struct str token; /* owns; empty: none */
};

void listening_init(struct listening *l);
/* Opens what `conf` wants and `old` does not have.  On failure *out is closed again. */
enum err listening_open(struct listening *out, const struct listening *old,
			const struct conf_status *conf, struct str *why);
/* Closes what was opened, kept sockets excepted, and removes its socket file. */
void listening_close(struct listening *l);
void endpoint_close(struct endpoint *end);

#endif
