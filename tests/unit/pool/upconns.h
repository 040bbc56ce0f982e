/* SPDX-License-Identifier: MIT */
/* A pool whose first backend listens on loopback, and exchanges that use its connections. */
#ifndef TESTS_UNIT_POOL_UPCONNS_H
#define TESTS_UNIT_POOL_UPCONNS_H

#include "world.h"

extern struct world upconns_world;
extern struct world_gen upconns_gen;
extern int upconns_listener; /* of the first backend */

void upconns_begin(unsigned n_workers);
void upconns_begin_with(unsigned n_workers, size_t n_backends);
/* Nothing may be left but what is idle. */
void upconns_finish(void);
uint32_t upconns_idle(unsigned worker);
/* The backend's end of the next connection. */
int upconns_accept(void);
/* The loop turns as if `us` had passed. */
void upconns_pass(unsigned worker, uint64_t us);

struct user {
	struct lease lease;
	struct upconn *up;
	unsigned worker;
	int connected; /* times the callback came */
	enum err err;
	bool reused;
};

extern const struct stream_events user_events;
extern const struct upconn_intro user_intro;

struct user user_new(unsigned worker);
enum err user_open(struct user *user);
void user_done(struct user *user, bool keep);

#endif
