/* SPDX-License-Identifier: MIT */
/*
 * A pool of four in simulated time, with all of weir's own code that decides who gets a
 * request: pool, strategies, health.  One backend is deployed badly and mended again;
 * or nothing happens at all, for a hundred hours.
 */
#ifndef TESTS_SIM_DEPLOY_H
#define TESTS_SIM_DEPLOY_H

#include <stdbool.h>
#include <stdint.h>

#define DEPLOY_BACKENDS 4

/* Who brings the requests. */
enum deploy_clients {
	DEPLOY_ANY,    /* all alike */
	DEPLOY_ROUTES, /* what is asked for differs in how often it is refused, and swings */
	DEPLOY_KEYS,   /* a tenth of the clients, each with a key, is refused everything */
	DEPLOY_PINS,   /* the same with pins */
	DEPLOY_MANY,   /* all alike, and most are asked who they are first */
	DEPLOY_FAST,   /* as DEPLOY_ROUTES; one backend is rightly the fastest by far */
};

#define DEPLOY_RESETS 0
#define DEPLOY_NOTHING 1 /* none is bad */
#define DEPLOY_EMPTY 200
#define DEPLOY_SMALL 201 /* 2xx, and hardly a body */
#define DEPLOY_UNASKED 206
#define DEPLOY_HTML 297  /* 2xx of about the size, and of another type */
#define DEPLOY_CODED 298 /* the same, encoded */
#define DEPLOY_SOUND 299 /* as all answer */

struct deploy {
	const char *balance;
	unsigned status;  /* of the bad one, or a word below */
	uint32_t clients; /* closed loop; 0: open */
	double rate;      /* open: requests a second */
	uint64_t fails_us;
	enum deploy_clients who;
	bool weighted;                 /* the bad one has twice the weight */
	bool half;                     /* it is bad to every other request, by lot */
	bool two;                      /* the next one is bad in the same way */
	bool leads;                    /* the bad one is rightly the fastest, before */
	bool all;                      /* all are deployed so, 300 ms one after the other */
	double from_s, until_s, end_s; /* it is bad in between; 0: never */
	uint64_t seed;
};

struct deployed {
	uint64_t n;         /* requests */
	double share;       /* of the answers from 5 s after the deploy on that are bad */
	double left_s;      /* from the deploy until nobody sends it anything but tries */
	double back_s;      /* from the mending until half its share is back; negative: never */
	unsigned ejections; /* of anybody, by comparison */
	char reason[120];   /* of the bad one, before it was mended */
	char event[160];    /* the first */
};

struct deployed deploy(const struct deploy *what);

/* Each kind under every strategy, and none of it; `all`: longer, and shown.  deploys.c */
bool deploy_check(bool all);
/* Every way to look fast by giving something else. */
bool deploy_check_drawn(unsigned n_seeds, bool all);

#endif
