/* SPDX-License-Identifier: MIT */
/* What comes before the lines of a script, and the configuration that follows from it. */
#include "script_parts.h"

#include <string.h>

static void only(struct script *s, bool allowed[2], struct view word)
{
	if (view_eq(word, VIEW("any")))
		return;
	if (!view_eq(word, VIEW("h1")) && !view_eq(word, VIEW("h2")))
		script_fail(s, "only h1, h2 or any");
	allowed[view_eq(word, VIEW("h1")) ? PEER_HTTP2 : PEER_HTTP1] = false;
}

static void plan_yaml(struct str *out, struct view line)
{
	line = script_trim(line);
	str_printf(out, "    " VIEW_FMT "\n", VIEW_ARG(line));
}

/* True when the line belongs to the preamble. */
static bool plan_line(struct script *s, struct plan *plan, struct view line)
{
	struct words w = {line};
	struct view first = script_word(&w);
	if (view_eq(first, VIEW("backends")))
		plan->n_backends = (unsigned)script_number(s, &w);
	else if (view_eq(first, VIEW("second"))) {
		plan->second = script_word(&w);
		plan_yaml(&plan->second_pool, w.rest);
	} else if (view_eq(first, VIEW("listener")))
		plan_yaml(&plan->listener, w.rest);
	else if (view_eq(first, VIEW("route")))
		plan_yaml(&plan->route, w.rest);
	else if (view_eq(first, VIEW("pool")))
		plan_yaml(&plan->pool, w.rest);
	else if (view_eq(first, VIEW("ahead")))
		plan->ahead = script_trim(w.rest);
	else if (view_eq(first, VIEW("log")))
		plan->log = script_trim(w.rest);
	else if (view_eq(first, VIEW("uncut")))
		plan->uncut = true;
	else if (view_eq(first, VIEW("only"))) {
		only(s, plan->allowed[0], script_word(&w));
		only(s, plan->allowed[1], script_word(&w));
	} else
		return false;
	if (plan->n_backends < 1 || plan->n_backends > BACKENDS_MAX)
		script_fail(s, "there may be 1 to %d backends", BACKENDS_MAX);
	return true;
}

static const char *protocol_of(const struct script *s)
{
	return s->versions[1] == PEER_HTTP2 ? "h2" : "http1";
}

/* That of the peers, unless the pool is to be wrong about them. */
static void write_protocol(const struct script *s, const struct plan *plan, struct str *yaml)
{
	struct view pool = str_as_view(&plan->pool);
	if (!pool.len || !memmem(pool.ptr, pool.len, "protocol:", 9))
		str_printf(yaml, "    protocol: %s\n", protocol_of(s));
}

void plan_write(struct script *s, const struct plan *plan, struct str *yaml)
{
	if (plan->log.len)
		str_printf(yaml, "log: {access: {path: stdout, " VIEW_FMT "}}\n",
			   VIEW_ARG(plan->log));
	str_printf(yaml,
		   "workers: 1\n"
		   "listeners:\n"
		   "  - name: web\n"
		   "    bind: 'unix:$DIR/web'\n" VIEW_FMT "routes:\n"
		   "%s" VIEW_FMT "\n"
		   "  - pool: " VIEW_FMT "\n" VIEW_FMT "pools:\n"
		   "  " VIEW_FMT ":\n"
		   "    balance: round-robin\n" VIEW_FMT,
		   VIEW_ARG(str_as_view(&plan->listener)), plan->ahead.len ? "  - " : "",
		   VIEW_ARG(plan->ahead), VIEW_ARG(plan->name), VIEW_ARG(str_as_view(&plan->route)),
		   VIEW_ARG(plan->name), VIEW_ARG(str_as_view(&plan->pool)));
	write_protocol(s, plan, yaml);
	str_text(yaml, "    backends:\n");
	for (unsigned i = 1; i <= plan->n_backends; i++) {
		if (plan->second.len && i == plan->n_backends)
			str_printf(yaml,
				   "  " VIEW_FMT ":\n    protocol: %s\n" VIEW_FMT "    backends:\n",
				   VIEW_ARG(plan->second), protocol_of(s),
				   VIEW_ARG(str_as_view(&plan->second_pool)));
		str_printf(yaml, "      - {name: b%u, address: 'unix:$DIR/b%u'}\n", i, i);
	}
}

/* Once there, a place stays until the end: a reload may leave it out. */
void script_build_places(struct script *s, unsigned n)
{
	for (; s->n_backends < n; s->n_backends++)
		place_listen(s, s->n_backends);
}

/* The line of the plan's pool that has the key of `line` is replaced by it. */
static void change_pool(struct str *out, struct view pool, struct view line)
{
	struct view key = view_head(line, (size_t)view_chr(line, ':') + 1);
	while (pool.len) {
		struct view old = view_head(pool, (size_t)view_chr(pool, '\n'));
		if (!view_starts(script_trim(old), key))
			plan_yaml(out, old);
		pool = view_skip(pool, old.len + 1);
	}
	plan_yaml(out, line);
}

void script_reload(struct script *s, struct words *w)
{
	struct plan plan = *s->plan;
	struct str *yaml = script_scratch(s), *pool = script_scratch(s), *why = script_scratch(s);
	script_settle(s);
	if (script_skip(w, "backends")) {
		plan.n_backends = (unsigned)script_number(s, w);
	} else if (script_skip(w, "named")) {
		plan.name = script_word(w);
	} else if (script_skip(w, "pool")) {
		change_pool(pool, str_as_view(&s->plan->pool), script_trim(w->rest));
		plan.pool = *pool;
	} else {
		script_fail(s, "reload what?");
	}
	script_build_places(s, plan.n_backends);
	plan_write(s, &plan, yaml);
	if (world_reload(s->world, yaml->ptr, why))
		script_fail(s, "the reload is refused: " VIEW_FMT, VIEW_ARG(str_as_view(why)));
	script_settle(s);
}

/* Takes it off the script's text. */
struct plan plan_read(struct script *s)
{
	struct plan plan = {.n_backends = 1,
			    .name = VIEW("app"),
			    .allowed = {{true, true}, {true, true}},
			    .listener = STR_INIT,
			    .route = STR_INIT,
			    .pool = STR_INIT,
			    .second_pool = STR_INIT};
	struct view text = s->text, line;
	s->line = s->first_line;
	while (script_line(s, &text, &line) &&
	       (script_is_comment(line) || plan_line(s, &plan, line))) {
		s->first_line = s->line;
		s->text = text;
	}
	return plan;
}

void plan_fini(struct plan *plan)
{
	str_fini(&plan->listener);
	str_fini(&plan->route);
	str_fini(&plan->second_pool);
	str_fini(&plan->pool);
}
