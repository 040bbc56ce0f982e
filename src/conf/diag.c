/* SPDX-License-Identifier: MIT */
/*
 * Diagnostics as text, in the manner of compilers, so that editors can jump.
 */
#include "weir/conf/conf.h"

void conf_diags_init(struct conf_diags *diags)
{
	*diags = (struct conf_diags){.arena = arena_new()};
}

void conf_diags_fini(struct conf_diags *diags)
{
	arena_free(diags->arena);
	*diags = (struct conf_diags){0};
}

static void format_place(const struct conf_diags *diags, const struct conf_diag *diag,
			 struct str *out)
{
	const char *file = diag->file ? diag->file : diags->file;
	str_text(out, file ? file : "configuration");
	if (diag->line)
		str_printf(out, ":%u:%u", diag->line, diag->column);
	str_text(out, ": ");
}

/* The source line with its number, and below it the caret and the hint. */
static void format_source(const struct conf_diag *diag, struct str *out, bool colour)
{
	str_printf(out, "%5u | %s\n      | ", diag->line, diag->source);
	for (unsigned i = 1; i < diag->source_column; i++)
		str_char(out, ' ');
	if (colour)
		str_text(out, "\033[32m");
	str_char(out, '^');
	unsigned shown = 0; /* characters of the source line */
	for (const char *p = diag->source; *p; p++)
		shown += ((unsigned char)*p & 0xc0) != 0x80;
	for (unsigned i = 1; i < diag->width && diag->source_column + i <= shown; i++)
		str_char(out, '~');
	if (colour)
		str_text(out, "\033[0m");
	if (diag->hint)
		str_printf(out, " %s", diag->hint);
	str_char(out, '\n');
}

static void format_one(const struct conf_diags *diags, const struct conf_diag *diag,
		       struct str *out, bool colour)
{
	static const struct {
		const char *word, *start;
	} severities[] = {
	    [CONF_WARNING] = {"warning", "\033[1;35m"},
	    [CONF_ERROR] = {"error", "\033[1;31m"},
	};
	format_place(diags, diag, out);
	if (colour)
		str_text(out, severities[diag->severity].start);
	str_printf(out, "%s:", severities[diag->severity].word);
	if (colour)
		str_text(out, "\033[0m");
	str_printf(out, " %s", diag->message);
	if (diag->hint && !diag->source)
		str_printf(out, "; %s", diag->hint);
	str_char(out, '\n');
	if (diag->source)
		format_source(diag, out, colour);
}

void conf_diags_format(const struct conf_diags *diags, struct str *out, bool colour)
{
	size_t n_errors = 0;
	for (size_t i = 0; i < diags->n; i++) {
		format_one(diags, &diags->rows[i], out, colour);
		n_errors += diags->rows[i].severity == CONF_ERROR;
	}
	if (diags->n_errors > n_errors)
		str_printf(out, "%s: %zu errors, the first %zu are shown\n", diags->file,
			   diags->n_errors, n_errors);
}
