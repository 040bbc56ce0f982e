/* SPDX-License-Identifier: MIT */
/* What the server says of other nodes: who is heard, who is not, and who may judge by it. */
#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "cluster/heard.h"
#include "cluster/presence.h"
#include "weir/cluster/cluster.h"

#define NOW UINT64_C(100000000)
#define WORD ((const char *)1) /* as a node says it */
#define LONG ((const char *)2) /* one that is left out: its length */

struct row {
	const char *field;
	int age_ms;
	const char *said;
};

static void put_text(struct str *out, struct view text)
{
	str_printf(out, "$%zu\r\n", text.len);
	str_view(out, text);
	str_text(out, "\r\n");
}

static void put_word(struct str *out, const char *said)
{
	struct str word = STR_INIT;
	pack_u64(&word, 1);
	pack_view(&word, VIEW("b"));
	pack_view(&word, VIEW("127.0.0.1:8404"));
	pack_view(&word, VIEW("1.2.3"));
	if (said == LONG)
		str_text(out, ":5000000\r\n");
	else
		put_text(out, said == WORD ? str_as_view(&word) : view_str(said));
	str_fini(&word);
}

/* As it comes from the server; returns the goodbyes. */
static unsigned take(struct heard *heard, const struct row *rows, size_t n, uint64_t now_us)
{
	struct str text = STR_INIT;
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	str_printf(&text, "*%zu\r\n", 3 * n);
	for (size_t i = 0; i < n; i++) {
		put_text(&text, view_str(rows[i].field));
		str_printf(&text, ":%d\r\n", rows[i].age_ms);
		put_word(&text, rows[i].said);
	}
	redisReaderFeed(reader, text.ptr, text.len);
	cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
	cr_assert_not_null(reply);
	unsigned n_goodbyes = heard_take(heard, reply, now_us);
	freeReplyObject(reply);
	redisReaderFree(reader);
	str_fini(&text);
	return n_goodbyes;
}

Test(cluster_heard, nobody_has_answered)
{
	struct heard heard = {0};
	cr_assert(heard_is_deaf(&heard, 1, NOW));
	cr_assert_eq(take(&heard, NULL, 0, NOW), 0);
	cr_assert_not(heard_is_deaf(&heard, 1, NOW), "alone, and it is known");
	heard_forget(&heard);
	cr_assert_eq(heard.answered_us, NOW);
}

Test(cluster_heard, an_answer_and_a_word_last_three_seconds)
{
	struct heard heard = {0};
	const struct row rows[] = {{"b#1", 1000, WORD}};
	take(&heard, rows, 1, NOW);
	cr_assert_eq(heard.n, 1);
	cr_assert_eq(heard.nodes[0].at_us, NOW - 1000000);
	cr_assert_not(heard_is_deaf(&heard, 2, NOW));
	cr_assert_not(heard_is_deaf(&heard, 2, NOW + 2000000));
	cr_assert(heard_is_deaf(&heard, 2, NOW + 2000001), "its word is old");
	take(&heard, NULL, 0, NOW);
	cr_assert_not(heard_is_deaf(&heard, 1, NOW + 3000000));
	cr_assert(heard_is_deaf(&heard, 1, NOW + 3000001), "the answer is old");
	heard_forget(&heard);
}

Test(cluster_heard, who_has_just_gone_is_missed_unless_it_said_goodbye)
{
	struct heard heard = {0};
	const struct row both[] = {{"b#1", 0, WORD}, {"c#1", 0, WORD}};
	const struct row goodbye[] = {{"c#1", 100, ""}, {"b#1", 0, WORD}};
	take(&heard, both, 2, NOW);
	cr_assert_not(heard_is_deaf(&heard, 3, NOW));
	cr_assert_eq(take(&heard, both, 1, NOW), 0);
	cr_assert(heard_is_deaf(&heard, 3, NOW));
	take(&heard, both, 2, NOW);
	cr_assert_eq(take(&heard, goodbye, 2, NOW), 1);
	cr_assert_not(heard_is_deaf(&heard, 2, NOW));
	cr_assert_eq(take(&heard, goodbye, 2, NOW), 0, "a goodbye counts once");
	heard_forget(&heard);
}

Test(cluster_heard, what_is_not_read_is_load_that_nobody_knows)
{
	static const struct row unread[] = {{"", 0, LONG},
					    {"b#1", 0, "\x02other"},
					    {"b#1", 0, "\xff"},
					    {"b#1", -1, WORD},
					    {"", 0, WORD}};
	for (size_t i = 0; i < sizeof(unread) / sizeof(unread[0]); i++) {
		struct heard heard = {0};
		const struct row rows[] = {{"a#1", 0, WORD}, unread[i]};
		take(&heard, rows, 2, NOW);
		cr_assert_eq(heard.n, 1, "%zu", i);
		cr_assert_eq(heard.n_unread, 1, "%zu", i);
		cr_assert(heard_is_deaf(&heard, 2, NOW), "%zu", i);
		take(&heard, rows, 1, NOW);
		cr_assert_not(heard_is_deaf(&heard, 2, NOW), "%zu", i);
		heard_forget(&heard);
	}
}

Test(cluster_heard, a_word_fades_in_five_seconds)
{
	const struct heard_node node = {.at_us = NOW};
	cr_assert_float_eq(heard_freshness(&node, NOW - 1), 1, 1e-9);
	cr_assert_float_eq(heard_freshness(&node, NOW + CLUSTER_TTL_US / 2), 0.5, 1e-9);
	cr_assert_eq(heard_freshness(&node, NOW + CLUSTER_TTL_US), 0);
}
