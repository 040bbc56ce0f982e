/* SPDX-License-Identifier: MIT */
/* What files say above their PEM: written, and read again. */
#include "notes.h"

#include "weir/base/parse.h"

#define ORIGIN "ACME directory: "
#define ORDER "ACME order: "
#define FAILURES "ACME failures: "
#define AGAIN "ACME again: "

void notes_put_origin(struct view directory, struct str *out)
{
	str_printf(out, ORIGIN VIEW_FMT "\n", VIEW_ARG(directory));
}

bool notes_is_from(struct view text, struct view directory)
{
	struct str line = STR_INIT;
	notes_put_origin(directory, &line);
	bool is = view_starts(text, str_as_view(&line));
	str_fini(&line);
	return is;
}

void notes_put(const struct notes *n, struct str *out)
{
	notes_put_origin(n->directory, out);
	if (n->order.len)
		str_printf(out, ORDER VIEW_FMT "\n", VIEW_ARG(n->order));
	if (n->failures)
		str_printf(out, FAILURES "%u\n" AGAIN "%llu\n", n->failures,
			   (unsigned long long)n->again_s);
	str_view(out, n->key);
}

static uint64_t number_of(struct view text)
{
	uint64_t n;
	return parse_u64(text, &n) ? n : 0;
}

static void read_line(struct view line, struct notes *n)
{
	if (view_starts(line, VIEW(ORDER)))
		n->order = view_skip(line, sizeof(ORDER) - 1);
	else if (view_starts(line, VIEW(FAILURES)))
		n->failures = (unsigned)number_of(view_skip(line, sizeof(FAILURES) - 1));
	else if (view_starts(line, VIEW(AGAIN)))
		n->again_s = number_of(view_skip(line, sizeof(AGAIN) - 1));
}

bool notes_read(struct view text, struct view directory, struct notes *n)
{
	*n = (struct notes){.directory = directory};
	if (!notes_is_from(text, directory))
		return false;
	while (text.len && !view_starts(text, VIEW("-----BEGIN "))) {
		ptrdiff_t end = view_chr(text, '\n');
		struct view line = view_head(text, end < 0 ? text.len : (size_t)end);
		read_line(line, n);
		text = view_skip(text, end < 0 ? text.len : (size_t)end + 1);
	}
	n->key = text;
	return true;
}
