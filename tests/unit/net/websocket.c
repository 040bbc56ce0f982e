/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "weir/net/websocket.h"

/* The example of RFC 6455 1.3. */
Test(websocket, accept)
{
	char out[WEBSOCKET_ACCEPT_LEN];
	websocket_accept(VIEW("dGhlIHNhbXBsZSBub25jZQ=="), out);
	cr_assert(view_eq(view_of(out, sizeof(out)), VIEW("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
}
