/* SPDX-License-Identifier: MIT */
/*
 * Learned pins: which backend gave out a session.  One table a pool, shared by
 * all workers without a lock, of fixed size; it outlives generations.
 *
 * Keys are 64-bit keyed hashes of session ids, never the ids.  Backends are
 * named by their serial number: one that is removed takes its pins along.
 * A slot is two words, `value` and `key ^ value`: a reader that meets a half
 * written one finds a key that nobody asked for, which is a miss.  Eight slots
 * make a bucket; a new key takes a free or expired one, else the one that was
 * used least recently.
 *
 * Made and counted by the control thread; learn_get and learn_put by workers.
 */
#ifndef WEIR_POOL_LEARN_H
#define WEIR_POOL_LEARN_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/pack.h"
#include "weir/base/view.h"

struct learned;

/* Slots that a key may be in. */
#define LEARN_BUCKET 8

/* At most `entries` pins (rounded down to eights); NULL without memory. */
struct learned *learned_new(uint32_t entries);
struct learned *learned_get(struct learned *table);
void learned_put(struct learned *table); /* NULL is fine */
uint32_t learned_entries(const struct learned *table);
/* Takes over what another table knows. */
void learned_copy(struct learned *table, const struct learned *from, uint64_t now_s);

/* The key of a session id; never 0. */
uint64_t learn_key(struct view session);
/*
 * Control thread: from now on keys are made with this, the same at all nodes that share pins;
 * pins that were learned by another secret are not found any more.
 */
#define LEARN_SECRET_LEN 16
void learn_secret_set(const uint8_t secret[LEARN_SECRET_LEN]);
/* Whether what is learned goes to news.h: a new pin, another backend, and of one in use each
 * quarter of its ttl. */
void learned_share(struct learned *table, bool shared);
/*
 * What another node has learned, or this one before, at at_s: newer knowledge stays, of this
 * session and of others that would make room for it.
 */
void learn_hear(struct learned *table, uint64_t key, uint32_t serial, uint64_t at_s);

/*
 * The serial number of the backend that the session belongs to; 0: not known
 * or not used for ttl_s.  Marks it used.  Times are seconds on the monotonic
 * clock.
 */
uint32_t learn_get(struct learned *table, uint64_t key, uint64_t now_s, uint64_t ttl_s);
void learn_put(struct learned *table, uint64_t key, uint32_t serial, uint64_t now_s,
	       uint64_t ttl_s);

/* Pins of one backend that are not expired; reads the whole table. */
uint32_t learned_count(const struct learned *table, uint32_t serial, uint64_t now_s,
		       uint64_t ttl_s);

/*
 * For the process that takes over: what keys are made with, and pins, whose backends
 * have other serial numbers there; `serial_now` says which, or 0.  Both are read
 * before any worker runs.
 */
void learn_secret_pack(struct str *out);
void learn_secret_unpack(struct unpack *in);
void learned_pack(const struct learned *table, struct str *out);
void learned_unpack(struct unpack *in, struct learned *table, uint64_t now_s,
		    uint32_t (*serial_now)(void *arg, uint32_t serial), void *arg);

#endif
