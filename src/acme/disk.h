/* SPDX-License-Identifier: MIT */
/*
 * What an order leaves on the disk, written by a thread of its own.
 *
 *   a key    makes one, and writes it beside the place where its certificate will be; before it
 *            the account's key, if that is not there yet.  One that is there with an order that
 *            was under way is used again
 *   a note   goes above that key (notes.h)
 *   a pair   takes the place of the one that was there; the key beside it goes
 *
 * Thread: that of the loop, but for the work itself.
 */
#ifndef WEIR_ACME_DISK_H
#define WEIR_ACME_DISK_H

#include <limits.h>

#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/loop/work.h"

struct disk_result {
	int error;         /* errno; 0: written */
	const char *what;  /* the file that could not be written, or "" */
	bool account;      /* the account's key is there */
	struct view pem;   /* the new key; empty: there is none, or nothing was asked for */
	struct view order; /* URL of the one that the key is for already; or empty */
};

typedef void disk_done(void *arg, const struct disk_result *result);

struct disk_key {
	const char *folder, *file, *account_file;
	struct view account_pem; /* empty: it is there */
	enum conf_acme_key type;
	struct view directory;
};

/* All is copied.  NULL: no thread can be had. */
struct work *disk_make_key(struct loop *loop, const struct disk_key *key, disk_done *done,
			   void *arg);
/* What is not given stays as it is. */
struct disk_note {
	const char *folder, *file;
	struct view directory;
	bool keeps_order, keeps_failures;
	struct view order; /* empty: none is under way any more */
	unsigned failures;
	uint64_t again_s;
};

struct work *disk_write_note(struct loop *loop, const struct disk_note *note, disk_done *done,
			     void *arg);
struct work *disk_write_pair(struct loop *loop, const char *folder, const char *file,
			     struct view pem, disk_done *done, void *arg);

/* The name of the file with the next key. */
void disk_next(const char *file, char out[NAME_MAX + 1]);
/* What is there, at once; false: nothing, or what is not to be read, which is said. */
bool disk_read(const char *folder, const char *file, struct str *out);

#endif
