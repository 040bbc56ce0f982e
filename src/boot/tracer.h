/* SPDX-License-Identifier: MIT */
/*
 * Distributed tracing, the control thread's half: takes the accounts of sampled
 * exchanges out of the workers' rings and sends them as spans to a collector
 * (OTLP over HTTP, JSON), one request at a time.  It never blocks; what a
 * collector does not take stays in the rings until they are full.
 *
 *             interval
 *   +------+ ---------> +--------+
 *   | IDLE |            | ASKING | <----------+
 *   +------+ <--------- +--------+            |
 *      ^       answered     |            +---------+
 *      |                    +----------> | BACKOFF |
 *      |    failed, 429, 502, 503, 504   +---------+
 *      +------------ given up -------------- |
 *
 *   IDLE        waits for tracing.interval; spans gather in the rings
 *   ASKING      one request (weir/fetch/fetch.h)         tracing.timeout
 *   BACKOFF     the same spans again, after Retry-After, or 1 s doubling to 30 s
 */
#ifndef WEIR_BOOT_TRACER_H
#define WEIR_BOOT_TRACER_H

#include "weir/admin/admin.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

struct control;
struct tracer;

struct tracer *tracer_new(struct control *control);
/*
 * Makes ready for a configuration: files are read, rings are there when it
 * returns.  On failure nothing changes and `why` says what is wrong; else commit
 * or cancel has to follow.
 */
enum err tracer_prepare(struct tracer *tracer, const struct conf *conf, struct str *why);
void tracer_commit(struct tracer *tracer);
void tracer_cancel(struct tracer *tracer);
/* Everything is sent, or cannot be now: nothing is lost by stopping that waiting would save. */
bool tracer_is_done(struct tracer *tracer);
void tracer_free(struct tracer *tracer); /* NULL is fine */

/* Its counters, for the process that takes over. */
void tracer_pack(const struct tracer *tracer, struct str *out);
void tracer_unpack(struct unpack *in, struct tracer *tracer);
/* For GET /v1/status and /metrics. */
void tracer_status(const struct tracer *tracer, struct arena *arena, struct admin_status *out);

#endif
