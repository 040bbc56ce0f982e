/* SPDX-License-Identifier: MIT */
/*
 * The last resort: who asks for an end at once gets it, whatever hangs.  The
 * signal itself starts a clock, in its handler; when the control thread has not
 * ended the process by then, the clock does.
 */
#ifndef WEIR_BOOT_STOP_H
#define WEIR_BOOT_STOP_H

/* After the loop has begun to watch TERM, INT and QUIT. */
void stop_watch(void);

#endif
