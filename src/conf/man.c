/* SPDX-License-Identifier: MIT */
/*
 * weir.yaml(5) in mdoc, out of the rows: the page cannot know other keys,
 * defaults or ranges than the loader.
 */
#include "type.h"
#include "weir/conf/conf.h"

static const char head[] =
    ".\\\" SPDX-License-Identifier: MIT\n"
    ".\\\" Written by scripts/gen-man out of include/weir/tbl/directives.def.\n"
    ".Dd November 23, 2026\n"
    ".Dt WEIR.YAML 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm weir.yaml\n"
    ".Nd configuration of the weir load balancer\n"
    ".Sh DESCRIPTION\n"
    "The file is YAML: one document of maps, lists and plain text.\n"
    "Anchors and aliases work; tags, merge keys and tabs in the indentation are refused.\n"
    "Every key but\n"
    ".Ic listeners\n"
    "and\n"
    ".Ic pools\n"
    "has a default, so that a useful file has four lines:\n"
    ".Bd -literal -offset indent\n"
    "listeners:\n"
    "  - bind: 0.0.0.0:8080\n"
    "pools:\n"
    "  app: {backends: [127.0.0.1:9001, 127.0.0.1:9002]}\n"
    ".Ed\n"
    ".Pp\n"
    "Durations carry a unit\n"
    ".Pq Ql us , ms , s , m , h , d ,\n"
    "so do sizes\n"
    ".Pq Ql B , KiB , MiB , GiB , kB , MB , GB ;\n"
    "only 0 needs none.\n"
    "Relative file names start at the directory of the configuration file.\n"
    ".Pp\n"
    "In the names below,\n"
    ".Ql \\&[]\n"
    "stands for each element of a list and\n"
    ".Ql *\n"
    "for any name.\n"
    "A change takes effect at the next reload, unless the text says that it needs a restart.\n"
    ".Pp\n"
    ".Dl weir -t -c FILE\n"
    ".Pp\n"
    "tests a file,\n"
    ".Fl T\n"
    "prints it with all defaults, and\n"
    ".Fl -schema\n"
    "prints a JSON Schema for editors.\n"
    "Mistakes are reported all at once, as\n"
    ".Ql file:line:column: error: ...\n"
    "with the line and a hint; a file with any is not loaded.\n";

static const char variables[] =
    ".Sh VARIABLES\n"
    "Where the text of a key says so, names in braces stand for what an exchange knows.\n"
    "An unknown one is an error.\n"
    ".Ql {{\n"
    "is a brace; so is one that neither a letter nor a digit follows, as in JSON, and\n"
    ".Ql }\n"
    "is itself.\n"
    "What a value brings is escaped for the place where it goes: in fields control characters\n"
    "become spaces, in a URL it is percent-encoded, and in bodies it follows content_type.\n"
    ".Bl -tag -width Ds\n";

static const char tail[] = ".Sh FILES\n"
			   ".Bl -tag -width Ds\n"
			   ".It Pa /etc/weir/weir.yaml\n"
			   "The file that\n"
			   ".Xr weir 8\n"
			   "reads unless told otherwise.\n"
			   ".El\n"
			   ".Sh SEE ALSO\n"
			   ".Xr weirctl 1 ,\n"
			   ".Xr weir 8\n";

/* One sentence a line, as mdoc wants it; nothing is taken for a macro. */
static void put_text(struct str *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool line_start = p == text || (p[-1] == ' ' && out->ptr[out->len - 1] == '\n');
		if (line_start && (*p == '.' || *p == '\''))
			str_text(out, "\\&");
		if (*p == '\\')
			str_text(out, "\\e");
		else if (*p == ' ' && p > text && (p[-1] == '.' || p[-1] == ':') && p[1])
			str_char(out, '\n');
		else
			str_char(out, *p);
	}
	str_char(out, '\n');
}

static void put_default(struct str *out, const struct row *row)
{
	if (row->shown)
		str_printf(out, "Default: %s.\n", row->shown);
	else if (row->def && *row->def)
		str_printf(out, "Default:\n.Ql \"%s\" .\n", row->def);
	else if (row->def)
		str_text(out, "Default: empty.\n");
	else if (row->flags & ROW_REQUIRED)
		str_text(out, "Required.\n");
}

static void put_range(struct str *out, const struct row *row)
{
	if (!row->type->bound || !row->max)
		return;
	str_text(out, "From ");
	row->type->bound(out, row->min);
	str_text(out, " to ");
	row->type->bound(out, row->max);
	str_text(out, ".\n");
}

static void put_row(struct str *out, const struct row *row)
{
	str_printf(out, ".It Ic %s : %s\n", row->path, row->type->syntax);
	put_text(out, row->help);
	if (row->type->explain)
		row->type->explain(out, row);
	put_range(out, row);
	put_default(out, row);
	if (row->flags & ROW_RESTART)
		str_text(out, "A change needs a restart.\n");
}

static void put_rows(struct str *out, const struct row *parent)
{
	for (const struct row *r = row_first(parent); r; r = row_next(r)) {
		if (!row_is_supported(r))
			continue;
		put_row(out, r);
		put_rows(out, r);
	}
}

/* A subsection for each top key that has keys below, the others before. */
static void put_keys(struct str *out)
{
	str_text(out, ".Sh KEYS\n.Ss The process\n.Bl -tag -width Ds\n");
	for (const struct row *r = row_first(NULL); r; r = row_next(r))
		if (!row_first(r))
			put_row(out, r);
	str_text(out, ".El\n");
	for (const struct row *r = row_first(NULL); r; r = row_next(r)) {
		if (!row_first(r))
			continue;
		str_printf(out, ".Ss " VIEW_FMT "\n", VIEW_ARG(row_key(r)));
		put_text(out, r->help);
		str_text(out, ".Bl -tag -width Ds\n");
		put_rows(out, r);
		str_text(out, ".El\n");
	}
}

static void put_variables(struct str *out)
{
	static const struct {
		struct view name;
		const char *sentence;
	} rows[] = {
#define VARIABLE(symbol, name, when, sentence) {VIEW(name), sentence},
#include "weir/tbl/variables.def"
#undef VARIABLE
	    {VIEW("1"), "to {9}: a group of the regular expressions of match"},
	};
	str_text(out, variables);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		str_printf(out, ".It Ic {" VIEW_FMT "%s}\n", VIEW_ARG(rows[i].name),
			   view_ends(rows[i].name, VIEW(":")) ? "NAME" : "");
		put_text(out, rows[i].sentence);
	}
	str_text(out, ".El\n");
}

static void put_later(struct str *out)
{
	const struct row *last = NULL;
	for (size_t i = 0; i < row_count(); i++)
		if (!row_is_supported(row_at(i)))
			last = row_at(i);
	if (!last)
		return;
	str_text(out, ".Sh CAVEATS\n"
		      "These keys are known and not supported yet; to use one is an error:\n");
	for (size_t i = 0; i < row_count(); i++) {
		const struct row *row = row_at(i);
		if (!row_is_supported(row))
			str_printf(out, ".Ic %s%s\n", row->path, row == last ? " ." : " ,");
	}
}

void conf_man(struct str *out)
{
	str_text(out, head);
	put_keys(out);
	put_variables(out);
	str_text(out, tail);
	put_later(out);
}
