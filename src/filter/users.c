/* SPDX-License-Identifier: MIT */
/* Files of users: read, checked line by line, looked up. */
#include "weir/filter/users.h"

#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/base/hash.h"
#include "weir/base/list.h"
#include "weir/base/parse.h"

#define BCRYPT_COST_MAX 12
#define SHA_ROUNDS_MAX 1000000
/* yescrypt: 2^N blocks of 128 times r bytes */
#define YESCRYPT_MEMORY_MAX ((uint64_t)32 << 20)

struct user {
	struct view name, hash;
	unsigned line;
};

struct users {
	struct list link; /* in `all`, or unlinked */
	unsigned refs;
	char *path; /* owns; NULL: of a text */
	char *text; /* owns */
	size_t len;
	struct user *rows; /* owns; sorted by name */
	size_t n, cap;
	uint64_t seed;
};

static struct list all; /* struct users of files; control thread */

/* ---- hashes ---- */

static const char crypt_digits[] =
    "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* -1: none. */
static int digit_of(char c)
{
	const char *at = c ? strchr(crypt_digits, c) : NULL;
	return at ? (int)(at - crypt_digits) : -1;
}

static bool all_digits(struct view v, size_t len)
{
	if (v.len != len)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (digit_of(v.ptr[i]) < 0)
			return false;
	return true;
}

/* Up to the next '$'. */
static bool next_part(struct view *rest, struct view *part)
{
	ptrdiff_t end = view_chr(*rest, '$');
	if (end < 0)
		return false;
	*part = view_head(*rest, (size_t)end);
	*rest = view_skip(*rest, (size_t)end + 1);
	return true;
}

static const char malformed[] = "the hash is malformed, or was cut";

/* $2y$10$ and 22 digits of salt, 31 of the hash */
static const char *check_bcrypt(struct view rest)
{
	struct view cost;
	uint64_t n;
	if (!next_part(&rest, &cost) || cost.len != 2 || !parse_u64(cost, &n) || n < 4 ||
	    !all_digits(rest, 53))
		return malformed;
	return n > BCRYPT_COST_MAX ? "bcrypt with a cost above 12 takes too long for each check"
				   : NULL;
}

/* [rounds=N$]salt$hash */
static const char *check_sha(struct view rest, size_t len)
{
	struct view part;
	uint64_t n = 0;
	if (view_starts(rest, VIEW("rounds=")) &&
	    (!next_part(&rest, &part) || !parse_u64(view_skip(part, 7), &n)))
		return malformed;
	if (!next_part(&rest, &part) || part.len > 16 || !all_digits(rest, len))
		return malformed;
	return n > SHA_ROUNDS_MAX ? "SHA-crypt with more than 1000000 rounds takes too long for "
				    "each check"
				  : NULL;
}

/* j9T$salt$hash: flavour, log2 of N less one, r less one */
static const char *check_yescrypt(struct view rest)
{
	struct view part, salt;
	if (!next_part(&rest, &part) || !next_part(&rest, &salt) || salt.len > 64 ||
	    !all_digits(rest, 43))
		return malformed;
	int n = part.len == 3 ? digit_of(part.ptr[1]) + 1 : 0;
	int r = part.len == 3 ? digit_of(part.ptr[2]) + 1 : 0;
	if (part.ptr[0] != 'j' || n < 1 || r < 1 || n > 40)
		return "yescrypt with parameters of its own is not taken";
	return ((uint64_t)128 * (uint64_t)r) << n > YESCRYPT_MEMORY_MAX
		   ? "yescrypt with a cost above 6 takes too long for each check"
		   : NULL;
}

/* NULL: it is taken. */
static const char *check_hash(struct view hash)
{
	if (view_starts(hash, VIEW("$2a$")) || view_starts(hash, VIEW("$2b$")) ||
	    view_starts(hash, VIEW("$2y$")))
		return check_bcrypt(view_skip(hash, 4));
	if (view_starts(hash, VIEW("$y$")))
		return check_yescrypt(view_skip(hash, 3));
	if (view_starts(hash, VIEW("$5$")))
		return check_sha(view_skip(hash, 3), 43);
	if (view_starts(hash, VIEW("$6$")))
		return check_sha(view_skip(hash, 3), 86);
	if (view_starts(hash, VIEW("$apr1$")) || view_starts(hash, VIEW("$1$")))
		return "MD5 ($apr1$, $1$) is not taken, it is guessed too fast; write it anew "
		       "with htpasswd -B";
	if (view_starts(hash, VIEW("{SHA}")))
		return "{SHA} is not taken, it is guessed too fast; write it anew with "
		       "htpasswd -B";
	if (view_starts(hash, VIEW("$")))
		return "this kind of hash is not known; bcrypt ($2y$), yescrypt ($y$) and "
		       "SHA-crypt ($5$, $6$) are";
	return "a password as plain text or DES is not taken; write it anew with htpasswd -B";
}

/* ---- lines ---- */

static bool is_printable(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] < 0x20 || v.ptr[i] == 0x7f)
			return false;
	return true;
}

static const char *parse_line(struct view line, struct user *user)
{
	ptrdiff_t colon = view_chr(line, ':');
	if (!is_printable(line))
		return "there are control characters in it";
	if (colon < 0)
		return "there is no ':' between a name and a hash";
	user->name = view_head(line, (size_t)colon);
	user->hash = view_skip(line, (size_t)colon + 1);
	ptrdiff_t comment = view_chr(user->hash, ':');
	if (comment >= 0)
		user->hash = view_head(user->hash, (size_t)comment);
	if (!user->name.len)
		return "the name is missing";
	if (user->name.len > USER_NAME_MAX)
		return "the name is longer than 255 bytes";
	if (user->hash.len > USER_HASH_MAX)
		return malformed;
	return check_hash(user->hash);
}

static void add(struct users *users, const struct user *user)
{
	if (users->n == users->cap) {
		users->cap = users->cap ? 2 * users->cap : 64;
		users->rows = realloc(users->rows, users->cap * sizeof(*users->rows));
		check(users->rows != NULL);
	}
	users->rows[users->n++] = *user;
}

static void complain(struct str *why, struct view name, unsigned line, const char *what)
{
	str_printf(why, VIEW_FMT ":%u: %s", VIEW_ARG(name), line, what);
}

static bool read_lines(struct users *users, struct view name, struct str *why)
{
	struct view rest = view_of(users->text, users->len);
	for (unsigned line = 1; rest.len; line++) {
		ptrdiff_t end = view_chr(rest, '\n');
		struct view text = view_head(rest, end < 0 ? rest.len : (size_t)end);
		struct user user = {.line = line};
		rest = view_skip(rest, text.len + 1);
		if (view_ends(text, VIEW("\r")))
			text.len--;
		text = view_trim(text);
		if (!text.len || text.ptr[0] == '#')
			continue;
		const char *bad = parse_line(text, &user);
		if (bad) {
			complain(why, name, line, bad);
			return false;
		}
		add(users, &user);
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct user *left = a, *right = b;
	int order = view_cmp(left->name, right->name);
	return order ? order : (int)left->line - (int)right->line;
}

static bool sort(struct users *users, struct view name, struct str *why)
{
	if (!users->n) {
		str_printf(why, VIEW_FMT ": there is no user in it", VIEW_ARG(name));
		return false;
	}
	qsort(users->rows, users->n, sizeof(*users->rows), by_name);
	for (size_t i = 1; i < users->n; i++) {
		const struct user *first = &users->rows[i - 1], *user = &users->rows[i];
		if (!view_eq(first->name, user->name))
			continue;
		str_printf(why, VIEW_FMT ":%u: '" VIEW_FMT "' is there twice (first in line %u)",
			   VIEW_ARG(name), user->line, VIEW_ARG(user->name), first->line);
		return false;
	}
	return true;
}

/* ---- life ---- */

static void users_free(struct users *users)
{
	if (users->text)
		explicit_bzero(users->text, users->len);
	list_del(&users->link);
	free(users->path);
	free(users->text);
	free(users->rows);
	free(users);
}

struct users *users_parse(struct view text, struct view name, struct str *why)
{
	struct users *users = calloc(1, sizeof(*users));
	check(users != NULL);
	list_init(&users->link);
	users->refs = 1;
	users->seed = hash_seed();
	users->len = text.len;
	users->text = malloc(text.len + 1);
	check(users->text != NULL);
	memcpy(users->text, text.ptr, text.len);
	if (read_lines(users, name, why) && sort(users, name, why))
		return users;
	users_free(users);
	return NULL;
}

static struct users *find_same(struct view path, struct view text)
{
	if (!all.next)
		list_init(&all);
	list_each (it, &all) {
		struct users *users = list_entry(it, struct users, link);
		if (view_eq(view_str(users->path), path) &&
		    view_eq(view_of(users->text, users->len), text))
			return users;
	}
	return NULL;
}

static struct users *get_text(struct view path, struct view text, struct str *why)
{
	struct users *users = find_same(path, text);
	if (users) {
		users->refs++;
		return users;
	}
	users = users_parse(text, path, why);
	if (!users)
		return NULL;
	users->path = strndup(path.ptr, path.len);
	check(users->path != NULL);
	list_push_back(&all, &users->link);
	return users;
}

struct users *users_get(struct view path, struct str *why)
{
	struct str text = STR_INIT, reason = STR_INIT;
	struct users *users = NULL;
	if (file_read(path.ptr, USERS_FILE_MAX, 0, &text, &reason) == ERR_OK)
		users = get_text(path, str_as_view(&text), why);
	else
		str_printf(why, "cannot read '" VIEW_FMT "': " VIEW_FMT, VIEW_ARG(path),
			   VIEW_ARG(str_as_view(&reason)));
	if (text.ptr)
		explicit_bzero(text.ptr, text.cap);
	str_fini(&text);
	str_fini(&reason);
	return users;
}

void users_put(struct users *users)
{
	if (users && --users->refs == 0)
		users_free(users);
}

/* ---- looking up ---- */

size_t users_count(const struct users *users)
{
	return users->n;
}

bool users_find(const struct users *users, struct view name, struct view *hash)
{
	const struct user *user = NULL;
	size_t low = 0, high = users->n;
	while (low < high && !user) {
		size_t middle = low + (high - low) / 2;
		int order = view_cmp(name, users->rows[middle].name);
		if (order == 0)
			user = &users->rows[middle];
		else if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (!user)
		*hash = users->rows[hash_view(name, users->seed) % users->n].hash;
	else
		*hash = user->hash;
	return user != NULL;
}
