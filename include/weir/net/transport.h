/* SPDX-License-Identifier: MIT */
/*
 * A transport moves bytes over a connected descriptor.  The code above does not
 * know which one it has.  All calls are non-blocking and come from the worker
 * that owns the connection.
 *
 * One contiguous run per write: weir lays head and body side by side before it
 * writes, and send() is cheaper than sendmsg() (reference: measured in
 * HAProxy's and nginx's profiles).
 */
#ifndef WEIR_NET_TRANSPORT_H
#define WEIR_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "weir/base/view.h"

enum io {
	IO_OK,   /* bytes moved */
	IO_WAIT, /* would block */
	IO_EOF,  /* the peer ended its direction */
	IO_ERR,  /* broken; errno says why */
};

struct transport {
	const char *name;
	/* *n bytes moved with IO_OK; n may be less than asked for. */
	enum io (*read)(int fd, void *state, void *ptr, size_t cap, size_t *n);
	enum io (*write)(int fd, void *state, const void *ptr, size_t len, size_t *n);
	/* Ends our direction. */
	void (*shutdown)(int fd, void *state);
	/* The rest is NULL where there is nothing to do. */
	/*
	 * Goes on with what has to happen before bytes can flow.  IO_OK: done.  IO_WAIT:
	 * call again when the descriptor is readable, or writable with *to_write, which says
	 * what it waited for and is left alone by a call that did nothing.
	 */
	enum io (*handshake)(int fd, void *state, bool *to_write);
	bool speaks_first; /* the handshake begins with a write */
	/* Why the handshake failed, for people; static text. */
	const char *(*why)(const void *state);
	/* Something can be read although the descriptor may never say so. */
	bool (*buffered)(const void *state);
	/* Bytes were taken from the descriptor that have not been read, be it part of a record. */
	bool (*unread)(const void *state);
	/* Bytes taken by write that the kernel does not have yet. */
	size_t (*held)(const void *state);
	/* Tells the peer that this is the end, not a cut; once, before the close. */
	void (*goodbye)(int fd, void *state);
	/* The protocol that was agreed on: "h2", "http/1.1" or empty. */
	struct view (*alpn)(const void *state);
	/* Gives back `state`; the descriptor is closed by the stream. */
	void (*fini)(void *state);
};

extern const struct transport transport_plain;

#endif
