/* SPDX-License-Identifier: MIT */
/*
 * Error codes of functions that can fail.  ERR_OK is 0, everything else comes
 * from tbl/errors.def with its sentence.  Questions return bool instead, and
 * resumable work returns enum step.
 */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

enum err {
#define ERROR(name, sentence) ERR_##name,
#include "weir/tbl/errors.def"
#undef ERROR
};

/* A static sentence for `err`, never NULL. */
const char *err_text(enum err err);

/* The code that fits an errno value of a socket call. */
enum err err_from_errno(int errno_value);

/* Result of work that may have to wait. */
enum step {
	STEP_MORE, /* progress was made, call again */
	STEP_WAIT, /* nothing to do until the descriptor is ready */
	STEP_DONE, /* finished */
	STEP_FAIL, /* broken, the reason is set */
};

#endif
