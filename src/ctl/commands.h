/* SPDX-License-Identifier: MIT */
/* The table of commands (commands.def) and the functions behind it. */
#ifndef WEIR_CTL_COMMANDS_H
#define WEIR_CTL_COMMANDS_H

#include "ctl.h"

/* Options that only some commands take. */
enum ctl_option {
	OPT_WATCH = 1 << 0,
	OPT_PHASE = 1 << 1,
	OPT_WINDOW = 1 << 2,
	OPT_FOLLOW = 1 << 3,
	OPT_HEADER = 1 << 4,
	OPT_CLIENT = 1 << 5,
	OPT_WAIT = 1 << 6,
	OPT_NAME = 1 << 7,
	OPT_WEIGHT = 1 << 8,
	OPT_READ_ONLY = 1 << 9,
	OPT_SECONDS = 1 << 10,
	OPT_SINCE = 1 << 11,
	OPT_STEP = 1 << 12,
	/* not options, but what --nodes and --all do */
	OF_FLEET = 1 << 13, /* --nodes: one picture; of others one for each node */
	CHANGES = 1 << 14,  /* changes one weir, with --all each node */
};

struct command {
	const char *name;
	enum ctl_exit (*run)(struct ctl *ctl);
	unsigned options; /* enum ctl_option, or-ed */
	size_t min_args;
	size_t max_args;
	const char *args;
	const char *summary;
	const char *details;
};

/* NULL when there is no such command. */
const struct command *command_find(const char *name);
/* The command whose name is nearest to a mistyped one, or NULL. */
const struct command *command_nearest(const char *name);

void command_help(const struct command *command, struct str *out);
void commands_help(struct str *out);

#define COMMAND(name, function, ...) enum ctl_exit function(struct ctl *ctl);
#include "commands.def"
#undef COMMAND

#endif
