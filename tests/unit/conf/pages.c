/* SPDX-License-Identifier: MIT */
/* Files that are sent as they are: which of their braces are variables, and what is no page. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "loaded.h"
#include "weir/base/defs.h"

static char folder[] = "/tmp/weir-pages-XXXXXX";
static char file[64];

static void begin(void)
{
	cr_assert(mkdtemp(folder) != NULL);
	snprintf(file, sizeof(file), "%s/page", folder);
}

static void end(void)
{
	unlink(file);
	rmdir(folder);
}

TestSuite(conf_pages, .init = begin, .fini = end);

static void write_page(const char *text, size_t len)
{
	FILE *out = fopen(file, "w");
	cr_assert(out && fwrite(text, 1, len, out) == len && fclose(out) == 0);
}

/* The page of a route's answer 5xx, or NULL with `why`. */
static struct conf *try(struct str *why)
{
	char yaml[400];
	struct conf_diags diags;
	snprintf(yaml, sizeof(yaml), "%sroutes: [{pool: app, errors: {5xx: {file: '%s'}}}]\n", BASE,
		 file);
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(view_str(yaml), "/etc/weir/weir.yaml", &diags);
	conf_diags_format(&diags, why, false);
	conf_diags_fini(&diags);
	return conf;
}

/* Variables stand as <name>. */
static void expect_page(const char *text, const char *sent)
{
	struct str why = STR_INIT, out = STR_INIT;
	write_page(text, strlen(text));
	struct conf *conf = try(&why);
	cr_assert(conf != NULL, "%s: %s", text, why.ptr);
	const struct conf_page *page = &conf->routes[0].errors.rows[0].page;
	cr_expect(says(page->bytes, text));
	for (size_t i = 0; page->template && i < page->template->n_pieces; i++) {
		const struct template_piece *piece = &page->template->pieces[i];
		if (piece->variable)
			str_printf(&out, "<" VIEW_FMT ">", VIEW_ARG(piece->variable->text));
		else
			str_view(&out, piece->text);
	}
	if (!page->template)
		str_view(&out, page->bytes);
	cr_expect(says(str_as_view(&out), sent), "%s: %s", text, out.ptr);
	conf_free(conf);
	str_fini(&why);
	str_fini(&out);
}

Test(conf_pages, braces_are_variables_where_a_name_is_known)
{
	static const struct {
		const char *text, *sent;
	} cases[] = {
	    {"", ""},
	    {"plain", "plain"},
	    {"{status}", "<status>"},
	    {"a {status} b {request_id}", "a <status> b <request_id>"},
	    {"<style>b{color:red} @media{{x}}</style>{status}",
	     "<style>b{color:red} @media{{x}}</style><status>"},
	    {"{} {1} { status } {nothing} {Status} {{status}} {status",
	     "{} {1} { status } {nothing} {Status} {<status>} {status"},
	    {"{header:X-Who}}", "<header:X-Who>}"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_page(cases[i].text, cases[i].sent);
}

static void expect_size(char fill, size_t len, const char *behind, const char *wrong)
{
	struct str why = STR_INIT;
	char *text = malloc(len);
	cr_assert(text != NULL);
	memset(text, fill, len);
	memcpy(text, behind, strlen(behind));
	write_page(text, len);
	struct conf *conf = try(&why);
	cr_expect_eq(conf == NULL, wrong != NULL, "%zu: %s", len, why.ptr);
	cr_expect(!wrong || (why.ptr && strstr(why.ptr, wrong)), "%zu: %s", len, why.ptr);
	conf_free(conf);
	free(text);
	str_fini(&why);
}

Test(conf_pages, what_a_page_may_have)
{
	expect_size('x', 1 << 20, "", NULL);
	expect_size('x', (1 << 20) + 1, "", "cannot read");
	expect_size('x', 32 << 10, "{status}", NULL);
	expect_size('x', (32 << 10) + 1, "{status}", "has variables; then it has at most 32 KiB");
	unlink(file);
	struct str why = STR_INIT;
	cr_expect(try(&why) == NULL && strstr(why.ptr, "cannot read"), "%s", why.ptr);
	str_fini(&why);
}
