/* SPDX-License-Identifier: MIT */
/* Backends that are listeners of the same configuration: who is warned of. */
#include <stdio.h>

#include "conf/circle.h"
#include "loaded.h"
#include "weir/base/defs.h"

static struct conf *make(const char *bind, const char *backend, struct conf_diags *diags)
{
	char yaml[400];
	snprintf(yaml, sizeof(yaml),
		 "listeners: [{name: web, bind: '%s'}]\n"
		 "pools: {app: {backends: ['%s']}}\n",
		 bind, backend);
	conf_diags_init(diags);
	return conf_load_text(view_str(yaml), "/etc/weir/weir.yaml", diags);
}

Test(conf_circles, a_backend_that_comes_out_at_a_listener_is_warned_of)
{
	static const struct {
		const char *bind, *backend;
		bool circle;
	} rows[] = {
	    {"127.0.0.1:8080", "127.0.0.1:8080", true},
	    {"127.0.0.1:8080", "127.0.0.1:8081", false},
	    {"127.0.0.1:8080", "127.0.0.2:8080", false},
	    {"0.0.0.0:8080", "127.0.0.1:8080", true},
	    {"0.0.0.0:8080", "127.0.0.1:8081", false},
	    {"0.0.0.0:8080", "192.0.2.1:8080", false},
	    {"0.0.0.0:8080", "[::1]:8080", false},
	    {"[::]:8080", "127.0.0.1:8080", true},
	    {"[::1]:8080", "[::1]:8080", true},
	    {"127.0.0.1:8080", "localhost:8080", true},
	    {"[::1]:8080", "LocalHost:8080", true},
	    {"127.0.0.1:8080", "localhost:8081", false},
	    {"127.0.0.1:8080", "localhost.test:8080", false},
	    {"127.0.0.1:8080", "other.test:8080", false},
	    {"unix:/tmp/a", "unix:/tmp/a", true},
	    {"unix:/tmp/a", "unix:/tmp/b", false},
	    {"0.0.0.0:8080", "unix:/tmp/a", false},
	    {"unix:/tmp/a", "127.0.0.1:8080", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr_interfaces own = {0};
		struct conf_diags diags;
		struct conf *conf = make(rows[i].bind, rows[i].backend, &diags);
		cr_assert(conf != NULL, "%zu", i);
		bool warned = diags.n == 1 && strstr(diags.rows[0].message, "'web'");
		cr_expect_eq(warned, rows[i].circle, "%zu", i);
		cr_expect_eq(diags.n, rows[i].circle, "%zu", i);
		cr_expect_eq(
		    conf_warned_of_circle(conf, &conf->pools[0], view_str(rows[i].backend), &own),
		    warned, "%zu", i);
		cr_expect_not(conf_warned_of_circle(conf, &conf->pools[0], VIEW("c"), &own));
		addr_interfaces_free(&own);
		conf_diags_fini(&diags);
		conf_free(conf);
	}
}
