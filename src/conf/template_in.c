/* SPDX-License-Identifier: MIT */
/* Values with variables where they stand in a file. */
#include "type.h"

/* The text with something plain in place of variables, for checks of its form. */
static struct view sample_of(struct decoder *d, const struct template *template)
{
	struct str out = STR_INIT;
	for (size_t i = 0; i < template->n_pieces; i++)
		str_view(&out, template->pieces[i].variable ? VIEW("x") : template->pieces[i].text);
	struct view v = arena_view(d->scratch, str_as_view(&out));
	str_fini(&out);
	return v;
}

bool decode_template(struct decoder *d, const struct conf_type *type, struct node *node,
		     struct conf_text *out)
{
	const struct template_rules rules = {
	    .arena = d->arena,
	    .variables = &d->conf->variables,
	    .until = type->until,
	    .dollars = type->dollars,
	};
	struct template_error error = {0};
	if (!template_parse(node->text, &rules, out, &error)) {
		struct spot spot = report_inside(&d->report, node, error.offset, error.len);
		report_at(&d->report, CONF_ERROR, &spot, error.hint[0] ? error.hint : NULL, "%s",
			  error.message);
		return false;
	}
	struct node checked = *node;
	checked.text = out->template ? sample_of(d, out->template) : out->text;
	return !type->check_text || type->check_text(d, &checked);
}
