/* SPDX-License-Identifier: MIT */
/* Listeners once they are complete. */
#include "finish.h"

static void check_lengths(struct decoder *d, const struct element *element)
{
	const struct conf_listener *listener = element->base;
	struct node *limits = node_get(element->node, VIEW("limits"));
	struct node *line = node_get(limits, VIEW("line_bytes"));
	struct node *head = node_get(limits, VIEW("header_bytes"));
	if (listener->limits.header_bytes && (line || head) &&
	    listener->limits.line_bytes > listener->limits.header_bytes)
		decode_error(d, line ? line : head,
			     "line_bytes (%u) is larger than header_bytes (%u)",
			     listener->limits.line_bytes, listener->limits.header_bytes);
}

void finish_listener(struct decoder *d, const struct element *element)
{
	struct conf_listener *listener = element->base;
	struct node *bind = finish_at(element, "bind");
	if (!listener->name.len && listener->n_binds)
		listener->name = listener->bind_texts[0];
	size_t n_errors = d->report.diags->n_errors;
	for (size_t i = 0; i < listener->n_binds; i++)
		finish_bind(d, &listener->binds[i], bind);
	/* two listeners without names at one address are one mistake */
	if (node_get(element->node, VIEW("name")) || d->report.diags->n_errors == n_errors)
		finish_once(d, &d->listeners, "listener", listener->name,
			    finish_at(element, "name"));
	check_lengths(d, element);
	finish_listener_tls(d, element);
}
