/* SPDX-License-Identifier: MIT */
/* Lines of a script as words, and what a script that fails says. */
#include "script_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#include "weir/base/hex.h"
#include "weir/base/parse.h"

/* of a body that is counted in bytes; whole turns of a to w */
#define LETTERS ((size_t)23 * 64)

void script_fail(struct script *s, const char *fmt, ...)
{
	va_list ap;
	if (s->lenient && (memory_has_refused() || kernel_has_refused()))
		longjmp(s->early, 1);
	fflush(stdout);
	fprintf(stderr, "%s:%u: " VIEW_FMT " (client h%d, backend h%d, ", s->path, s->line,
		VIEW_ARG(s->title), s->versions[0] + 1, s->versions[1] + 1);
	if (s->cut.mode == CUT_AT)
		fprintf(stderr, "cut behind %zu bytes): ", s->cut.at);
	else if (s->fault)
		fprintf(stderr, "%s %zu: %s): ", s->fault->call, s->refuse_at,
			s->fault->error ? strerror(s->fault->error) : "one byte");
	else if (s->refuse_at)
		fprintf(stderr, "allocation %zu fails): ", s->refuse_at);
	else
		fprintf(stderr, "%s): ", s->cut.mode == CUT_NOWHERE ? "whole" : "byte by byte");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* Text for as long as a line is worked on; an end in the middle of that loses nothing. */
struct str *script_scratch(struct script *s)
{
	struct str *text = &s->scratch[s->n_scratch++ % SCRATCHES];
	str_reset(text);
	return text;
}

/* ---- words ---- */

struct view script_trim(struct view v)
{
	while (v.len && (*v.ptr == ' ' || *v.ptr == '\t'))
		v = view_skip(v, 1);
	while (v.len && strchr(" \t\r", v.ptr[v.len - 1]))
		v.len--;
	return v;
}

struct view script_word(struct words *w)
{
	w->rest = script_trim(w->rest);
	ptrdiff_t end = view_chr(w->rest, ' ');
	struct view word = view_head(w->rest, end < 0 ? w->rest.len : (size_t)end);
	w->rest = view_skip(w->rest, word.len);
	return word;
}

bool script_skip(struct words *w, const char *word)
{
	struct words ahead = *w;
	if (!view_eq(script_word(&ahead), view_str(word)))
		return false;
	*w = ahead;
	return true;
}

void script_unescape(struct script *s, struct str *out, struct view in)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != '\\') {
			str_char(out, in.ptr[i]);
			continue;
		}
		static const char letters[] = "rnt\\\"0", bytes[] = "\r\n\t\\\"";
		if (i + 3 < in.len && in.ptr[i + 1] == 'x' && hex_byte(in.ptr + i + 2) >= 0) {
			str_char(out, (char)hex_byte(in.ptr + i + 2));
			i += 3;
			continue;
		}
		const char *letter = ++i < in.len ? strchr(letters, in.ptr[i]) : NULL;
		if (!letter)
			script_fail(s, "unknown escape");
		str_char(out, bytes[letter - letters]);
	}
}

/* "text", with escapes. */
void script_quoted(struct script *s, struct words *w, struct str *out)
{
	w->rest = script_trim(w->rest);
	size_t end = 1;
	while (end < w->rest.len && w->rest.ptr[end] != '"')
		end += w->rest.ptr[end] == '\\' ? 2 : 1;
	if (w->rest.len < 2 || *w->rest.ptr != '"' || end >= w->rest.len)
		script_fail(s, "expected \"text\", not '" VIEW_FMT "'", VIEW_ARG(w->rest));
	script_unescape(s, out, view_of(w->rest.ptr + 1, end - 1));
	w->rest = view_skip(w->rest, end + 1);
}

uint64_t script_number(struct script *s, struct words *w)
{
	struct view word = script_word(w);
	uint64_t n;
	if (!parse_u64(word, &n))
		script_fail(s, "expected a number, not '" VIEW_FMT "'", VIEW_ARG(word));
	return n;
}

/* Many at a time: bodies have megabytes of them, and scripts run thousands of times. */
static struct view letters(void)
{
	static char text[LETTERS];
	if (!*text)
		for (size_t i = 0; i < LETTERS; i++)
			text[i] = (char)('a' + i % 23);
	return view_of(text, LETTERS);
}

/* "text" or `bytes N`, which are a pattern. */
void script_payload(struct script *s, struct words *w, struct str *out)
{
	if (!script_skip(w, "bytes")) {
		script_quoted(s, w, out);
		return;
	}
	for (uint64_t n = script_number(s, w); n;) {
		struct view piece = view_head(letters(), n < LETTERS ? (size_t)n : LETTERS);
		str_view(out, piece);
		n -= piece.len;
	}
}

/* ---- lines ---- */

bool script_line(struct script *s, struct view *text, struct view *line)
{
	if (text->len == 0)
		return false;
	ptrdiff_t end = view_chr(*text, '\n');
	*line = view_head(*text, end < 0 ? text->len : (size_t)end);
	*text = view_skip(*text, line->len + (end < 0 ? 0 : 1));
	*line = script_trim(*line);
	s->line++;
	return true;
}

bool script_is_comment(struct view line)
{
	return line.len == 0 || *line.ptr == '#';
}
