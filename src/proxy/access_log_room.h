/* SPDX-License-Identifier: MIT */
/* Between access_log.c and access_log_note.c. */
#ifndef WEIR_PROXY_ACCESS_LOG_ROOM_H
#define WEIR_PROXY_ACCESS_LOG_ROOM_H

#include "exchange.h"

/* A field is cut here, so that no client can make a line too long to be written. */
#define FIELD_MAX 2048
/* Four fields, every byte of them escaped in the longest way. */
#define NOTE_MAX (5 * FIELD_MAX * 6)
#define LINE_MAX_LEN (NOTE_MAX + 2048)

static inline const struct conf_access_log *access_log_conf(const struct exchange *ex)
{
	return &ex->gl->gen->conf->log.access;
}

#endif
