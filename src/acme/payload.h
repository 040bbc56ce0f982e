/* SPDX-License-Identifier: MIT */
/* What requests to an authority say (RFC 8555 7). */
#ifndef WEIR_ACME_PAYLOAD_H
#define WEIR_ACME_PAYLOAD_H

#include "weir/base/str.h"
#include "weir/conf/conf.h"

/* `binding`: of an account that is there outside of ACME; empty: none. */
void payload_account(const struct conf_acme *conf, struct view binding, struct str *out);
/* `replaces`: the certificate that is renewed; empty: none. */
void payload_order(const struct conf_views *names, struct view replaces, struct str *out);
/* A request for a certificate, in DER. */
void payload_finalize(struct view csr, struct str *out);

#endif
