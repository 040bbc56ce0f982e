/* SPDX-License-Identifier: MIT */
/*
 * Writing Prometheus text (exposition format 0.0.4) or OpenMetrics 1.0: a
 * family's head, then its samples.
 *
 *   metric_family(out, "weir_pool_queue_length", "gauge", "Exchanges that wait.");
 *   metric_begin(out, "weir_pool_queue_length");
 *   metric_label(out, "pool", name);
 *   metric_u64(out, n);
 */
#ifndef WEIR_ADMIN_METRIC_H
#define WEIR_ADMIN_METRIC_H

#include "weir/base/str.h"

struct metric {
	struct str *out;
	bool has_labels; /* of the sample being written */
	bool open;       /* OpenMetrics: the family of a counter has no _total */
};

void metric_family(struct metric *m, const char *name, const char *type, const char *help);
void metric_begin(struct metric *m, const char *name);
/* Backslash, quote and line end in the value are escaped. */
void metric_label(struct metric *m, const char *key, struct view value);
/* A value of our own: it has nothing to escape. */
void metric_word(struct metric *m, const char *key, const char *word);
/* Right after metric_begin: labels that metric_label has written before. */
void metric_labels(struct metric *m, struct view text);
void metric_u64(struct metric *m, uint64_t n);
/* Exact to the microsecond. */
void metric_seconds(struct metric *m, uint64_t us);

/*
 * The family of a counter row: "bytes_in" is PREFIX_received_bytes_total and
 * "responses_2xx" PREFIX_responses_total{code_class="2xx"}; anything else is
 * PREFIX_<row>_total.  `code_class` is empty without such a label.
 */
#define METRIC_NAME_MAX 96
struct metric_counter {
	char name[METRIC_NAME_MAX];
	struct view code_class;
};
void metric_counter_name(struct metric_counter *out, const char *prefix, const char *row);
/* The same and, where the row before (`out` as it was; zero: none) was of another family, its head.
 */
void metric_counter_next(struct metric *m, struct metric_counter *out, const char *prefix,
			 const char *row, const char *help);

#endif
