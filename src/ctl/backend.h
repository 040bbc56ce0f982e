/* SPDX-License-Identifier: MIT */
/*
 * Backends as the API shows them: their rows, their table, and the
 * POOL/BACKEND that commands name them by.
 */
#ifndef WEIR_CTL_BACKEND_H
#define WEIR_CTL_BACKEND_H

#include <jansson.h>

#include "ctl.h"
#include "table.h"

struct backend_ref {
	char pool[256];
	const char *backend; /* behind the first slash of the argument; NULL: none */
};

/* POOL[/BACKEND]; CTL_USAGE when it is neither, or `whole` (a backend) is needed and missing. */
enum ctl_exit backend_ref_parse(struct ctl *ctl, const char *text, bool whole,
				struct backend_ref *out);
/* "/v1/pools/P" or "/v1/pools/P/backends/B" */
void backend_ref_path(const struct backend_ref *ref, struct str *out);

/* The row of that name in a pool object; NULL when there is none. */
const json_t *pool_backend(const json_t *pool, const char *name);

/* Takes requests now, as far as its state tells. */
bool backend_is_usable(const json_t *backend);
enum colour state_colour(const char *state);
/* Since when and why a backend is not up: "41 s: connect refused"; nothing when it is. */
void put_why(struct str *out, const json_t *backend);
/* The same behind its state: "down 41 s: connect refused" */
void put_state(struct str *out, const json_t *backend);

/* "scalability shared" */
void put_verdict(struct str *out, const char *verdict);
enum colour verdict_colour(const char *verdict);
/* A cell with that number of a latency; "-" without samples. */
void latency_cell(struct table *table, const json_t *latency, const char *key);

/* The table of `weirctl backends`. */
void backends_table_init(struct table *table);
void backends_table_row(struct table *table, const char *pool, const json_t *backend);

#endif
