/* SPDX-License-Identifier: MIT */
/* Templates to texts. */
#include "weir/route/expand.h"

#include "weir/base/json.h"

enum escape escape_of(struct view content_type)
{
	static const struct {
		struct view word;
		enum escape escape;
	} words[] = {
	    {VIEW("json"), ESCAPE_JSON},
	    {VIEW("javascript"), ESCAPE_JSON},
	    {VIEW("html"), ESCAPE_HTML},
	    {VIEW("xml"), ESCAPE_HTML},
	};
	ptrdiff_t end = view_chr(content_type, ';');
	struct view type = end < 0 ? content_type : view_head(content_type, (size_t)end);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		for (size_t at = 0; at + words[i].word.len <= type.len; at++)
			if (view_istarts(view_skip(type, at), words[i].word))
				return words[i].escape;
	return ESCAPE_TEXT;
}

/* Runs of what passes are copied at once. */
static void put_text(struct str *out, struct view v, bool lines)
{
	size_t from = 0;
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if ((c >= ' ' && c != 0x7f) || c == '\t' || (lines && c == '\n'))
			continue;
		str_put(out, v.ptr + from, i - from);
		str_char(out, ' ');
		from = i + 1;
	}
	str_view(out, view_skip(v, from));
}

/* RFC 3986 2.3 */
static bool is_unreserved(unsigned char c)
{
	char lower = char_lower((char)c);
	return (lower >= 'a' && lower <= 'z') || char_is_digit((char)c) || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

static void put_uri(struct str *out, struct view v, bool structure)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		bool passes =
		    structure ? c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '#'
			      : is_unreserved(c);
		if (passes)
			str_char(out, (char)c);
		else
			str_printf(out, "%%%02X", c);
	}
}

static void put_uri_value(struct str *out, struct view value, const struct variable *variable)
{
	switch (variable->id) {
	case VARIABLE_path:
	case VARIABLE_uri:
		/* it cannot lengthen a host name ("*" of OPTIONS) */
		put_uri(out, value.len && value.ptr[0] == '/' ? value : VIEW("/"), true);
		break;
	case VARIABLE_scheme:
	case VARIABLE_host:
	case VARIABLE_query:
	case VARIABLE_group:
		put_uri(out, value, true);
		break;
	default:
		put_uri(out, value, false);
	}
}

/* json_quote without its quotes; and nothing of it means anything to HTML around it. */
static void put_json(struct str *out, struct view v)
{
	size_t from = 0;
	for (size_t i = 0; i <= v.len; i++) {
		char c = i < v.len ? v.ptr[i] : '<';
		if (c != '<' && c != '>' && c != '&' && c != '\'')
			continue;
		if (i > from) {
			size_t start = out->len;
			json_quote(out, view_of(v.ptr + from, i - from));
			if (out->overflow)
				return;
			memmove(out->ptr + start, out->ptr + start + 1, out->len - start - 2);
			out->len -= 2;
			out->ptr[out->len] = '\0';
		}
		if (i < v.len)
			str_printf(out, "\\u%04x", (unsigned char)c);
		from = i + 1;
	}
}

static void put_html(struct str *out, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if (c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' || c == '`')
			str_printf(out, "&#%u;", c);
		else
			str_char(out, (c < ' ' && c != '\t') || c == 0x7f ? ' ' : (char)c);
	}
}

void expand_value(struct view value, const struct variable *variable, enum escape escape,
		  struct str *out)
{
	switch (escape) {
	case ESCAPE_FIELD:
		put_text(out, value, false);
		break;
	case ESCAPE_TEXT:
		put_text(out, value, true);
		break;
	case ESCAPE_URI:
		put_uri_value(out, value, variable);
		break;
	case ESCAPE_JSON:
		put_json(out, value);
		break;
	case ESCAPE_HTML:
		put_html(out, value);
		break;
	}
}

void expand(const struct template *template, enum escape escape, const struct expand_source *source,
	    struct str *out)
{
	char room[EXPAND_ROOM];
	for (size_t i = 0; i < template->n_pieces; i++) {
		const struct template_piece *piece = &template->pieces[i];
		if (piece->variable)
			expand_value(source->get(source, piece->variable, room), piece->variable,
				     escape, out);
		else
			str_view(out, piece->text);
	}
}
