/* SPDX-License-Identifier: MIT */
/*
 * The EndpointSlices of a service that are known, and the members that follow; private to
 * kubernetes.c and kubernetes_slices.c.  Control thread.
 */
#ifndef WEIR_DISCOVER_KUBERNETES_SLICES_H
#define WEIR_DISCOVER_KUBERNETES_SLICES_H

#include "ask.h"

struct slice;

struct slices {
	struct source *source; /* whose they are; borrowed */
	struct slice *slices;  /* owns */
	size_t n;
	char trouble[120]; /* of what came since the last slices_answer */
};

void slices_fini(struct slices *s);
/* A new one, or one that has changed, as an object of the API. */
void slices_take(struct slices *s, const json_t *object);
/* False: there is none of this name. */
bool slices_drop(struct slices *s, const char *name);
/* A list begins: those that it does not have go with slices_drop_unlisted. */
void slices_unlist(struct slices *s);
void slices_drop_unlisted(struct slices *s);
/* Tells the source who its members are. */
void slices_answer(struct slices *s);

#endif
