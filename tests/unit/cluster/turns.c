/* SPDX-License-Identifier: MIT */
/* Whose turn it is: what is asked, and what each answer, late answer and silence means. */
#include "cluster/turns.h"

#include "server.h"

#define SECOND UINT64_C(1000000)
#define MINE ":1\r\n$0\r\n\r\n:0\r\n"
#define OTHERS ":0\r\n$2\r\nxy\r\n:0\r\n"

static struct turns t;
static struct cluster_turn turn;

static void take(bool wants, struct view proof)
{
	turns_take(&t, VIEW("me"),
		   &(struct cluster_wish){.wants = wants, .proof = proof, .shown = VIEW("s")},
		   &turn);
}

static void begin(void)
{
	turns_init(&t, (struct redis *)&server);
	turns_follow(&t, VIEW("w"));
}

static void end(void)
{
	turns_fini(&t);
	for (size_t i = 0; i < SERVER_WORDS; i++)
		str_fini(&server.words[i]);
}

Test(turns, alone_it_is_everybodys, .fini = end)
{
	turns_init(&t, (struct redis *)&server);
	take(true, VIEW("p"));
	cr_expect(turn.mine && turn.everywhere && !turn.shared && !turn.proof.len);
	cr_expect_eq(server.n_asked, 0);
}

Test(turns, a_question, .init = begin, .fini = end)
{
	take(true, VIEW("p"));
	cr_expect(server.topic == REDIS_TURNS && server.n_words == 12);
	cr_expect(word_is(0, "EVAL") && word_is(2, "4") && word_is(3, "{w}:acme:lease") &&
		  word_is(4, "{w}:acme:proof") && word_is(5, "{w}:acme:seen") &&
		  word_is(6, "{w}:acme:nodes") && word_is(7, "me") && word_is(8, "15000") &&
		  word_is(9, "1") && word_is(10, "p") && word_is(11, "s"));
	take(true, VIEW("p"));
	cr_expect_eq(server.n_asked, 1, "one at a time");
	server_says("*3\r\n" OTHERS);
	take(false, VIEW_NONE);
	cr_expect(server.n_asked == 2 && word_is(9, "0") && word_is(10, ""));
}

Test(turns, nobodys_before_the_first_answer_and_everybodys_without_one, .init = begin, .fini = end)
{
	take(true, VIEW("p"));
	cr_expect(!turn.mine && turn.shared && !turn.everywhere);
	clock_ahead_us += 4 * SECOND;
	take(true, VIEW("p"));
	cr_expect(!turn.mine && turn.shared);
	clock_ahead_us += 2 * SECOND;
	take(true, VIEW("p"));
	cr_expect(turn.mine && turn.everywhere && !turn.shared);
	server_answers(NULL, 0);
	take(true, VIEW("p"));
	cr_expect(server.n_asked == 2 && turn.mine && !turn.shared);
	server_says("*3\r\n" OTHERS);
	take(true, VIEW("p"));
	cr_expect(!turn.mine && turn.shared && view_eq(turn.proof, VIEW("xy")));
}

Test(turns, ours_with_what_the_others_show, .init = begin, .fini = end)
{
	take(true, VIEW("p"));
	server_says("*3\r\n:1\r\n$0\r\n\r\n:2\r\n");
	take(true, VIEW("p"));
	cr_expect(turn.mine && turn.shared && !turn.everywhere);
	server_says("*3\r\n" MINE);
	take(true, VIEW("p"));
	cr_expect(turn.mine && turn.everywhere);
	server_says("*3\r\n" MINE);
	take(true, VIEW("q"));
	cr_expect(turn.mine && !turn.everywhere, "they show what was asked for before");
	server_says("*3\r\n" MINE);
	take(true, VIEW("q"));
	cr_expect(turn.everywhere);
	server_says("*3\r\n" OTHERS);
	take(true, VIEW("q"));
	cr_expect(!turn.mine && !turn.everywhere, "it was taken");
}

Test(turns, who_did_not_want_it_has_it_not, .init = begin, .fini = end)
{
	take(false, VIEW_NONE);
	server_says("*3\r\n" MINE);
	take(false, VIEW_NONE);
	cr_expect(!turn.mine && turn.shared && !turn.everywhere);
}

Test(turns, what_is_no_answer_is_none, .init = begin, .fini = end)
{
#define SAID(text) {"" text, sizeof(text) - 1}
	static const struct {
		const char *text;
		size_t len;
	} rows[] = {
	    SAID("*2\r\n:1\r\n$0\r\n\r\n"),
	    SAID("*4\r\n" MINE ":0\r\n"),
	    SAID(":1\r\n"),
	    SAID("*3\r\n$1\r\n1\r\n$0\r\n\r\n:0\r\n"),
	    SAID("*3\r\n:1\r\n:0\r\n:0\r\n"),
	    SAID("*3\r\n:1\r\n$0\r\n\r\n$1\r\n0\r\n"),
	    SAID("-NOSCRIPT\r\n"),
	};
	struct str longest = STR_INIT;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		take(true, VIEW("p"));
		server_answers(rows[i].text, rows[i].len);
		take(true, VIEW("p"));
		cr_expect(!turn.mine && turn.shared, "%zu", i);
		server_answers(NULL, 0);
	}
	for (int len = 1024; len <= 1025; len++) {
		str_reset(&longest);
		str_printf(&longest, "*3\r\n:1\r\n$%d\r\n%*s\r\n:0\r\n", len, len, "x");
		t.has = false;
		take(true, VIEW("p"));
		server_answers(longest.ptr, longest.len);
		take(true, VIEW("p"));
		cr_expect_eq(turn.mine, len == 1024);
		server_answers(NULL, 0);
	}
	clock_ahead_us += 6 * SECOND;
	take(true, VIEW("p"));
	cr_expect(turn.mine && !turn.shared, "after so long each goes on by itself");
	str_fini(&longest);
}

Test(turns, another_prefix_begins_anew, .init = begin, .fini = end)
{
	take(true, VIEW("p"));
	server_says("*3\r\n" MINE);
	turns_follow(&t, VIEW("w"));
	take(true, VIEW("p"));
	cr_expect(turn.mine && turn.everywhere);
	server_says("*3\r\n" OTHERS);
	turns_follow(&t, VIEW("v"));
	take(true, VIEW("p"));
	cr_expect(!turn.mine && !turn.everywhere && turn.shared && !turn.proof.len);
	cr_expect(word_is(3, "{v}:acme:lease"));
}
