/* SPDX-License-Identifier: MIT */
/*
 * Numbers and foreign text as people want to read them on a terminal.
 */
#ifndef WEIR_CTL_TEXT_H
#define WEIR_CTL_TEXT_H

#include <stdint.h>

#include "weir/base/str.h"

/* "850 us", "1.23 ms", "12.3 s", "4 m 5 s": three digits that matter. */
void put_duration_us(struct str *out, uint64_t us);
/* "41 s", "2 m 5 s", "3 h 4 m", "5 d 2 h" */
void put_age_s(struct str *out, uint64_t seconds);
/* "0/s", "12.3/s", "3.4k/s" */
void put_rate(struct str *out, double per_s);
/* "512 B", "12.3 KiB", "3.40 GiB" */
void put_bytes(struct str *out, uint64_t bytes);

/*
 * Appends UTF-8 with control characters replaced by '?': paths and names come
 * from peers and must not drive the terminal.
 */
void put_clean(struct str *out, const char *text);
/* The same over several lines: line feeds and tabs stay. */
void put_clean_lines(struct str *out, const char *text);
/* JSON: what would drive a terminal is written as an escape. */
void put_json(struct str *out, const char *json);

/* Columns that `text` takes, one a code point. */
size_t text_width(const char *text, size_t len);

#endif
