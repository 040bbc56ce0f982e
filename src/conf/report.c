/* SPDX-License-Identifier: MIT */
/*
 * Source lines are copied in a form that is safe to print: one line, control
 * bytes replaced, at most a window around the place, so that a file that is
 * one line of 8 MiB costs no more than any other.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#include "secrets.h"

#include "weir/base/text.h"
#include "weir/base/yaml.h"

#define WINDOW 120 /* characters of a source line that are shown */

/* Replaces what could drive a terminal by '?'; in place. */
static void make_safe(char *s)
{
	struct view rest = view_str(s);
	while (rest.len) {
		size_t len = utf8_len(rest.ptr, rest.len);
		uint32_t code = len ? utf8_code_point(rest.ptr, len) : 0;
		size_t at = (size_t)(rest.ptr - s);
		if (code == '\t')
			s[at] = ' ';
		else if (!len || !yaml_is_printable(code))
			memset(s + at, '?', len ? len : 1);
		rest = view_skip(rest, len ? len : 1);
	}
}

void report_init(struct report *r, struct conf_diags *diags, struct view text, const char *file)
{
	*r = (struct report){.diags = diags, .text = text};
	diags->file = arena_strdup(diags->arena, file);
}

struct view report_text(const struct report *r, const struct source *source)
{
	return source ? source->text : r->text;
}

const char *report_place(const struct report *r, const struct spot *from, const struct spot *spot,
			 struct arena *arena)
{
	if (from->source == spot->source)
		return arena_printf(arena, "line %u", spot->line);
	return arena_printf(arena, "%s:%u", spot->source ? spot->source->file : r->diags->file,
			    spot->line);
}

bool report_has_room(const struct report *r)
{
	return r->n_kept[CONF_ERROR] < REPORT_MAX;
}

static bool starts_char(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/* Line number `line`, from 1, without its end; LF, CR and CRLF end lines. */
static struct view find_line(struct view text, unsigned line)
{
	size_t i = 0;
	for (unsigned n = 1; n < line && i < text.len; i++)
		if (text.ptr[i] == '\n' ||
		    (text.ptr[i] == '\r' && (i + 1 == text.len || text.ptr[i + 1] != '\n')))
			n++;
	struct view v = view_skip(text, i);
	size_t len = 0;
	while (len < v.len && v.ptr[len] != '\n' && v.ptr[len] != '\r')
		len++;
	return view_head(v, len);
}

/* Bytes up to character `n`, from 0. */
static size_t skip_chars(struct view v, size_t n)
{
	size_t i = 0;
	while (i < v.len && n) {
		i++;
		while (i < v.len && !starts_char(v.ptr[i]))
			i++;
		n--;
	}
	return i;
}

static unsigned count_chars(struct view v)
{
	unsigned n = 0;
	for (size_t i = 0; i < v.len; i++)
		n += starts_char(v.ptr[i]);
	return n;
}

/* In a text of several lines, as after '|': the line that ends as this one of the text does. */
static struct spot inside_block(const struct report *r, const struct node *scalar, size_t offset)
{
	struct spot spot = scalar->spot;
	size_t from = offset;
	while (from > 0 && scalar->text.ptr[from - 1] != '\n')
		from--;
	for (size_t i = 0; i < from; i++)
		spot.line += scalar->text.ptr[i] == '\n';
	struct view line = find_line(scalar->text, 1 + spot.line - scalar->spot.line);
	struct view source = find_line(report_text(r, spot.source), ++spot.line);
	if (!view_ends(source, line))
		return scalar->spot;
	size_t indent = source.len - line.len;
	spot.column = count_chars(view_head(source, indent + offset - from)) + 1;
	return spot;
}

struct spot report_inside(const struct report *r, const struct node *scalar, size_t offset,
			  size_t len)
{
	struct spot spot = scalar->spot;
	unsigned chars = count_chars(scalar->text);
	if (!spot.line || spot.option)
		return spot;
	if (view_chr(scalar->text, '\n') >= 0)
		spot = inside_block(r, scalar, offset);
	else if (spot.width == chars + 2 * scalar->quoted) /* nothing is escaped */
		spot.column += scalar->quoted + count_chars(view_head(scalar->text, offset));
	else
		return spot;
	spot.width = count_chars(view_head(view_skip(scalar->text, offset), len));
	return spot;
}

static void copy_source(struct report *r, struct view text, struct conf_diag *diag)
{
	struct view line = find_line(text, diag->line);
	unsigned first = 1;
	if (diag->column > WINDOW - 20)
		first = diag->column - (WINDOW - 20) / 2;
	line = view_skip(line, skip_chars(line, first - 1));
	struct view shown = view_head(line, skip_chars(line, WINDOW));
	bool cut_left = first > 1, cut_right = shown.len < line.len;
	char *s = arena_printf(r->diags->arena, "%s" VIEW_FMT "%s", cut_left ? "..." : "",
			       VIEW_ARG(shown), cut_right ? "..." : "");
	make_safe(s);
	diag->source = s;
	diag->source_column = diag->column - first + 1 + (cut_left ? 3 : 0);
}

/* An alias shows the same mistake at the same place again. */
static bool is_known(const struct conf_diags *diags, const struct conf_diag *diag)
{
	for (size_t i = 0; diag->line && i < diags->n; i++)
		if (diags->rows[i].line == diag->line && diags->rows[i].column == diag->column &&
		    diags->rows[i].file_index == diag->file_index &&
		    strcmp(diags->rows[i].message, diag->message) == 0)
			return true;
	return false;
}

static void keep(struct report *r, const struct conf_diag *diag)
{
	struct conf_diags *diags = r->diags;
	if (diags->n == diags->cap) {
		struct conf_diag *old = diags->rows;
		diags->cap = diags->cap ? diags->cap * 2 : 8;
		diags->rows = arena_array(diags->arena, diags->cap, sizeof(*diags->rows));
		if (diags->n)
			memcpy(diags->rows, old, diags->n * sizeof(*old));
	}
	diags->rows[diags->n++] = *diag;
	r->n_kept[diag->severity]++;
}

/* Without secrets. */
static char *copy_text(const struct report *r, const struct spot *spot, struct view text)
{
	struct arena *arena = r->diags->arena;
	if (r->secrets && spot && spot->secret)
		text = secrets_hide_quoted(r->secrets, arena, text);
	else if (r->secrets)
		text = secrets_hide_said(r->secrets, arena, text);
	return arena_printf(arena, VIEW_FMT, VIEW_ARG(text));
}

void report_at(struct report *r, enum conf_severity severity, const struct spot *spot,
	       const char *hint, const char *fmt, ...)
{
	struct conf_diags *diags = r->diags;
	if (r->n_kept[severity] == REPORT_MAX) {
		diags->n_errors += severity == CONF_ERROR;
		return;
	}
	const struct source *source = spot && spot->source ? spot->source : r->source;
	struct str text = STR_INIT;
	if (spot && spot->option)
		str_printf(&text, "%s: ", spot->option);
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	struct conf_diag diag = {
	    .severity = severity,
	    .line = spot ? spot->line : 0,
	    .column = spot ? spot->column : 0,
	    .width = spot ? spot->width : 0,
	    .message = copy_text(r, spot, str_as_view(&text)),
	    /* a guess at what was meant is made of parts of it */
	    .hint = hint && !(spot && spot->secret) ? copy_text(r, spot, view_str(hint)) : NULL,
	    .file = source ? arena_strdup(diags->arena, source->file) : NULL,
	    .file_index = source ? source->index : 0,
	};
	str_fini(&text);
	make_safe(diag.message);
	if (is_known(diags, &diag))
		return;
	diags->n_errors += severity == CONF_ERROR;
	struct view lines = report_text(r, source);
	if (diag.line && lines.len)
		copy_source(r, lines, &diag);
	keep(r, &diag);
}

static int diag_cmp(const void *a, const void *b)
{
	const struct conf_diag *x = a, *y = b;
	if (x->file_index != y->file_index)
		return x->file_index < y->file_index ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return strcmp(x->message, y->message);
}

void report_sort(struct report *r)
{
	if (r->diags->n && r->text.len)
		qsort(r->diags->rows, r->diags->n, sizeof(*r->diags->rows), diag_cmp);
}
