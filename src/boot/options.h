/* SPDX-License-Identifier: MIT */
/* The command line. */
#ifndef WEIR_BOOT_OPTIONS_H
#define WEIR_BOOT_OPTIONS_H

#include <stdbool.h>

#include "weir/base/arena.h"
#include "weir/conf/conf.h"

#define OPTIONS_DEFAULT_FILE "/etc/weir/weir.yaml"

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_TEST,   /* -t */
	OPTIONS_DUMP,   /* -T */
	OPTIONS_SCHEMA, /* --schema */
	OPTIONS_INIT,   /* weir init: `file` is to be written */
	OPTIONS_EXIT,   /* done already: -h, -v, -V, or a usage error */
};

struct options {
	struct arena *arena; /* owns */
	enum options_mode mode;
	int exit_code; /* with OPTIONS_EXIT */
	const char *file;
	bool serving;   /* from now on nobody may be waited for */
	bool from_args; /* command-line mode: no file */
	struct conf_args args;
	char **argv; /* as given, for the program that takes over */
};

void options_parse(struct options *options, int argc, char **argv);
void options_fini(struct options *options);

/* From the file or the command line; NULL and diagnostics on an error. */
struct conf *options_load(const struct options *options, struct conf_diags *diags);

#endif
