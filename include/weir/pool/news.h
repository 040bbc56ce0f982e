/* SPDX-License-Identifier: MIT */
/*
 * Learned pins that are to be told to other nodes: workers put, the control thread takes.
 * Nobody waits; what finds no room is counted and goes untold.
 *
 *   news_put(key, serial, now_s);                   // a worker, by pool/learn.c
 *   n = news_take(rows, max);                       // control, each 100 ms
 */
#ifndef WEIR_POOL_NEWS_H
#define WEIR_POOL_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEWS_MAX 4096 /* a power of two */

struct news {
	uint64_t key; /* learn_key of the session */
	uint32_t serial;
	uint32_t at_s; /* it may wait for long before it can be told */
};

void news_put(uint64_t key, uint32_t serial, uint64_t at_s);
size_t news_take(struct news *out, size_t max);
uint64_t news_lost(void);

#endif
