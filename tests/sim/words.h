/* SPDX-License-Identifier: MIT */
/* Bytes that nodes tell each other by way of Redis. */
#ifndef WEIR_SIM_WORDS_H
#define WEIR_SIM_WORDS_H

#include <stddef.h>
#include <stdint.h>

/* Of what a node says of itself once a second, when all its backends have traffic. */
size_t words_bytes(uint32_t n_backends);

#endif
