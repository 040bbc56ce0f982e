/* SPDX-License-Identifier: MIT */
/*
 * Command-line mode: the same checks as for a file, naming the option.
 */
#include <criterion/criterion.h>

#include "weir/conf/conf.h"

static struct view two_listens[] = {{"127.0.0.1:8080", 14}, {"[::1]:8080", 10}};
static struct view two_backends[] = {{"127.0.0.1:9001", 14}, {"127.0.0.1:9002", 14}};

static const struct conf_args good = {
    .listen = {two_listens, 2},
    .backend = {two_backends, 2},
};

static void expect_error(struct conf_args args, const char *expected)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	conf_diags_init(&diags);
	cr_expect_null(conf_from_args(&args, &diags));
	conf_diags_format(&diags, &text, false);
	cr_expect(strcmp(text.ptr, expected) == 0, "'%s' instead of '%s'", text.ptr, expected);
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_args, make_a_configuration)
{
	struct conf_diags diags;
	struct conf_args args = good;
	args.balance = VIEW("leastconn");
	args.status_bind = VIEW("127.0.0.1:8404");
	args.status_socket = VIEW("/tmp/w.sock");
	conf_diags_init(&diags);
	struct conf *conf = conf_from_args(&args, &diags);
	cr_assert_not_null(conf);
	cr_assert_eq(diags.n, 0);
	cr_assert(view_eq(conf->path, VIEW("command line")));
	cr_assert_eq(conf->n_listeners, 2);
	cr_assert(view_eq(conf->listeners[1].name, VIEW("[::1]:8080")));
	cr_assert_eq(conf->n_pools, 1);
	cr_assert_eq(conf->pools[0].n_backends, 2);
	cr_assert(view_eq(conf->pools[0].balance, VIEW("least-request")));
	cr_assert(view_eq(conf->status.bind_text, VIEW("127.0.0.1:8404")));
	cr_assert(view_eq(conf->status.socket, VIEW("/tmp/w.sock")));
	cr_assert_eq(conf->n_routes, 1);
	struct str yaml = STR_INIT;
	conf_dump_yaml(conf, &yaml);
	conf_free(conf);
	conf = conf_load_text(str_as_view(&yaml), "dump", &diags);
	cr_assert_not_null(conf);
	conf_free(conf);
	str_fini(&yaml);
	conf_diags_fini(&diags);
}

Test(conf_args, mistakes_name_the_option)
{
	struct view bad[] = {{"127.0.0.1", 9}};
	struct view twice[] = {{"127.0.0.1:9001", 14}, {"127.0.0.1:9001", 14}};
	struct view broken[] = {{"\xff", 1}};
	struct conf_args args = good;
	expect_error((struct conf_args){0}, "command line: error: --listen is missing\n"
					    "command line: error: --backend is missing\n");
	args.listen = (struct conf_views){bad, 1};
	expect_error(args, "command line: error: --listen: '127.0.0.1' is no address such as "
			   "10.0.0.1:8000, [::1]:8000 or unix:/path; a port is missing\n");
	args = good;
	args.backend = (struct conf_views){twice, 2};
	expect_error(args, "command line: error: --backend: backend '127.0.0.1:9001' is there "
			   "twice\n");
	args.listen = (struct conf_views){twice, 2};
	args.backend = good.backend;
	expect_error(args, "command line: error: --listen: address '127.0.0.1:9001' is there "
			   "twice\n");
	args = good;
	args.balance = VIEW("rondom");
	char expected[400] = "command line: error: --balance: 'rondom' is not one of ";
#define STRATEGY(symbol, keyword, needs, sentence) strcat(expected, keyword ", ");
#include "weir/tbl/strategies.def"
#undef STRATEGY
	strcpy(strrchr(expected, ','), "; did you mean 'random'?\n");
	expect_error(args, expected);
	args = good;
	args.status_bind = VIEW("8404");
	expect_error(args, "command line: error: --status-bind: '8404' is no address such as "
			   "10.0.0.1:8000, [::1]:8000 or unix:/path; did you mean "
			   "'127.0.0.1:8404'?\n");
	args = good;
	args.backend = (struct conf_views){broken, 1};
	expect_error(args, "command line: error: --backend: byte 0xff is not UTF-8\n");
}
