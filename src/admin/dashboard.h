/* SPDX-License-Identifier: MIT */
/*
 * The dashboard: one HTML page with its style and script inside, made out of
 * dashboard/ at build time (dashboard/page.cmake).  It reads GET /v1/stream.
 */
#ifndef WEIR_ADMIN_DASHBOARD_H
#define WEIR_ADMIN_DASHBOARD_H

#include <stddef.h>

extern const char dashboard_page[];
extern const size_t dashboard_page_len;

#endif
