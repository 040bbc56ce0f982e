/* SPDX-License-Identifier: MIT */
/* Every file of scripts is a test: see script.h for what they say. */
#include <criterion/criterion.h>

#include "script.h"

#define FLOW(name)                                                                        \
	Test(flow, name)                                                                  \
	{                                                                                 \
		script_run_file(WEIR_SOURCE_DIR "/tests/unit/proxy/cases/" #name ".txt"); \
	}

FLOW(asking)
FLOW(bulk)
FLOW(exchange)
FLOW(gather)
FLOW(filter)
FLOW(hedge)
FLOW(keepalive)
FLOW(log)
FLOW(mirror)
FLOW(outcomes)
FLOW(queue)
FLOW(retry)
FLOW(timeouts)
FLOW(stream)
FLOW(tunnel)

Test(flow, without_memory)
{
	script_run_without_memory(WEIR_SOURCE_DIR "/tests/unit/proxy/cases/memory.txt");
}

Test(flow, with_faults)
{
	script_run_with_faults(WEIR_SOURCE_DIR "/tests/unit/proxy/cases/memory.txt");
	script_run_with_faults(WEIR_SOURCE_DIR "/tests/unit/proxy/cases/faults.txt");
}
