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
/* The whole file. */
void finish_conf(struct decoder *d, struct node *root);

#endif
