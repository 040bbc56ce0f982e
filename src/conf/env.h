/* SPDX-License-Identifier: MIT */
/*
 * ${NAME} and ${NAME:-default} in values: the environment of the process, or what the file
 * says that NAME_FILE names, without line ends behind it.  It happens in texts that are read
 * already: whatever a value brings, it never becomes a key, a list or another line of YAML.
 * $${ is ${.  rewrite.path keeps its ${group}.
 *
 * What comes from a file, or is written ${secret:NAME}, is a secret: no dump shows it.
 * Thread: control.
 */
#ifndef WEIR_CONF_ENV_H
#define WEIR_CONF_ENV_H

#include "node.h"
#include "report.h"

struct env {
	struct report *report;
	struct arena *arena; /* of texts; dies after loading */
	struct conf_views secrets;
};

/* In all values below `root`. */
void env_expand(struct env *env, struct node *root);

/* $${ in place of ${, in a tree that is to be written: it is read as the same again. */
void env_escape(struct arena *arena, struct node *root);

#endif
