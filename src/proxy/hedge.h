/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: hedging.  When an answer is late, the same request goes to
 * one other backend; whichever sends a byte first serves the client, the other
 * is given up.
 *
 *   ex->at      the attempt that counts; ex->hedge the other one, or NULL
 *   settle      the first byte of an answer: its attempt becomes ex->at
 *   take over   ex->at failed, and is not tried again: the other one becomes ex->at
 *
 * Each has deadlines of its own, but for timeouts.response, which is that of ex->at:
 * the exchange does not wait longer because it asked two.  The second one takes no
 * retry away: what may follow the failure of the first is the same without it.
 *
 * Only GET and HEAD without a body, at most one hedge an exchange, and as many as the
 * budget allows (the retry budget on top).
 */
#ifndef WEIR_PROXY_HEDGE_H
#define WEIR_PROXY_HEDGE_H

#include "exchange.h"

/* How long to wait for an answer before; 0: not for this exchange. */
uint64_t hedge_delay(const struct exchange *ex);
/* The time is over: asks another backend, if there is one.  Once an exchange. */
void hedge_begin(struct exchange *ex);
/* Only with ex->hedge: */
void hedge_settle(struct attempt *winner);
void hedge_take_over(struct exchange *ex, bool error);
/* Gives up the one that does not count. */
void hedge_drop(struct exchange *ex, bool error);

#endif
