/* SPDX-License-Identifier: MIT */
/*
 * Where lines of a log go: a descriptor that may be slow, full, or without a
 * reader.  Whoever writes into it has a thread of its own; it waits only as long
 * as it is told to (a disk may make it wait longer: then it hangs alone).
 *
 *   sink_open(&sink, fd);
 *   n = sink_write(&sink, lines, 200);      n bytes are done with; the rest: again
 *   sink_close(&sink);
 *
 * The flags of the descriptor stay as they are: others may share it.
 */
#ifndef WEIR_BASE_SINK_H
#define WEIR_BASE_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

struct sink {
	int fd;     /* owned; -1: lines go nowhere, and that is no loss */
	bool piece; /* only so much is written at a time as surely finds room */
	bool mid;   /* what was written last is not the end of a line */
	bool cut;   /* ... and its rest will never come */
	/* written by the thread that writes, read by anybody */
	_Atomic int error;        /* of the last write, 0: it went well */
	_Atomic bool stalled;     /* nobody takes what is there to be written */
	_Atomic uint64_t dropped; /* lines that could not be written */
};

/* Takes the descriptor.  A line that another process left unfinished is ended. */
void sink_open(struct sink *sink, int fd);
void sink_close(struct sink *sink);

/*
 * Writes lines, each with its end, and waits at most `wait_ms` for room.  The
 * number of bytes that are done with, written or, after an error, dropped and
 * counted; what is left stays the caller's to bring again, from just there.
 */
size_t sink_write(struct sink *sink, struct view lines, int wait_ms);

/* Counts lines as dropped. */
void sink_drop(struct sink *sink, struct view lines);

/* Why lines do not go now; NULL: they do. */
const char *sink_trouble(const struct sink *sink);

#endif
