/* SPDX-License-Identifier: MIT */
/* Lines of the Prometheus and OpenMetrics formats. */
#include "metric.h"

#include <stdio.h>
#include <string.h>

static void put_escaped(struct str *out, struct view v, bool quotes)
{
	size_t plain = 0; /* start of the run that needs no escape */
	for (size_t i = 0; i < v.len; i++) {
		char c = v.ptr[i];
		if (c != '\n' && c != '\\' && (c != '"' || !quotes))
			continue;
		str_put(out, v.ptr + plain, i - plain);
		str_char(out, '\\');
		str_char(out, c == '\n' ? 'n' : c);
		plain = i + 1;
	}
	if (v.len > plain)
		str_put(out, v.ptr + plain, v.len - plain);
}

void metric_family(struct metric *m, const char *name, const char *type, const char *help)
{
	const struct view total = VIEW("_total");
	struct view family = view_str(name);
	if (m->open && view_ends(family, total))
		family.len -= total.len;
	str_printf(m->out, "# HELP " VIEW_FMT " ", VIEW_ARG(family));
	put_escaped(m->out, view_str(help), m->open);
	str_printf(m->out, "\n# TYPE " VIEW_FMT " %s\n", VIEW_ARG(family), type);
}

void metric_begin(struct metric *m, const char *name)
{
	str_text(m->out, name);
	m->has_labels = false;
}

void metric_label(struct metric *m, const char *key, struct view value)
{
	str_char(m->out, m->has_labels ? ',' : '{');
	str_text(m->out, key);
	str_text(m->out, "=\"");
	put_escaped(m->out, value, true);
	str_char(m->out, '"');
	m->has_labels = true;
}

void metric_word(struct metric *m, const char *key, const char *word)
{
	size_t key_len = strlen(key), len = strlen(word);
	if (!str_reserve(m->out, key_len + len + 4))
		return;
	char *at = m->out->ptr + m->out->len;
	*at++ = m->has_labels ? ',' : '{';
	memcpy(at, key, key_len);
	memcpy(at + key_len, "=\"", 2);
	memcpy(at + key_len + 2, word, len);
	at[key_len + 2 + len] = '"';
	at[key_len + 3 + len] = '\0';
	m->out->len += key_len + len + 4;
	m->has_labels = true;
}

void metric_labels(struct metric *m, struct view text)
{
	str_view(m->out, text);
	m->has_labels = true;
}

static void end_labels(struct metric *m)
{
	str_text(m->out, m->has_labels ? "} " : " ");
}

void metric_u64(struct metric *m, uint64_t n)
{
	end_labels(m);
	str_u64(m->out, n);
	str_char(m->out, '\n');
}

void metric_seconds(struct metric *m, uint64_t us)
{
	end_labels(m);
	if (us % 1000000) {
		char text[DIGITS_SECONDS];
		str_put(m->out, text, (size_t)(digits_seconds(text, us) - text));
	} else {
		str_u64(m->out, us / 1000000);
	}
	str_char(m->out, '\n');
}

void metric_counter_name(struct metric_counter *out, const char *prefix, const char *row)
{
	const struct view classes = VIEW("responses_");
	struct view name = view_str(row);
	out->code_class = VIEW_NONE;
	if (view_eq(name, VIEW("bytes_in"))) {
		name = VIEW("received_bytes");
	} else if (view_eq(name, VIEW("bytes_out"))) {
		name = VIEW("sent_bytes");
	} else if (view_starts(name, classes)) {
		out->code_class = view_skip(name, classes.len);
		name = VIEW("responses");
	}
	snprintf(out->name, sizeof(out->name), "%s_" VIEW_FMT "_total", prefix, VIEW_ARG(name));
}

void metric_counter_next(struct metric *m, struct metric_counter *out, const char *prefix,
			 const char *row, const char *help)
{
	const struct metric_counter last = *out;
	metric_counter_name(out, prefix, row);
	if (strcmp(out->name, last.name) != 0)
		metric_family(m, out->name, "counter",
			      out->code_class.len ? "responses by class of status" : help);
}
