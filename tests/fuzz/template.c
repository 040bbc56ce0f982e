/* SPDX-License-Identifier: MIT */
/*
 * Any template with any value: what comes of it stays where it is put.  What the dump writes
 * is read as the same.  Input: how variables are escaped (a byte), template, NUL, value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/route/expand.h"

struct one {
	struct expand_source source;
	struct view value;
};

static struct view get(const struct expand_source *source, const struct variable *v,
		       char room[EXPAND_ROOM])
{
	(void)v;
	(void)room;
	return container_of(source, const struct one, source)->value;
}

static void check_byte(enum escape escape, unsigned char c)
{
	switch (escape) {
	case ESCAPE_FIELD:
		check((c >= ' ' && c != 0x7f) || c == '\t');
		break;
	case ESCAPE_TEXT:
		check((c >= ' ' && c != 0x7f) || c == '\t' || c == '\n');
		break;
	case ESCAPE_URI:
		check(c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '#');
		break;
	case ESCAPE_JSON:
		check(c >= ' ' && c != '<' && c != '>' && c != '&' && c != '\'');
		break;
	case ESCAPE_HTML:
		check(c != '<' && c != '>' && c != '"' && c != '\'' && c != '`' && c != '\r');
		break;
	}
}

/* In JSON a quote is escaped by an odd number of backslashes. */
static void check_json(const struct str *out)
{
	size_t slashes = 0;
	for (size_t i = 0; i < out->len; i++) {
		check(out->ptr[i] != '"' || slashes % 2 == 1);
		slashes = out->ptr[i] == '\\' ? slashes + 1 : 0;
	}
	check(slashes % 2 == 0);
}

static void try_values(const struct template *template, enum escape escape, struct view value)
{
	struct one one = {.source.get = get, .value = value};
	struct str out = STR_INIT;
	char room[64];
	for (size_t i = 0; i < template->n_pieces; i++) {
		const struct variable *v = template->pieces[i].variable;
		str_reset(&out);
		if (!v)
			continue;
		expand_value(value, v, escape, &out);
		for (size_t k = 0; k < out.len; k++)
			check_byte(escape, (unsigned char)out.ptr[k]);
		if (escape == ESCAPE_JSON)
			check_json(&out);
	}
	str_fini(&out);
	struct str small = str_fixed(room, sizeof(room));
	expand(template, escape, &one.source, &small);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	enum escape escape = (enum escape)(data[0] % 5);
	struct view text = view_of((const char *)data + 1, size - 1);
	ptrdiff_t cut = view_chr(text, '\0');
	struct view value = cut < 0 ? VIEW_NONE : view_skip(text, (size_t)cut + 1);
	struct variables variables = {0};
	struct template_error error;
	struct conf_text out, again;
	text = cut < 0 ? text : view_head(text, (size_t)cut);
	const struct template_rules rules = {.arena = arena_new(),
					     .variables = &variables,
					     .until = VARIABLE_ANSWER,
					     .dollars = data[0] & 0x80};
	if (!template_parse(text, &rules, &out, &error)) {
		check(error.message[0] && error.offset < text.len);
	} else {
		if (out.template)
			try_values(out.template, escape, value);
		if (!rules.dollars) {
			check(template_parse(conf_text_source(&out, rules.dollars, rules.arena),
					     &rules, &again, &error));
			check(view_eq(out.text, again.text) && !out.template == !again.template);
		}
	}
	arena_free(rules.arena);
	return 0;
}
