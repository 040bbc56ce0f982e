/* SPDX-License-Identifier: MIT */
/*
 * Certificates that come by themselves, between acme/ and the generations: a new one makes a
 * new generation, and is news.  Thread: control.
 */
#ifndef WEIR_BOOT_ISSUED_H
#define WEIR_BOOT_ISSUED_H

#include "weir/acme/acme.h"

struct control;

struct acme *issued_new(struct control *control);

#endif
