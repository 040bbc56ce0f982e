/* SPDX-License-Identifier: MIT */
/*
 * The access log's second half: a thread of its own takes lines out of the
 * workers' rings and writes them.  It may hang on a disk or a reader; nobody
 * waits for it, and what finds no room in the rings is dropped and counted.
 *
 * A new configuration goes through prepare, which may fail and changes nothing,
 * and then commit or cancel.  Thread: control, but for the writer's own.
 */
#ifndef WEIR_BOOT_LOG_WRITER_H
#define WEIR_BOOT_LOG_WRITER_H

#include "weir/admin/admin.h"
#include "weir/conf/conf.h"

struct control;
struct log_writer;

struct log_writer *log_writer_new(struct control *control, const struct conf *conf,
				  struct str *why);

enum err log_writer_prepare(struct log_writer *writer, const struct conf *conf, struct str *why);
void log_writer_commit(struct log_writer *writer);
void log_writer_cancel(struct log_writer *writer);

/* Opens the file again, some time from now. */
void log_writer_reopen(struct log_writer *writer);
/* For GET /v1/status and /metrics. */
void log_writer_status(struct log_writer *writer, struct arena *arena, struct admin_log *out);
/* Writes what is left, for a while; false: the thread hangs, and nothing that it
 * uses may be freed.  NULL is fine. */
bool log_writer_free(struct log_writer *writer);

#endif
