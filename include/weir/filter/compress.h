/* SPDX-License-Identifier: MIT */
/* What compression has done since the start.  Any thread, but where it says so. */
#ifndef WEIR_FILTER_COMPRESS_H
#define WEIR_FILTER_COMPRESS_H

#include <stdint.h>

#include "weir/base/pack.h"
#include "weir/base/str.h"

struct compress_sums {
	uint64_t responses, bytes_in, bytes_out;
	uint64_t no_memory; /* answers that went as they were: compress_bytes was reached */
	uint64_t memory;    /* held now, in bytes */
};

struct compress_sums compress_sums(void);

/* For the process that takes over.  Control thread. */
void compress_pack(struct str *out);
void compress_unpack(struct unpack *in);

/* "libzstd 1.5.4, ...": the libraries that weir was built with. */
void compress_libraries(struct str *out);

#endif
