/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: a question of a filter to a pool, while an exchange waits for it.  It
 * is an exchange of its own without a client: pool, checks, queue, retries, limits and the
 * figures of backends are those of any other.  Its answer is kept whole, up to ASIDE_BODY_MAX
 * bytes of body; anything else (cut off, too long, too late) is no answer.
 *
 *   asked ----> whole, or in vain ----> told: asking->wait.ready
 *     |
 *     +-------> called off (the client left): it ends, and nobody is told
 *
 * Both the exchange that waits and the one that asks hold it; the last one frees it.
 */
#ifndef WEIR_PROXY_ASIDE_H
#define WEIR_PROXY_ASIDE_H

#include "asking.h"

#define ASIDE_BODY_MAX (64 * 1024)

/*
 * Asks for ex, which is held (asking.h); the head at hand becomes that of the question.
 * False: there is no memory for it.
 */
bool aside_ask(struct exchange *ex, const struct filter_question *question);
/* What came back, until the asking is freed. */
const struct filter_heard *aside_heard(const struct asking *asking);

#endif
