/* SPDX-License-Identifier: MIT */
/*
 * When an authority wants a certificate to be renewed (ARI, RFC 9773): asked for now and then,
 * where the directory names a place for that.
 *
 *   IDLE --ask--> DIRECTORY --it has one--> WINDOW --> IDLE, done
 *                     +--- it has none, or fails --------^
 *
 * Both end with an answer or the deadline of the request.  Thread: that of the loop.
 */
#ifndef WEIR_ACME_ARI_H
#define WEIR_ACME_ARI_H

#include "ca.h"

enum ari_step { ARI_IDLE, ARI_DIRECTORY, ARI_WINDOW };

struct ari_answer {
	int64_t start_s, end_s; /* since 1970; 0: it does not say */
	uint64_t again_s;       /* when to ask again */
};

struct ari {
	struct ca ca; /* tls is the caller's to set */
	void (*done)(void *arg, const struct ari_answer *answer);
	void *arg;
	/* its own */
	enum ari_step step;
	struct str id; /* owns */
};

void ari_init(struct ari *ari, struct fetcher *fetcher);
void ari_fini(struct ari *ari);
/* About the certificate with this identifier (RFC 9773 4.1). */
void ari_ask(struct ari *ari, struct view directory, const char *id);
void ari_stop(struct ari *ari);

/* Seconds since 1970 of "2025-01-02T04:00:00Z" (RFC 3339); 0: it is none. */
int64_t ari_time(const char *text);

#endif
