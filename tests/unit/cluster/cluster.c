/* SPDX-License-Identifier: MIT */
/* A node among others: what it says each second, what it makes of what the others say. */
#include "weir/cluster/cluster.h"

#include "../pool/world.h"
#include "cluster/presence.h"
#include "server.h"

static struct world world;
static struct world_gen gen;
static struct cluster *cluster;
static struct arena *arena;

#define SHARED "shared: {redis: {address: '127.0.0.1:6379'}, node: n1, nodes: 3}\n"
#define STATUS "status: {bind: '192.0.2.1:8404'}\n"

static void configure(const char *more)
{
	struct conf_diags diags;
	struct str text = STR_INIT, why = STR_INIT;
	str_printf(
	    &text,
	    "%slisteners: [{bind: 'unix:/tmp/a'}]\npools: {app: {backends: ['127.0.0.1:1']}}\n",
	    more);
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(str_as_view(&text), "weir.yaml", &diags);
	conf_diags_format(&diags, &why, false);
	cr_assert(conf != NULL, "%s", why.ptr);
	cr_assert_eq(cluster_prepare(cluster, conf, &why), ERR_OK);
	cluster_commit(cluster);
	conf_free(conf);
	conf_diags_fini(&diags);
	str_fini(&text);
	str_fini(&why);
}

static void begin(void)
{
	server.whole = true;
	world_init(&world, 1, 2);
	world_build(&world, &gen);
	arena = arena_new();
	cluster = cluster_new(&world.loops[0], &world.reg);
	cr_assert_not_null(cluster);
}

static void end(void)
{
	server.ready = false;
	cluster_free(cluster);
	arena_free(arena);
	world_release(&world, &gen);
	world_fini(&world);
	for (size_t i = 0; i < SERVER_WORDS; i++)
		str_fini(&server.words[i]);
}

TestSuite(cluster, .init = begin, .fini = end);

/* ---- what others say ---- */

struct other {
	const char *field, *name, *status;
	unsigned age_ms;
	unsigned in_flight_milli, requests; /* at the first backend */
};

static void put_other(struct str *out, const struct other *o)
{
	struct str word = STR_INIT;
	pack_u64(&word, 1);
	pack_view(&word, view_str(o->name));
	pack_view(&word, view_str(o->status));
	pack_view(&word, VIEW("9.9"));
	pack_view(&word, VIEW("app"));
	pack_view(&word, VIEW("b0"));
	pack_u64(&word, o->in_flight_milli);
	pack_u64(&word, o->requests);
	str_printf(out, "$%zu\r\n%s\r\n:%u\r\n$%zu\r\n", strlen(o->field), o->field, o->age_ms,
		   word.len);
	str_view(out, str_as_view(&word));
	str_text(out, "\r\n");
	str_fini(&word);
}

static void hear(const struct other *others, size_t n)
{
	struct str resp = STR_INIT;
	cluster_tick(cluster, clock_us());
	cr_assert(server.open && server.topic == REDIS_PRESENCE);
	str_printf(&resp, "*%zu\r\n", 3 * n);
	for (size_t i = 0; i < n; i++)
		put_other(&resp, &others[i]);
	server_answers(resp.ptr, resp.len);
	str_fini(&resp);
}

static const struct other two = {"n2#00000001", "n2", "192.0.2.2:1", 100, 6000, 7};
static const struct other three = {"n3#00000001", "n3", "192.0.2.3:1", 0, 3000, 5};

/* ---- what it says ---- */

Test(cluster, it_says_who_it_is_and_what_it_has)
{
	struct presence who;
	configure(STATUS SHARED);
	cluster_tick(cluster, clock_us());
	cr_assert(server.open && server.topic == REDIS_PRESENCE && server.n_words == 11);
	cr_expect(word_is(0, "EVAL") && word_is(2, "2") && word_is(3, "{weir}:nodes") &&
		  word_is(4, "{weir}:presence") && word_is(7, "5000") && word_is(8, "60000") &&
		  word_is(10, "0"));
	cr_expect(view_starts(str_as_view(&server.words[5]), VIEW("n1#")));
	struct unpack in = unpack_of(str_as_view(&server.words[6]));
	cr_expect(presence_unpack(&in, &who) && view_eq(who.name, VIEW("n1")) &&
		  view_eq(who.status, VIEW("192.0.2.1:8404")));
	cluster_tick(cluster, clock_us());
	cr_expect_eq(server.n_asked, 1, "one word at a time");
	server_says("*0\r\n");
	cluster_tick(cluster, clock_us());
	cr_expect_eq(server.n_asked, 2);
	server_says("*0\r\n");
	struct cluster_state state = cluster_state(cluster);
	cr_expect(state.on && view_eq(state.node, VIEW("n1")) && state.published == 2 &&
		  state.failed == 0 && view_eq(state.address, VIEW("127.0.0.1:6379")));
}

Test(cluster, a_word_that_does_not_arrive_is_counted)
{
	configure(SHARED);
	cluster_tick(cluster, clock_us());
	server_answers(NULL, 0);
	cluster_tick(cluster, clock_us());
	server_says("+OK\r\n");
	server.refuses = true;
	cluster_tick(cluster, clock_us());
	server.refuses = false;
	struct cluster_state state = cluster_state(cluster);
	cr_expect(state.failed == 3 && state.published == 0, "%llu",
		  (unsigned long long)state.failed);
}

Test(cluster, alone_it_asks_nobody)
{
	configure("");
	cluster_tick(cluster, clock_us());
	cr_expect(server.n_asked == 0 && !cluster_state(cluster).on);
}

/* ---- what it knows ---- */

Test(cluster, the_load_of_others_is_added_up_and_a_part_of_it_is_acted_on)
{
	size_t n;
	configure(STATUS SHARED);
	cr_expect_eq(cluster_state(cluster).n_parts, 3, "as configured, until somebody is heard");
	hear((const struct other[]){two, three}, 2);
	cr_expect_eq(cluster_state(cluster).n_parts, 3);
	const struct cluster_node *nodes = cluster_nodes(cluster, arena, &n);
	cr_assert_eq(n, 2);
	cr_expect(view_eq(nodes[0].name, VIEW("n2")) &&
		  view_eq(nodes[0].status, VIEW("192.0.2.2:1")) &&
		  view_eq(nodes[0].version, VIEW("9.9")) && nodes[0].in_flight == 6 &&
		  nodes[0].rate == 7 && nodes[0].age_us >= 100000 && nodes[0].age_us < 60000000);
	cr_expect(view_eq(nodes[1].name, VIEW("n3")));
	hear((const struct other[]){two, three}, 2);
	const struct backend *b = gen.pool.backends[0];
	cr_expect(b->others_rate == 12 && b->others_in_flight > 7 && b->others_in_flight <= 9, "%g",
		  b->others_in_flight);
	cr_expect_eq(atomic_load(&b->others), 3, "a third, as each of three does");
	cr_expect_eq(gen.pool.backends[1]->others_rate, 0);
	hear(NULL, 0);
	cluster_tick(cluster, clock_us());
	cr_expect(cluster_nodes(cluster, arena, &n) && n == 0 && b->others_rate == 0);
	cr_expect_eq(cluster_state(cluster).n_parts, 3, "it keeps its part for a while");
	server_says("*0\r\n");
}

Test(cluster, two_processes_of_a_node_are_one)
{
	size_t n;
	struct other again = two, myself = {"n1#00000009", "n1", "192.0.2.1:8404", 0, 1000, 1};
	again.field = "n2#00000002";
	again.age_ms = 50;
	configure(STATUS SHARED);
	hear((const struct other[]){two, again, myself}, 3);
	const struct cluster_node *nodes = cluster_nodes(cluster, arena, &n);
	cr_assert_eq(n, 1);
	cr_expect(nodes[0].in_flight == 12 && nodes[0].rate == 14 && nodes[0].age_us < 100000);
}

/* ---- changes ---- */

Test(cluster, another_name_or_place_is_said_goodbye_from)
{
	size_t n;
	configure(SHARED);
	hear(&two, 1);
	server.ready = true;
	configure(SHARED);
	cr_expect_not(server.open, "all is as it was");
	configure("shared: {redis: {address: '127.0.0.1:6379'}, node: other}\n");
	cr_assert(server.open && word_is(6, "") && word_is(10, "0"));
	cr_expect(view_starts(str_as_view(&server.words[5]), VIEW("n1#")));
	server_says("*0\r\n");
	hear(&two, 1);
	configure("shared: {redis: {address: '127.0.0.1:6379', prefix: p}, node: other}\n");
	cr_assert(server.open && word_is(6, "") && word_is(3, "{weir}:nodes"));
	cr_expect(cluster_nodes(cluster, arena, &n) && n == 0, "others are meant there");
	server_says("*0\r\n");
	cluster_followed(cluster);
	configure("");
	cr_assert(server.open && word_is(6, "") && word_is(10, "1") && word_is(3, "{p}:nodes"));
	server_says("*0\r\n");
	cr_expect_not(cluster_state(cluster).on);
}

Test(cluster, a_password_is_read_or_missed)
{
	struct str why = STR_INIT;
	struct conf conf = {.shared = {.on = true, .password_file = VIEW("/nowhere/at/all")}};
	cr_expect_neq(cluster_prepare(cluster, &conf, &why), ERR_OK);
	cr_expect(strstr(why.ptr, "cannot read shared.redis.password_file /nowhere/at/all: "), "%s",
		  why.ptr);
	str_fini(&why);
}
