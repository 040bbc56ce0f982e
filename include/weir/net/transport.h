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

#include <stddef.h>
#include <sys/types.h>

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
	/* Gives back `state`; the descriptor is closed by the stream. */
	void (*fini)(void *state);
};

extern const struct transport transport_plain;

#endif
