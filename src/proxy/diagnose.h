/* SPDX-License-Identifier: MIT */
/* Server-Timing and Proxy-Status on responses, where the listener asks for them. */
#ifndef WEIR_PROXY_DIAGNOSE_H
#define WEIR_PROXY_DIAGNOSE_H

#include "exchange.h"

/* Adds them to a backend's head on its way to the client. */
void diagnose_response(struct exchange *ex, struct message *resp);
/* Adds Proxy-Status with the kind of error to worker->resp. */
void diagnose_error(struct exchange *ex, enum outcome outcome);

#endif
