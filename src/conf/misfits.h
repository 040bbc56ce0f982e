/* SPDX-License-Identifier: MIT */
/*
 * What is right by itself and does nothing, or harm, where it is used: warnings that name a
 * way out.  Private to conf/.
 */
#ifndef WEIR_CONF_MISFITS_H
#define WEIR_CONF_MISFITS_H

#include "decode.h"

/* For the whole file, when all of it is decoded without errors. */
void warn_misfits(struct decoder *d, struct node *root);

#endif
