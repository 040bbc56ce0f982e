/* SPDX-License-Identifier: MIT */
/* Between session.c and session_write.c. */
#ifndef WEIR_ADMIN_SESSION_WRITE_H
#define WEIR_ADMIN_SESSION_WRITE_H

#include "session.h"

/* A buffer that grew past this for one answer is given back. */
#define SESSION_KEEP_BYTES ((size_t)64 << 10)
/* How long a stream may go on after its reader may no longer. */
#define SESSION_LOOK_US 10000000

/* The only way to change its state; counts who listens to a stream. */
void session_set_state(struct session *s, enum session_state state);
/* Takes the answer's body. */
void session_answer(struct session *s, struct answer *answer);
/* With a key, for whoever asks for the same in a moment, if it is worth it. */
void session_answer_and_keep(struct session *s, struct answer *answer, struct view key);
/* What was made for somebody else a moment ago. */
void session_answer_cached(struct session *s, const struct cached *made);
/* The last one. */
void session_end_with(struct session *s, struct answer *answer);
void session_refuse(struct session *s, enum reject why);
/* The text that is being sent is not wanted any more. */
void session_drop_rest(struct session *s);

#endif
