/* SPDX-License-Identifier: MIT */
/* Which certificates there are, as configurations come and go, and what is ordered for them. */
#include "acme/own.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/net/socket.h"

static struct loop loop;
static struct acme *acme;
static struct conf *conf; /* in force */
static int listener;      /* of the authority, which never says a word */
static uint16_t port;
static char folder[] = "/tmp/weir-sites-XXXXXX";
static bool others_turn;
static unsigned n_threads; /* at the start */

static void turn(void *ctx, const struct acme_wish *wish, struct acme_turn *out)
{
	(void)ctx;
	(void)wish;
	*out = (struct acme_turn){.mine = !others_turn};
}

static void changed(void *ctx)
{
	(void)ctx;
}

static bool publish(void *ctx)
{
	(void)ctx;
	return true;
}

static void news(void *ctx, const struct acme_news *n)
{
	(void)ctx;
	(void)n;
}

static const struct acme_host host = {
    .turn = turn, .changed = changed, .publish = publish, .news = news};

static unsigned count_threads(void)
{
	unsigned n = 0;
	DIR *tasks = opendir("/proc/self/task");
	cr_assert_not_null(tasks);
	while (readdir(tasks))
		n++;
	closedir(tasks);
	return n;
}

static void begin(void)
{
	struct addr addr;
	cr_assert(mkdtemp(folder));
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &addr));
	cr_assert_eq(socket_listen(&addr, false, 0, &listener), ERR_OK);
	cr_assert(socket_local_addr(listener, &addr));
	port = addr_port(&addr);
	n_threads = count_threads();
	acme = acme_new(&loop, &host);
}

static void end(void)
{
	char command[64];
	acme_free(acme);
	/* one that writes what nobody waits for any more ends by itself */
	for (unsigned i = 0; i < 10000 && count_threads() > n_threads; i++)
		usleep(1000);
	conf_free(conf);
	socket_close(listener);
	loop_fini(&loop);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(sites, .init = begin, .fini = end);

/* Certificates, "[a.test]", one row each. */
static struct conf *load(const char *const *names, size_t n)
{
	struct conf_diags diags;
	struct str text = STR_INIT, why = STR_INIT;
	str_printf(
	    &text,
	    "acme: {agree: true, directory: 'https://127.0.0.1:%u/dir', state: '%s'}\n"
	    "routes: [{pool: app}]\npools: {app: {backends: ['127.0.0.1:9']}}\n"
	    "listeners: [{bind: '127.0.0.1:80'}, {bind: '127.0.0.1:443', tls: {certificates: [",
	    port, folder);
	for (size_t i = 0; i < n; i++)
		str_printf(&text, "%s{acme: %s}", i ? ", " : "", names[i]);
	str_text(&text, "]}}]\n");
	conf_diags_init(&diags);
	struct conf *out = conf_load_text(str_as_view(&text), "test", &diags);
	conf_diags_format(&diags, &why, false);
	cr_assert_not_null(out, "%s", why.ptr);
	conf_diags_fini(&diags);
	str_fini(&text);
	str_fini(&why);
	return out;
}

static void follow(const char *const *names, size_t n)
{
	struct str why = STR_INIT;
	struct conf *next = load(names, n);
	cr_assert_eq(acme_prepare(acme, next, &why), ERR_OK, "%s", why.ptr);
	acme_commit(acme);
	conf_free(conf);
	conf = next;
	str_fini(&why);
}

#define FOLLOW(...)                                \
	follow((const char *const[]){__VA_ARGS__}, \
	       sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static struct site *site(const char *name)
{
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (view_eq(s->names.rows[0], view_str(name)))
			return s;
	}
	return NULL;
}

/* What is told of it: is an order under way? */
static bool is_ordering(const char *name)
{
	struct arena *arena = arena_new();
	size_t n;
	bool is = false;
	const struct acme_site *rows = acme_status(acme, arena, &n);
	for (size_t i = 0; i < n; i++)
		is |= view_eq(rows[i].names, view_str(name)) && rows[i].step.len &&
		      !view_starts(rows[i].step, VIEW("waiting for its turn"));
	arena_free(arena);
	return is;
}

/* What was written meanwhile may be looked at first. */
static void some_ticks(void)
{
	for (unsigned i = 0; i < 3; i++)
		acme_tick(acme);
}

static void wait_for_disk(void)
{
	while (acme->work)
		ev_run(loop.ev, EVRUN_ONCE);
}

static bool is_served(const char *name)
{
	struct view file, names[] = {view_str(name)};
	const struct conf_views views = {.rows = names, .n = 1};
	return acme_pem(acme, &views, &file).len > 0;
}

Test(sites, each_has_something_to_serve_from_the_start_on)
{
	FOLLOW("[a.test]", "[b.test]");
	cr_expect(is_served("a.test") && is_served("b.test"));
	cr_expect(acme_thumbprint(acme).len > 0);
}

Test(sites, one_is_ordered_at_a_time)
{
	FOLLOW("[a.test]", "[b.test]");
	acme_tick(acme);
	cr_expect(is_ordering("a.test") && !is_ordering("b.test"));
	acme_tick(acme);
	cr_expect(is_ordering("a.test") && !is_ordering("b.test"));
}

Test(sites, nothing_is_ordered_while_others_have_their_turn)
{
	others_turn = true;
	FOLLOW("[a.test]");
	acme_tick(acme);
	cr_expect_not(is_ordering("a.test"));
	others_turn = false;
	acme_tick(acme);
	cr_expect(is_ordering("a.test"));
}

Test(sites, one_that_goes_ends_its_order_and_the_next_begins)
{
	FOLLOW("[a.test]", "[b.test]");
	acme_tick(acme);
	FOLLOW("[b.test]");
	cr_expect_null(site("a.test"));
	some_ticks();
	cr_expect(is_ordering("b.test"));
}

/* The disk was full, and is written to again, when its certificate is needed no more. */
Test(sites, one_that_goes_while_it_is_saved_holds_up_nobody)
{
	FOLLOW("[a.test]", "[b.test]");
	others_turn = true;
	site("a.test")->unsaved = true;
	acme_tick(acme);
	cr_assert_eq(acme->saving, site("a.test"));
	FOLLOW("[b.test]");
	others_turn = false;
	some_ticks();
	cr_expect(is_ordering("b.test"));
}

Test(sites, what_could_not_be_saved_is_saved_later)
{
	FOLLOW("[a.test]");
	others_turn = true;
	site("a.test")->unsaved = true;
	acme_tick(acme);
	wait_for_disk();
	cr_expect_not(site("a.test")->unsaved);
	cr_expect_eq(access(site("a.test")->path.ptr, R_OK), 0);
}

Test(sites, what_is_not_taken_leaves_those_in_force)
{
	struct str why = STR_INIT;
	FOLLOW("[a.test]");
	struct conf *next = load((const char *const[]){"[c.test]"}, 1);
	cr_assert_eq(acme_prepare(acme, next, &why), ERR_OK);
	acme_cancel(acme);
	conf_free(next);
	cr_expect(site("a.test") && !site("c.test"));
	acme_tick(acme);
	cr_expect(is_ordering("a.test"));
}

Test(sites, who_has_left_orders_nothing)
{
	FOLLOW("[a.test]");
	acme_leave(acme);
	acme_tick(acme);
	cr_expect_not(is_ordering("a.test"));
}
