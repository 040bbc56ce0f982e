/* SPDX-License-Identifier: MIT */
/* The access log of a script: lines as the worker leaves them to whoever writes them. */
#include "script_parts.h"

#include <string.h>

#include "weir/base/ring.h"

static bool take_line(struct ring *ring, struct str *out)
{
	for (struct view run; (run = ring_peek(ring)).len;) {
		ptrdiff_t end = view_chr(run, '\n');
		struct view part = view_head(run, end < 0 ? run.len : (size_t)end);
		str_view(out, part);
		ring_took(ring, part.len + (end >= 0));
		if (end >= 0)
			return true;
	}
	return false;
}

/* Each piece between stars comes in its turn; the first begins the line, the last one ends it. */
static bool is_like(struct view line, struct view pattern)
{
	for (bool first = true;; first = false) {
		ptrdiff_t star = view_chr(pattern, '*');
		struct view piece = view_head(pattern, star < 0 ? pattern.len : (size_t)star);
		if (star < 0)
			return first ? view_eq(line, piece) : view_ends(line, piece);
		const char *at = memmem(line.ptr, line.len, piece.ptr, piece.len);
		if (!at || (first && at != line.ptr))
			return false;
		line = view_skip(line, (size_t)(at - line.ptr) + piece.len);
		pattern = view_skip(pattern, piece.len + 1);
	}
}

void script_logged(struct script *s, struct words *w)
{
	struct str *line = script_scratch(s), *wanted = script_scratch(s);
	bool nothing = script_skip(w, "nothing");
	script_settle(s);
	bool is_there = take_line(&s->world->worker->log.ring, line);
	if (nothing != !is_there)
		script_fail(s, "logged is %s", is_there ? line->ptr : "nothing");
	script_unescape(s, wanted, script_trim(w->rest));
	if (!nothing && !is_like(str_as_view(line), str_as_view(wanted)))
		script_fail(s, "logged is\n  " VIEW_FMT "\nand not\n  " VIEW_FMT,
			    VIEW_ARG(str_as_view(line)), VIEW_ARG(str_as_view(wanted)));
}
