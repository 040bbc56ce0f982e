/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a PROXY header: what is taken lies within them, asks for no more
 * when some are missing, and what is written from it is read back the same.
 */
#include "weir/net/proxy_protocol.h"
#include "h1_fuzz.h"

static void check_inside(struct view bytes, struct view part)
{
	check(part.len == 0 ||
	      (part.ptr >= bytes.ptr && part.ptr + part.len <= bytes.ptr + bytes.len));
}

static void check_round_trip(const struct proxy_header *header)
{
	char out[PROXY_WRITE_MAX];
	const char *why;
	struct proxy_header again;
	for (unsigned version = 1; version <= 2; version++) {
		size_t len = proxy_write(version, header, out);
		check(proxy_parse(view_of(out, len), &again, &why) == PROXY_OK);
		check(again.len == len && again.local == header->local);
		if (!again.local)
			check(addr_eq(&again.source, &header->source) &&
			      addr_eq(&again.destination, &header->destination));
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct proxy_header header, shorter;
	const char *why = NULL;
	char *copy = exact_copy(data, size);
	struct view bytes = view_of(copy, size);
	enum proxy_result result = proxy_parse(bytes, &header, &why);
	check(result != PROXY_BAD || why);
	check(result != PROXY_MORE || size < PROXY_HEADER_MAX);
	if (result == PROXY_OK) {
		check(header.len <= size && header.len <= PROXY_HEADER_MAX);
		check_inside(bytes, header.alpn);
		check_inside(bytes, header.authority);
		check_inside(bytes, header.unique_id);
		check(proxy_parse(view_head(bytes, header.len - 1), &shorter, &why) == PROXY_MORE);
		check_round_trip(&header);
	}
	free(copy);
	return 0;
}
