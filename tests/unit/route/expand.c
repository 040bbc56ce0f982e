/* SPDX-License-Identifier: MIT */
/* Values with variables: what is read, and what comes of hostile values. */
#include <criterion/criterion.h>

#include "weir/base/check.h"
#include "weir/route/expand.h"

/* {header:X} and {1} have the value at hand, others their name. */
struct one {
	struct expand_source source;
	struct view value;
};

static struct view get(const struct expand_source *source, const struct variable *v,
		       char room[EXPAND_ROOM])
{
	(void)room;
	if (v->id == VARIABLE_header || v->id == VARIABLE_group || v->id == VARIABLE_uri)
		return container_of(source, const struct one, source)->value;
	return v->text;
}

struct made {
	struct arena *arena;
	struct variables variables;
	struct conf_text text;
	struct template_error error;
	bool ok;
};

static struct made make(const char *text, bool dollars)
{
	struct made made = {.arena = arena_new()};
	const struct template_rules rules = {.arena = made.arena,
					     .variables = &made.variables,
					     .until = VARIABLE_ANSWER,
					     .dollars = dollars};
	made.ok = template_parse(view_str(text), &rules, &made.text, &made.error);
	return made;
}

static void expect(const char *text, enum escape escape, struct view value, const char *result)
{
	struct made made = make(text, false);
	struct one one = {.source.get = get, .value = value};
	struct str out = STR_INIT;
	cr_assert(made.ok, "%s: %s", text, made.error.message);
	if (made.text.template)
		expand(made.text.template, escape, &one.source, &out);
	else
		str_view(&out, made.text.text);
	cr_expect_str_eq(str_as_view(&out).ptr, result, "%s: %s", text, str_as_view(&out).ptr);
	str_fini(&out);
	arena_free(made.arena);
}

Test(expand, braces)
{
	static const struct {
		const char *text, *result;
	} cases[] = {
	    {"", ""},
	    {"plain", "plain"},
	    {"{client}", "client"},
	    {"a{client}b{tls.sni}", "aclientbtls.sni"},
	    {"{{client}", "{client}"},
	    {"{{{client}}", "{client}"},
	    {"{{{{", "{{"},
	    {"}", "}"},
	    {"{\"ok\": {\"n\": 1}}", "{\"ok\": {\"n\": 1}}"},
	    {"{\"ip\": \"{client}\"}", "{\"ip\": \"client\"}"},
	    {"a {", "a {"},
	    {"{}", "{}"},
	    {"{ x }", "{ x }"},
	    {"{cookie:a.b}", "cookie:a.b"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect(cases[i].text, ESCAPE_FIELD, VIEW(""), cases[i].result);
}

Test(expand, escapes)
{
	static const struct {
		enum escape escape;
		struct view value;
		const char *result;
	} cases[] = {
	    {ESCAPE_FIELD, VIEW("a\r\nSet-Cookie: b\0c\x7f"), "a  Set-Cookie: b c "},
	    {ESCAPE_FIELD, VIEW("caf\xc3\xa9\t\"x\""), "caf\xc3\xa9\t\"x\""},
	    {ESCAPE_TEXT, VIEW("a\r\nb\0c"), "a \nb c"},
	    {ESCAPE_URI, VIEW("a/b?c=d&e#f \r\n\xc3%"), "a%2Fb%3Fc%3Dd%26e%23f%20%0D%0A%C3%25"},
	    {ESCAPE_JSON, VIEW("\"\\\r\n</script>'&\xff"),
	     "\\\"\\\\\\r\\n\\u003c/script\\u003e\\u0027\\u0026\\ufffd"},
	    {ESCAPE_JSON, VIEW(""), ""},
	    {ESCAPE_JSON, VIEW("<"), "\\u003c"},
	    {ESCAPE_HTML, VIEW("<a href=\"x\" id='y'>&`\r\n"),
	     "&#60;a href=&#34;x&#34; id=&#39;y&#39;&#62;&#38;&#96;  "},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect("{header:X}", cases[i].escape, cases[i].value, cases[i].result);
}

Test(expand, groups_and_paths_keep_their_slashes)
{
	expect("/x/{1}", ESCAPE_URI, VIEW("a/b c#\r\n"), "/x/a/b%20c%23%0D%0A");
	expect("https://a.example{uri}", ESCAPE_URI, VIEW("@evil.example"), "https://a.example/");
}

Test(expand, types)
{
	cr_expect_eq(escape_of(VIEW("application/json; charset=utf-8")), ESCAPE_JSON);
	cr_expect_eq(escape_of(VIEW("application/problem+JSON")), ESCAPE_JSON);
	cr_expect_eq(escape_of(VIEW("text/html")), ESCAPE_HTML);
	cr_expect_eq(escape_of(VIEW("image/svg+xml")), ESCAPE_HTML);
	cr_expect_eq(escape_of(VIEW("text/plain; x=html")), ESCAPE_TEXT);
	cr_expect_eq(escape_of(VIEW("")), ESCAPE_TEXT);
}

Test(template, mistakes_have_a_place)
{
	static const struct {
		const char *text;
		size_t offset, len;
		const char *message, *hint;
	} cases[] = {
	    {"ab{clinet}", 2, 8, "'{clinet}' is no variable", "did you mean 'client'?"},
	    {"{client", 0, 8, "'{client' is not closed", "'{{' is a brace"},
	    {"{heder:X}", 0, 9, "'{heder:X}' is no variable", "did you mean 'header:'?"},
	    {"{header:}", 0, 9, "'{header:}' needs a name behind the colon", ""},
	    {"x{cookie:a;b}", 1, 12, "'{cookie:a;b}' needs a name behind the colon", ""},
	    {"{0}", 0, 3, "'{0}' is no variable", "'{{' is a brace"},
	    {"{10}", 0, 4, "'{10}' is no variable", "'{{' is a brace"},
	    {"a{color: red}", 1, 12, "'{color: red}' is no variable", "'{{' is a brace"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct made made = make(cases[i].text, false);
		cr_expect(!made.ok, "%s", cases[i].text);
		cr_expect_eq(made.error.offset, cases[i].offset, "%s", cases[i].text);
		cr_expect_eq(made.error.len, cases[i].len, "%s", cases[i].text);
		cr_expect_str_eq(made.error.message, cases[i].message);
		cr_expect_str_eq(made.error.hint, cases[i].hint);
		arena_free(made.arena);
	}
}

Test(template, dollars_are_left_alone)
{
	static const char *const texts[] = {"/${name}/$1", "$$", "/${1", "$", "/a$"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct made made = make(texts[i], true);
		cr_expect(made.ok && !made.text.template, "%s", texts[i]);
		cr_expect(view_eq(made.text.text, view_str(texts[i])), "%s", texts[i]);
		arena_free(made.arena);
	}
	struct made made = make("/${a}{client}$${host}", true);
	cr_assert(made.ok);
	cr_assert_eq(made.text.template->n_pieces, 4);
	arena_free(made.arena);
}

Test(template, its_source_is_read_as_the_same)
{
	static const char *const texts[] = {"{{client}", "{{{{", "{\"a\"",
					    "{",         "{{\"", "a{client}{{b"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct made made = make(texts[i], false);
		struct view source = conf_text_source(&made.text, false, made.arena);
		struct made again = make(arena_view(made.arena, source).ptr, false);
		cr_expect(again.ok && view_eq(again.text.text, made.text.text), "%s", texts[i]);
		arena_free(made.arena);
		arena_free(again.arena);
	}
}

Test(template, equal_variables_are_one)
{
	struct made made =
	    make("{header:X-A}{header:x-a}{cookie:a}{cookie:A}{client}{client}", false);
	const struct template_piece *p = made.text.template->pieces;
	cr_assert_eq(p[0].variable, p[1].variable);
	cr_assert_neq(p[2].variable, p[3].variable);
	cr_assert_eq(p[4].variable, p[5].variable);
	struct variable_set set = {NULL, 0};
	variable_set_add_template(&set, made.arena, made.text.template);
	cr_assert_eq(set.n, 4);
	arena_free(made.arena);
}
