/* SPDX-License-Identifier: MIT */
#include "h1_cases.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/parse.h"

struct reader {
	struct h1_case *cases;
	size_t n;
	const char *file;
	unsigned line;
	enum { BETWEEN, KIND, INPUT, EVENTS } part;
};

static _Noreturn void malformed(const struct reader *r, const char *what)
{
	fprintf(stderr, "%s:%u: %s\n", r->file, r->line, what);
	exit(1);
}

static uint64_t number(const struct reader *r, struct view text)
{
	uint64_t n;
	if (!parse_u64(text, &n))
		malformed(r, "a number was expected");
	return n;
}

/* ---- input lines ---- */

static void unescape(const struct reader *r, struct str *out, struct view in);

/* "{20:ab}" behind a backslash; returns its length. */
static size_t repeat(const struct reader *r, struct str *out, struct view in)
{
	ptrdiff_t colon = view_chr(in, ':'), close = view_chr(in, '}');
	if (colon < 0 || close < colon)
		malformed(r, "\\{N:text} was expected");
	uint64_t n = number(r, view_of(in.ptr + 1, (size_t)colon - 1));
	while (n--)
		unescape(r, out, view_of(in.ptr + colon + 1, (size_t)(close - colon - 1)));
	return (size_t)close + 1;
}

static size_t escape(const struct reader *r, struct str *out, struct view in)
{
	static const char letters[] = "rnt\\", bytes[] = "\r\n\t\\";
	if (in.len == 0)
		malformed(r, "a backslash stands at the end");
	if (in.ptr[0] == '{')
		return repeat(r, out, in);
	const char *letter = memchr(letters, in.ptr[0], sizeof(letters) - 1);
	if (letter) {
		str_char(out, bytes[letter - letters]);
		return 1;
	}
	char hex[3] = {0}, *end;
	if (in.ptr[0] != 'x' || in.len < 3)
		malformed(r, "unknown escape");
	memcpy(hex, in.ptr + 1, 2);
	str_char(out, (char)strtoul(hex, &end, 16));
	if (*end)
		malformed(r, "two hex digits were expected");
	return 3;
}

static void unescape(const struct reader *r, struct str *out, struct view in)
{
	while (in.len) {
		size_t n = 1;
		if (in.ptr[0] == '\\')
			n += escape(r, out, view_skip(in, 1));
		else
			str_char(out, in.ptr[0]);
		in = view_skip(in, n);
	}
}

/* ---- the other lines ---- */

static void set_option(const struct reader *r, struct h1_run *run, struct view name,
		       struct view value)
{
	if (view_eq(name, VIEW("head")))
		run->limits.head_bytes = (uint32_t)number(r, value);
	else if (view_eq(name, VIEW("line")))
		run->limits.line_bytes = (uint32_t)number(r, value);
	else if (view_eq(name, VIEW("headers")))
		run->limits.n_headers = (uint32_t)number(r, value);
	else if (view_eq(name, VIEW("body")))
		run->max_body = number(r, value);
	else
		malformed(r, "unknown option");
}

static void kind(const struct reader *r, struct h1_run *run, struct view line)
{
	*run = (struct h1_run){.request_method = METHOD_GET, .limits = {32768, 8192, 100}};
	while (line.len) {
		ptrdiff_t space = view_chr(line, ' ');
		struct view word = space < 0 ? line : view_head(line, (size_t)space);
		ptrdiff_t equal = view_chr(word, '=');
		if (equal >= 0)
			set_option(r, run, view_head(word, (size_t)equal),
				   view_skip(word, (size_t)equal + 1));
		else if (view_eq(word, VIEW("HEAD")))
			run->request_method = METHOD_HEAD;
		else if (view_eq(word, VIEW("response")))
			run->is_response = true;
		else if (!view_eq(word, VIEW("request")))
			malformed(r, "request or response was expected");
		line = view_skip(line, word.len + 1);
	}
}

static void new_case(struct reader *r, struct view sentence)
{
	r->cases = realloc(r->cases, (r->n + 1) * sizeof(*r->cases));
	if (!r->cases)
		malformed(r, "out of memory");
	r->cases[r->n++] = (struct h1_case){
	    .file = strdup(r->file),
	    .sentence = strndup(sentence.ptr, sentence.len),
	};
	r->part = KIND;
}

static void one_line(struct reader *r, struct view line)
{
	struct h1_case *c = r->n ? &r->cases[r->n - 1] : NULL;
	bool blank = view_is_empty(line) || line.ptr[0] == '#';
	if (view_starts(line, VIEW("=== "))) {
		if (r->part == KIND || r->part == INPUT)
			malformed(r, "the case before has no events");
		new_case(r, view_skip(line, 4));
	} else if (r->part == INPUT && view_eq(line, VIEW("---"))) {
		r->part = EVENTS;
	} else if (r->part == INPUT) {
		unescape(r, &c->input, line);
	} else if (blank) {
		return;
	} else if (r->part == KIND) {
		kind(r, &c->run, line);
		r->part = INPUT;
	} else if (r->part == EVENTS) {
		str_view(&c->events, line);
		str_char(&c->events, '\n');
	} else {
		malformed(r, "a line before the first case");
	}
}

static void read_file(struct reader *r, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	r->file = path;
	r->line = 0;
	r->part = BETWEEN;
	if (!f)
		malformed(r, "cannot be read");
	while ((n = getline(&line, &cap, f)) >= 0) {
		r->line++;
		one_line(r, view_of(line, (size_t)n - (line[n - 1] == '\n')));
	}
	if (r->part == KIND || r->part == INPUT)
		malformed(r, "the last case has no events");
	free(line);
	fclose(f);
}

struct h1_case *h1_cases_new(size_t *n)
{
	struct reader r = {0};
	glob_t files;
	r.file = WEIR_SOURCE_DIR "/tests/spec/cases/*.txt";
	if (glob(r.file, 0, NULL, &files) != 0)
		malformed(&r, "no such files");
	for (size_t i = 0; i < files.gl_pathc; i++)
		read_file(&r, files.gl_pathv[i]);
	globfree(&files);
	*n = r.n;
	return r.cases;
}

void h1_cases_free(struct h1_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(cases[i].file);
		free(cases[i].sentence);
		str_fini(&cases[i].input);
		str_fini(&cases[i].events);
	}
	free(cases);
}
