/* SPDX-License-Identifier: MIT */
/* Private to pool/: after how long a backend closes connections that nobody uses. */
#ifndef WEIR_POOL_IDLE_CLOSE_H
#define WEIR_POOL_IDLE_CLOSE_H

#include "weir/pool/backend.h"

/* Any worker: the backend closed a kept connection that had been idle for so long. */
void idle_close_learn(struct backend *b, uint64_t idle_us, uint64_t now_us);
/* Control thread, once a second. */
void idle_close_fade(struct backend *b);

#endif
