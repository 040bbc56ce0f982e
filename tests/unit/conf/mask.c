/* SPDX-License-Identifier: MIT */
/* What may be a secret is shown to nobody, wherever it stands in the file. */
#include <criterion/criterion.h>
#include <string.h>

#include "conf/row.h"
#include "conf/type.h"
#include "weir/conf/conf.h"

#define SECRET "pa55w0rd"

/* A secret wherever there may be one. */
static const char yaml[] =
    "tracing: {endpoint: 'http://127.0.0.1:4318/v1/traces?key=" SECRET "'}\n"
    "status: {auth: {forward: {pool: app, path: '/verify?key=" SECRET "'}}}\n"
    "acme: {agree: true, directory: 'https://127.0.0.1/dir?key=" SECRET "'}\n"
    "listeners: [{bind: '127.0.0.1:1'}]\n"
    "routes:\n"
    "  - match:\n"
    "      path_regex: ^/" SECRET "\n"
    "      host_regex: ^" SECRET "\n"
    "      header: {X-Key: " SECRET "}\n"
    "      cookie: {key: {regex: " SECRET "}}\n"
    "      query: {token: " SECRET "}\n"
    "      not:\n"
    "        path_regex: ^/" SECRET "\n"
    "        host_regex: ^" SECRET "\n"
    "        header: {X-Key: {regex: " SECRET "}}\n"
    "        cookie: {key: " SECRET "}\n"
    "        query: {token: " SECRET "}\n"
    "    redirect: {to: 'https://a.example/x?key=" SECRET "'}\n"
    "  - match: {path: /a}\n"
    "    respond: {body: 'it is " SECRET "', content_type: text/x-" SECRET "}\n"
    "  - match: {path: /b}\n"
    "    pool: app\n"
    "    auth: {forward: {pool: app, path: '/verify?key=" SECRET "'}}\n"
    "    rewrite: {path_regex: '^/" SECRET "(.*)', path: '/$1?key=" SECRET "'}\n"
    "    request_headers:\n"
    "      set: {Authorization: Bearer " SECRET "}\n"
    "      add: {X-Api-Key: " SECRET "}\n"
    "    response_headers:\n"
    "      set: {Set-Cookie: a=" SECRET "}\n"
    "      add: {X-Key: " SECRET "}\n"
    "pools:\n"
    "  app:\n"
    "    backends: ['127.0.0.1:2']\n"
    "    balance: prequal\n"
    "    discover:\n"
    "      consul: {service: a, address: 'http://127.0.0.1:1/?key=" SECRET "'}\n"
    "      kubernetes: {service: a, api: 'http://127.0.0.1:1/?key=" SECRET "'}\n"
    "    prequal: {path: '/load?key=" SECRET "'}\n"
    "    health:\n"
    "      path: /healthz?key=" SECRET "\n"
    "      headers: {Authorization: Basic " SECRET "}\n"
    "      body: ok " SECRET "\n";

static const char *const planted[] = {
    "tracing.endpoint",
    "acme.directory",
    "routes[].match.path_regex",
    "routes[].match.host_regex",
    "routes[].match.header",
    "routes[].match.cookie",
    "routes[].match.query",
    "routes[].match.not.path_regex",
    "routes[].match.not.host_regex",
    "routes[].match.not.header",
    "routes[].match.not.cookie",
    "routes[].match.not.query",
    "routes[].redirect.to",
    "routes[].respond.body",
    "routes[].respond.content_type",
    "routes[].auth.forward.path",
    "status.auth.forward.path",
    "routes[].rewrite.path_regex",
    "routes[].rewrite.path",
    "routes[].request_headers.set",
    "routes[].request_headers.add",
    "routes[].response_headers.set",
    "routes[].response_headers.add",
    "pools.*.discover.consul.address",
    "pools.*.discover.kubernetes.api",
    "pools.*.prequal.path",
    "pools.*.health.path",
    "pools.*.health.headers",
    "pools.*.health.body",
};

/* Types whose texts are names of things, or words of ours: nothing there is a secret. */
static const struct conf_type *const open_types[] = {
    &conf_type_section,       &conf_type_switched,       &conf_type_list,
    &conf_type_named,         &conf_type_later,          &conf_type_count,
    &conf_type_count_auto,    &conf_type_boolean,        &conf_type_duration,
    &conf_type_bytes,         &conf_type_percent,        &conf_type_fraction,
    &conf_type_mode,          &conf_type_choice,         &conf_type_code,
    &conf_type_words,         &conf_type_rewritten_host, &conf_type_strategy,
    &conf_type_line,          &conf_type_name,           &conf_type_realm,
    &conf_type_file,          &conf_type_socket_file,    &conf_type_output,
    &conf_type_path,          &conf_type_authority,      &conf_type_header_name,
    &conf_type_hosts,         &conf_type_methods,        &conf_type_header_names,
    &conf_type_address,       &conf_type_addresses,      &conf_type_networks,
    &conf_type_check,         &conf_type_statuses,       &conf_type_pool_ref,
    &conf_type_split,         &conf_type_hash_source,    &conf_type_delay,
    &conf_type_host_field,    &conf_type_cookie_name,    &conf_type_key_file,
    &conf_type_limit_key,     &conf_type_rate,           &conf_type_media_types,
    &conf_type_page_file,     &conf_type_error_file,     &conf_type_place,
    &conf_type_urls,          &conf_type_name_servers,   &conf_type_service_name,
    &conf_type_peer,          &conf_type_scheme,         &conf_type_listener_names,
    &conf_type_client_source, &conf_type_log_fields,     &conf_type_include,
    &conf_type_email,         &conf_type_site_names,
};

static bool is_open(const struct conf_type *type)
{
	for (size_t i = 0; i < ARRAY_LEN(open_types); i++)
		if (open_types[i] == type)
			return true;
	return false;
}

static bool is_planted(const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(planted); i++)
		if (strcmp(planted[i], path) == 0)
			return true;
	return false;
}

/* Of a new type somebody has to say whether it may hold one, and plant it above. */
Test(conf_mask, every_key_is_judged)
{
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *row = row_at(i);
		if (!row_is_supported(row))
			continue;
		cr_expect(is_open(row->type) != (row->type->secret != SECRET_NONE), "%s",
			  row->path);
		cr_expect(is_planted(row->path) == (row->type->secret != SECRET_NONE), "%s",
			  row->path);
	}
}

static size_t count(const struct str *text)
{
	size_t n = 0;
	for (const char *at = text->ptr; (at = strstr(at, SECRET)); at++)
		n++;
	return n;
}

Test(conf_mask, no_secret_is_shown)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(view_str(yaml), "test", &diags);
	conf_diags_format(&diags, &text, false);
	cr_assert(conf, "%s", text.ptr);
	str_reset(&text);
	conf_dump_yaml(conf, &text);
	cr_assert_eq(count(&text), ARRAY_LEN(planted), "%s", text.ptr);
	str_reset(&text);
	conf_show_yaml(conf, &text);
	cr_expect_eq(count(&text), 0, "%s", text.ptr);
	cr_expect(strstr(text.ptr, "Authorization"), "what there is can still be seen");
	cr_expect(strstr(text.ptr, "/healthz?***"));
	str_reset(&text);
	conf_show_json(conf, &text);
	cr_expect_eq(count(&text), 0, "%s", text.ptr);
	str_fini(&text);
	conf_diags_fini(&diags);
	conf_free(conf);
}

Test(conf_mask, urls)
{
	static const struct {
		const char *url, *shown;
	} cases[] = {
	    {"/a", "/a"},
	    {"/a?b=c", "/a?***"},
	    {"/a@b?c@d", "/a@b?***"},
	    {"http://h/a?b#c", "http://h/a?***"},
	    {"http://me:it@h:80/a", "http://***@h:80/a"},
	    {"https://h/me@there", "https://h/me@there"},
	    {"", ""},
	    {"?", "?***"},
	    {"@", "@"},
	    {"//@", "//***@"},
	};
	struct arena *arena = arena_new();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct view shown = mask_query(arena, view_str(cases[i].url));
		cr_expect(view_eq(shown, view_str(cases[i].shown)), "%s: " VIEW_FMT, cases[i].url,
			  VIEW_ARG(shown));
	}
	arena_free(arena);
}
