/* SPDX-License-Identifier: MIT */
/* What rejects.def says about each way to refuse a message. */
#include "weir/http/h1.h"

#include "weir/base/check.h"

struct reject_row {
	char name[24]; /* lower case from start-up on */
	const char *sentence;
	unsigned status;
	bool field;
};

static struct reject_row rows[REJECT_N] = {
#define REJECT(name, status, field, sentence) \
	[REJECT_##name] = {#name, (sentence), (status), (field)},
#include "weir/tbl/rejects.def"
#undef REJECT
};

/* Before main, so that the rows are const for every thread. */
__attribute__((constructor)) static void lower_names(void)
{
	for (size_t i = 0; i < REJECT_N; i++)
		for (char *p = rows[i].name; *p; p++)
			*p = char_lower(*p);
}

unsigned reject_status(enum reject why)
{
	check(why < REJECT_N);
	return rows[why].status;
}

const char *reject_sentence(enum reject why)
{
	check(why < REJECT_N);
	return rows[why].sentence;
}

bool reject_is_of_field(enum reject why)
{
	check(why < REJECT_N);
	return rows[why].field;
}

const char *reject_name(enum reject why)
{
	check(why < REJECT_N);
	return rows[why].name;
}
