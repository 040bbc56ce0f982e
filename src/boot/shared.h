/* SPDX-License-Identifier: MIT */
/*
 * The cluster (weir/cluster/cluster.h) as a part of the process; a build without hiredis
 * has none, and says so to those who ask for one.  Thread: control.
 */
#ifndef WEIR_BOOT_SHARED_H
#define WEIR_BOOT_SHARED_H

#include "control.h"

#include "weir/acme/acme.h"

/* What it is built with, for people; NULL: this build has none. */
const char *shared_library(void);
/* NULL without memory, or where there is none. */
struct cluster *shared_new(struct control *control);
/* As of the cluster. */
enum err shared_prepare(struct control *control, const struct conf *conf, struct str *why);
void shared_commit(struct control *control);
void shared_cancel(struct control *control);
void shared_tick(struct control *control);
/* Whose turn it is to order certificates: always ours where nothing is shared. */
void shared_turn(struct control *control, const struct acme_wish *wish, struct acme_turn *out);
void shared_free(struct control *control);
/* For the process that takes over. */
void shared_pack(const struct control *control, struct str *out);
void shared_unpack(struct unpack *in, struct control *control);
/* For GET /v1/status and /v1/nodes. */
void shared_status(const struct control *control, struct arena *arena, struct admin_status *out);

#endif
