/* SPDX-License-Identifier: MIT */
/*
 * Notices that files have changed, those of TLS (certificates, keys, OCSP answers, authorities,
 * revocation lists, directories of certificates) or those of users, and has them used, without
 * loading the configuration again.
 *
 *   same --another mark--> changed --the same mark a second later--> tried --> same
 *    ^                                                                 |
 *    +------- another mark <-- refused, and after GRACE a problem <----+
 *
 * A pair of which only one half has been written does not fit, so it is refused and waits
 * for the other half.  What was in use stays in use meanwhile.
 *
 * Thread: control.
 */
#ifndef WEIR_BOOT_TLS_WATCH_H
#define WEIR_BOOT_TLS_WATCH_H

#include "weir/base/err.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

struct tls_watch {
	const char *what; /* changes: "certificates" */
	uint64_t (*mark)(const struct conf *conf);
	uint64_t seen, seen_us;       /* the mark of the last look, and since when it is so */
	uint64_t refused, refused_us; /* one that could not be used; 0: none */
	uint64_t looked_us;
	struct str why;   /* owns; why it was refused */
	struct str error; /* owns; the same once that is a problem; else empty */
};

/* Stands for all of these files as they are now; 0: the configuration names none.  Links are
 * followed, so it changes as well when one of them leads elsewhere. */
uint64_t tls_mark(const struct conf *conf);
/* The same of the files of users. */
uint64_t users_mark(const struct conf *conf);

/* Once a second.  `in_use` is the mark of what is served; `rebuild` reads all files again. */
void tls_watch_tick(struct tls_watch *watch, const struct conf *conf, uint64_t in_use,
		    enum err (*rebuild)(void *ctx, struct str *why), void *ctx);
void tls_watch_fini(struct tls_watch *watch);

#endif
