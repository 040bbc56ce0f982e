/* SPDX-License-Identifier: MIT */
/*
 * The HTTP/1.1 side of one client of the status socket, without its socket:
 * bytes go in, answers come out, one request at a time.
 *
 *          head complete            body complete
 *   HEAD ----------------> BODY ---------------------> HEAD, an answer in `out`
 *    ^                      |                |
 *    |                      | refused        | call_later, or entry_ask
 *    |                      v                v
 *    |                    CLOSING         WAITING ---- later_answer ---> HEAD
 *    |                                       +-------- KNOWN, by session_run
 *    +--- never from CLOSING: the answer in `out` is the last
 *
 *   HEAD, BODY  bytes of the client are wanted
 *   WAITING     no bytes are wanted; `ready` is called when there is an answer
 *   KNOWN       somebody has said whether the client may: session_run answers
 *   CLOSING     nothing is wanted; close once `out` is sent
 *   STREAM      (from BODY) the answer has no end: session_push adds to it until
 *               the client leaves, or may no longer (session_look); its bytes are dropped
 */
#ifndef WEIR_ADMIN_SESSION_H
#define WEIR_ADMIN_SESSION_H

#include "entry.h"

#include "weir/http/h1.h"

enum session_state {
	SESSION_HEAD,
	SESSION_BODY,
	SESSION_WAITING,
	SESSION_KNOWN,
	SESSION_CLOSING,
	SESSION_STREAM
};

struct session {
	struct api *api;
	bool trusted; /* may change things without a token */
	enum session_state state;
	/* owns; a head, then what is not decoded yet of its body and what follows */
	struct str in;
	size_t seen;     /* of `in`: has no complete head */
	size_t head_len; /* from BODY on */
	struct h1_body body;
	bool wants_continue;
	bool prompts;       /* it speaks HAProxy's dialect, with prompts (dialect.h) */
	struct str content; /* owns; the decoded body */
	bool head_only;     /* the request was HEAD */
	bool keep_alive;
	uint8_t version_minor;
	struct str out; /* owns; to be sent, from `sent` on */
	size_t sent;
	struct text *rest; /* counted; what is sent after `out`: a large body */
	size_t rest_sent;
	bool only_probes;                       /* and each is the last */
	struct later *later;                    /* while WAITING */
	struct entry_wait entry;                /* the same, and while KNOWN */
	struct str later_key;                   /* owns; for the cache */
	uint64_t look_us;                       /* STREAM: when it is asked for again */
	void (*ready)(struct session *session); /* may be NULL */
	uint64_t n_requests;
};

void session_init(struct session *s, struct api *api, bool trusted);
void session_fini(struct session *s);

/* Bytes of the client. */
void session_put(struct session *s, struct view bytes);

/*
 * Goes on until there is something to send or bytes are wanted; at most one
 * request is answered.  True when it is worth calling again after sending.
 */
bool session_run(struct session *s);

/* What to send; after sending n bytes of it: session_sent. */
static inline struct view session_out(const struct session *s)
{
	if (s->sent < s->out.len || !s->rest)
		return view_skip(str_as_view(&s->out), s->sent);
	return view_skip(str_as_view(&s->rest->str), s->rest_sent);
}
void session_sent(struct session *s, size_t n);

/* STREAM: whether the client still may is asked from time to time; if not, it is CLOSING. */
void session_look(struct session *s, uint64_t now_us);

/* STREAM: more of the answer; nothing when the client has not taken the last yet. */
void session_push(struct session *s, struct view bytes);

/*
 * Another process answers from now on.  An answer that is on its way, or that somebody works
 * on, still comes, and is the last; who is in the midst of asking is told to ask again.  False
 * when there is nothing to be sent: the connection ends.
 */
bool session_leave(struct session *s);

/* The client was too slow: 408, and the end. */
void session_time_out(struct session *s);

#endif
