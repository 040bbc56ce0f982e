/* SPDX-License-Identifier: MIT */
/*
 * Routes once they are complete.
 *
 * Everything here runs on elements that may be half broken: what is missing
 * has been reported already and is only stepped over.
 */
#include "finish.h"

#include <stdio.h>

/* What a body that may be gathered has at least. */
#define REQUEST_BUFFER_LEAST ((uint64_t)64 * 1024)

static bool match_is_empty(const struct conf_match *match)
{
	return !match->scheme.ptr && !match->listener.n && !match->host.n &&
	       !match->host_regex.ptr && !match->path.ptr && !match->path_exact.ptr &&
	       !match->path_regex.ptr && !match->method.n && !match->header.n && !match->cookie.n &&
	       !match->query.n && !match->client.n;
}

static bool matches_everything(const struct conf_route *route)
{
	return match_is_empty(&route->match) && !route->has_not;
}

/* `match` was written and is broken: it does not match everything. */
static bool has_match(const struct element *element)
{
	const struct node *match = node_get(element->node, VIEW("match"));
	return match && (match->kind != NODE_MAP || match->n);
}

static void check_hidden(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	if (d->catch_all && d->catch_all->spot.line)
		decode_warning(d, element->node,
			       "route '" VIEW_FMT "' is never used: the route at %s matches "
			       "every request",
			       VIEW_ARG(route->name),
			       report_place(&d->report, &element->node->spot, &d->catch_all->spot,
					    d->scratch));
	if (!d->catch_all && matches_everything(route) && !has_match(element))
		d->catch_all = element->node;
}

void finish_keep_pages(struct decoder *d, struct conf_route *route,
		       const struct conf_error_pages *pages)
{
	for (size_t i = 0; i < pages->n; i++)
		variable_set_add_template(&route->kept, d->arena, pages->rows[i].page.template);
}

static void check_request_buffer(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	struct node *node = finish_at(element, "request_buffer");
	if (route->request_buffer && route->request_buffer < REQUEST_BUFFER_LEAST)
		decode_error_hint(d, node, "write 64KiB, or 0 to switch it off",
				  "'request_buffer' is 0, or from 64KiB to 1MiB");
	else if (route->request_buffer &&
		 (route->action == CONF_ACTION_REDIRECT || route->action == CONF_ACTION_RESPOND))
		decode_error(d, node, "'request_buffer' does nothing for a route without a pool");
}

static void check_mirror(struct decoder *d, const struct element *element)
{
	const struct conf_route *route = element->base;
	if (route->mirror.on &&
	    (route->action == CONF_ACTION_REDIRECT || route->action == CONF_ACTION_RESPOND))
		decode_error(d, finish_at(element, "mirror"),
			     "'mirror' does nothing for a route without a pool");
}

static void note_group(struct conf_route *route, const struct template *template)
{
	if (template && template->max_group > route->max_group)
		route->max_group = template->max_group;
}

static void note_edits(struct conf_route *route, const struct conf_header_edits *edits)
{
	for (size_t i = 0; i < edits->set.n; i++)
		note_group(route, edits->set.rows[i].template);
	for (size_t i = 0; i < edits->add.n; i++)
		note_group(route, edits->add.rows[i].template);
}

/* Which groups are named, and what of the head is needed when that is gone. */
static void note_variables(struct decoder *d, struct conf_route *route, const struct node *node)
{
	const struct conf_header_edits *edits = &route->response_headers;
	note_group(route, route->redirect.to.template);
	note_group(route, route->respond.body.template);
	note_group(route, route->rewrite.path.template);
	note_group(route, route->rewrite.host.template);
	note_edits(route, &route->request_headers);
	note_edits(route, edits);
	for (size_t i = 0; i < edits->set.n; i++)
		variable_set_add_template(&route->kept, d->arena, edits->set.rows[i].template);
	for (size_t i = 0; i < edits->add.n; i++)
		variable_set_add_template(&route->kept, d->arena, edits->add.rows[i].template);
	if (route->max_group && !route->match.path_regex.ptr && !route->match.host_regex.ptr)
		decode_error(d, node,
			     "{%u} stands for a group of a regular expression, and the match of "
			     "route '" VIEW_FMT "' has none%s",
			     route->max_group, VIEW_ARG(route->name),
			     route->rewrite.path_regex.ptr
				 ? "; $1 is one of rewrite.path_regex, in rewrite.path"
				 : "");
}

void finish_error_page(struct decoder *d, const struct element *element)
{
	struct conf_error_page *page = element->base;
	struct view name = element->key->text;
	page->status = arena_view(d->arena, name);
	bool right = name.len == 3 && (name.ptr[0] == '4' || name.ptr[0] == '5');
	bool exact = right && char_is_digit(name.ptr[1]) && char_is_digit(name.ptr[2]);
	if (!exact && !(right && view_ends(name, VIEW("xx"))))
		decode_error(d, element->key,
			     "'" VIEW_FMT "' is no status of an error such as 404 or 5xx",
			     VIEW_ARG(name));
}

void finish_rate_limit(struct decoder *d, const struct element *element)
{
	struct conf_rate_limit *limit = element->base;
	uint64_t second = limit->rate.per_us / 1000000;
	if (!limit->burst)
		limit->burst = limit->rate.n < UINT32_MAX ? (uint32_t)limit->rate.n : UINT32_MAX;
	if (second && (uint64_t)limit->burst > limit->rate.n * (2592000 / second))
		decode_error(d, finish_at(element, "burst"),
			     "a burst of %u takes more than 30 days to come back at this rate",
			     limit->burst);
}

static void check_split_on(struct decoder *d, const struct conf_route *route,
			   const struct node *node)
{
	const struct node *match = node_get(node, VIEW("match"));
	const struct node *not =
	    match && match->kind == NODE_MAP ? node_get(match, VIEW("not")) : NULL;
	struct node *on = node_get(node, VIEW("split_on"));
	if (on && route->action != CONF_ACTION_SPLIT)
		decode_error(d, on, "'split_on' does nothing without 'split'");
	if (not&&not->kind == NODE_MAP && !not->n)
		decode_error(d, not, "'not' is empty: nothing would match");
}

/* Which libraries weir was built with, as bits of compress.algorithms. */
static const unsigned built_coders = 0
#ifdef WEIR_ZSTD
				     | 1
#endif
#ifdef WEIR_BROTLI
				     | 2
#endif
#ifdef WEIR_ZLIB
				     | 4
#endif
    ;

static void finish_respond(struct decoder *d, const struct element *element)
{
	struct conf_route *route = element->base;
	struct node *respond = node_get(element->node, VIEW("respond"));
	struct node *file = node_get(respond, VIEW("file"));
	struct node *body = node_get(respond, VIEW("body"));
	if (file && body && body->text.len)
		decode_error(d, file, "'file' beside 'body': only one can be the body");
	if (file && !node_get(respond, VIEW("content_type")))
		route->respond.content_type = VIEW("text/html; charset=utf-8"); /* as of errors */
}

static void finish_compress(struct decoder *d, const struct element *element)
{
	struct conf_route *route = element->base;
	struct node *map = node_get(element->node, VIEW("compress"));
	struct node *algorithms = node_get(map, VIEW("algorithms"));
	if (!route->compress.on)
		return;
	if (algorithms && route->compress.algorithms & ~built_coders)
		decode_error(d, algorithms,
			     "this weir was built without the library of one of these; `weir -V` "
			     "lists those it has");
	route->compress.algorithms &= built_coders;
	if (!route->compress.algorithms && !algorithms)
		decode_error(d, map, "this weir was built without libzstd, libbrotli and zlib");
}

void finish_route(struct decoder *d, const struct element *element)
{
	struct conf_route *route = element->base;
	struct node *rewrite = node_get(element->node, VIEW("rewrite"));
	struct node *regex = node_get(rewrite, VIEW("path_regex"));
	struct node *path = node_get(rewrite, VIEW("path"));
	route->index = (uint32_t)element->index;
	if (!route->name.len)
		route->name = view_str(arena_printf(d->arena, "route-%zu", element->index + 1));
	finish_once(d, &d->routes, "route", route->name, finish_at(element, "name"));
	route->has_not = !match_is_empty(&route->match_not);
	check_split_on(d, route, element->node);
	if (regex && !path)
		decode_error(d, regex, "rewrite.path_regex needs rewrite.path");
	if (path && !regex && route->rewrite.path.text.ptr &&
	    !view_starts(route->rewrite.path.text, VIEW("/")) && !route->rewrite.path.template)
		decode_error(d, path, "a path must start with '/'");
	check_request_buffer(d, element);
	check_mirror(d, element);
	note_variables(d, route, element->node);
	finish_keep_pages(d, route, &route->errors);
	finish_respond(d, element);
	finish_compress(d, element);
	finish_basic(d, &route->auth.basic, node_get(element->node, VIEW("auth")));
	check_hidden(d, element);
}
