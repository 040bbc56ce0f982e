/* SPDX-License-Identifier: MIT */
/* Certificates by ACME: names that files are kept by, and what an order needs. */
#include "finish.h"

/* What the best known authority takes. */
#define ACME_NAMES_MAX 100

static bool has_name(const struct conf_views *all, struct view name)
{
	for (size_t i = 0; i < all->n; i++)
		if (view_ieq(all->rows[i], name))
			return true;
	return false;
}

bool conf_names_equal(const struct conf_views *a, const struct conf_views *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = has_name(b, a->rows[i]);
	return same;
}

/* The first name says which file it is. */
static void check_same_site(struct decoder *d, struct node *node, const struct conf_views *names,
			    size_t upto)
{
	for (size_t l = 0; l <= upto; l++) {
		const struct conf_certificates *all = &d->conf->listeners[l].tls.certificates;
		for (size_t i = 0; i < all->n; i++) {
			const struct conf_views *other = &all->rows[i].acme;
			if (other == names)
				return;
			if (!other->n || !view_ieq(other->rows[0], names->rows[0]) ||
			    conf_names_equal(other, names))
				continue;
			decode_error(d, node,
				     "'" VIEW_FMT
				     "' comes first in two lists that differ: write the "
				     "same names in both, or another one first",
				     VIEW_ARG(names->rows[0]));
			return;
		}
	}
}

static struct node *item_of(const struct node *list, size_t index)
{
	const struct node_item *it = list && list->kind == NODE_LIST ? list->items : NULL;
	while (it && index-- > 0)
		it = it->next;
	return it ? it->value : NULL;
}

static size_t check_sites(struct decoder *d, const struct node *listeners, size_t l)
{
	const struct conf_certificates *all = &d->conf->listeners[l].tls.certificates;
	const struct node *tls = node_get(item_of(listeners, l), VIEW("tls"));
	size_t n = 0;
	for (size_t i = 0; i < all->n; i++) {
		const struct conf_views *names = &all->rows[i].acme;
		struct node *row = item_of(node_get(tls, VIEW("certificates")), i);
		struct node *node = node_get(row, VIEW("acme"));
		if (!names->n || !node)
			continue;
		n++;
		if (names->n > ACME_NAMES_MAX)
			decode_error(d, node, "a certificate has %d names at most", ACME_NAMES_MAX);
		if (!d->conf->acme.on)
			decode_error_hint(d, node, "acme: {email: ops@example.com, agree: true}",
					  "'acme' here needs the section 'acme'");
		check_same_site(d, node, names, l);
	}
	return n;
}

void finish_acme(struct decoder *d, struct node *root)
{
	const struct conf_acme *acme = &d->conf->acme;
	struct node *node = node_get(root, VIEW("acme"));
	size_t n = 0;
	for (size_t i = 0; i < d->conf->n_listeners; i++)
		n += check_sites(d, node_get(root, VIEW("listeners")), i);
	if (!acme->on)
		return;
	if (!acme->agree)
		decode_error(d, node,
			     "the authority gives no certificate to those who have not read its "
			     "terms of service: 'agree: true' says that you agree to them");
	if (!acme->directory.tls && acme->directory.text.len)
		decode_error(d, node_get(node, VIEW("directory")),
			     "the directory of an authority is an https URL (RFC 8555 6.1)");
	if (!n && !d->report.diags->n_errors)
		decode_warning(d, node,
			       "nothing is ordered: no listener has 'certificates: [{acme: "
			       "[NAME]}]'");
}
