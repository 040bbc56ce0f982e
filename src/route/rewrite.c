/* SPDX-License-Identifier: MIT */
/*
 * rewrite.path: the part of the path that rewrite.path_regex matches is replaced
 * by a template with $0 .. $9 and ${name}; without a regex all of the path is.  Variables
 * stand in it as in any other value.
 * The regex sees the path in the form in which routes are matched, runs of slashes
 * made one: what led a request to this route must not keep it from being rewritten.
 *
 * The result goes into a request line, so it is checked as if a client had sent
 * it; one that fails is no rewrite at all.
 */
#include "normalise.h"
#include "table.h"

/* Text of a template as it may stand in a URI: space and non-ASCII bytes encoded. */
static struct view encode_text(struct view text, struct arena *arena)
{
	static const char digits[] = "0123456789ABCDEF";
	char *room = arena_alloc(arena, text.len * 3);
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c != ' ' && c < 0x80) {
			room[n++] = (char)c;
			continue;
		}
		room[n++] = '%';
		room[n++] = digits[c >> 4];
		room[n++] = digits[c & 15];
	}
	return view_of(room, n);
}

/* The number of "${name}" or "${12}", or -1. */
static int named_group(const pcre2_code *regex, struct view name, struct arena *arena)
{
	if (name.len && char_is_digit(name.ptr[0])) {
		int n = 0;
		for (size_t i = 0; i < name.len; i++) {
			if (!char_is_digit(name.ptr[i]) || n >= REGEX_GROUPS)
				return -1;
			n = n * 10 + (name.ptr[i] - '0');
		}
		return n;
	}
	const char *text = arena_view(arena, name).ptr;
	int n = regex ? pcre2_substring_number_from_name(regex, (PCRE2_SPTR)text) : -1;
	return n > 0 ? n : -1;
}

/*
 * What stands after a '$' at template[*at]: a group, or -1 for the second '$' of
 * "$$".  *at moves past it.  False when it is neither.
 */
static bool parse_dollar(const pcre2_code *regex, struct view template, size_t *at,
			 struct arena *arena, int *group)
{
	struct view rest = view_skip(template, *at + 1);
	if (rest.len == 0)
		return false;
	*at += 2;
	if (rest.ptr[0] == '$') {
		*group = -1;
		return true;
	}
	if (char_is_digit(rest.ptr[0])) {
		*group = rest.ptr[0] - '0';
		return true;
	}
	ptrdiff_t close = view_chr(rest, '}');
	if (rest.ptr[0] != '{' || close < 0)
		return false;
	*group = named_group(regex, view_head(view_skip(rest, 1), (size_t)close - 1), arena);
	*at += (size_t)close;
	return *group >= 0;
}

static bool group_exists(const pcre2_code *regex, int group)
{
	uint32_t n_groups = 0;
	if (group < 0)
		return true;
	if (!regex)
		return false;
	pcre2_pattern_info(regex, PCRE2_INFO_CAPTURECOUNT, &n_groups);
	return group < REGEX_GROUPS && (uint32_t)group <= n_groups;
}

static void add_piece(struct compiled *route, struct arena *arena, struct view text, int group)
{
	if (group < 0 && text.len == 0)
		return;
	struct piece *piece = &route->pieces[route->n_pieces++];
	*piece = (struct piece){.text = group < 0 ? encode_text(text, arena) : VIEW_NONE,
				.group = group};
}

/* Text with groups, between variables. */
static bool compile_text(struct compiled *route, struct view template, struct arena *arena,
			 struct str *error)
{
	size_t text_from = 0, i = 0;
	while (i < template.len) {
		if (template.ptr[i] != '$') {
			i++;
			continue;
		}
		size_t dollar = i;
		int group = -1;
		if (!parse_dollar(route->rewrite_regex, template, &i, arena, &group) ||
		    !group_exists(route->rewrite_regex, group)) {
			str_printf(error,
				   "'" VIEW_FMT
				   "' at offset %zu: not a group of rewrite.path_regex; "
				   "use $0 to $9, ${name}, or $$ for a dollar sign",
				   VIEW_ARG(template), dollar);
			return false;
		}
		/* "$$" keeps its first sign as text */
		add_piece(route, arena,
			  view_of(template.ptr + text_from, dollar - text_from + (group < 0)), -1);
		if (group >= 0)
			add_piece(route, arena, VIEW_NONE, group);
		text_from = i;
	}
	add_piece(route, arena, view_skip(template, text_from), -1);
	return true;
}

bool rewrite_compile(struct compiled *route, struct arena *arena, struct str *error)
{
	const struct conf_text *path = &route->conf->rewrite.path;
	route->pieces = arena_array(arena, path->text.len + 1, sizeof(*route->pieces));
	if (!path->template)
		return compile_text(route, path->text, arena, error);
	for (size_t i = 0; i < path->template->n_pieces; i++) {
		const struct template_piece *piece = &path->template->pieces[i];
		if (piece->variable)
			route->pieces[route->n_pieces++] =
			    (struct piece){.group = -1, .variable = piece->variable};
		else if (!compile_text(route, piece->text, arena, error))
			return false;
	}
	return true;
}

/* RFC 9112 3.2.1: visible bytes from a '/' on, no fragment. */
static bool may_be_path(struct view path)
{
	if (path.len == 0 || path.ptr[0] != '/')
		return false;
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];
		if (c <= ' ' || c == 0x7f || c == '#')
			return false;
	}
	return true;
}

static void put_piece(const struct piece *piece, const struct regex_scratch *regex,
		      struct view path, const struct expand_source *source, struct str *out)
{
	char room[EXPAND_ROOM];
	if (piece->variable)
		expand_value(source->get(source, piece->variable, room), piece->variable,
			     ESCAPE_URI, out);
	else if (piece->group < 0)
		str_view(out, piece->text);
	else
		str_view(out, regex_group(regex, path, (unsigned)piece->group));
}

static void put_rewritten(const struct compiled *route, const struct regex_scratch *regex,
			  struct view path, const struct expand_source *source, struct str *out)
{
	size_t from = 0, to = path.len; /* what is replaced */
	if (route->rewrite_regex)
		regex_span(regex, path, &from, &to);
	str_view(out, view_head(path, from));
	for (size_t i = 0; i < route->n_pieces; i++)
		put_piece(&route->pieces[i], regex, path, source, out);
	str_view(out, view_skip(path, to));
}

/* A template may bring arguments of its own: the client's follow them. */
static void put_query(struct view query, size_t from, struct str *out)
{
	if (query.len == 0)
		return;
	struct view so_far = view_of(out->ptr + from, out->len - from);
	str_char(out, view_chr(so_far, '?') < 0 ? '?' : '&');
	str_view(out, query);
}

enum rewrite route_rewrite_path(const struct route_table *table, struct route_scratch *scratch,
				const struct conf_route *route, struct view path,
				const struct expand_source *source, struct str *out)
{
	const struct compiled *compiled = &table->routes[route->index];
	struct view query;
	scratch->gave_up = NULL;
	if (!compiled->pieces)
		return REWRITE_NONE;
	target_split(path, &path, &query);
	if (!path_is_normal(path)) {
		char *room = scratch_room(scratch, path.len);
		if (!room)
			return REWRITE_FAILED;
		path = path_normalise(path, room);
	}
	enum regex_result result = REGEX_YES;
	if (compiled->rewrite_regex)
		result = regex_match(compiled->rewrite_regex, &scratch->regex, path);
	if (result == REGEX_GAVE_UP)
		scratch->gave_up = route;
	if (result != REGEX_YES)
		return result == REGEX_NO ? REWRITE_NONE : REWRITE_FAILED;
	const size_t from = out->len;
	const bool overflow = out->overflow;
	out->overflow = false;
	put_rewritten(compiled, &scratch->regex, path, source, out);
	put_query(query, from, out);
	if (!out->overflow && may_be_path(view_of(out->ptr + from, out->len - from))) {
		out->overflow = overflow;
		return REWRITE_DONE;
	}
	enum rewrite failed = out->overflow ? REWRITE_FAILED : REWRITE_NONE;
	out->len = from;
	out->overflow = overflow;
	if (out->ptr)
		out->ptr[from] = '\0';
	return failed;
}

bool route_rewrite_host(const struct conf_route *route, const struct expand_source *source,
			struct str *out)
{
	struct view host;
	uint16_t port;
	const size_t from = out->len;
	if (!route->rewrite.host.template) {
		str_view(out, route->rewrite.host.text);
		return true;
	}
	expand(route->rewrite.host.template, ESCAPE_URI, source, out);
	if (!out->overflow && authority_split(view_skip(str_as_view(out), from), &host, &port))
		return true;
	out->len = from;
	return false;
}
