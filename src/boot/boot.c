/* SPDX-License-Identifier: MIT */
/* From argv to what is to be done: serve, test, print. */
#include "weir/boot/boot.h"
#include "weir/net/tls.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "control.h"
#include "init.h"
#include "trial.h"

#include "weir/base/sink.h"

/* Who tests a configuration may read slowly; the daemon does not wait for it. */
#define DIAGS_WAIT_MS 1000

static void print_diags(const struct options *options, struct conf_diags *diags)
{
	struct str text = STR_INIT;
	struct sink sink = {.fd = STDERR_FILENO, .piece = true};
	conf_diags_format(diags, &text, isatty(STDERR_FILENO));
	if (options->mode == OPTIONS_RUN)
		sink_write(&sink, str_as_view(&text), DIAGS_WAIT_MS);
	else
		fwrite(text.ptr ? text.ptr : "", 1, text.len, stderr);
	str_fini(&text);
}

/* Nothing would be served: a start says so before it has begun. */
static bool has_descriptors(const struct options *options, const struct conf *conf)
{
	struct str why = STR_INIT;
	bool enough = descriptors_serve(conf, &why);
	if (!enough && options->mode == OPTIONS_RUN)
		fprintf(stderr, "weir: %s\n", why.ptr);
	else if (!enough)
		fprintf(stderr, "%s: error: %s\n", conf->path.ptr, why.ptr);
	str_fini(&why);
	return enough;
}

static void warn_of_descriptors(const struct options *options, const struct conf *conf)
{
	struct str why = STR_INIT;
	if (!descriptors_suffice(conf, &why)) {
		if (options->mode == OPTIONS_RUN)
			log_warn(VIEW_FMT, VIEW_ARG(str_as_view(&why)));
		else
			fprintf(stderr, "%s: warning: " VIEW_FMT "\n", conf->path.ptr,
				VIEW_ARG(str_as_view(&why)));
	}
	str_fini(&why);
}

/* Regexes are compiled, and what a start needs is looked at; nothing is bound or made. */
static int test_conf(const struct options *options, const struct conf *conf)
{
	struct str text = STR_INIT;
	struct route_table *routes =
	    health_accepts(conf, &text) ? route_table_new(conf, &text) : NULL;
	int code = routes ? 0 : 1;
	if (!routes) {
		conf_hide(conf, &text);
		fprintf(stderr, "%s: error: " VIEW_FMT "\n", conf->path.ptr,
			VIEW_ARG(str_as_view(&text)));
	} else if (options->mode == OPTIONS_DUMP) {
		str_reset(&text);
		conf_show_yaml(conf, &text);
		fwrite(text.ptr, 1, text.len, stdout);
	} else if (trial(conf)) {
		printf("%s: configuration is ok\n", conf->path.ptr);
	} else {
		code = 1;
	}
	route_table_free(routes);
	str_fini(&text);
	return code;
}

static void print_schema(void)
{
	struct str text = STR_INIT;
	conf_schema(&text);
	fwrite(text.ptr, 1, text.len, stdout);
	str_fini(&text);
}

/* The first thing that somebody sees of weir may be that there is no file. */
static void hint_at_file(const struct options *options)
{
	if (!options->from_args && access(options->file, F_OK) && errno == ENOENT)
		fprintf(stderr,
			"try one of:\n"
			"  weir init                              write weir.yaml for what listens "
			"on this machine\n"
			"  weir --listen :8080 --backend :3000    run without a file\n"
			"  weir -c FILE                           run with another file\n");
}

static int with_conf(struct options *options)
{
	struct conf_diags diags;
	conf_diags_init(&diags);
	tls_set_checks();
	struct conf *conf = options_load(options, &diags);
	print_diags(options, &diags);
	conf_diags_fini(&diags);
	if (!conf) {
		hint_at_file(options);
		return 1;
	}
	if (!has_descriptors(options, conf)) {
		conf_free(conf);
		return 1;
	}
	warn_of_descriptors(options, conf);
	if (options->mode == OPTIONS_RUN)
		return control_run(options, conf);
	int code = test_conf(options, conf);
	conf_free(conf);
	return code;
}

int boot_main(int argc, char **argv)
{
	struct options options;
	int code;
	options_parse(&options, argc, argv);
	switch (options.mode) {
	case OPTIONS_EXIT:
		code = options.exit_code;
		break;
	case OPTIONS_SCHEMA:
		print_schema();
		code = 0;
		break;
	case OPTIONS_INIT:
		code = init_run(options.file);
		break;
	default:
		code = with_conf(&options);
	}
	options_fini(&options);
	return code;
}
