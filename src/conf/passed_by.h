/* SPDX-License-Identifier: MIT */
/*
 * Routes that deny by path are compared with what routes see, backends act on what
 * they make of it: warnings where the two may differ.  Private to conf/.
 */
#ifndef WEIR_CONF_PASSED_BY_H
#define WEIR_CONF_PASSED_BY_H

#include "decode.h"

/* For the whole file, when all of it is decoded. */
void warn_passed_by(struct decoder *d, struct node *root);

#endif
