/* SPDX-License-Identifier: MIT */
/* A value where a map is due: what is proposed in its place loads. */
#include <stdio.h>

#include "loaded.h"

#include "weir/base/defs.h"

#define LISTEN "listeners: [{bind: 0.0.0.0:80}]\n"
#define POOL "pools: {app: {backends: [10.0.0.1:80]}}\n"
/* Around what is written, and proposed. */
#define IN_POOL LISTEN "pools: {app: {backends: [10.0.0.1:80], ", "}}\n"
#define IN_ROUTE LISTEN POOL "routes: [{", "}]\n"
#define IN_PROXIED LISTEN POOL "routes: [{pool: app, ", "}]\n"
#define IN_LISTENER POOL "listeners: [{bind: 0.0.0.0:80, ", "}]\n"

static const struct {
	const char *before, *after, *wrong, *right;
} cases[] = {
    {POOL, "\n", "listeners: 0.0.0.0:80", "listeners: [{bind: \"0.0.0.0:80\"}]"},
    {POOL "listeners: [", "]\n", "127.0.0.1:80", "{bind: \"127.0.0.1:80\"}"},
    {IN_LISTENER, "tls: site.pem", "tls: {certificates: [{cert: site.pem, key: site.key}]}"},
    {IN_LISTENER, "tls: true", "tls: {certificates: [{cert: site.pem, key: site.key}]}"},
    {IN_LISTENER, "limits: 100", "limits: {connections: 100}"},
    {LISTEN POOL, "\n", "log: /var/log/a", "log: {access: {path: /var/log/a}}"},
    {LISTEN POOL, "\n", "log: debug", "log: {level: debug}"},
    {LISTEN POOL "log: {", "}\n", "access: stdout", "access: {path: stdout}"},
    {LISTEN "pools: {app: ", "}\n", "10.0.0.1:80", "{backends: [10.0.0.1:80]}"},
    {IN_POOL, "health: /up", "health: {path: /up}"},
    {IN_POOL, "health: on", "health: {path: /healthz}"},
    {IN_POOL, "limits: 20", "limits: {requests: 20}"},
    {IN_POOL, "queue: 20", "queue: {length: 20}"},
    {IN_POOL, "queue: true", "queue: {}"},
    {IN_POOL, "outlier: on", "outlier: {}"},
    {IN_POOL, "retry: 3", "retry: {attempts: 3}"},
    {IN_POOL, "retry: yes", "retry: {}"},
    {IN_POOL, "slo: 200ms", "slo: {p95: 200ms}"},
    {IN_POOL, "sticky: on", "sticky: {cookie: weir}"},
    {IN_POOL, "sticky: SESSION", "sticky: {cookie: SESSION}"},
    {IN_POOL, "timeouts: 5s", "timeouts: {response: 5s}"},
    {IN_POOL, "tls: on", "tls: {}"},
    {IN_PROXIED, "match: /api", "match: {path: /api}"},
    {IN_ROUTE, "redirect: true", "redirect: {to: \"https://{host}{uri}\"}"},
    {IN_ROUTE, "redirect: https", "redirect: {to: \"https://{host}{uri}\"}"},
    {IN_ROUTE, "redirect: https://new.example/", "redirect: {to: \"https://new.example/\"}"},
    {IN_ROUTE, "respond: 404", "respond: {status: 404}"},
    {IN_ROUTE, "respond: hello", "respond: {body: \"hello\"}"},
    {IN_PROXIED, "rewrite: /x", "rewrite: {path: /x}"},
    {IN_PROXIED, "timeouts: 90s", "timeouts: {response: 90s}"},
    {LISTEN POOL, "\n", "status: 127.0.0.1:8404", "status: {bind: \"127.0.0.1:8404\"}"},
};

enum {
#define SHORT_FORM(path, begins, form) +1
	N_SHORT_FORMS = 0
#include "weir/tbl/short_forms.def"
#undef SHORT_FORM
};
_Static_assert(ARRAY_LEN(cases) == N_SHORT_FORMS, "a case for each row, in their order");

static bool loads(const char *before, const char *text, const char *after, struct str *said)
{
	char yaml[512];
	struct conf_diags diags;
	conf_diags_init(&diags);
	snprintf(yaml, sizeof(yaml), "%s%s%s", before, text, after);
	struct conf *conf = conf_load_text(view_str(yaml), "weir.yaml", &diags);
	conf_diags_format(&diags, said, false);
	conf_diags_fini(&diags);
	conf_free(conf);
	return conf != NULL;
}

Test(conf_short_form, each_is_proposed_and_loads)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str said = STR_INIT;
		char hint[128];
		snprintf(hint, sizeof(hint), "did you mean '%s'?", cases[i].right);
		cr_expect_not(loads(cases[i].before, cases[i].wrong, cases[i].after, &said), "%s",
			      cases[i].wrong);
		cr_expect(said.ptr && strstr(said.ptr, hint), "%s: %s", cases[i].wrong, said.ptr);
		str_reset(&said);
		/* the certificate is not there; that is another step */
		cr_expect(loads(cases[i].before, cases[i].right, cases[i].after, &said), "%s: %s",
			  cases[i].right, said.ptr);
		str_fini(&said);
	}
}

Test(conf_short_form, nothing_is_proposed_where_nobody_knows)
{
	static const char *const texts[] = {"health: 5",       "queue: often", "retry: \"3'\"",
					    "sticky: \"a b\"", "slo: fast",    "timeouts: {}x",
					    "tls: off-ish"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct str said = STR_INIT;
		cr_expect_not(loads(LISTEN "pools: {app: {backends: [10.0.0.1:80], ", texts[i],
				    "}}\n", &said),
			      "%s", texts[i]);
		cr_expect(said.ptr && !strstr(said.ptr, "did you mean"), "%s", said.ptr);
		str_fini(&said);
	}
}
