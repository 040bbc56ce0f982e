/* SPDX-License-Identifier: MIT */
/*
 * The keys of shared limits that are in use; weir/filter/quota.h says what for.
 *
 * A slot is claimed by a worker (key 0, then CLAIMED, then the key) and given back by the
 * control thread when nobody has asked for it for IDLE_US.  Who still holds it in that
 * moment counts one request for nobody: the sum is off by one, and nothing else.  Two
 * workers that bring a new key at once may make two slots of it: both report.
 */
#include "quotas.h"

#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/loop/loop.h"

#define WAYS 8
#define CLAIMED UINT64_C(1)
#define IDLE_US 10000000
/* What was heard about a key longer ago says nothing about its part. */
#define STALE_US 1000000
#define LEAST_PART (QUOTA_WHOLE / 256)
/* From the use of a key to the answer, with some to spare, where nothing is late. */
#define PROMPT_US 60000
/* Others that began at the same time are heard of by then, where nothing is late. */
#define SETTLE_US 10000
/* What is not used for so long is given back. */
#define RETURN_US 100000
/* Of a node that wakes, until it is told more: an eighth of its fair part, or so many requests. */
#define WAKE_SHIFT 3
#define WAKE_REQUESTS 8

struct quota {
	_Atomic uint64_t key;
	_Atomic uint64_t first_us; /* of what `used` counts */
	_Atomic uint32_t used, refused;
	_Atomic uint32_t part;          /* of QUOTA_WHOLE; 0: asleep, nobody knows of it */
	uint64_t name, interval, burst; /* written before `key` */
	_Atomic uint32_t least;         /* the least part after a silence */
	/* control thread */
	uint64_t heard_us; /* 0: never */
	double ahead_us;   /* at heard_us */
	double demand;     /* at demand_us */
	uint64_t demand_us;
	uint64_t busy_us; /* it was used or refused */
	double lease_us;  /* what others leave to it */
	uint64_t woke_us; /* used again after a silence */
	double took_us;   /* from its use to an answer; high ones are remembered for a while */
	bool asked;       /* a report waits for its answer */
	bool awake;       /* used since it was silent */
	bool alone;       /* nobody has answered since */
} CACHE_ALIGNED;

static struct {
	struct quota *slots;
	_Atomic uint64_t used[QUOTAS_MAX / 64]; /* a bit for each slot that may be in use */
	_Atomic uint32_t fair;                  /* the part of 1/n */
	_Atomic bool alone;                     /* which is all that anybody gets */
	_Atomic bool knocked;                   /* the mail is under way */
	struct loop *loop;                      /* who wants to know; NULL: nobody */
	struct mail *mail;
	bool ends;   /* control: nothing is to be lent any more */
	size_t next; /* control: where the next collection begins */
} table = {.fair = QUOTA_WHOLE, .alone = true};

bool quota_table_ready(void)
{
	if (table.slots)
		return true;
	/* zero pages, which are there when they are first written */
	void *map = mmap(NULL, QUOTAS_MAX * sizeof(struct quota), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return false;
	table.slots = map;
	return true;
}

/* ---- workers ---- */

static struct quota *bucket_of(uint64_t key)
{
	/* gcra.c takes the high bits */
	return &table.slots[(key >> 8) % (QUOTAS_MAX / WAYS) * WAYS];
}

static uint64_t key_in_use(uint64_t key)
{
	return key > CLAIMED ? key : key + 2;
}

struct quota *quota_find(uint64_t key)
{
	struct quota *bucket = bucket_of(key);
	key = key_in_use(key);
	for (unsigned i = 0; i < WAYS; i++)
		if (atomic_load_explicit(&bucket[i].key, memory_order_acquire) == key)
			return &bucket[i];
	return NULL;
}

/* Of the limit, what is WAKE_REQUESTS; the fair part where it takes long to be told more. */
static void set_least(struct quota *quota)
{
	double part = WAKE_REQUESTS * (double)quota->interval / (double)quota->burst;
	bool late = quota->took_us > PROMPT_US;
	double least = (late ? 1 : fmin(part, 1)) * QUOTA_WHOLE;
	atomic_store_explicit(&quota->least, (uint32_t)fmax(least, 1), memory_order_relaxed);
}

struct quota *quota_claim(uint64_t key, uint64_t name, const struct gcra_limit *limit)
{
	struct quota *bucket = bucket_of(key);
	for (unsigned i = 0; i < WAYS; i++) {
		struct quota *quota = &bucket[i];
		uint64_t none = 0;
		if (!atomic_compare_exchange_strong_explicit(
			&quota->key, &none, CLAIMED, memory_order_acquire, memory_order_relaxed))
			continue;
		quota->name = name;
		quota->interval = limit->interval;
		quota->burst = limit->burst;
		set_least(quota);
		atomic_store_explicit(&quota->key, key_in_use(key), memory_order_release);
		size_t at = (size_t)(quota - table.slots);
		atomic_fetch_or_explicit(&table.used[at / 64], UINT64_C(1) << at % 64,
					 memory_order_release);
		return quota;
	}
	return NULL;
}

uint32_t quota_part(const struct quota *quota)
{
	uint32_t part = quota ? atomic_load_explicit(&quota->part, memory_order_relaxed) : 0;
	uint32_t fair = atomic_load_explicit(&table.fair, memory_order_relaxed);
	if (part || !quota || atomic_load_explicit(&table.alone, memory_order_relaxed))
		return part ? part : fair;
	uint32_t wake = fair >> WAKE_SHIFT;
	uint32_t least = atomic_load_explicit(&quota->least, memory_order_relaxed);
	wake = wake > least ? wake : least;
	return wake < fair ? wake : fair;
}

bool quota_is_awake(const struct quota *quota)
{
	return atomic_load_explicit(&quota->part, memory_order_relaxed) != 0;
}

/* Once, until the control thread has looked. */
static void knock(const struct quota *quota)
{
	if (quota_is_awake(quota) || !table.loop ||
	    atomic_exchange_explicit(&table.knocked, true, memory_order_acq_rel))
		return;
	loop_post(table.loop, table.mail);
}

void quota_note(struct quota *quota, bool taken, uint64_t now_us)
{
	_Atomic uint32_t *count = taken ? &quota->used : &quota->refused;
	if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) != 0)
		return;
	if (taken)
		atomic_store_explicit(&quota->first_us, now_us, memory_order_relaxed);
	knock(quota);
}

/* ---- control thread ---- */

static double interval_us(const struct quota *quota)
{
	return (double)quota->interval / GCRA_UNITS_PER_US;
}

static double burst_us(const struct quota *quota)
{
	return (double)quota->burst / GCRA_UNITS_PER_US;
}

static void remember_demand(struct quota *quota, double demand, uint64_t now_us)
{
	double passed = (double)(now_us - quota->demand_us);
	quota->demand = quota->demand * exp(-passed / QUOTA_MEMORY_US) + demand;
	quota->demand_us = now_us;
}

static void give_back(size_t at)
{
	struct quota *quota = &table.slots[at];
	atomic_store_explicit(&quota->part, 0, memory_order_relaxed);
	quota->heard_us = quota->busy_us = quota->took_us = 0;
	quota->ahead_us = quota->demand = quota->lease_us = 0;
	quota->alone = quota->awake = quota->asked = false;
	atomic_fetch_and_explicit(&table.used[at / 64], ~(UINT64_C(1) << at % 64),
				  memory_order_relaxed);
	atomic_store_explicit(&quota->key, 0, memory_order_release);
}

/* What was heard of it, less the time since. */
static double known_ahead(const struct quota *quota, uint64_t now_us)
{
	double left = quota->ahead_us - (double)(now_us - quota->heard_us);
	return quota->heard_us && left > 0 ? left : 0;
}

/* All nodes may have begun at once.  Where it takes long to be heard, others are not yet: who has
 * been told of nobody else is not alone for that. */
static bool others_may_come(const struct quota *quota, uint64_t now_us)
{
	double wait_us = fmax(quota->took_us / 2, SETTLE_US);
	return (double)(now_us - quota->woke_us) < wait_us;
}

/* A node may have so much of what is left, whatever it asks. */
static double most_part(const struct quota *quota, uint64_t now_us)
{
	uint32_t fair = atomic_load_explicit(&table.fair, memory_order_relaxed);
	return others_may_come(quota, now_us) ? (double)fair / QUOTA_WHOLE : 1;
}

static double part_here(const struct quota *quota)
{
	return (double)quota_part(quota) / QUOTA_WHOLE;
}

/* How far ahead the node's own count may be (quota_limit). */
static double most_here(const struct quota *quota)
{
	return fmax(burst_us(quota), interval_us(quota) / part_here(quota));
}

/* What this node could let through at once, by its own count. */
static double left_us(const struct quota *quota, uint64_t key, uint64_t now_us)
{
	double ahead_us = (double)gcra_ahead(key, now_us) / GCRA_UNITS_PER_US;
	return (most_here(quota) - ahead_us) * part_here(quota);
}

static struct quota_report report_of(struct quota *quota, uint64_t now_us)
{
	uint64_t key = atomic_load_explicit(&quota->key, memory_order_relaxed);
	uint32_t used = atomic_exchange_explicit(&quota->used, 0, memory_order_relaxed);
	uint32_t refused = atomic_exchange_explicit(&quota->refused, 0, memory_order_relaxed);
	uint64_t first_us = atomic_load_explicit(&quota->first_us, memory_order_relaxed);
	double lag_us = used && first_us < now_us ? (double)(now_us - first_us) : 0;
	if (used + refused && !quota->awake) {
		quota->awake = true;
		quota->woke_us = now_us - (uint64_t)lag_us;
	}
	struct quota_report r = {
	    .key = key,
	    .slot = (uint32_t)(quota - table.slots),
	    .name = quota->name,
	    .at_us = now_us,
	    .used_us = used * interval_us(quota),
	    .lease_us = quota->lease_us,
	    .left_us = left_us(quota, key, now_us),
	    .burst_us = burst_us(quota),
	    .one_us = interval_us(quota),
	    .most_part = most_part(quota, now_us),
	    .lag_us = lag_us,
	    .demand = table.ends ? 0 : (double)used + refused,
	    .ahead_us = known_ahead(quota, now_us),
	    .most_us = 2 * burst_us(quota) + STALE_US,
	};
	if (quota->alone) {
		uint64_t ahead = gcra_ahead(key, now_us);
		r.begins_anew = true;
		r.ahead_us = (double)ahead / GCRA_UNITS_PER_US;
		r.used_us = r.lag_us = 0; /* it is in ahead_us */
	}
	quota->asked = true;
	quota->lease_us = 0;
	remember_demand(quota, r.demand, now_us);
	r.all_us = quota->demand;
	return r;
}

/* Whether it has something to give back. */
static bool fall_asleep(struct quota *quota)
{
	atomic_store_explicit(&quota->part, 0, memory_order_relaxed);
	quota->awake = false;
	return quota->lease_us > 0;
}

/* Whether it has something to say; gives it back when it has been silent for long. */
static bool is_busy(size_t at, uint64_t now_us)
{
	struct quota *quota = &table.slots[at];
	if (atomic_load_explicit(&quota->key, memory_order_acquire) <= CLAIMED)
		return false;
	bool busy = atomic_load_explicit(&quota->used, memory_order_relaxed) ||
		    atomic_load_explicit(&quota->refused, memory_order_relaxed);
	if (table.ends)
		return busy || quota->lease_us > 0;
	if (busy || !quota->busy_us)
		quota->busy_us = now_us;
	else if (now_us - quota->busy_us > IDLE_US)
		give_back(at);
	else if (now_us - quota->busy_us > RETURN_US)
		return fall_asleep(quota);
	return busy;
}

bool quota_collect_one(struct quota *quota, struct quota_report *out, uint64_t now_us)
{
	/* what is let through meanwhile would be in the next report and not in the answer */
	if (quota->asked || !is_busy((size_t)(quota - table.slots), now_us))
		return false;
	*out = report_of(quota, now_us);
	return true;
}

static uint64_t bits_at(size_t word)
{
	return atomic_load_explicit(&table.used[word], memory_order_acquire);
}

void quota_listen(struct loop *loop, struct mail *mail)
{
	table.mail = mail;
	table.loop = loop;
}

size_t quota_collect(struct quota_report *out, size_t max, uint64_t now_us)
{
	atomic_store_explicit(&table.knocked, false, memory_order_release);
	const size_t n_words = ARRAY_LEN(table.used);
	size_t n = 0, begin = table.next;
	for (size_t i = 0; table.slots && i < n_words; i++) {
		size_t word = (begin + i) % n_words;
		if (n + 64 > max) {
			table.next = word; /* the others first, the next time */
			return n;
		}
		for (uint64_t bits = bits_at(word); bits; bits &= bits - 1) {
			size_t at = word * 64 + (size_t)__builtin_ctzll(bits);
			n += quota_collect_one(&table.slots[at], &out[n], now_us);
		}
	}
	return n;
}

static void note_delay(struct quota *quota, const struct quota_report *report, uint64_t now_us)
{
	uint64_t first_us = report->at_us - (uint64_t)report->lag_us;
	double took_us = (double)(now_us - first_us);
	if (took_us > quota->took_us)
		quota->took_us = took_us;
	else
		quota->took_us += (took_us - quota->took_us) / 16;
	set_least(quota);
}

/* Who gave back everything sleeps on. */
static uint32_t part_of(const struct quota_report *report, double demand)
{
	double part = report->all_us > 0 && demand > 0 ? report->all_us / demand : 1;
	part = fmin(part, report->most_part);
	return report->demand > 0 ? (uint32_t)fmax(part * QUOTA_WHOLE, LEAST_PART) : 0;
}

/* That of a report; NULL: it is another key's by now. */
static struct quota *quota_of(const struct quota_report *report)
{
	struct quota *quota = &table.slots[report->slot];
	uint64_t key = atomic_load_explicit(&quota->key, memory_order_relaxed);
	return key == report->key ? quota : NULL;
}

static double lease_of(const struct quota_report *report, const struct quota_answer *answer)
{
	return fmin(fmax(answer->lease_us, -report->most_us), report->burst_us);
}

void quota_answer_late(const struct quota_report *report, const struct quota_answer *answer)
{
	struct quota *quota = quota_of(report);
	if (!quota)
		return;
	quota->asked = false;
	quota->lease_us += lease_of(report, answer);
}

/* The node's own count, so that it lets through what it was lent, less what came meanwhile. */
static void put_count(const struct quota *quota, const struct quota_report *report,
		      const struct quota_answer *answer, uint64_t now_us)
{
	double part = part_here(quota);
	double used = atomic_load_explicit(&quota->used, memory_order_relaxed);
	double since_us = used * report->one_us, ahead_us = quota->ahead_us + since_us / part;
	if (quota_is_awake(quota))
		ahead_us = most_here(quota) - (lease_of(report, answer) - since_us) / part;
	gcra_put(report->key, (uint64_t)(fmax(ahead_us, 0) * GCRA_UNITS_PER_US), now_us);
}

void quota_answer(const struct quota_report *report, const struct quota_answer *answer,
		  uint64_t now_us)
{
	struct quota *quota = quota_of(report);
	if (!quota)
		return;
	note_delay(quota, report, now_us);
	quota_answer_late(report, answer);
	quota->ahead_us = fmin(fmax(answer->ahead_us, 0), report->most_us); /* whatever is said */
	quota->heard_us = now_us;
	quota->alone = false;
	atomic_store_explicit(&quota->part, part_of(report, answer->demand), memory_order_relaxed);
	put_count(quota, report, answer, now_us);
}

void quota_alone(unsigned n_nodes, uint64_t now_us)
{
	quota_set_nodes(n_nodes);
	atomic_store_explicit(&table.alone, true, memory_order_relaxed);
	for (size_t word = 0; table.slots && word < ARRAY_LEN(table.used); word++) {
		for (uint64_t bits = bits_at(word); bits; bits &= bits - 1) {
			size_t at = word * 64 + (size_t)__builtin_ctzll(bits);
			struct quota *quota = &table.slots[at];
			bool busy = is_busy(at, now_us);
			double lease_us = quota->lease_us;
			quota->alone = true;
			if (busy)
				(void)report_of(quota, now_us);
			quota->awake = quota->asked = false;
			quota->lease_us = lease_us; /* to be given back to who may be there again */
			atomic_store_explicit(&quota->part, 0, memory_order_relaxed);
		}
	}
}

void quota_together(void)
{
	atomic_store_explicit(&table.alone, false, memory_order_relaxed);
}

void quota_end(void)
{
	table.ends = true;
}

void quota_set_nodes(unsigned n_nodes)
{
	uint32_t n = n_nodes < 1 ? 1 : n_nodes > QUOTA_WHOLE ? QUOTA_WHOLE : n_nodes;
	atomic_store_explicit(&table.fair, QUOTA_WHOLE / n, memory_order_relaxed);
}

size_t quota_count(void)
{
	size_t n = 0;
	for (size_t word = 0; word < ARRAY_LEN(table.used); word++)
		n += bits_count(bits_at(word));
	return n;
}
