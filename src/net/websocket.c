/* SPDX-License-Identifier: MIT */
/* The key and its answer of a WebSocket handshake (RFC 6455 4). */
#include "weir/net/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "weir/base/check.h"

void websocket_accept(struct view key, char out[WEBSOCKET_ACCEPT_LEN])
{
	static const struct view guid = VIEW("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	unsigned char whole[WEBSOCKET_KEY_LEN + 36], digest[SHA_DIGEST_LENGTH];
	unsigned char text[WEBSOCKET_ACCEPT_LEN + 1];
	check(key.len == WEBSOCKET_KEY_LEN && guid.len == 36);
	memcpy(whole, key.ptr, key.len);
	memcpy(whole + key.len, guid.ptr, guid.len);
	SHA1(whole, sizeof(whole), digest);
	check(EVP_EncodeBlock(text, digest, sizeof(digest)) == WEBSOCKET_ACCEPT_LEN);
	memcpy(out, text, WEBSOCKET_ACCEPT_LEN);
}
