/* SPDX-License-Identifier: MIT */
/*
 * What another node orders, and wants to be shown here as well, because the authority may
 * come to any of them: "NAME TOKEN.THUMBPRINT".
 *
 * It proves to an authority that NAME is whose account the thumbprint is of.  So it is taken
 * from those whose account is ours, and from others only if they have said who they are.
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_ACME_GUEST_H
#define WEIR_ACME_GUEST_H

#include <stdbool.h>

#include "weir/base/str.h"
#include "weir/net/tls.h"

struct guest {
	struct str text; /* owns; as it came; empty: nothing */
	struct str name; /* owns; empty: it is not shown */
	struct str pem;  /* owns; for a handshake; empty: it is not to be shown in one */
	bool shown;      /* by every worker */
};

void guest_fini(struct guest *guest);
/* True: something else is to be shown from now on.  What cannot be is said. */
bool guest_take(struct guest *guest, struct view text, struct view thumbprint, bool any_account);
/* What is told to the others. */
void guest_put(struct view name, struct view authorization, struct str *out);
/* For HTTP-01: TOKEN.THUMBPRINT; empty: nothing. */
struct view guest_authorization(const struct guest *guest);
/* False: nothing is shown in handshakes. */
bool guest_challenge(const struct guest *guest, struct tls_challenge *out);

#endif
