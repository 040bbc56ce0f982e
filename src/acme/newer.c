/* SPDX-License-Identifier: MIT */
/* What other nodes wrote. */
#include "notes.h"
#include "own.h"

/* True: there is a newer certificate in the file, and it is used from now on. */
static bool take_newer(struct acme *acme, struct site *s)
{
	struct site there = {.names = s->names, .file = s->file, .path = s->path};
	bool busy = s == acme->ordering || s == acme->saving || s->unsaved;
	if (busy || !site_load(&there, acme->folder, false))
		return false;
	there.of_this = notes_is_from(str_as_view(&there.pem), acme->conf->directory.text);
	bool newer = there.of_this && there.facts.same_names &&
		     (!s->of_this || there.facts.not_after_s > s->facts.not_after_s);
	if (!newer) {
		x509_forget(&there.pem);
		return false;
	}
	x509_forget(&s->pem);
	s->pem = there.pem;
	s->facts = there.facts;
	site_renewed(s);
	acme_tell(acme, ACME_ISSUED, s, "a certificate that another node has got is in use");
	return true;
}

bool acme_find_newer(struct acme *acme, struct site *one)
{
	bool found = !acme->ordering && account_adopt(&acme->account, acme->folder);
	if (found)
		acme->order.ca.key = acme->account.key;
	list_each (it, &acme->sites) {
		struct site *s = list_entry(it, struct site, link);
		if (!one || s == one)
			found |= take_newer(acme, s);
	}
	if (found)
		acme->host.changed(acme->host.ctx);
	return found;
}
