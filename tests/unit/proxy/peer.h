/* SPDX-License-Identifier: MIT */
/*
 * The other end of one of weir's connections: a client's or a backend's, in either
 * version of HTTP.  What it says goes out in the pieces that `cut` asks for, with weir
 * given all the turns it wants between them; what it hears is taken apart into one
 * message at a time.
 */
#ifndef TESTS_UNIT_PROXY_PEER_H
#define TESTS_UNIT_PROXY_PEER_H

#include "world.h"

#include "weir/base/str.h"

enum peer_version { PEER_HTTP1, PEER_HTTP2 };

/* How everything that is said is cut into pieces. */
struct peer_cut {
	enum { CUT_NOWHERE, CUT_EVERYWHERE, CUT_AT } mode;
	size_t at;      /* CUT_AT: behind so many bytes of each thing that is said */
	bool still;     /* weir gets no turn when something is said */
	size_t longest; /* the longest thing said so far: where cutting makes sense */
};

/* What came last: a request or a response. */
struct peer_message {
	struct str start; /* "GET /path" or "200" */
	/* "name: value\n", names in lower case; "!name" once more where HTTP/2 never indexes it */
	struct str fields;
	struct str body;
	bool has_head, has_end;
	bool is_broken; /* it will never be whole */
	unsigned n_interim;
};

struct peer {
	struct world *world;
	struct peer_cut *cut;
	enum peer_version version;
	bool is_backend;
	int fd;            /* -1: closed by us */
	uint64_t idle_at;  /* kernel_moves() when there was nothing to do */
	bool at_end;       /* weir ended its direction, or reset it */
	bool gone_told;    /* the script has asked for that */
	bool stalls;       /* it reads no more */
	struct str in;     /* received, not understood yet; of HTTP/1 */
	struct str unsent; /* said, but the socket is full */
	struct peer_message heard;
	bool chunked;        /* HTTP/1: what is being said has no length */
	bool no_body;        /* HTTP/1: the answer to HEAD */
	bool until_end;      /* HTTP/1: the body that is heard goes on until the end */
	bool is_tunnel;      /* HTTP/1: raw bytes */
	size_t left;         /* HTTP/1: of the body that is heard */
	bool in_chunks;      /* HTTP/1: it comes in chunks */
	void *session;       /* HTTP/2: nghttp2_session */
	unsigned n_reset;    /* HTTP/2: requests that were, before the one that is heard */
	int32_t stream;      /* HTTP/2: the one talked about */
	struct str out;      /* HTTP/2: body bytes to be sent */
	size_t out_sent;     /* of them */
	bool out_end;        /* and that is all */
	struct str trailers; /* HTTP/2: but for these */
};

/* What is to be said: a head and what there is of the body. */
struct peer_words {
	struct view start;  /* "GET /path" or "200" */
	struct view fields; /* "name: value\n"... */
	struct view body;
	bool unfinished; /* more of the body follows */
};

struct peer *peer_new(struct world *world, struct peer_cut *cut, enum peer_version version, int fd,
		      bool is_backend);
void peer_free(struct peer *peer);

/* Reads what is there; true when there was anything. */
bool peer_pump(struct peer *peer);
/* Forgets the message that was heard: the next one. */
void peer_forget(struct peer *peer);

void peer_raw(struct peer *peer, struct view bytes);
void peer_say(struct peer *peer, const struct peer_words *words);
void peer_say_body(struct peer *peer, struct view body);
/* The end of the body, with these fields ("name: value\n"...) behind it. */
void peer_end(struct peer *peer, struct view trailers);
/* Ends our direction; closes. */
void peer_shut(struct peer *peer);
void peer_close(struct peer *peer);
/* What weir sends next fails, and nothing is there to be read: as where a reset came just now. */
void peer_deafen(struct peer *peer);
/* Reads no more; over HTTP/2 its windows are so wide that weir writes on. */
void peer_stall(struct peer *peer);
/* HTTP/2: ends the stream by a code as nghttp2 calls it; false: it has none of that name. */
bool peer_reset(struct peer *peer, struct view code);

/* Value of a field of the message that was heard; ptr NULL: it has none. */
struct view peer_field(const struct peer *peer, struct view name);

void str_cut_front(struct str *s, size_t n);

/* peer_h1.c, peer_h2.c */
void peer_h1_understand(struct peer *peer);
void peer_h1_say(struct peer *peer, const struct peer_words *words);
void peer_h1_say_body(struct peer *peer, struct view body);
void peer_h1_end(struct peer *peer, struct view trailers);
void peer_h2_open(struct peer *peer);
void peer_h2_close(struct peer *peer);
void peer_h2_widen(struct peer *peer);
void peer_h2_understand(struct peer *peer, struct view bytes);
void peer_h2_say(struct peer *peer, const struct peer_words *words);
void peer_h2_say_body(struct peer *peer, struct view body);
void peer_h2_end(struct peer *peer, struct view trailers);

/* "name: value" lines, one at a time; false at the end. */
bool peer_next_field(struct view *fields, struct view *name, struct view *value);

#endif
