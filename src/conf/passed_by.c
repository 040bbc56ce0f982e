/* SPDX-License-Identifier: MIT */
/*
 * Routes that deny by path, and requests that would pass them by: separators, case, other forms
 * of a path.
 */
#include "passed_by.h"

#include "weir/base/str.h"

static bool denies_by_path(const struct conf_route *route)
{
	return route->action == CONF_ACTION_RESPOND && route->respond.status >= 400 &&
	       (route->match.path.ptr || route->match.path_exact.ptr ||
		route->match.path_regex.ptr);
}

/* Whether what passes a route by may reach a backend. */
static bool leads_on(const struct conf *conf, size_t after)
{
	for (size_t i = after + 1; i < conf->n_routes; i++)
		if (conf->routes[i].action == CONF_ACTION_POOL ||
		    conf->routes[i].action == CONF_ACTION_SPLIT)
			return true;
	return false;
}

static bool has_letter(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (char_lower(v.ptr[i]) >= 'a' && char_lower(v.ptr[i]) <= 'z')
			return true;
	return false;
}

static bool contains(struct view v, struct view part)
{
	return v.len && memmem(v.ptr, v.len, part.ptr, part.len);
}

/* ---- the ways by ---- */

static void say(struct str *ways, const char *way)
{
	str_printf(ways, "%s%s", ways->len ? "; " : "", way);
}

static void by_separators(const struct conf *conf, struct str *ways)
{
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].encoded_slash == CONF_SLASH_KEEP) {
			say(ways, "with %2F or %5C for a slash, if the backend decodes it "
				  "(encoded_slash: refuse)");
			return;
		}
}

static void by_case(const struct conf_route *route, struct str *ways)
{
	struct view regex = route->match.path_regex;
	struct view path =
	    route->match.path_exact.ptr ? route->match.path_exact : route->match.path;
	if (regex.ptr ? has_letter(regex) && !contains(regex, VIEW("(?i")) : has_letter(path))
		say(ways, "in another case, if the backend ignores case (path_regex: \"(?i)...\")");
}

static void by_end(const struct conf_route *route, struct str *ways)
{
	struct view path = route->match.path;
	if (route->match.path_exact.ptr)
		say(ways, "with a slash or more at the end (path instead of path_exact)");
	else if (path.len > 1 && path.ptr[path.len - 1] == '/')
		say(ways, "without the slash at the end (path without it)");
}

/* Routes are matched in a form in which none of this stands. */
static void by_form(const struct conf_route *route, struct str *ways)
{
	struct view regex = route->match.path_regex;
	if (contains(regex, VIEW("//")) || contains(regex, VIEW("/\\.")) ||
	    contains(regex, VIEW("/./")) || contains(regex, VIEW("/..")))
		say(ways, "in any way: runs of slashes and dot segments are resolved before the "
			  "path_regex looks, which seems to wait for them");
}

void warn_passed_by(struct decoder *d, struct node *root)
{
	const struct conf *conf = d->conf;
	struct node *routes = node_get(root, VIEW("routes"));
	struct node_item *it = routes ? routes->items : NULL;
	for (size_t i = 0; it && i < conf->n_routes; i++, it = it->next) {
		const struct conf_route *route = &conf->routes[i];
		char room[640];
		struct str ways = str_fixed(room, sizeof(room));
		if (!denies_by_path(route) || !leads_on(conf, i))
			continue;
		by_separators(conf, &ways);
		by_case(route, &ways);
		by_end(route, &ways);
		by_form(route, &ways);
		if (ways.len)
			decode_warning(d, it->value,
				       "route '" VIEW_FMT
				       "' denies by path and may be passed by: %s",
				       VIEW_ARG(route->name), room);
	}
}
