/* SPDX-License-Identifier: MIT */
/*
 * One certificate: its names, what is served, when it was ordered and is to be.
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_ACME_SITE_H
#define WEIR_ACME_SITE_H

#include "x509.h"

#include "weir/base/arena.h"
#include "weir/base/list.h"
#include "weir/conf/conf.h"

struct site {
	struct list link;
	struct arena *arena; /* owns it and its texts */
	struct conf_views names;
	const char *file; /* in the folder */
	struct view path;
	struct str pem; /* owns; what is served */
	struct x509_facts facts;
	bool trusted;   /* it is from an authority ... */
	bool of_this;   /* ... the one of the configuration */
	bool unsaved;   /* the disk does not have it */
	bool now, next; /* named by the configuration in force, by the one that is prepared */
	unsigned failures;
	uint64_t retry_us, save_us; /* monotonic; 0: none */
	uint64_t
	    told_us; /* monotonic; until then the authority wants no order; 0: it says nothing */
	int64_t start_s, end_s; /* when the authority wants it to be renewed; 0: it does not say */
	uint64_t ask_us;        /* monotonic; when it is asked for that again */
	uint64_t n_orders, n_failed;
	struct str error; /* owns; of the last order */
};

/* For names whose files are in `folder`; there is no certificate yet. */
struct site *site_new(const char *folder, const struct conf_views *names);
void site_free(struct site *site);
/* False: what is in the file is nothing to serve, which is said where `says`. */
bool site_load(struct site *site, const char *folder, bool says);
/* What failed under the configuration before may work under this one. */
void site_begin_anew(struct site *site, const struct conf_acme *conf);
/* At the start: how the orders of earlier processes went. */
void site_remember(struct site *site, const char *folder, struct view directory);
/* Another certificate of this authority is there. */
void site_renewed(struct site *site);
/* In the authority's window, as far as that leaves time for what may go wrong. */
int64_t site_renewal(const struct site *site);
/* From now on; 0: it is over. */
uint64_t site_in_us(int64_t wall_s);

#endif
