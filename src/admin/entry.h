/* SPDX-License-Identifier: MIT */
/*
 * Who may ask anything over status.bind (status.auth): whoever has a password of the file of
 * users, and whom the auth service lets through; or who has the token that allows changes.
 * The unix socket is guarded by its mode, and /livez and /readyz tell nothing.
 *
 *   entry = entry_ask(call, &wait)
 *     OPEN     the call goes on
 *     REFUSED  call->answer says why
 *     ASKING   somebody else has to say: wait->ready comes, and then the same call asks
 *              again, unless entry_cancel comes before
 *
 * No more than PASSWORDS_ASKING and FORWARDS_ASKING wait at a time over all sessions: who
 * guesses here does not fill the line of the routes' users; nor, with a quarter of the places,
 * that of other clients.
 */
#ifndef WEIR_ADMIN_ENTRY_H
#define WEIR_ADMIN_ENTRY_H

#include "api.h"
#include "forward.h"

#define PASSWORDS_ASKING 16
#define FORWARDS_ASKING 32

enum entry { ENTRY_OPEN, ENTRY_REFUSED, ENTRY_ASKING };

/* All zero, but for `ready`, `peer`, until somebody is asked, and after the last answer. */
struct entry_wait {
	void (*ready)(struct entry_wait *wait);
	struct addr_packed peer; /* of the client */
	struct api *api;         /* who is asked counts there; NULL: nobody is */
	struct list link;        /* a password: among those of api->passwords */
	struct password_wait password;
	enum { PASSWORD_UNKNOWN, PASSWORD_DENIED, PASSWORD_GRANTED } known;
	struct forward forward;
};

enum entry entry_ask(struct call *call, struct entry_wait *wait);
void entry_cancel(struct entry_wait *wait);

#endif
