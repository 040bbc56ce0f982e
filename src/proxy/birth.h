/* SPDX-License-Identifier: MIT */
/* Private to proxy/: exchanges as they begin, whoever asks. */
#ifndef WEIR_PROXY_BIRTH_H
#define WEIR_PROXY_BIRTH_H

#include "exchange.h"

/* For the request in worker->req, in this generation; NULL: memory is out. */
struct exchange *exchange_make(struct worker *w, const struct exchange_request *req,
			       struct gen_local *gl, void (*on_timeout)(struct timer *timer));

#endif
