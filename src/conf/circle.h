/* SPDX-License-Identifier: MIT */
/* Warns of backends that are listeners of the same weir. */
#ifndef WEIR_CONF_CIRCLE_H
#define WEIR_CONF_CIRCLE_H

#include "decode.h"

/* The configuration has no mistakes otherwise. */
void warn_of_circles(struct decoder *d, struct node *root);

#endif
