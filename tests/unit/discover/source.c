/* SPDX-License-Identifier: MIT */
/* What all sources have in common: members come, go and come back; failures; pools; hand-over. */
#include "fixture.h"

#define ONE(id, ip) "{\"Service\":{\"ID\":\"" id "\",\"Address\":\"" ip "\",\"Port\":80}}"

static void consul(void)
{
	w.pool.discover.consul.address.text = VIEW("http://c");
	w.pool.discover.consul.service = VIEW("web");
	begin(CONF_SOURCE_consul, "web");
}

static void list(const char *json)
{
	if (!w.open)
		fire();
	answer_with(200, "1", json);
}

Test(source, members_come_and_go_and_come_back, WORLD)
{
	consul();
	cr_expect(!discover_settled(w.d));
	list("[" ONE("a", "10.0.0.1") "]");
	cr_expect(discover_settled(w.d));
	cr_expect_str_eq(w.news, "p consul web: 1, 1 new, 0 gone, one: 10.0.0.1:80");
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	cr_expect_str_eq(w.news, "p consul web: 2, 1 new, 0 gone, one: 10.0.0.2:80");
	list("[" ONE("b", "10.0.0.2") "]");
	cr_expect_str_eq(w.news, "p consul web: 2, 0 new, 1 gone, one: 10.0.0.1:80");
	expect_members("gone 10.0.0.1:80 w1 (a), 10.0.0.2:80 w1 (b)");
	cr_expect(w.n_changed == 3 && w.n_news == 3);
	list("[" ONE("b", "10.0.0.2") "]");
	cr_expect(w.n_changed == 3 && w.n_news == 3, "it is gone once");
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	cr_expect_str_eq(w.news, "p consul web: 2, 1 new, 0 gone, one: 10.0.0.1:80");
	expect_members("10.0.0.1:80 w1 (a), 10.0.0.2:80 w1 (b)");
	list("[" ONE("c", "10.0.0.3") "]");
	cr_expect_str_eq(w.news, "p consul web: 3, 1 new, 2 gone, one: ");
	cr_expect_eq(source_of(0)->n_changes, 5);
}

Test(source, another_weight_is_a_change_without_news, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "]");
	list("[{\"Service\":{\"ID\":\"a\",\"Address\":\"10.0.0.1\",\"Port\":80,"
	     "\"Weights\":{\"Passing\":9}}}]");
	expect_members("10.0.0.1:80 w9 (a)");
	cr_expect(w.n_changed == 2 && w.n_news == 1);
	list("[{\"Service\":{\"ID\":\"other\",\"Address\":\"10.0.0.1\",\"Port\":80,"
	     "\"Weights\":{\"Passing\":9}}}]");
	expect_members("10.0.0.1:80 w9 (other)");
	cr_expect_eq(w.n_changed, 2, "its cause is none");
}

Test(source, of_two_of_one_name_the_first_counts, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.1") "]");
	expect_members("10.0.0.1:80 w1 (a)");
	list("[" ONE("b", "10.0.0.1") "," ONE("a", "10.0.0.1") "]");
	expect_members("10.0.0.1:80 w1 (b)");
	cr_expect(w.n_changed == 1 && w.n_news == 1);
}

Test(source, age_is_that_of_the_state, WORLD)
{
	struct arena *arena = arena_new();
	size_t n;
	consul();
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	clock_ahead_us += 60000000;
	list("[" ONE("b", "10.0.0.2") "]");
	clock_ahead_us += 5000000;
	const struct discover_source *s = discover_status(w.d, arena, &n);
	cr_assert(n == 1 && s->n_members == 2);
	cr_expect(s->members[0].age_us >= 5000000 && s->members[0].age_us < 30000000);
	cr_expect(s->members[1].age_us >= 65000000 && s->members[1].age_us < 90000000);
	cr_expect(s->answer_age_us >= 5000000 && s->answer_age_us < 30000000);
	cr_expect(view_eq(s->pool, VIEW("p")) && view_eq(s->text, VIEW("web")));
	cr_expect_str_eq(s->kind, "consul");
	cr_expect(s->n_answers == 2 && s->n_failures == 0 && s->n_changes == 2);
	cr_expect_eq(s->error.len, 0);
	clock_ahead_us += 5000000;
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	s = discover_status(w.d, arena, &n);
	cr_expect(s->members[0].age_us < 4000000, "it is back since now");
	arena_free(arena);
}

Test(source, when_it_is_asked_next, WORLD)
{
	struct arena *arena = arena_new();
	size_t n;
	consul();
	const struct discover_source *s = discover_status(w.d, arena, &n);
	cr_expect(s->next_us == 0 && s->answer_age_us == UINT64_MAX, "it is asked now");
	answer_failed(FETCH_FAILED, 0, "no");
	s = discover_status(w.d, arena, &n);
	cr_expect(s->next_us > 100000 && s->next_us <= 550000);
	cr_expect(view_eq(s->error, VIEW("health of the service: no")));
	cr_expect(s->n_failures == 1 && s->answer_age_us == UINT64_MAX);
	clock_ahead_us += 10000000;
	s = discover_status(w.d, arena, &n);
	cr_expect_eq(s->next_us, 0, "late, not in a thousand years");
	fire();
	s = discover_status(w.d, arena, &n);
	cr_expect_eq(s->next_us, 0, "it has failed: it does not watch");
	answer_with(200, "1", "[]");
	fire();
	s = discover_status(w.d, arena, &n);
	cr_expect_eq(s->next_us, UINT64_MAX, "it watches");
	arena_free(arena);
}

Test(source, it_is_asked_later_each_time, WORLD)
{
	static const unsigned ms[] = {500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
	consul();
	for (size_t i = 0; i < ARRAY_LEN(ms); i++) {
		answer_failed(FETCH_FAILED, 0, "no");
		expect_due(ms[i]);
		fire();
	}
	cr_expect(discover_settled(w.d), "it has failed at least");
	cr_expect_eq(w.n_news, 1, "said once");
	cr_expect_str_eq(w.news,
			 "p consul web: 0, 0 new, 0 gone, error: health of the service: no, one: ");
	answer_with(200, "1", "[]");
	cr_expect_str_eq(w.news, "p consul web: 0, 0 new, 0 gone, recovered, one: ");
	fire();
	answer_failed(FETCH_FAILED, 0, "no");
	expect_due(500);
	cr_expect_eq(w.n_news, 3);
}

Test(source, more_members_than_may_be_are_left_out, WORLD)
{
	struct found *rows = calloc(SOURCE_MEMBERS_MAX + 1, sizeof(*rows));
	struct arena *arena = arena_new();
	consul();
	for (size_t i = 0; i <= SOURCE_MEMBERS_MAX; i++) {
		/* not in the order of their names */
		size_t k = i * 7919 % (SOURCE_MEMBERS_MAX + 1);
		rows[i].backend.name = view_str(arena_printf(arena, "m%zu", k));
		rows[i].cause = VIEW("listed");
	}
	source_answer(source_of(0), rows, SOURCE_MEMBERS_MAX, NULL);
	expect_error("");
	cr_expect_eq(source_of(0)->n_members, SOURCE_MEMBERS_MAX);
	for (size_t i = 0; i < SOURCE_MEMBERS_MAX; i++)
		cr_assert(member_find(source_of(0), rows[i].backend.name));
	cr_expect(!member_find(source_of(0), rows[SOURCE_MEMBERS_MAX].backend.name));
	source_answer(source_of(0), rows, SOURCE_MEMBERS_MAX + 1, NULL);
	expect_error("10001 members are named; the first 10000 count");
	cr_expect_eq(w.n_changed, 1);
	arena_free(arena);
	free(rows);
}

/* ---- pools ---- */

static const char *pool_text(void)
{
	static char out[1024];
	struct str text = str_fixed(out, sizeof(out));
	struct arena *arena = arena_new();
	const struct conf_pool *pool = discover_pool(w.d, &w.pool, arena);
	for (size_t i = 0; i < pool->n_backends; i++)
		str_printf(&text, "%s" VIEW_FMT "=" VIEW_FMT "/%u", i ? " " : "",
			   VIEW_ARG(pool->backends[i].name),
			   VIEW_ARG(pool->backends[i].address_text), pool->backends[i].member);
	arena_free(arena);
	return text.len ? out : "";
}

Test(source, members_follow_what_is_written, WORLD)
{
	struct conf_backend written[] = {{.name = VIEW("w"), .address_text = VIEW("10.0.0.8:80")},
					 {.name = VIEW("10.0.0.2:80"), .address_text = VIEW("x")}};
	struct arena *arena = arena_new();
	cr_expect_eq(discover_pool(w.d, &w.pool, arena), &w.pool, "without sources it is itself");
	arena_free(arena);
	w.pool.backends = written;
	w.pool.n_backends = 2;
	consul();
	cr_expect_str_eq(pool_text(), "w=10.0.0.8:80/0 10.0.0.2:80=x/0");
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "," ONE("c", "10.0.0.3") "]");
	cr_expect_str_eq(pool_text(), "w=10.0.0.8:80/0 10.0.0.2:80=x/0 10.0.0.1:80=10.0.0.1:80/0 "
				      "10.0.0.3:80=10.0.0.3:80/0");
}

Test(source, what_another_source_names_is_not_gone, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	list("[]");
	cr_expect_str_eq(pool_text(), "10.0.0.1:80=10.0.0.1:80/2 10.0.0.2:80=10.0.0.2:80/2");
	write_file("members", "[{address: 10.0.0.2:80}]");
	begin(CONF_SOURCE_file, w.file);
	cr_expect_str_eq(pool_text(), "10.0.0.2:80=10.0.0.2:80/0 10.0.0.1:80=10.0.0.1:80/2");
	cr_expect(!discover_settled(w.d) || source_of(0)->settled);
}

static bool idle;

static bool is_idle(void *ctx, struct view pool, struct view backend)
{
	cr_expect(ctx == &w && view_eq(pool, VIEW("p")) && view_eq(backend, VIEW("10.0.0.1:80")));
	return idle;
}

Test(source, what_is_gone_is_forgotten_when_nothing_is_in_flight, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "," ONE("b", "10.0.0.2") "]");
	list("[" ONE("b", "10.0.0.2") "]");
	cr_assert_eq(w.n_changed, 2);
	discover_sweep(w.d, is_idle, &w);
	expect_members("gone 10.0.0.1:80 w1 (a), 10.0.0.2:80 w1 (b)");
	cr_expect_eq(w.n_changed, 2);
	idle = true;
	discover_sweep(w.d, is_idle, &w);
	expect_members("10.0.0.2:80 w1 (b)");
	cr_expect_eq(w.n_changed, 3);
	discover_sweep(w.d, is_idle, &w);
	cr_expect_eq(w.n_changed, 3);
}

/* ---- configurations ---- */

Test(source, a_source_that_stays_keeps_its_members, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "]");
	struct source *s = source_of(0);
	discover_prepare(w.d, &w.conf);
	discover_commit(w.d);
	cr_expect(source_of(0) == s && w.open);
	expect_members("10.0.0.1:80 w1 (a)");
}

Test(source, a_configuration_that_is_not_taken_changes_nothing, WORLD)
{
	consul();
	list("[" ONE("a", "10.0.0.1") "]");
	w.sources[1] = (struct conf_source){.kind = CONF_SOURCE_consul, .text = VIEW("other")};
	w.pool.n_sources = 2;
	discover_prepare(w.d, &w.conf);
	cr_expect(view_eq(source_of(1)->text, VIEW("other")));
	discover_cancel(w.d);
	struct arena *arena = arena_new();
	size_t n;
	discover_status(w.d, arena, &n);
	cr_expect_eq(n, 1);
	arena_free(arena);
	expect_members("10.0.0.1:80 w1 (a)");
	fire();
	cr_expect(w.open, "it goes on");
}

Test(source, one_that_is_no_more_stops, WORLD)
{
	consul();
	w.pool.n_sources = 0;
	discover_prepare(w.d, &w.conf);
	discover_commit(w.d);
	struct arena *arena = arena_new();
	size_t n;
	discover_status(w.d, arena, &n);
	cr_expect(n == 0 && !w.open);
	arena_free(arena);
}

/* ---- the process that takes over ---- */

static struct discover *handed_over(const struct str *bytes)
{
	struct unpack in = unpack_of(str_as_view(bytes));
	struct discover *next = discover_new(&w.loop, &w.fetcher, &w.d->host);
	discover_prepare(next, &w.conf);
	discover_unpack(&in, next);
	cr_expect(!in.bad);
	return next;
}

Test(source, members_go_to_the_process_that_takes_over, WORLD)
{
	struct str bytes = STR_INIT, again = STR_INIT;
	consul();
	list("[" ONE("a", "10.0.0.1") ",{\"Service\":{\"ID\":\"b\",\"Address\":\"10.0.0.2\","
				      "\"Port\":80,\"Weights\":{\"Passing\":9}}}]");
	source_of(0)->members[1]->backend.priority = 3;
	source_of(0)->members[1]->backend.max_requests = 77;
	clock_ahead_us += 60000000;
	list("[" ONE("a", "10.0.0.1") "]");
	discover_pack(w.d, &bytes);
	struct discover *next = handed_over(&bytes), *before = w.d;
	w.d = next;
	expect_members("10.0.0.1:80 w1 (a), gone 10.0.0.2:80 w9 p3 (b)");
	const struct member *m = source_of(0)->members[1];
	cr_expect(m->backend.max_requests == 77 && addr_port(&m->backend.address) == 80);
	cr_expect(clock_us() - source_of(0)->members[0]->since_us >= 60000000);
	cr_expect(clock_us() - m->since_us < 30000000);
	w.d = before;
	discover_free(next);
	/* one that knows the member already keeps it; one without the source passes over it */
	struct unpack in = unpack_of(str_as_view(&bytes));
	discover_unpack(&in, w.d);
	cr_expect(!in.bad);
	expect_members("10.0.0.1:80 w1 (a), gone 10.0.0.2:80 w9 p3 (b)");
	w.sources[0].text = VIEW("other");
	next = handed_over(&bytes);
	discover_pack(next, &again);
	cr_expect(!memmem(again.ptr, again.len, "10.0.0.1", 8));
	discover_free(next);
	w.sources[0].text = VIEW("web");
	str_fini(&bytes);
	str_fini(&again);
}

Test(source, bytes_that_are_cut_or_changed_make_no_member_without_address, WORLD)
{
	struct str bytes = STR_INIT;
	consul();
	list("[" ONE("a", "10.0.0.1") "]");
	discover_pack(w.d, &bytes);
	for (size_t len = 1; len < bytes.len; len++) {
		struct unpack in = unpack_of(view_of(bytes.ptr, len));
		struct discover *next = discover_new(&w.loop, &w.fetcher, &w.d->host);
		discover_prepare(next, &w.conf);
		discover_unpack(&in, next);
		cr_expect(in.bad, "%zu", len);
		discover_free(next);
	}
	for (size_t i = 0; i < bytes.len; i++) {
		bytes.ptr[i] ^= 0x20;
		struct unpack in = unpack_of(str_as_view(&bytes));
		struct discover *next = discover_new(&w.loop, &w.fetcher, &w.d->host);
		discover_prepare(next, &w.conf);
		discover_unpack(&in, next);
		list_each (it, &next->sources) {
			const struct source *s = list_entry(it, struct source, link);
			for (size_t k = 0; k < s->n_members; k++)
				cr_expect(s->members[k]->backend.address.len &&
					  s->members[k]->backend.name.len);
		}
		discover_free(next);
		bytes.ptr[i] ^= 0x20;
	}
	str_fini(&bytes);
}
