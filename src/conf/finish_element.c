/* SPDX-License-Identifier: MIT */
/* What several of them need, to say where and what. */
#include "finish.h"

struct node *finish_at(const struct element *element, const char *key)
{
	struct node *node = node_get(element->node, view_str(key));
	return node ? node : element->node;
}

void finish_once(struct decoder *d, struct names *names, const char *what, struct view name,
		 struct node *node)
{
	if (!name.len)
		return;
	const struct name *first = names_put(names, name, node);
	if (first && first->node->spot.line)
		decode_error(d, node, "%s '" VIEW_FMT "' is there twice (first at %s)", what,
			     VIEW_ARG(name),
			     report_place(&d->report, &node->spot, &first->node->spot, d->scratch));
	else if (first)
		decode_error(d, node, "%s '" VIEW_FMT "' is there twice", what, VIEW_ARG(name));
}

void finish_bind(struct decoder *d, const struct addr *addr, struct node *node)
{
	char text[ADDR_TEXT_MAX];
	if (!addr->len || (!addr_is_unix(addr) && addr_port(addr) == 0))
		return;
	size_t len = addr_format(addr, text);
	finish_once(d, &d->binds, "address", arena_view(d->scratch, view_of(text, len)), node);
}
