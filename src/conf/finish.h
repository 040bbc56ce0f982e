/* SPDX-License-Identifier: MIT */
/*
 * What can be checked only when an element is complete: names, duplicates,
 * keys that need each other.
 */
#ifndef WEIR_CONF_FINISH_H
#define WEIR_CONF_FINISH_H

#include "decode.h"

void finish_certificate(struct decoder *d, const struct element *element);
void finish_listener(struct decoder *d, const struct element *element);
void finish_error_page(struct decoder *d, const struct element *element);
void finish_rate_limit(struct decoder *d, const struct element *element);
void finish_route(struct decoder *d, const struct element *element);
void finish_backend(struct decoder *d, const struct element *element);
void finish_pool(struct decoder *d, const struct element *element);
/* finish_acme.c: section `acme`, and the names of listeners that need it. */
void finish_acme(struct decoder *d, struct node *root);
/* The whole file: of the parts above. */
void finish_conf(struct decoder *d, struct node *root);

/* ---- finish_element.c ---- */

/* Where to point at for a key of an element: its value, else the element. */
struct node *finish_at(const struct element *element, const char *key);
/* A name is there once; empty: it has none. */
void finish_once(struct decoder *d, struct names *names, const char *what, struct view name,
		 struct node *node);
/* So is an address.  Port 0 lets the kernel choose, each time another one. */
void finish_bind(struct decoder *d, const struct addr *addr, struct node *node);

/* ---- finish_files.c ---- */

void finish_listener_tls(struct decoder *d, const struct element *element);
/* Of a map `tls` that is about a connection of ours; `who` is at its other end. */
void finish_client_tls(struct decoder *d, const struct conf_pool_tls *tls, struct node *map,
		       const char *who);
/* Of a map `auth`. */
void finish_basic(struct decoder *d, const struct conf_auth_basic *basic, struct node *auth);

/* ---- finish_route.c ---- */

/* The variables of these pages are kept for its answers. */
void finish_keep_pages(struct decoder *d, struct conf_route *route,
		       const struct conf_error_pages *pages);

#endif
