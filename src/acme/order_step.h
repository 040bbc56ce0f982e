/* SPDX-License-Identifier: MIT */
/* What the files of an order share. */
#ifndef WEIR_ACME_ORDER_STEP_H
#define WEIR_ACME_ORDER_STEP_H

#include "order.h"

extern const char *const order_types[]; /* of challenges, as authorities name them */

/* ---- order_step.c ---- */

/* The only way to change it. */
void order_set_step(struct order *o, enum order_step step);
/* The caller may begin the next one. */
void order_finish(struct order *o, struct order_result *result);
/* `a`: it was the authority's answer; or NULL. */
void order_fail(struct order *o, const struct ca_answer *a, const char *fmt, ...) PRINTF_LIKE(3, 4);
void order_take(struct str *to, struct view text);
/* An https URL out of an answer; what an authority names goes nowhere else. */
bool order_take_url(struct str *to, const char *text);
/* Whether the object is of that status. */
bool order_is(const json_t *object, const char *status);
/* The same request again, later each time, or when the authority says. */
void order_again(struct order *o, const struct ca_answer *a, const char *what);
/* POST-as-GET. */
void order_read(struct order *o, const struct str *url);

/* ---- order_names.c ---- */

/* False: the answer is no order. */
bool order_read_names(struct order *o, const struct ca_answer *a);
/* URL of the authorization at hand. */
const char *order_name_url(const struct order *o);
void order_read_name(struct order *o, enum order_step step);
void order_next_name(struct order *o);
void order_on_placed(struct order *o, const struct ca_answer *a);
void order_on_name(struct order *o, const struct ca_answer *a);
void order_on_validation(struct order *o, const struct ca_answer *a);

/* ---- order_cert.c ---- */

void order_finalize(struct order *o);
void order_on_issuing(struct order *o, const struct ca_answer *a);
void order_on_download(struct order *o, const struct ca_answer *a);

#endif
