/* SPDX-License-Identifier: MIT */
/* log.access.fields: facts of an exchange (log_facts.def) and variables, by name. */
#include "suggest.h"
#include "type.h"

static const struct view facts[] = {
#define LOG_FACT(symbol, name, sentence) VIEW(name),
#include "weir/tbl/log_facts.def"
#undef LOG_FACT
};

static bool is_fact(struct view name, enum conf_log_fact *fact)
{
	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		if (view_eq(name, facts[i])) {
			*fact = (enum conf_log_fact)i;
			return true;
		}
	return false;
}

/* The hint for a name that is neither may be a fact. */
static const char *hint_of(struct suggest *s, const struct template_error *error, struct view name)
{
	suggest_init(s, name);
	for (size_t i = 0; i < ARRAY_LEN(facts); i++)
		suggest_try(s, facts[i], 0);
	const char *hint = suggest_hint(s);
	bool of_variable = view_starts(view_str(error->hint), VIEW("did"));
	return of_variable ? error->hint : hint;
}

static void take_field(struct decoder *d, struct conf_access_log *log, struct node *node)
{
	const struct template_rules rules = {
	    .arena = d->arena, .variables = &d->conf->variables, .until = VARIABLE_ANSWER};
	struct conf_log_field *field = &log->fields.rows[log->fields.n];
	struct template_error error = {0};
	struct suggest s;
	*field = (struct conf_log_field){.name = arena_view(d->arena, node->text)};
	bool fact = is_fact(field->name, &field->fact);
	if (!fact) {
		field->variable = variable_find(field->name, &rules, &error);
		if (field->variable && field->variable->id == VARIABLE_group)
			field->variable = NULL;
	}
	if (!fact && !field->variable) {
		decode_error_hint(d, node, hint_of(&s, &error, node->text),
				  "'" VIEW_FMT "' is no field of the log", VIEW_ARG(node->text));
		return;
	}
	for (size_t i = 0; i < log->fields.n; i++)
		if (view_eq(log->fields.rows[i].name, field->name)) {
			decode_error(d, node, "'" VIEW_FMT "' is there twice",
				     VIEW_ARG(node->text));
			return;
		}
	if (field->variable)
		variable_set_add(&log->kept, d->arena, field->variable);
	log->fields.n++;
}

static void log_fields_decode(struct decoder *d, const struct row *row, struct node *node,
			      void *base)
{
	struct conf_access_log *log = &((struct conf *)base)->log.access;
	if (node->kind != NODE_LIST || !node->n) {
		decode_error(d, node, "'" VIEW_FMT "' is a list of names", VIEW_ARG(row_key(row)));
		return;
	}
	log->fields.rows = arena_array(d->arena, node->n, sizeof(*log->fields.rows));
	for (const struct node_item *it = node->items; it; it = it->next)
		if (want_scalar(d, row, it->value))
			take_field(d, log, it->value);
	if (log->kept.n > VARIABLES_KEPT_MAX / 2)
		decode_error(d, node, "more than %d fields of the request", VARIABLES_KEPT_MAX / 2);
}

static struct node *log_fields_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_access_log *log = &((const struct conf *)base)->log.access;
	struct node *list = node_list(e->arena);
	(void)row;
	for (size_t i = 0; i < log->fields.n; i++)
		node_add(e->arena, list,
			 node_scalar(e->arena, NODE_TEXT, log->fields.rows[i].name));
	return log->fields.n ? list : NULL;
}

static void log_fields_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_type(j, "array");
	json_member_u64(j, "minItems", 1);
	json_member_bool(j, "uniqueItems", true);
	json_key(j, "items");
	json_object_begin(j);
	schema_type(j, "string");
	json_object_end(j);
}

const struct conf_type conf_type_log_fields = {
    .syntax = "a list of names",
    .decode = log_fields_decode,
    .encode = log_fields_encode,
    .schema = log_fields_schema,
};
