/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2, read and written. */
#include "weir/net/proxy_protocol.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/parse.h"
#include "weir/net/stream.h"

#define V1_MAX 107 /* CRLF included */
#define V2_HEAD 16
#define V2_SIGNATURE VIEW("\r\n\r\n\0\r\nQUIT\n")

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX = 0x31 };
enum { V2_TCP4_LEN = 12, V2_TCP6_LEN = 36, V2_UNIX_LEN = 216 };
enum { TLV_ALPN = 0x01, TLV_AUTHORITY = 0x02, TLV_CRC32C = 0x03, TLV_UNIQUE_ID = 0x05 };
enum { TLV_SSL = 0x20, TLV_SSL_HEAD = 5, TLV_CLIENT_SSL = 0x01, TLV_HEAD = 3 };
/* The specification's limit for a unique id. */
#define UNIQUE_ID_MAX 128

static enum proxy_result bad(const char **why, const char *sentence)
{
	*why = sentence;
	return PROXY_BAD;
}

static unsigned get16(const char *ptr)
{
	return (unsigned)(uint8_t)ptr[0] << 8 | (uint8_t)ptr[1];
}

static void put16(char *ptr, size_t value)
{
	ptr[0] = (char)(value >> 8);
	ptr[1] = (char)value;
}

static void set_in4(struct addr *out, const char *ip, unsigned port)
{
	memset(out, 0, sizeof(*out));
	out->len = sizeof(out->in4);
	out->in4.sin_family = AF_INET;
	memcpy(&out->in4.sin_addr, ip, 4);
	out->in4.sin_port = htons((uint16_t)port);
}

static void set_in6(struct addr *out, const char *ip, unsigned port)
{
	memset(out, 0, sizeof(*out));
	out->len = sizeof(out->in6);
	out->in6.sin6_family = AF_INET6;
	memcpy(&out->in6.sin6_addr, ip, 16);
	out->in6.sin6_port = htons((uint16_t)port);
}

/* ---- version 1 ---- */

/* The next word and the single space behind it, or the last word. */
static bool next_word(struct view *rest, struct view *word)
{
	ptrdiff_t space = view_chr(*rest, ' ');
	*word = view_head(*rest, space < 0 ? rest->len : (size_t)space);
	*rest = view_skip(*rest, word->len + 1);
	return word->len > 0;
}

static bool v1_ip(struct view word, int family, char ip[16])
{
	char text[INET6_ADDRSTRLEN];
	if (word.len == 0 || word.len >= sizeof(text))
		return false;
	memcpy(text, word.ptr, word.len);
	text[word.len] = '\0';
	return strlen(text) == word.len && inet_pton(family, text, ip) == 1;
}

static bool v1_port(struct view word, unsigned *port)
{
	uint64_t value;
	if (word.len == 0 || word.len > 5 || (word.len > 1 && word.ptr[0] == '0') ||
	    !parse_u64(word, &value) || value > UINT16_MAX)
		return false;
	*port = (unsigned)value;
	return true;
}

static bool v1_addresses(struct view rest, int family, struct proxy_header *out)
{
	struct view words[4];
	char source[16], destination[16];
	unsigned source_port, destination_port;
	for (unsigned i = 0; i < 4; i++)
		if (!next_word(&rest, &words[i]))
			return false;
	if (rest.len || words[3].ptr[words[3].len] == ' ' || !v1_ip(words[0], family, source) ||
	    !v1_ip(words[1], family, destination) || !v1_port(words[2], &source_port) ||
	    !v1_port(words[3], &destination_port))
		return false;
	void (*set)(struct addr *, const char *, unsigned) = family == AF_INET ? set_in4 : set_in6;
	set(&out->source, source, source_port);
	set(&out->destination, destination, destination_port);
	return true;
}

static enum proxy_result parse_v1(struct view bytes, struct proxy_header *out, const char **why)
{
	struct view line = view_head(bytes, V1_MAX), family;
	const char *lf = memchr(line.ptr, '\n', line.len);
	if (!lf && line.len < V1_MAX)
		return PROXY_MORE;
	if (!lf)
		return bad(why, "a version 1 header is longer than 107 bytes");
	line.len = (size_t)(lf - line.ptr);
	if (line.ptr[line.len - 1] != '\r')
		return bad(why, "a version 1 header does not end in CRLF");
	out->version = 1;
	out->len = line.len + 1;
	line.len--;
	struct view rest = view_skip(line, 6); /* "PROXY " */
	next_word(&rest, &family);
	if (view_eq(family, VIEW("UNKNOWN"))) {
		out->local = true;
		return PROXY_OK;
	}
	bool four = view_eq(family, VIEW("TCP4"));
	if (!four && !view_eq(family, VIEW("TCP6")))
		return bad(why, "a version 1 header names an unknown protocol");
	if (!v1_addresses(rest, four ? AF_INET : AF_INET6, out))
		return bad(why, "a version 1 header has malformed addresses");
	return PROXY_OK;
}

/* ---- version 2 ---- */

/* CRC-32C (Castagnoli), reflected; headers are short and rare, so bit by bit. */
static uint32_t crc32c(uint32_t crc, const char *ptr, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= (uint8_t)ptr[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

/* Over the whole header with the checksum's own four bytes taken as zero. */
static bool checksum_fits(struct view header, struct view value)
{
	static const char zero[4];
	if (value.len != 4)
		return false;
	size_t before = (size_t)(value.ptr - header.ptr);
	uint32_t crc = crc32c(UINT32_MAX, header.ptr, before);
	crc = crc32c(crc, zero, sizeof(zero));
	crc = ~crc32c(crc, value.ptr + 4, header.len - before - 4);
	return crc == ((uint32_t)get16(value.ptr) << 16 | get16(value.ptr + 2));
}

static enum proxy_result v2_tlv(unsigned type, struct view value, struct view header,
				struct proxy_header *out, const char **why)
{
	switch (type) {
	case TLV_ALPN:
		out->alpn = value;
		break;
	case TLV_AUTHORITY:
		out->authority = value;
		break;
	case TLV_UNIQUE_ID:
		if (value.len > UNIQUE_ID_MAX)
			return bad(why, "a version 2 header has a unique id above 128 bytes");
		out->unique_id = value;
		break;
	case TLV_SSL:
		if (value.len < TLV_SSL_HEAD)
			return bad(why, "a version 2 header has a TLS entry that is too short");
		out->tls = value.ptr[0] & TLV_CLIENT_SSL;
		break;
	case TLV_CRC32C:
		if (!checksum_fits(header, value))
			return bad(why, "a version 2 header has a wrong checksum");
		break;
	default: /* of no interest */
		break;
	}
	return PROXY_OK;
}

static enum proxy_result v2_tlvs(struct view rest, struct view header, struct proxy_header *out,
				 const char **why)
{
	while (rest.len) {
		if (rest.len < TLV_HEAD || rest.len - TLV_HEAD < get16(rest.ptr + 1))
			return bad(why, "a version 2 header has an entry beyond its end");
		struct view value = view_of(rest.ptr + TLV_HEAD, get16(rest.ptr + 1));
		unsigned type = (uint8_t)rest.ptr[0];
		if (v2_tlv(type, value, header, out, why) == PROXY_BAD)
			return PROXY_BAD;
		rest = view_skip(rest, TLV_HEAD + value.len);
	}
	return PROXY_OK;
}

/* The addresses; *used bytes of `rest`. */
static enum proxy_result v2_addresses(unsigned family, struct view rest, struct proxy_header *out,
				      size_t *used, const char **why)
{
	const char *at = rest.ptr;
	switch (family) {
	case V2_UNSPEC:
		*used = 0;
		break;
	case V2_TCP4:
		*used = V2_TCP4_LEN;
		break;
	case V2_TCP6:
		*used = V2_TCP6_LEN;
		break;
	case V2_UNIX:
		*used = V2_UNIX_LEN;
		break;
	default:
		return bad(why, "a version 2 header is for another protocol than TCP");
	}
	if (rest.len < *used)
		return bad(why, "a version 2 header is too short for its addresses");
	if (family == V2_TCP4) {
		set_in4(&out->source, at, get16(at + 8));
		set_in4(&out->destination, at + 4, get16(at + 10));
	} else if (family == V2_TCP6) {
		set_in6(&out->source, at, get16(at + 32));
		set_in6(&out->destination, at + 16, get16(at + 34));
	} else {
		out->local = true;
	}
	return PROXY_OK;
}

static enum proxy_result parse_v2(struct view bytes, struct proxy_header *out, const char **why)
{
	if (bytes.len < V2_HEAD)
		return PROXY_MORE;
	unsigned command = (uint8_t)bytes.ptr[12], family = (uint8_t)bytes.ptr[13];
	size_t used = 0;
	if (command != V2_LOCAL && command != V2_PROXY)
		return bad(why, "a version 2 header has an unknown version or command");
	out->version = 2;
	out->len = V2_HEAD + get16(bytes.ptr + 14);
	if (out->len > PROXY_HEADER_MAX)
		return bad(why, "a version 2 header is larger than 4096 bytes");
	if (bytes.len < out->len)
		return PROXY_MORE;
	struct view header = view_head(bytes, out->len), rest = view_skip(header, V2_HEAD);
	if (command == V2_LOCAL) { /* whatever follows is to be passed over */
		out->local = true;
		return PROXY_OK;
	}
	if (v2_addresses(family, rest, out, &used, why) == PROXY_BAD)
		return PROXY_BAD;
	return v2_tlvs(view_skip(rest, used), header, out, why);
}

/* ---- both ---- */

/* `bytes` agrees with `expected` as far as it goes. */
static bool begins(struct view bytes, struct view expected)
{
	size_t n = bytes.len < expected.len ? bytes.len : expected.len;
	return n == 0 || memcmp(bytes.ptr, expected.ptr, n) == 0;
}

/* "PROXY" alone may be a method of HTTP. */
bool proxy_is_begun(struct view bytes)
{
	return view_starts(bytes, V2_SIGNATURE) || view_starts(bytes, VIEW("PROXY TCP")) ||
	       view_starts(bytes, VIEW("PROXY UNKNOWN"));
}

enum proxy_result proxy_parse(struct view bytes, struct proxy_header *out, const char **why)
{
	memset(out, 0, sizeof(*out));
	if (bytes.len == 0)
		return PROXY_MORE;
	if (begins(bytes, VIEW("PROXY ")))
		return bytes.len < 6 ? PROXY_MORE : parse_v1(bytes, out, why);
	if (begins(bytes, V2_SIGNATURE))
		return bytes.len < V2_SIGNATURE.len ? PROXY_MORE : parse_v2(bytes, out, why);
	return bad(why, "there is no PROXY header");
}

/* ---- writing ---- */

/* AF_INET, AF_INET6, or AF_UNSPEC when the two do not go together. */
static int family_of(const struct proxy_header *header)
{
	int family = header->source.len ? header->source.sa.sa_family : AF_UNSPEC;
	if (header->local || header->destination.len == 0 ||
	    header->destination.sa.sa_family != family || (family != AF_INET && family != AF_INET6))
		return AF_UNSPEC;
	return family;
}

static const void *ip_of(const struct addr *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return &addr->in4.sin_addr;
	return &addr->in6.sin6_addr;
}

static size_t write_v1(const struct proxy_header *header, char *out)
{
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	int family = family_of(header);
	if (family == AF_UNSPEC) {
		memcpy(out, "PROXY UNKNOWN\r\n", 15);
		return 15;
	}
	inet_ntop(family, ip_of(&header->source), source, sizeof(source));
	inet_ntop(family, ip_of(&header->destination), destination, sizeof(destination));
	return (size_t)snprintf(out, PROXY_WRITE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
				family == AF_INET ? '4' : '6', source, destination,
				addr_port(&header->source), addr_port(&header->destination));
}

static size_t write_tlv(char *out, unsigned type, struct view value)
{
	if (value.len == 0 || value.len > PROXY_TLV_MAX)
		return 0;
	out[0] = (char)type;
	put16(out + 1, value.len);
	memcpy(out + TLV_HEAD, value.ptr, value.len);
	return TLV_HEAD + value.len;
}

static size_t write_tls_tlv(char *out)
{
	static const char verified_nothing[4] = {0, 0, 0, 1};
	char value[TLV_SSL_HEAD] = {TLV_CLIENT_SSL};
	memcpy(value + 1, verified_nothing, sizeof(verified_nothing));
	return write_tlv(out, TLV_SSL, view_of(value, sizeof(value)));
}

static size_t write_addresses(const struct proxy_header *header, int family, char *out)
{
	size_t ip = family == AF_INET ? 4 : 16;
	memcpy(out, ip_of(&header->source), ip);
	memcpy(out + ip, ip_of(&header->destination), ip);
	put16(out + 2 * ip, addr_port(&header->source));
	put16(out + 2 * ip + 2, addr_port(&header->destination));
	return 2 * ip + 4;
}

static size_t write_v2(const struct proxy_header *header, char *out)
{
	int family = family_of(header);
	size_t at = V2_HEAD;
	memcpy(out, V2_SIGNATURE.ptr, V2_SIGNATURE.len);
	out[12] = family == AF_UNSPEC ? V2_LOCAL : V2_PROXY;
	out[13] = family == AF_INET ? V2_TCP4 : family == AF_INET6 ? V2_TCP6 : V2_UNSPEC;
	if (family != AF_UNSPEC) {
		at += write_addresses(header, family, out + at);
		at += write_tlv(out + at, TLV_ALPN, header->alpn);
		at += write_tlv(out + at, TLV_AUTHORITY, header->authority);
		if (header->unique_id.len <= UNIQUE_ID_MAX)
			at += write_tlv(out + at, TLV_UNIQUE_ID, header->unique_id);
		if (header->tls)
			at += write_tls_tlv(out + at);
	}
	put16(out + 14, at - V2_HEAD);
	check(at <= PROXY_WRITE_MAX);
	return at;
}

size_t proxy_write(unsigned version, const struct proxy_header *header, char out[PROXY_WRITE_MAX])
{
	return version == 1 ? write_v1(header, out) : write_v2(header, out);
}

void proxy_send_local(struct stream *stream, unsigned version)
{
	static const struct proxy_header nobody = {.local = true};
	char header[PROXY_WRITE_MAX];
	stream_write(stream, header, proxy_write(version, &nobody, header));
}
