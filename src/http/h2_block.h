/* SPDX-License-Identifier: MIT */
/*
 * Header blocks that nghttp2 does not take: strings of more than 64 KiB as they come, or more
 * than eight CONTINUATIONs.  It would end the connection, with every other stream, since its
 * table would no longer be the peer's.  Blocks of more than a frame are gathered.  One that is
 * larger than a list may be is too large, and counts for the table only: it goes to the session
 * in parts, each a block of its own.  A string that is too large is put in short, with the
 * same effect on the table (RFC 7541 4.4: what is larger than the table empties it).
 *
 *   PASS --HEADERS without END_HEADERS--> BLOCK --CONTINUATION with it--> PASS
 *
 * Private to http/.
 */
#ifndef WEIR_HTTP_H2_BLOCK_H
#define WEIR_HTTP_H2_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/http/h2.h"

/* So much is gathered, and a frame; what is larger is too large. */
#define H2_BLOCK_MAX (128 * 1024)
/* What is larger, or comes in more frames, is no block any more, and ends the connection. */
#define H2_BLOCK_FLOOD (1024 * 1024)
#define H2_BLOCK_FRAMES 1024

struct h2_block {
	bool gathers;   /* BLOCK */
	bool too_large; /* it, or a string of it */
	uint8_t flags;  /* of its HEADERS */
	uint8_t last;   /* of the frame at hand */
	uint8_t n_frame;
	uint8_t frame[H2_FRAME_HEAD]; /* the head of the frame at hand, as far as it is here */
	uint8_t strings;              /* that are to come of the field at hand */
	uint16_t n_frames;
	uint32_t left; /* of the frame's payload */
	int32_t id;
	uint64_t skip;   /* what is to come of a string that is too large */
	uint32_t came;   /* of the block */
	size_t len;      /* gathered */
	size_t walked;   /* of that: it goes on as it is */
	size_t n_fields; /* of that: bytes of whole fields */
	char *bytes;     /* owns; NULL: nothing gathered */
};

enum h2_block_step {
	H2_BLOCK_PASS,  /* `n` bytes from `ptr` on go to the session as they are */
	H2_BLOCK_WAIT,  /* all was taken */
	H2_BLOCK_PART,  /* they are fields of a block that is too large */
	H2_BLOCK_WHOLE, /* they are a block, or the last of it; h2_block_end when it is used */
	H2_BLOCK_BAD,   /* `why`: an error code of HTTP/2 */
};

struct h2_block_next {
	enum h2_block_step step;
	const char *ptr;
	size_t n;
	uint32_t why;
};

/* Takes from *ptr up to `end`; ask until H2_BLOCK_WAIT.  What makes no sense as fields stays as
 * it is: the session will find that. */
struct h2_block_next h2_block_next(struct h2_block *block, const char **ptr, const char *end);
void h2_block_end(struct h2_block *block);

#endif
