/* SPDX-License-Identifier: MIT */
/*
 * Who may ask anything over status.bind (status.auth): whoever has a password of the file of
 * users, or the token that allows changes.  The unix socket is guarded by its mode, and
 * /livez and /readyz tell nothing.
 *
 *   entry = entry_ask(call, &wait)
 *     OPEN     the call goes on
 *     REFUSED  call->answer says why: 401, 403, 503
 *     ASKING   a thread checks the password: wait->done comes, then it is OPEN, or
 *              entry_refuse, unless passwords_cancel comes before
 *
 * No more than ENTRIES_ASKING wait at a time over all sessions, so that who guesses here does
 * not fill the line of the routes' users.
 */
#ifndef WEIR_ADMIN_ENTRY_H
#define WEIR_ADMIN_ENTRY_H

#include "api.h"

#define ENTRIES_ASKING 4

enum entry { ENTRY_OPEN, ENTRY_REFUSED, ENTRY_ASKING };

enum entry entry_ask(struct call *call, struct password_wait *wait);
/* 401: the password is wrong, or there is none. */
void entry_refuse(struct call *call);

#endif
