/* SPDX-License-Identifier: MIT */
/*
 * Text of strangers on its way to a terminal, a log viewer or a page.  What would
 * drive it is hostile: controls of C0 and C1, DEL, what turns the direction of
 * text, and separators of lines and paragraphs (U+2028, U+2029).  So is what is
 * no UTF-8.
 */
#ifndef WEIR_BASE_TEXT_H
#define WEIR_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid UTF-8 sequence at p (RFC 3629), or 0. */
size_t utf8_len(const char *p, size_t n);
/* Of a valid sequence. */
unsigned utf8_code_point(const char *p, size_t len);
/* The length for what is harmless to look at; 0 for a hostile one as well. */
size_t text_harmless_len(const char *p, size_t n);
/* Puts '?' in place of whatever is hostile but the controls in `allowed`; the new length. */
size_t text_clean(char *text, size_t len, const char *allowed);

#endif
