/* SPDX-License-Identifier: MIT */
/* Where what outlives the process is kept. */
#include <stdlib.h>
#include <string.h>

#include "weir/conf/conf.h"

struct view conf_managers_directory(void)
{
	const char *managers = getenv("STATE_DIRECTORY");
	return managers ? view_of(managers, strcspn(managers, ":")) : VIEW_NONE;
}

struct view conf_state_directory(const struct conf *conf)
{
	if (conf->state.on)
		return conf->state.directory;
#ifdef WEIR_SQLITE
	return conf_managers_directory();
#else
	return VIEW_NONE;
#endif
}
