/* SPDX-License-Identifier: MIT */
/*
 * Calls of weir's API, and reading what comes back.  The getters never fail: a
 * member that is missing or of another type reads as 0, "" or NULL, so that an
 * older weirctl shows what it knows of a newer weir.
 *
 * weir/base/json.h must not be included beside this: both it and jansson have
 * a json_object().  Build request bodies with json_pack().
 */
#ifndef WEIR_CTL_API_H
#define WEIR_CTL_API_H

#include <jansson.h>
#include <stdint.h>

#include "ctl.h"

/* `*out` is the caller's, to json_decref; on failure NULL, and ctl->why says why. */
enum ctl_exit api_get(struct ctl *ctl, const char *path, json_t **out);
/* `body` may be NULL; its reference is taken. */
enum ctl_exit api_send(struct ctl *ctl, const char *method, const char *path, json_t *body,
		       json_t **out);

/* The flight recorder's last seconds; of the whole pool when `backend` is NULL. */
void api_history_path(struct str *out, const char *pool, const char *backend, uint64_t seconds);

/* GETs `path` and appends the answer: as JSON, or what `print` makes of it. */
enum ctl_exit api_show(struct ctl *ctl, const char *path,
		       void (*print)(struct ctl *ctl, const json_t *answer));

/* Appends the answer as JSON: indented, or in one line when it is one of many. */
void api_put_json(struct ctl *ctl, const json_t *answer);

const char *get_text(const json_t *object, const char *key);
uint64_t get_u64(const json_t *object, const char *key);
double get_real(const json_t *object, const char *key);
bool get_bool(const json_t *object, const char *key);
bool has_member(const json_t *object, const char *key); /* and it is not null */

#endif
