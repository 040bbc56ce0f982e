/* SPDX-License-Identifier: MIT */
/*
 * Driven by libyaml's events.  libyaml gives no types, so that "no", 010 and
 * 1:30 stay the texts that they are; the rows decide.  The tree is built with a
 * stack of its own: hostile nesting meets a limit, not the end of the C stack.
 */
#include "yaml.h"

#include <yaml.h>

#include "names.h"
#include "text.h"
#include "weir/base/check.h"

#define FEW 8 /* up to here looking through all keys is faster than hashing */

struct frame {
	struct node *node;
	struct node *key; /* read, its value comes next */
	struct names keys;
	uint64_t start; /* nodes before this one */
};

struct reader {
	struct report *report;
	struct arena *arena;
	yaml_parser_t parser;
	struct frame stack[YAML_DEPTH_MAX];
	unsigned depth;
	struct node *root;
	unsigned n_documents;
	uint64_t n_nodes;
	struct names anchors;
};

static struct spot spot_of(const yaml_mark_t *start, const yaml_mark_t *end)
{
	bool one_line = end->line == start->line && end->column > start->column;
	return (struct spot){
	    .line = (unsigned)start->line + 1,
	    .column = (unsigned)start->column + 1,
	    .width = one_line ? (unsigned)(end->column - start->column) : 1,
	};
}

static bool refuse(struct reader *rd, const yaml_event_t *ev, const char *sentence)
{
	struct spot spot = spot_of(&ev->start_mark, &ev->end_mark);
	report_at(rd->report, CONF_ERROR, &spot, NULL, "%s", sentence);
	return false;
}

static bool count(struct reader *rd, const yaml_event_t *ev, uint64_t n)
{
	rd->n_nodes += n;
	if (rd->n_nodes > YAML_NODES_MAX)
		return refuse(rd, ev, "more than 1000000 values, aliases included");
	return true;
}

static void check_duplicate(struct reader *rd, struct frame *f, struct node *key)
{
	const struct node *first = NULL;
	if (f->node->n < FEW) {
		for (const struct node_item *it = f->node->items; it && !first; it = it->next)
			if (view_eq(it->key->text, key->text))
				first = it->key;
	} else {
		if (f->keys.n == 0)
			for (const struct node_item *it = f->node->items; it; it = it->next)
				names_put(&f->keys, it->key->text, it->key);
		const struct name *same = names_put(&f->keys, key->text, key);
		first = same ? same->node : NULL;
	}
	if (first)
		report_at(rd->report, CONF_ERROR, &key->spot, NULL,
			  "duplicate key '" VIEW_FMT "' (first at line %u)", VIEW_ARG(key->text),
			  first->spot.line);
}

/* A complete node goes where the innermost open container wants it. */
static bool place(struct reader *rd, const yaml_event_t *ev, struct node *node)
{
	if (rd->depth == 0) {
		rd->root = node;
		return true;
	}
	struct frame *f = &rd->stack[rd->depth - 1];
	if (f->node->kind == NODE_LIST) {
		node_add(rd->arena, f->node, node);
	} else if (f->key) {
		node_put(rd->arena, f->node, f->key, node);
		f->key = NULL;
	} else {
		if (node->kind != NODE_SCALAR)
			return refuse(rd, ev, "a key must be plain text");
		if (!node->quoted && node_is_text(node, "<<"))
			return refuse(rd, ev, "merge keys ('<<') are not supported");
		check_duplicate(rd, f, node);
		f->key = node;
	}
	return true;
}

/* A later anchor of the same name takes over, as YAML has it. */
static void anchor_set(struct reader *rd, const yaml_char_t *name, struct node *node)
{
	struct view text = arena_view(rd->arena, view_str((const char *)name));
	struct name *known = names_put(&rd->anchors, text, node);
	if (known)
		known->node = node;
}

static bool on_alias(struct reader *rd, const yaml_event_t *ev)
{
	struct view name = view_str((const char *)ev->data.alias.anchor);
	const struct name *known = names_find(&rd->anchors, name);
	if (!known)
		return refuse(rd, ev, "this alias has no anchor before it");
	if (known->node->is_open)
		return refuse(rd, ev, "this alias stands inside of what it stands for");
	return count(rd, ev, known->node->weight) && place(rd, ev, known->node);
}

static bool on_scalar(struct reader *rd, const yaml_event_t *ev)
{
	if (ev->data.scalar.tag)
		return refuse(rd, ev, "tags ('!...') are not supported");
	struct view text = view_of((const char *)ev->data.scalar.value, ev->data.scalar.length);
	struct node *node = node_scalar(rd->arena, NODE_TEXT, arena_view(rd->arena, text));
	node->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	node->spot = spot_of(&ev->start_mark, &ev->end_mark);
	node->spot.source = rd->report->source;
	if (ev->data.scalar.anchor)
		anchor_set(rd, ev->data.scalar.anchor, node);
	return count(rd, ev, 1) && place(rd, ev, node);
}

static bool on_start(struct reader *rd, const yaml_event_t *ev, struct node *node,
		     const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (tag)
		return refuse(rd, ev, "tags ('!...') are not supported");
	if (rd->depth == YAML_DEPTH_MAX)
		return refuse(rd, ev, "nested too deeply");
	node->spot = spot_of(&ev->start_mark, &ev->start_mark);
	node->spot.source = rd->report->source;
	node->is_open = true;
	if (anchor)
		anchor_set(rd, anchor, node);
	struct frame *f = &rd->stack[rd->depth];
	*f = (struct frame){.node = node, .start = rd->n_nodes};
	names_init(&f->keys, rd->arena);
	if (!count(rd, ev, 1) || !place(rd, ev, node))
		return false;
	rd->depth++;
	return true;
}

static bool on_end(struct reader *rd)
{
	struct frame *f = &rd->stack[--rd->depth];
	f->node->weight = rd->n_nodes - f->start;
	f->node->is_open = false;
	return true;
}

static bool on_event(struct reader *rd, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (rd->n_documents++)
			return refuse(rd, ev, "only one document is allowed");
		return true;
	case YAML_ALIAS_EVENT:
		return on_alias(rd, ev);
	case YAML_SCALAR_EVENT:
		return on_scalar(rd, ev);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(rd, ev, node_list(rd->arena), ev->data.sequence_start.anchor,
				ev->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_start(rd, ev, node_map(rd->arena), ev->data.mapping_start.anchor,
				ev->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return on_end(rd);
	default:
		return true;
	}
}

/* libyaml's complaint about a tab in the indentation hides what is wrong. */
static bool is_indented_by_tab(struct view text, size_t line)
{
	while (line && text.len) {
		line -= text.ptr[0] == '\n';
		text = view_skip(text, 1);
	}
	while (text.len && text.ptr[0] == ' ')
		text = view_skip(text, 1);
	return text.len && text.ptr[0] == '\t';
}

static void report_syntax(struct reader *rd)
{
	const yaml_parser_t *p = &rd->parser;
	struct spot spot = spot_of(&p->problem_mark, &p->problem_mark);
	const char *problem = p->problem ? p->problem : "cannot be read";
	if (p->error == YAML_MEMORY_ERROR)
		report_at(rd->report, CONF_ERROR, NULL, NULL, "out of memory");
	else if (is_indented_by_tab(report_text(rd->report, rd->report->source),
				    p->problem_mark.line))
		report_at(rd->report, CONF_ERROR, &spot, NULL,
			  "a tab in the indentation; YAML is indented with spaces");
	else if (p->context)
		report_at(rd->report, CONF_ERROR, &spot, NULL, "YAML: %s %s", p->context, problem);
	else
		report_at(rd->report, CONF_ERROR, &spot, NULL, "YAML: %s", problem);
}

static bool read_events(struct reader *rd)
{
	for (bool going = true; going;) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&rd->parser, &ev)) {
			report_syntax(rd);
			return false;
		}
		bool ok = on_event(rd, &ev);
		going = ev.type != YAML_STREAM_END_EVENT;
		yaml_event_delete(&ev);
		if (!ok)
			return false;
	}
	return true;
}

struct node *yaml_read(struct report *r, struct arena *arena, struct view text)
{
	if (view_starts(text, VIEW("\xef\xbb\xbf"))) /* byte order mark */
		text = view_skip(text, 3);
	if (r->source)
		r->source->text = text;
	else
		r->text = text;
	if (!text_check(r, text, NULL))
		return NULL;
	struct reader *rd = arena_zalloc(arena, sizeof(*rd));
	rd->report = r;
	rd->arena = arena;
	names_init(&rd->anchors, arena);
	if (!yaml_parser_initialize(&rd->parser)) {
		report_at(r, CONF_ERROR, NULL, NULL, "out of memory");
		return NULL;
	}
	yaml_parser_set_encoding(&rd->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&rd->parser, (const unsigned char *)text.ptr, text.len);
	bool ok = read_events(rd);
	yaml_parser_delete(&rd->parser);
	return ok ? rd->root : NULL;
}
