/* SPDX-License-Identifier: MIT */
/*
 * Header blocks with strings that nghttp2 does not take (64 KiB as they come): it would
 * end the connection, with every other stream, since its table would no longer be the
 * peer's.  Blocks of more than a frame are gathered, and what is too large is put in short:
 * a string of which nobody wants to know, with the same effect on the table (RFC 7541
 * 4.4: what is larger than the table empties it).
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

/* So much is gathered; what is larger ends the connection. */
#define H2_BLOCK_MAX (256 * 1024)

#define H2_FRAME_HEAD 9
#define H2_FRAME_MAX 16384 /* SETTINGS_MAX_FRAME_SIZE is the default */

struct h2_block {
	bool gathers;  /* BLOCK */
	uint8_t flags; /* of its HEADERS */
	uint8_t last;  /* of the frame at hand */
	uint8_t n_frame;
	uint8_t n_frames;
	uint8_t frame[H2_FRAME_HEAD]; /* the head of the frame at hand, as far as it is here */
	uint32_t left;                /* of its payload */
	int32_t id;
	size_t len;
	char *bytes; /* owns; NULL: nothing gathered */
};

enum h2_block_step {
	H2_BLOCK_PASS,  /* `n` bytes from `ptr` on go to the session as they are */
	H2_BLOCK_WAIT,  /* all was taken */
	H2_BLOCK_WHOLE, /* a block is there; h2_block_end when it is used */
	H2_BLOCK_BAD,   /* `why`: an error code of HTTP/2 */
};

struct h2_block_next {
	enum h2_block_step step;
	const char *ptr;
	size_t n;
	uint32_t why;
};

/* Takes from *ptr up to `end`; ask until H2_BLOCK_WAIT. */
struct h2_block_next h2_block_next(struct h2_block *block, const char **ptr, const char *end);

/* Shortens what is gathered; true when something was too large.  Where it makes no sense it
 * stays as it is: the session will find that. */
bool h2_block_shorten(struct h2_block *block);
void h2_block_end(struct h2_block *block);

#endif
