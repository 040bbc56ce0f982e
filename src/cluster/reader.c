/* SPDX-License-Identifier: MIT */
/* A reader that makes no other lists than those that are asked for. */
#include "reader.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

/* hiredis counted by another type before 1.0 */
#if HIREDIS_MAJOR < 1
#define COUNT int
#else
#define COUNT size_t
#endif

/* How replies are made, by hiredis and here. */
static redisReplyObjectFunctions common, flat;

static void *make_array(const redisReadTask *task, COUNT n)
{
	bool asked_for = !task->parent && n <= READER_ELEMENTS_MAX;
	return asked_for ? common.createArray(task, n) : NULL;
}

struct redisReader *flat_reader_new(void)
{
	redisReader *reader = redisReaderCreate();
	if (!reader)
		return NULL;
	common = flat = *reader->fn;
	flat.createArray = make_array;
	reader->fn = &flat;
	return reader;
}
