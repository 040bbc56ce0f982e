/* SPDX-License-Identifier: MIT */
/* What an authority asks for: shown here, and by the other nodes, before it looks. */
#include "own.h"

#include "weir/base/clock.h"

/* Other nodes that do not show a proof by then are not waited for. */
#define TELL_MAX_US UINT64_C(10000000)

static bool show(struct acme *acme)
{
	acme->n_publishing++;
	return acme->is_public = acme->host.publish(acme->host.ctx);
}

bool acme_show_proof(void *arg)
{
	struct acme *acme = arg;
	struct view name = str_as_view(&acme->order.name);
	acme->telling_us = 0;
	str_reset(&acme->telling);
	if (acme->turn.shared)
		guest_put(name, str_as_view(&acme->order.authorization), &acme->telling);
	acme->turn.everywhere = false; /* that was another proof */
	acme->showing = acme->order.proof.len > 0;
	if (acme->showing)
		return show(acme);
	acme->telling_us = clock_us(); /* what HTTP needs is here */
	return true;
}

/* All who may be asked show it, or those who do not are not waited for any longer. */
static void look_around(struct acme *acme)
{
	bool told = !acme->telling.len || acme->turn.everywhere ||
		    clock_us() - acme->telling_us > TELL_MAX_US;
	if (acme->ordering && acme->telling_us && told)
		order_published(&acme->order);
}

static void show_guest(struct acme *acme)
{
	bool news = guest_take(&acme->guest, acme->turn.proof,
			       str_as_view(&acme->account.thumbprint), acme->turn.trusted);
	if (!news && (acme->is_public || acme->n_publishing))
		return;
	acme->guest.shown = false;
	show(acme);
}

void acme_take_turn(struct acme *acme, bool wants)
{
	const struct guest *g = &acme->guest;
	const struct acme_wish wish = {
	    .wants = wants,
	    .proof = acme->telling_us ? str_as_view(&acme->telling) : VIEW_NONE,
	    .shown = g->shown && g->name.len ? str_as_view(&g->text) : VIEW_NONE,
	};
	acme->host.turn(acme->host.ctx, &wish, &acme->turn);
	look_around(acme);
	show_guest(acme);
	acme->turn.proof = VIEW_NONE;
}

void acme_published(struct acme *acme)
{
	if (--acme->n_publishing)
		return;
	acme->guest.shown = acme->is_public;
	if (acme->showing && !acme->telling_us)
		acme->telling_us = clock_us();
	look_around(acme);
}

const struct tls_challenge *acme_challenges(struct acme *acme, size_t *n)
{
	*n = 0;
	if (acme->showing)
		acme->challenges[(*n)++] = (struct tls_challenge){
		    .name = str_as_view(&acme->order.name), .pem = str_as_view(&acme->order.proof)};
	if (guest_challenge(&acme->guest, &acme->challenges[*n]))
		++*n;
	return acme->challenges;
}

struct view acme_guest(const struct acme *acme)
{
	return guest_authorization(&acme->guest);
}

unsigned acme_answerable(const struct acme *acme)
{
	unsigned all = acme->conf->challenges;
	if (!acme->plain && all != 1u << CONF_ACME_HTTP)
		all &= ~(1u << CONF_ACME_HTTP);
	if (!tls_answers_challenges())
		all &= ~(1u << CONF_ACME_TLS);
	return all ? all : 1u << CONF_ACME_HTTP;
}

enum conf_acme_challenge acme_first_challenge(unsigned all, unsigned failures)
{
	if (all == (1u << CONF_ACME_HTTP | 1u << CONF_ACME_TLS))
		return failures % 2 ? CONF_ACME_TLS : CONF_ACME_HTTP;
	return all & 1u << CONF_ACME_TLS ? CONF_ACME_TLS : CONF_ACME_HTTP;
}
