/* SPDX-License-Identifier: MIT */
/* weir init: a first configuration for what runs on this machine. */
#ifndef WEIR_BOOT_INIT_H
#define WEIR_BOOT_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INIT_FOUND_MAX 64

/* A port at which somebody answers HTTP on the loopback interface. */
struct init_found {
	uint16_t port;
	bool six;      /* [::1] and not 127.0.0.1 */
	char name[32]; /* of the process; empty: it cannot be known */
};

/*
 * Ports of TCP sockets that listen on loopback or everywhere and answer a request within a
 * second, in order; those of weir itself and of well-known other services are left out.
 */
size_t init_find(struct init_found found[INIT_FOUND_MAX]);

/*
 * Writes `path`, which must not exist, and says on standard output what it did and how to go
 * on.  The exit code.
 */
int init_run(const char *path);

#endif
