/* SPDX-License-Identifier: MIT */
/* Proofs of other nodes: who is believed, and for how long. */
#include "guest.h"

#include "x509.h"

#include "weir/base/log.h"

/* The bounds of a name, and of what an authority makes up. */
#define NAME_MAX_LEN 253
#define AUTHORIZATION_MAX 512

static struct view name_of(struct view text)
{
	ptrdiff_t end = view_chr(text, ' ');
	return view_head(text, end > 0 ? (size_t)end : 0);
}

static struct view authorization_of(struct view text)
{
	struct view name = name_of(text);
	return name.len ? view_skip(text, name.len + 1) : VIEW_NONE;
}

static bool is_plain(struct view text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return true;
}

/* A token is of the alphabet that challenges are answered for: see proxy/challenge.c. */
static bool is_sound(struct view text)
{
	struct view name = name_of(text), authorization = authorization_of(text);
	ptrdiff_t dot = view_chr(authorization, '.');
	return name.len && name.len <= NAME_MAX_LEN && is_plain(name) && dot > 0 &&
	       authorization.len <= AUTHORIZATION_MAX && is_plain(authorization);
}

static bool may_show(struct view text, struct view thumbprint, bool any_account)
{
	struct view name = name_of(text), authorization = authorization_of(text);
	struct view theirs = view_skip(authorization, (size_t)view_chr(authorization, '.') + 1);
	if (any_account || view_eq(theirs, thumbprint))
		return true;
	log_warn("acme: another node orders " VIEW_FMT " with another account than ours; its "
		 "challenge is not answered here, because shared.redis has no password",
		 VIEW_ARG(name));
	return false;
}

bool guest_take(struct guest *g, struct view text, struct view thumbprint, bool any_account)
{
	bool was_shown = g->name.len > 0;
	if (view_eq(text, str_as_view(&g->text)))
		return false;
	guest_fini(g);
	str_view(&g->text, text);
	if (!text.len || !is_sound(text) || !may_show(text, thumbprint, any_account))
		return was_shown;
	str_view(&g->name, name_of(text));
	if (tls_answers_challenges() &&
	    !x509_challenge(name_of(text), authorization_of(text), &g->pem))
		log_warn("acme: no certificate can be made for a challenge of " VIEW_FMT,
			 VIEW_ARG(name_of(text)));
	return true;
}

void guest_put(struct view name, struct view authorization, struct str *out)
{
	str_printf(out, VIEW_FMT " " VIEW_FMT, VIEW_ARG(name), VIEW_ARG(authorization));
}

struct view guest_authorization(const struct guest *g)
{
	return g->name.len ? authorization_of(str_as_view(&g->text)) : VIEW_NONE;
}

bool guest_challenge(const struct guest *g, struct tls_challenge *out)
{
	*out = (struct tls_challenge){.name = str_as_view(&g->name), .pem = str_as_view(&g->pem)};
	return g->name.len && g->pem.len;
}

void guest_fini(struct guest *g)
{
	x509_forget(&g->pem);
	str_fini(&g->text);
	str_fini(&g->name);
	*g = (struct guest){.text = STR_INIT, .name = STR_INIT, .pem = STR_INIT};
}
