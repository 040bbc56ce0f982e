/* SPDX-License-Identifier: MIT */
/* What weirctl doctor looks at and finds; rules report with doctor_find. */
#ifndef WEIR_CTL_DOCTOR_H
#define WEIR_CTL_DOCTOR_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/str.h"

struct doctor {
	json_t *status, *pools, *config, *certificates, *latency,
	    *mirror;      /* own; NULL: not there */
	json_t *findings; /* owns */
	size_t n_problems;
};

enum severity { NOTE, PROBLEM };

void doctor_find(struct doctor *d, enum severity severity, const char *advice, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* doctor_timeouts.c; the duration is 0 when it is not there, or off. */
uint64_t doctor_duration_at(const json_t *object, const char *section, const char *key);
void doctor_timeouts(struct doctor *d);

/* doctor_certificates.c */
/* What weir calls a problem and doctor_certificates a note: it costs nothing yet. */
bool doctor_knows_certificate(const char *problem);
void doctor_certificates(struct doctor *d);

#endif
