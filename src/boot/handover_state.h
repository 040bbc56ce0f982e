/* SPDX-License-Identifier: MIT */
/*
 * What one process of weir tells the one that takes over, as bytes in a file without
 * a name.  Twice: what pools are built with, when the new process is started; and
 * what was learned, when it is about to serve.
 *
 *   "weir state \n"  version  length  hash of what follows  blocks (base/pack.h)
 *
 * A reader takes all or nothing of a file that is cut, garbled or of a version it
 * does not know, and passes over blocks it does not know.  Control thread.
 */
#ifndef WEIR_BOOT_HANDOVER_STATE_H
#define WEIR_BOOT_HANDOVER_STATE_H

#include "control.h"

/* Changes made at run time, keys of pins and of TLS tickets. */
void state_pack_early(const struct control *control, struct str *out);
void state_unpack_early(struct view blocks, struct control *control);

/* Counters, statistics, events, verdicts. */
void state_pack(struct control *control, struct str *out);
/* How much could be read of it, in a sentence. */
void state_unpack(struct view blocks, struct control *control, struct str *said);
void state_unpack_health(struct view blocks, struct control *control);

/* Of that what a later start goes on with, `out` is a whole file: changes made at run time and
 * keys of pins; */
void state_seal_runtime(const struct control *control, struct str *out);
/* what was learned, and by which clock. */
void state_seal_learned(struct control *control, struct str *out);
/* The time goes on where it was, if a machine has started anew since. */
void state_take_clock(struct view blocks);
void state_unpack_learned(struct view blocks, struct control *control, struct str *said);

/* handover_file.c */
/* Room for a head, and when blocks are behind it the head itself: a whole file. */
void state_leave_head(struct str *out);
void state_seal(struct str *out);
/* Puts blocks behind a head into the file, or says why not; what it held is gone. */
bool state_store(int fd, struct view blocks, struct str *why);
/* The blocks of a file, appended to `out`; false and a sentence when they are not to be had. */
bool state_load(int fd, struct str *out, struct str *why);

#endif
