/* SPDX-License-Identifier: MIT */
/*
 * Files, as a daemon may touch them: it never waits for one, and what it does as
 * root it does not do through a path that somebody else may change.
 *
 * Reading: regular files of a bounded size, whoever put them there.
 * Making (sockets, logs): as the user that weir is going to switch to, so that
 * they are his from the first moment and no link leads further than he could go
 * himself; as root only where the whole way belongs to root.
 */
#ifndef WEIR_BASE_FILE_H
#define WEIR_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "weir/base/defs.h"
#include "weir/base/err.h"
#include "weir/base/str.h"

/*
 * Appends a whole file to `out`, or what is wrong with it to `reason`.  A pipe is
 * refused, unless somebody may be waited for: then at most `wait_ms` without a byte.
 */
enum err file_read(const char *path, size_t max, int wait_ms, struct str *out,
		   struct str *reason) MUST_CHECK;
/* The same of a password or a token: without blanks and line ends around it, at least a byte and
 * at most FILE_SECRET_MAX. */
#define FILE_SECRET_MAX 4096
enum err file_read_secret(const char *path, struct str *out, struct str *reason) MUST_CHECK;

/* ---- all of it ---- */

/* `bytes`, or `n` of them, at an offset of a file; false with errno, EIO when it ends before. */
bool file_write_at(int fd, struct view bytes, off_t at) MUST_CHECK;
bool file_read_at(int fd, void *to, size_t n, off_t at) MUST_CHECK;

/* ---- writing ---- */

/*
 * Writes a file of mode 0600 beside the one it replaces, and gives it the name once it is on
 * the disk, which may take a while.  0, or errno: then what was there is there still.
 */
int file_replace(const char *directory, const char *name, struct view bytes);
/* Nothing happens where it cannot be. */
void file_remove(const char *path);

/* ---- who files belong to ---- */

/* From now on files are made for this user; a process of root's, before its threads start. */
void file_owner_set(uid_t uid, gid_t gid);
void file_owner_clear(void);
/* False: whoever makes a file is its owner. */
bool file_owner(uid_t *uid, gid_t *gid);
/* The calling thread uses files as the owner does, until file_owner_end. */
void file_owner_begin(void);
void file_owner_end(void);

/* ---- directories ---- */

/* Whether nobody but root can change what is found at this path, each part of it and
 * each link on the way; the last part must be a directory. */
bool file_is_roots(const char *directory);
/* The directory part of a path, "." without one. */
void file_directory(const char *path, char *out, size_t size);
/* The directory of `path` as a descriptor (O_PATH), or -1; *name is the rest.  As root
 * links are followed only where they are root's. */
int file_open_directory(const char *path, const char **name);
/*
 * Makes the directory of a socket where it is missing: of the owner, and in one that
 * everybody may write into, such as /tmp, for him alone; there nobody else's will do.
 */
enum err file_make_directory(const char *path, struct str *reason) MUST_CHECK;

/* ---- socket files ---- */

struct file_id {
	dev_t dev;
	ino_t ino; /* 0: none */
};

/* Of what is there now, links not followed. */
struct file_id file_identify(const char *path);
/* Only while it is the same socket. */
void file_remove_socket(const char *path, struct file_id id);
bool file_chmod_socket(const char *path, struct file_id id, mode_t mode);

#endif
