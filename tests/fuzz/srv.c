/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the answer of a name server: nothing is read beyond the end, and what comes
 * out are names of hosts, terminated.
 */
#include <stdlib.h>
#include <string.h>

#include "discover/srv.h"
#include "weir/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t most = srv_most(data, size);
	struct srv_record *records = calloc(most + 1, sizeof(*records));
	uint32_t ttl;
	check(records != NULL);
	int n = srv_parse(data, size, records, &ttl);
	check(n >= -1 && n <= (int)most);
	for (int i = 0; i < n; i++) {
		const char *end = memchr(records[i].target, '\0', DNS_NAME_MAX);
		check(end != NULL);
		for (const char *c = records[i].target; c < end; c++)
			check(*c > ' ' && *c < 0x7f);
	}
	free(records);
	return 0;
}
