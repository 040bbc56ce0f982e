/* SPDX-License-Identifier: MIT */
/* Sentences for the errors of errors.def, and errno as one of them. */
#include "weir/base/err.h"

#include <errno.h>

#include "weir/base/defs.h"

static const char *const sentences[] = {
#define ERROR(name, sentence) [ERR_##name] = (sentence),
#include "weir/tbl/errors.def"
#undef ERROR
};

const char *err_text(enum err err)
{
	if ((size_t)err >= ARRAY_LEN(sentences))
		return "unknown error";
	return sentences[err];
}

enum err err_from_errno(int errno_value)
{
	switch (errno_value) {
	case 0:
		return ERR_OK;
	case ENOMEM:
	case ENOBUFS:
		return ERR_NOMEM;
	case ECONNREFUSED:
	case ENOENT: /* unix socket that is not there */
		return ERR_REFUSED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return ERR_RESET;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
		return ERR_UNREACH;
	case EMFILE:
	case ENFILE:
		return ERR_FDS;
	default:
		return ERR_IO;
	}
}
