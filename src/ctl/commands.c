/* SPDX-License-Identifier: MIT */
/* Finding a command, or the one that was probably meant; the help. */
#include "commands.h"

#include <string.h>

#include "weir/base/defs.h"

static const struct command commands[] = {
#define COMMAND(name, ...) {name, __VA_ARGS__},
#include "commands.def"
#undef COMMAND
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Levenshtein distance; texts of more than 31 bytes count as far away. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);
	if (n >= ARRAY_LEN(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i] != b[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

const struct command *command_nearest(const char *name)
{
	const struct command *nearest = NULL;
	size_t len = strlen(name), least = len < 4 ? 2 : 3; /* more letters wrong is another word */
	if (len == 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strncmp(commands[i].name, name, len) == 0)
			return &commands[i];
		size_t d = distance(name, commands[i].name);
		if (d < least) {
			least = d;
			nearest = &commands[i];
		}
	}
	return nearest;
}

void command_help(const struct command *c, struct str *out)
{
	unsigned no_options = OPT_WATCH | OF_FLEET | CHANGES;
	str_printf(out,
		   "usage: weirctl [-s SOCKET] [--nodes LIST]%s [--json]%s %s%s%s%s\n%s.\n\n%s",
		   c->options & CHANGES ? " [--all]" : "",
		   c->options & OPT_WATCH ? " [-w[SECONDS]]" : "", c->name, *c->args ? " " : "",
		   c->args, c->options & ~no_options ? " [OPTION]..." : "", c->summary, c->details);
}

void commands_help(struct str *out)
{
	str_text(out, "usage: weirctl [-s SOCKET] [--nodes LIST] [--json] [-w[SECONDS]] COMMAND "
		      "[ARGUMENT]...\n"
		      "Looks at a running weir and changes it.\n\ncommands:\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];
		int used = (int)(strlen(c->name) + (*c->args ? 1 : 0) + strlen(c->args));
		str_printf(out, "  %s%s%s%*s%s\n", c->name, *c->args ? " " : "", c->args,
			   used < 26 ? 28 - used : 2, "", c->summary);
	}
	str_text(
	    out,
	    "\noptions:\n"
	    "  -s, --socket SOCKET   weir's status socket (default: $WEIR_SOCKET; else as root\n"
	    "                        /run/weir/weir.sock, else $XDG_RUNTIME_DIR/weir.sock, or\n"
	    "                        /tmp/weir-UID/weir.sock, or, without it, the one of root)\n"
	    "      --nodes LIST      ask these, HOST:PORT,... (status.bind), or shared: this weir "
	    "and\n"
	    "                        those that share with it; pools, backends, top and histogram\n"
	    "                        add up what they say, the others show one after the other\n"
	    "      --all             change every node: those of --nodes, or shared\n"
	    "      --token-file FILE what status.token_file of those has, which --all needs\n"
	    "      --password-file FILE  NAME:PASSWORD of a user of their status.auth\n"
	    "      --json            print the API's JSON instead of tables\n"
	    "  -w, --watch[=SECONDS] repeat every SECONDS (default 2) until interrupted\n"
	    "  -h, --help            this text; after a command, more about it\n"
	    "  -V, --version         print the version\n"
	    "\nexit status: 0 done, 1 the command failed, 2 wrong usage, 3 weir, or one of "
	    "the\nnodes, is unreachable\n");
}
