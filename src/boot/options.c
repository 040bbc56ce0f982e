/* SPDX-License-Identifier: MIT */
/* The command line of weir. */
#include "options.h"
#include "sandbox.h"
#include "shared.h"

#define PCRE2_CODE_UNIT_WIDTH 8

#include <ev.h>
#include <getopt.h>
#include <nghttp2/nghttp2.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "weir/discover/discover.h"
#include "weir/filter/compress.h"
#include "weir/filter/passwords.h"
#include "weir/net/tls.h"
#include "weir/state/state.h"

#define LISTS_MAX 4096

enum long_option {
	OPT_SCHEMA = 256,
	OPT_LISTEN,
	OPT_BACKEND,
	OPT_BALANCE,
	OPT_STATUS_BIND,
	OPT_STATUS_SOCKET,
};

static const char usage_text[] =
    "usage: weir [-c FILE] [-t | -T | --schema]\n"
    "       weir --listen ADDRESS --backend ADDRESS [--backend ADDRESS ...]\n"
    "            [--balance NAME] [--status-bind ADDRESS] [--status-socket PATH]\n"
    "       weir init [FILE]\n"
    "\n"
    "  -c FILE                 configuration (default " OPTIONS_DEFAULT_FILE ")\n"
    "  -t                      test the configuration and exit\n"
    "  -T                      test it and print it with every default filled in\n"
    "  --schema                print the JSON Schema of the configuration\n"
    "  -v, -V                  version; version with libraries\n"
    "  -h, --help              this text\n"
    "\n"
    "without a file:\n"
    "  --listen ADDRESS        accept clients here: 127.0.0.1:8080, unix:/path, or :8080 for\n"
    "                          every address of this machine; repeatable\n"
    "  --backend ADDRESS       send them here; :3000 is 127.0.0.1:3000; repeatable\n"
    "  --balance NAME          strategy (default auto)\n"
    "  --status-bind ADDRESS   status and metrics over TCP\n"
    "  --status-socket PATH    status socket\n"
    "\n"
    "  init [FILE]             write FILE (default weir.yaml) for the app servers that listen\n"
    "                          on this machine; never over a file that is there\n"
    "\n"
    "signals: HUP reloads, USR1 reopens logs, USR2 hands over to a new\n"
    "         process, TERM drains and stops, a second TERM stops now\n"
    "see weir(8), weir.yaml(5), weirctl(1)\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {"schema", no_argument, NULL, OPT_SCHEMA},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"backend", required_argument, NULL, OPT_BACKEND},
    {"balance", required_argument, NULL, OPT_BALANCE},
    {"status-bind", required_argument, NULL, OPT_STATUS_BIND},
    {"status-socket", required_argument, NULL, OPT_STATUS_SOCKET},
    {NULL, 0, NULL, 0},
};

static void print_versions(void)
{
	char pcre2_text[64] = "";
	pcre2_config(PCRE2_CONFIG_VERSION, pcre2_text);
	printf("weir %s\n", WEIR_VERSION);
	printf("libev %d.%d, %s, PCRE2 %s, nghttp2 %s, libyaml %s\n", ev_version_major(),
	       ev_version_minor(), tls_library(), pcre2_text, nghttp2_version(0)->version_str,
	       yaml_get_version_string());
	if (sandbox_library())
		printf("%s\n", sandbox_library());
	if (state_library())
		printf("%s\n", state_library());
	if (discover_library())
		printf("%s\n", discover_library());
	if (shared_library())
		printf("%s\n", shared_library());
	if (passwords_library())
		printf("%s\n", passwords_library());
	char libraries[128] = "";
	struct str text = str_fixed(libraries, sizeof(libraries));
	compress_libraries(&text);
	if (text.len)
		printf("%s\n", libraries);
	printf("compiler: %s\n", __VERSION__);
#if defined(__SANITIZE_ADDRESS__)
	printf("options: AddressSanitizer\n");
#endif
#if defined(__SANITIZE_THREAD__)
	printf("options: ThreadSanitizer\n");
#endif
}

static void done(struct options *options, int exit_code)
{
	options->mode = OPTIONS_EXIT;
	options->exit_code = exit_code;
}

static void usage_error(struct options *options, const char *message, const char *what)
{
	fprintf(stderr, "weir: %s%s\ntry 'weir --help'\n", message, what);
	done(options, 2);
}

/* ":8080", "8080" and "localhost:8080" are typed by people; files have whole addresses. */
static const char *full_address(struct arena *arena, const char *text, const char *host)
{
	static const char local[] = "localhost:";
	const char *port = text;
	if (strncmp(text, local, sizeof(local) - 1) == 0) {
		port += sizeof(local) - 1;
		host = "127.0.0.1";
	} else if (*port == ':') {
		port++;
	}
	if (!*port || port[strspn(port, "0123456789")])
		return text;
	return arena_printf(arena, "%s:%s", host, port);
}

/* `host` is what a port alone stands for. */
static void add(struct options *options, struct conf_views *list, const char *text,
		const char *host)
{
	text = full_address(options->arena, text, host);
	if (!list->rows)
		list->rows = arena_array(options->arena, LISTS_MAX, sizeof(*list->rows));
	if (list->n == LISTS_MAX)
		usage_error(options, "too many addresses, use a file: ", text);
	else
		list->rows[list->n++] = view_str(text);
}

static void take_option(struct options *options, int option, bool *file_given)
{
	switch (option) {
	case 'c':
		options->file = optarg;
		*file_given = true;
		break;
	case 't':
		options->mode = OPTIONS_TEST;
		break;
	case 'T':
		options->mode = OPTIONS_DUMP;
		break;
	case OPT_SCHEMA:
		options->mode = OPTIONS_SCHEMA;
		break;
	case 'v':
		printf("weir %s\n", WEIR_VERSION);
		done(options, 0);
		break;
	case 'V':
		print_versions();
		done(options, 0);
		break;
	case 'h':
		fputs(usage_text, stdout);
		done(options, 0);
		break;
	case OPT_LISTEN:
		add(options, &options->args.listen, optarg, "0.0.0.0");
		break;
	case OPT_BACKEND:
		add(options, &options->args.backend, optarg, "127.0.0.1");
		break;
	case OPT_BALANCE:
		options->args.balance = view_str(optarg);
		break;
	case OPT_STATUS_BIND:
		options->args.status_bind = view_str(optarg);
		break;
	case OPT_STATUS_SOCKET:
		options->args.status_socket = view_str(optarg);
		break;
	default: /* getopt has said what is wrong */
		usage_error(options, "bad command line", "");
	}
}

/* weir init [FILE], or -c FILE */
static void take_init(struct options *options, int n, char **args, bool file_given)
{
	if (n > 1 || (n == 1 && file_given))
		usage_error(options, "weir init takes one file: ", args[n - 1]);
	else if (options->mode != OPTIONS_RUN || options->args.listen.n || options->args.backend.n)
		usage_error(options, "weir init takes a file and nothing else", "");
	if (options->mode == OPTIONS_EXIT)
		return;
	options->mode = OPTIONS_INIT;
	if (!file_given)
		options->file = n == 1 ? args[0] : "weir.yaml";
}

void options_parse(struct options *options, int argc, char **argv)
{
	bool file_given = false;
	*options =
	    (struct options){.arena = arena_new(), .file = OPTIONS_DEFAULT_FILE, .argv = argv};
	int option;
	while (options->mode != OPTIONS_EXIT &&
	       (option = getopt_long(argc, argv, "c:tTvVh", long_options, NULL)) != -1)
		take_option(options, option, &file_given);
	if (options->mode == OPTIONS_EXIT)
		return;
	if (optind < argc && strcmp(argv[optind], "init") == 0) {
		take_init(options, argc - optind - 1, argv + optind + 1, file_given);
		return;
	}
	const struct conf_args *args = &options->args;
	options->from_args = args->listen.n || args->backend.n;
	bool args_only = args->balance.len || args->status_bind.len || args->status_socket.len;
	if (optind < argc)
		usage_error(options, "unexpected argument: ", argv[optind]);
	else if (options->from_args && file_given)
		usage_error(options, "-c does not go with --listen and --backend", "");
	else if (options->from_args && (!args->listen.n || !args->backend.n))
		usage_error(options, "--listen and --backend go together", "");
	else if (args_only && !options->from_args)
		usage_error(options,
			    "--balance, --status-bind and --status-socket go with --listen", "");
}

void options_fini(struct options *options)
{
	arena_free(options->arena);
}

struct conf *options_load(const struct options *options, struct conf_diags *diags)
{
	if (options->from_args)
		return conf_from_args(&options->args, diags);
	return options->serving ? conf_load(options->file, diags)
				: conf_load_first(options->file, diags);
}
