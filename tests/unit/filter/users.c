/* SPDX-License-Identifier: MIT */
/* Files of users, credentials of requests, passwords that were right a moment ago. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "filter/password_cache.h"
#include "weir/base/check.h"

#define BCRYPT "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define YESCRYPT "$y$j75$saltsaltsaltsalt$DsMjm5uqUiFBUYLB9CLnX8E/M0k0mOVJBUWdpCrUik9"
#define SHA256_FROM_ROUNDS "1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"
#define SHA256 "$5$rounds=" SHA256_FROM_ROUNDS

static struct users *parse(const char *text, struct str *why)
{
	return users_parse(view_str(text), VIEW("users"), why);
}

Test(users, names_are_found_with_their_hash_and_strangers_get_somebody_elses)
{
	struct str why = STR_INIT;
	struct users *users =
	    parse("# all\n\nzoe:" BCRYPT "\r\n  ann:" YESCRYPT ":Ann of the shop\n"
		  "bob b:" SHA256,
		  &why);
	struct view hash, again;
	cr_assert(users != NULL, "%s", why.ptr);
	cr_assert(users_count(users) == 3);
	cr_assert(users_find(users, VIEW("ann"), &hash) && view_eq(hash, VIEW(YESCRYPT)));
	cr_assert(users_find(users, VIEW("zoe"), &hash) && view_eq(hash, VIEW(BCRYPT)));
	cr_assert(users_find(users, VIEW("bob b"), &hash) && view_eq(hash, VIEW(SHA256)));
	cr_assert(!users_find(users, VIEW("Ann"), &hash) && hash.len > 0);
	cr_assert(!users_find(users, VIEW("Ann"), &again) && view_eq(hash, again));
	cr_assert(!users_find(users, VIEW_NONE, &hash) && hash.len > 0);
	users_put(users);
	str_fini(&why);
}

Test(users, what_is_not_taken_is_said_with_its_line)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"a:" BCRYPT "\nb:$apr1$x$y", "users:2: MD5"},
	    {"a:$1$x$y", "users:1: MD5"},
	    {"a:{SHA}abc", "users:1: {SHA}"},
	    {"a:plain", "users:1: a password as plain text"},
	    {"a:", "users:1: a password as plain text"},
	    {"a", "users:1: there is no ':'"},
	    {":" BCRYPT, "users:1: the name is missing"},
	    {"a\x1f:" BCRYPT, "users:1: there are control characters"},
	    {"a\x7f:" BCRYPT, "users:1: there are control characters"},
	    {"a:$9$x$y", "users:1: this kind of hash is not known"},
	    {"a:" BCRYPT "x", "users:1: the hash is malformed"},
	    {"a:$2y$4$abcdefghijklmnopqrstuu", "users:1: the hash is malformed"},
	    {"a:$2y$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "users:1: bcrypt"},
	    {"a:$y$jFT$salt$DsMjm5uqUiFBUYLB9CLnX8E/M0k0mOVJBUWdpCrUik9", "users:1: yescrypt"},
	    {"a:$y$$salt$DsMjm5uqUiFBUYLB9CLnX8E/M0k0mOVJBUWdpCrUik9", "users:1: yescrypt"},
	    {"a:$y$j9T$salt", "users:1: the hash is malformed"},
	    {"a:$5$rounds=9999999$salt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
	     "users:1: SHA-crypt with more"},
	    {"a:$5$rounds=x$salt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2",
	     "users:1: the hash is malformed"},
	    {"a:$6$salt", "users:1: the hash is malformed"},
	    {"a:" BCRYPT "\na:" BCRYPT, "users:2: 'a' is there twice (first in line 1)"},
	    {"", "users: there is no user in it"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str why = STR_INIT;
		cr_assert(parse(rows[i].text, &why) == NULL, "%s", rows[i].text);
		cr_assert(view_starts(str_as_view(&why), view_str(rows[i].says)), "%s: %s",
			  rows[i].text, why.ptr);
		str_fini(&why);
	}
}

/* The hash is taken however many zeroes its rounds begin with. */
static const char *line_of(size_t name_len, size_t hash_len)
{
	static char line[1000];
	static const char head[] = "$5$rounds=", tail[] = SHA256_FROM_ROUNDS;
	char *at = line;
	memset(line, 0, sizeof(line));
	at = (char *)memset(at, 'n', name_len) + name_len;
	at = stpcpy(stpcpy(at, ":"), head);
	size_t zeroes = hash_len - strlen(head) - strlen(tail);
	at = (char *)memset(at, '0', zeroes) + zeroes;
	strcpy(at, tail);
	return line;
}

Test(users, the_longest_name_and_the_longest_hash)
{
	static const struct {
		size_t name, hash;
		const char *says;
	} rows[] = {
	    {USER_NAME_MAX, USER_HASH_MAX, NULL},
	    {USER_NAME_MAX + 1, USER_HASH_MAX, "users:1: the name is longer than 255 bytes"},
	    {USER_NAME_MAX, USER_HASH_MAX + 1, "users:1: the hash is malformed"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str why = STR_INIT;
		struct users *users = parse(line_of(rows[i].name, rows[i].hash), &why);
		cr_assert_eq(users == NULL, rows[i].says != NULL, "%zu: %s", i, why.ptr);
		if (users)
			users_put(users);
		else
			cr_assert(view_starts(str_as_view(&why), view_str(rows[i].says)), "%s",
				  why.ptr);
		str_fini(&why);
	}
}

Test(users, all_of_many_are_found)
{
	struct str text = STR_INIT, why = STR_INIT;
	for (unsigned i = 0; i < 1000; i++)
		str_printf(&text, "user%u:" BCRYPT "\n", i);
	struct users *users = parse(text.ptr, &why);
	cr_assert(users != NULL && users_count(users) == 1000, "%s", why.ptr);
	for (unsigned i = 0; i < 1000; i++) {
		char name[20];
		struct view hash;
		snprintf(name, sizeof(name), "user%u", i);
		cr_assert(users_find(users, view_str(name), &hash), "%s", name);
	}
	users_put(users);
	str_fini(&text);
	str_fini(&why);
}

static void write_users(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");
	cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
}

Test(users, a_file_is_kept_once_for_as_long_as_it_is_the_same)
{
	static char path[] = "/tmp/weir-users-XXXXXX";
	struct str why = STR_INIT;
	struct view hash;
	close(mkstemp(path));
	write_users(path, "ann:" BCRYPT "\n");
	struct users *first = users_get(view_str(path), &why);
	cr_assert(first != NULL && users_get(view_str(path), &why) == first);
	write_users(path, "bob:" BCRYPT "\n");
	struct users *second = users_get(view_str(path), &why);
	cr_assert(second != NULL && second != first);
	users_put(first);
	cr_expect(users_find(first, VIEW("ann"), &hash), "it is named once more");
	users_put(first);
	cr_expect_eq(users_get(view_str(path), &why), second, "of those that are left");
	users_put(second);
	users_put(second);
	unlink(path);
	cr_expect_null(users_get(view_str(path), &why));
	cr_expect(strstr(why.ptr, "cannot read '/tmp/weir-users-") != NULL, "%s", why.ptr);
	str_fini(&why);
}

static bool reads(const char *value, struct credentials *out)
{
	struct message *msg = calloc(1, sizeof(*msg));
	check(msg != NULL);
	msg->headers[msg->n_headers++] = (struct header){
	    .name = VIEW("Authorization"), .value = view_str(value), .id = HDR_AUTHORIZATION};
	bool ok = credentials_of(msg, out);
	free(msg);
	return ok;
}

Test(credentials, are_read_strictly)
{
	struct credentials c;
	cr_assert(reads("Basic YW5uOnNlY3JldA==", &c));
	cr_assert(view_eq(c.name, VIEW("ann")) && view_eq(c.password, VIEW("secret")));
	cr_assert(reads("bAsIc  YTpiOmM=", &c));
	cr_assert(view_eq(c.name, VIEW("a")) && view_eq(c.password, VIEW("b:c")));
	cr_assert(reads("Basic Og==", &c) && c.name.len == 0 && c.password.len == 0);
	static const char *const bad[] = {
	    "",
	    "Basic",
	    "Basic ",
	    "Basic YW5u",
	    "Basic Og=",
	    "Basic O g=",
	    "Basic Oh==",
	    "Basic ====",
	    "Basic OgA=",
	    "Basic _w==",
	    "Bearer Og==",
	    "Basic Og== x",
	    "Basic Og===",
	    "Basic =Og=",
	    "Basic O===",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert(!reads(bad[i], &c), "%s", bad[i]);
}

Test(password_cache, remembers_for_a_minute_and_by_all_three)
{
	struct password_key key = password_key_of(VIEW("h"), VIEW("ann"), VIEW("secret"));
	cr_assert(!password_cache_has(key, 1));
	password_cache_put(key, 1);
	cr_assert(password_cache_has(key, PASSWORDS_KEPT_US));
	cr_assert(!password_cache_has(key, PASSWORDS_KEPT_US + 1));
	cr_assert(password_cache_has(password_key_of(VIEW("h"), VIEW("ann"), VIEW("secret")), 2));
	cr_assert(!password_cache_has(password_key_of(VIEW("i"), VIEW("ann"), VIEW("secret")), 2));
	cr_assert(!password_cache_has(password_key_of(VIEW("h"), VIEW("annsecret"), VIEW("")), 2));
}

Test(password_cache, has_an_end_and_the_oldest_leave)
{
	char text[24];
	unsigned kept = 0;
	for (unsigned i = 0; i < 4 * PASSWORDS_KEPT; i++) {
		snprintf(text, sizeof(text), "%u", i);
		password_cache_put(password_key_of(VIEW("h"), view_str(text), VIEW("p")), 1 + i);
	}
	for (unsigned i = 0; i < 4 * PASSWORDS_KEPT; i++) {
		snprintf(text, sizeof(text), "%u", i);
		bool has = password_cache_has(password_key_of(VIEW("h"), view_str(text), VIEW("p")),
					      1 + i);
		kept += has;
		cr_assert(has || i < 4 * PASSWORDS_KEPT - 4, "the last ones are there");
	}
	cr_assert(kept <= PASSWORDS_KEPT && kept > PASSWORDS_KEPT / 2, "%u", kept);
}
