/* SPDX-License-Identifier: MIT */
/*
 * Collects diagnostics while a configuration is read: keeps the first few,
 * counts all, and copies the source line of each.
 */
#ifndef WEIR_CONF_REPORT_H
#define WEIR_CONF_REPORT_H

#include <stdbool.h>

#include "node.h"
#include "weir/conf/conf.h"

#define REPORT_MAX 20 /* kept of each severity */

struct report {
	struct conf_diags *diags;         /* borrows */
	struct view text;                 /* of the file; empty without one */
	struct source *source;            /* what is being read in its place; NULL: it */
	const struct conf_views *secrets; /* that no message shows; NULL: none, borrows */
	size_t n_kept[2];                 /* by severity */
};

void report_init(struct report *r, struct conf_diags *diags, struct view text, const char *file);
/* The text of a source; NULL: of the main file. */
struct view report_text(const struct report *r, const struct source *source);
/* "line 3", or "conf.d/a.yaml:3" for another file than that of `from`. */
const char *report_place(const struct report *r, const struct spot *from, const struct spot *spot,
			 struct arena *arena);
/* `hint` may be NULL; both texts are copied. */
void report_at(struct report *r, enum conf_severity severity, const struct spot *spot,
	       const char *hint, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Where `len` bytes at `offset` of a scalar stand, as near as that can be said. */
struct spot report_inside(const struct report *r, const struct node *scalar, size_t offset,
			  size_t len);
/* False when another error would only be counted: no need to look for a hint. */
bool report_has_room(const struct report *r);
/* Orders what was kept by place. */
void report_sort(struct report *r);

#endif
