/* SPDX-License-Identifier: MIT */
/*
 * Whether a name and a password belong together.  To find out takes a tenth of a second on
 * purpose, so a thread of its own does it, one after another and at low priority; who asks
 * is called back.  What was right is remembered for a minute.
 *
 *   enum password_verdict v = passwords_look(users, &credentials);
 *   if (v == PASSWORD_ASK)
 *           v = passwords_ask(users, &credentials, id, loop, &wait);
 *   if (v == PASSWORD_ASK)
 *           ... wait.done comes in this thread, unless passwords_cancel does
 *
 * Of what is remembered there is only a keyed hash (SipHash-2-4, 128 bits, the key is of
 * this process), over the hash of the file as well: who is taken out of the file, or gets
 * another password, is not remembered any more.
 *
 * Who asks the same as another one of its thread waits for the same answer.
 *
 * Whose turn it is goes round the clients, and one of them has at most half of the line: who
 * guesses makes himself wait.
 *
 * Bounds: PASSWORDS_WAITING questions at a time, of which one client has PASSWORDS_SHARE where
 * half of the line is taken; PASSWORDS_KEPT that are remembered.
 */
#ifndef WEIR_FILTER_PASSWORDS_H
#define WEIR_FILTER_PASSWORDS_H

#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/list.h"
#include "weir/filter/users.h"
#include "weir/http/message.h"
#include "weir/loop/loop.h"

#define PASSWORD_MAX 255
#define PASSWORDS_WAITING 128
#define PASSWORDS_SHARE 8
#define PASSWORDS_KEPT 16384
#define PASSWORDS_KEPT_US UINT64_C(60000000)

/* RFC 7617; the views point into `room`. */
struct credentials {
	struct view name, password;
	char room[USER_NAME_MAX + 1 + PASSWORD_MAX];
};

/* False: there is no Authorization of the scheme Basic, more than one, or a malformed one. */
bool credentials_of(const struct message *msg, struct credentials *out);

enum password_verdict {
	PASSWORD_RIGHT,
	PASSWORD_WRONG,
	PASSWORD_ASK,
	PASSWORD_BUSY, /* too many wait, or too many of this client */
};

/* All of it belongs to the thread that asks. */
struct password_wait {
	void (*done)(struct password_wait *wait, bool right);
	struct addr_packed client; /* addr_pack_client */
	struct password_job *job;
	struct list link; /* among those who wait for it */
};

/* Control thread: the thread is there from now on, for workers 0 to n - 1, and the control
 * thread as PASSWORDS_CONTROL. */
#define PASSWORDS_CONTROL UINT32_MAX
bool passwords_start(unsigned n_workers, struct str *why);
/*
 * Before anybody asks: the thread calls enter(arg), whenever it starts, or now if it runs;
 * before it sees the first password.  It keeps to what it has then.
 */
void passwords_enter(void (*enter)(void *arg), void *arg);
/* And no longer.  The loops of those who asked are there still, and may have letters. */
void passwords_stop(void);
/* They are gone: so is what the letters were in. */
void passwords_fini(void);

/* RIGHT: it is remembered; else ASK. */
enum password_verdict passwords_look(const struct users *users, const struct credentials *c,
				     uint64_t now_us);
/* ASK: wait->done will be called; or BUSY. */
enum password_verdict passwords_ask(const struct users *users, const struct credentials *c,
				    uint32_t who, struct loop *loop, struct password_wait *wait);
void passwords_cancel(struct password_wait *wait);

/* Clients are told apart by a keyed hash: those of one place are one.  Any thread. */
size_t passwords_place(const struct addr_packed *client);

/* Name and version of the library that hashes; NULL: weir was built without. */
const char *passwords_library(void);

#endif
