/* SPDX-License-Identifier: MIT */
/*
 * Deterministic bytes of any length: byte i of every body is pattern[i % PERIOD],
 * and the pattern is SHA-256(0), SHA-256(1), ... of 8-byte big-endian counters,
 * cut to a prime length so that a block at a wrong place never looks right.
 * node_app.js, wsgi_app.py and the e2e tests make the same bytes.
 */
#ifndef WEIR_APP_PATTERN_H
#define WEIR_APP_PATTERN_H

#include <stdint.h>

#include "weir/base/view.h"

#define PATTERN_PERIOD 1048573

/* Bytes from `offset` on, as many of `len` as lie in one piece.  One thread only. */
struct view pattern_at(uint64_t offset, uint64_t len);

#endif
