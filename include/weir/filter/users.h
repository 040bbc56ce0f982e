/* SPDX-License-Identifier: MIT */
/*
 * A file of users, as htpasswd(1) and mkpasswd(1) write it:
 *
 *   # comment
 *   name:$2y$10$...          bcrypt, yescrypt ($y$), SHA-crypt ($5$, $6$)
 *
 * Passwords as plain text, DES, MD5 ($1$, $apr1$) and {SHA} are refused: whoever reads the
 * file has the passwords of most of its users within a day.  So is what takes a second or
 * more to check, for it is checked one at a time.
 *
 * What is the same in several places is kept once.  Thread: control makes it and lets go of
 * it; anybody may look into it meanwhile.
 */
#ifndef WEIR_FILTER_USERS_H
#define WEIR_FILTER_USERS_H

#include <stdbool.h>

#include "weir/base/defs.h"
#include "weir/base/str.h"

/* Of a name, and of a hash. */
#define USER_NAME_MAX 255
#define USER_HASH_MAX 127
#define USERS_FILE_MAX (16 * 1024 * 1024)

struct users;

/* NULL: what is wrong, with file and line, is in `why`. */
struct users *users_get(struct view path, struct str *why) MUST_CHECK;
void users_put(struct users *users); /* NULL is fine */

/* The same of a text; `name` is what errors call it. */
struct users *users_parse(struct view text, struct view name, struct str *why) MUST_CHECK;

size_t users_count(const struct users *users);

/*
 * The hash that a password is to be compared with.  False: nobody has this name; the hash
 * is somebody else's then, the same each time, so that a stranger is told nothing by how
 * long it takes.
 */
bool users_find(const struct users *users, struct view name, struct view *hash);

#endif
