/* SPDX-License-Identifier: MIT */
/*
 * What a listener does not let in although HTTP allows it, because backends read it
 * in different ways: encoded NULs and slashes in paths, and field names with '_'.
 *
 * Pure functions.
 */
#ifndef WEIR_ROUTE_STRICT_H
#define WEIR_ROUTE_STRICT_H

#include "weir/conf/conf.h"
#include "weir/http/h1.h"

/* Why a request is refused, or REJECT_NONE; names with '_' are dropped or passed. */
enum reject strict_request(const struct conf_listener *conf, struct message *msg);

/*
 * Names with '_', which the parser has dropped: what is left of n_underscore stays so.
 * For heads and trailer sections, before anything else drops fields.
 */
enum reject strict_fields(enum conf_underscores underscores, struct message *msg);

#endif
