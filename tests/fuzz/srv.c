/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the answer of a name server: nothing is read beyond the end, and what comes
 * out are names of hosts, terminated.
 */
#include <string.h>

#include "discover/srv.h"
#include "weir/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srv_record records[SRV_MAX];
	uint32_t ttl;
	int n = srv_parse(data, size, records, &ttl);
	check(n >= -1 && n <= SRV_MAX);
	for (int i = 0; i < n; i++) {
		const char *end = memchr(records[i].target, '\0', DNS_NAME_MAX);
		check(end != NULL);
		for (const char *c = records[i].target; c < end; c++)
			check(*c > ' ' && *c < 0x7f);
	}
	return 0;
}
