/* SPDX-License-Identifier: MIT */
/*
 * weirctl: options, the choice of the command, and all output.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "fleet.h"
#include "table.h"
#include "text.h"

#include "weir/base/defs.h"
#include "weir/base/parse.h"

#define WATCH_DEFAULT_S 2
#define WATCH_LEAST_S 0.1
#define WATCH_MOST_S 86400

enum {
	LONG_JSON = 256,
	LONG_PHASE,
	LONG_WINDOW,
	LONG_NAME,
	LONG_WEIGHT,
	LONG_CLIENT,
	LONG_WAIT,
	LONG_READ_ONLY,
	LONG_SECONDS,
	LONG_SINCE,
	LONG_STEP,
	LONG_NODES,
	LONG_ALL,
	LONG_TOKEN_FILE,
	LONG_PASSWORD_FILE,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, LONG_JSON},
    {"watch", optional_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"phase", required_argument, NULL, LONG_PHASE},
    {"window", required_argument, NULL, LONG_WINDOW},
    {"name", required_argument, NULL, LONG_NAME},
    {"weight", required_argument, NULL, LONG_WEIGHT},
    {"client", required_argument, NULL, LONG_CLIENT},
    {"wait", optional_argument, NULL, LONG_WAIT},
    {"read-only", no_argument, NULL, LONG_READ_ONLY},
    {"seconds", required_argument, NULL, LONG_SECONDS},
    {"since", required_argument, NULL, LONG_SINCE},
    {"step", required_argument, NULL, LONG_STEP},
    {"nodes", required_argument, NULL, LONG_NODES},
    {"all", no_argument, NULL, LONG_ALL},
    {"token-file", required_argument, NULL, LONG_TOKEN_FILE},
    {"password-file", required_argument, NULL, LONG_PASSWORD_FILE},
    {"follow", no_argument, NULL, 'f'},
    {"header", required_argument, NULL, 'H'},
    {NULL, 0, NULL, 0},
};

/* What was said on the command line, besides what goes into struct ctl. */
struct said {
	bool help;
	bool version;
	unsigned options; /* enum ctl_option */
};

static enum ctl_exit set_watch(struct ctl *ctl, const char *seconds)
{
	ctl->watch_s = WATCH_DEFAULT_S;
	if (seconds && (!parse_double(view_str(seconds), &ctl->watch_s) ||
			ctl->watch_s < WATCH_LEAST_S || ctl->watch_s > WATCH_MOST_S))
		return ctl_fail(ctl, CTL_USAGE, "-w takes %g to %d seconds, not \"%s\"",
				WATCH_LEAST_S, WATCH_MOST_S, seconds);
	return CTL_OK;
}

static enum ctl_exit add_header(struct ctl *ctl, const char *header)
{
	if (ctl->n_headers == CTL_MAX_HEADERS)
		return ctl_fail(ctl, CTL_USAGE, "more than %d headers", CTL_MAX_HEADERS);
	ctl->headers[ctl->n_headers++] = header;
	return CTL_OK;
}

/* One option that getopt_long has recognised. */
static enum ctl_exit take_option(struct ctl *ctl, int option, struct said *said)
{
	const struct {
		int option;
		unsigned bit;
		const char **text;
		bool *flag;
	} rows[] = {
	    {'s', 0, &ctl->socket, NULL},
	    {LONG_JSON, 0, NULL, &ctl->json},
	    {'h', 0, NULL, &said->help},
	    {'V', 0, NULL, &said->version},
	    {'f', OPT_FOLLOW, NULL, &ctl->follow},
	    {LONG_WAIT, OPT_WAIT, &ctl->wait_time, &ctl->wait},
	    {LONG_PHASE, OPT_PHASE, &ctl->phase, NULL},
	    {LONG_WINDOW, OPT_WINDOW, &ctl->window, NULL},
	    {LONG_NAME, OPT_NAME, &ctl->name, NULL},
	    {LONG_WEIGHT, OPT_WEIGHT, &ctl->weight, NULL},
	    {LONG_CLIENT, OPT_CLIENT, &ctl->client, NULL},
	    {LONG_READ_ONLY, OPT_READ_ONLY, NULL, &ctl->read_only},
	    {LONG_SECONDS, OPT_SECONDS, &ctl->seconds, NULL},
	    {LONG_SINCE, OPT_SINCE, &ctl->since, NULL},
	    {LONG_STEP, OPT_STEP, &ctl->step, NULL},
	    {LONG_NODES, 0, &ctl->nodes, NULL},
	    {LONG_ALL, 0, NULL, &ctl->all},
	    {LONG_TOKEN_FILE, 0, &ctl->token_file, NULL},
	    {LONG_PASSWORD_FILE, 0, &ctl->password_file, NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].option != option)
			continue;
		said->options |= rows[i].bit;
		if (rows[i].text)
			*rows[i].text = optarg;
		if (rows[i].flag)
			*rows[i].flag = true;
		return CTL_OK;
	}
	if (option == 'w') {
		said->options |= OPT_WATCH;
		return set_watch(ctl, optarg);
	}
	said->options |= OPT_HEADER;
	return add_header(ctl, optarg);
}

static enum ctl_exit parse_options(struct ctl *ctl, int argc, char **argv, struct said *said)
{
	const char *default_socket = ctl->socket;
	int option;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":s:w::hVfH:", long_options, NULL)) != -1) {
		const char *given = argv[optind - 1];
		if (option == ':')
			return ctl_fail(ctl, CTL_USAGE, "option %s needs a value", given);
		if (option == '?' && optopt && optopt < 256)
			return ctl_fail(ctl, CTL_USAGE, "unknown option -%c", optopt);
		if (option == '?')
			return ctl_fail(ctl, CTL_USAGE,
					"option %s is unknown, ambiguous or takes no value", given);
		enum ctl_exit code = take_option(ctl, option, said);
		if (code != CTL_OK)
			return code;
	}
	ctl->socket_given = ctl->socket != default_socket;
	ctl->args = (const char *const *)argv + optind;
	ctl->n_args = (size_t)(argc - optind);
	return CTL_OK;
}

static const char *option_text(unsigned bit)
{
	static const char *const texts[] = {
	    "-w",     "--phase",  "--window",    "-f",        "-H",      "--client", "--wait",
	    "--name", "--weight", "--read-only", "--seconds", "--since", "--step"};
	return texts[__builtin_ctz(bit)];
}

/* The command with its arguments and options checked; else NULL and ctl->why. */
static const struct command *choose(struct ctl *ctl, const struct said *said)
{
	if (ctl->n_args == 0) {
		ctl_fail(ctl, CTL_USAGE, "which command? weirctl --help lists them");
		return NULL;
	}
	const char *name = *ctl->args++;
	const struct command *c = command_find(name);
	ctl->n_args--;
	if (!c) {
		const struct command *near = command_nearest(name);
		ctl_fail(ctl, CTL_USAGE, "unknown command \"%s\"; ", name);
		if (near)
			ctl_fail(ctl, CTL_USAGE, "did you mean \"%s\"?", near->name);
		else
			ctl_fail(ctl, CTL_USAGE, "weirctl --help lists them");
		return NULL;
	}
	if (said->help)
		return c;
	unsigned extra = said->options & ~c->options;
	bool changes = c->options & CHANGES;
	if (ctl->all && !changes)
		ctl_fail(ctl, CTL_USAGE, "%s changes nothing: --nodes shows all, not --all",
			 c->name);
	else if (ctl->nodes && !ctl->all && changes)
		ctl_fail(ctl, CTL_USAGE, "--nodes looks; to %s at every node say --all as well",
			 c->name);
	else if (ctl->nodes && ctl->follow)
		ctl_fail(ctl, CTL_USAGE, "--nodes takes no -f: follow one node");
	else if (extra)
		ctl_fail(ctl, CTL_USAGE, "%s takes no %s", c->name, option_text(extra & -extra));
	else if (ctl->n_args < c->min_args || ctl->n_args > c->max_args)
		ctl_fail(ctl, CTL_USAGE, "%s takes %s", c->name,
			 *c->args ? c->args : "no arguments");
	else
		return c;
	return NULL;
}

/* ---- output ---- */

static void print_why(struct ctl *ctl)
{
	struct str clean = STR_INIT;
	if (ctl->why.len == 0)
		return;
	put_clean_lines(&clean, ctl->why.ptr);
	fprintf(stderr, "weirctl: %s\n", clean.ptr);
	str_fini(&clean);
	str_reset(&ctl->why);
}

static void sleep_s(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds};
	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}

/* The terminal's last line stays free for the cursor. */
static size_t terminal_lines(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row < 2)
		return SIZE_MAX;
	return size.ws_row - 1u;
}

/*
 * Over the old picture line by line, which flickers less than clearing first.
 * What is too wide or too long is cut, or the picture would scroll.
 */
static void redraw(struct ctl *ctl)
{
	struct str screen = STR_INIT;
	size_t left = terminal_lines();
	str_text(&screen, "\033[H\033[?7l");
	for (size_t i = 0; i < ctl->out.len && left; i++) {
		bool end = ctl->out.ptr[i] == '\n';
		str_text(&screen, end ? "\033[K" : "");
		str_char(&screen, ctl->out.ptr[i]);
		left -= end;
	}
	str_text(&screen, "\033[0m\033[J\033[?7h");
	str_fini(&ctl->out);
	ctl->out = screen;
	ctl_flush(ctl);
}

static enum ctl_exit run_once(struct ctl *ctl, const struct command *c)
{
	enum ctl_exit code = ctl->nodes || ctl->all ? fleet_run(ctl, c) : c->run(ctl);
	/* said behind what the others said; in JSON it is among "fleet" */
	if (!ctl->json)
		put_coloured(&ctl->out, ctl->colour && ctl->missing.len, RED,
			     ctl->missing.len ? ctl->missing.ptr : "", ctl->missing.len);
	str_reset(&ctl->missing);
	return code;
}

/* Until interrupted.  On a terminal a weir that went away is waited for. */
static enum ctl_exit watch(struct ctl *ctl, const struct command *c)
{
	bool terminal = isatty(STDOUT_FILENO) && !ctl->json;
	if (terminal)
		fputs("\033[2J", stdout);
	for (bool first = true;; first = false) {
		if (!first && !terminal && !ctl->json)
			str_char(&ctl->out, '\n');
		enum ctl_exit code = run_once(ctl, c);
		if (code != CTL_OK && (first || !terminal))
			return code;
		if (ctl->why.len) {
			put_clean_lines(&ctl->out, ctl->why.ptr);
			str_char(&ctl->out, '\n');
			str_reset(&ctl->why);
		}
		if (terminal)
			redraw(ctl);
		else
			ctl_flush(ctl);
		sleep_s(ctl->watch_s);
	}
}

static bool wants_colour(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term &&
	       strcmp(term, "dumb") != 0;
}

static bool is_there(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

/* Where weir of this user puts its socket, or that of the system: the first that is there. */
static const char *usual_socket(char *room, size_t size)
{
	static const char system_wide[] = "/run/weir/weir.sock";
	const char *env = getenv("WEIR_SOCKET"), *dir = getenv("XDG_RUNTIME_DIR");
	if (env && *env)
		return env;
	if (geteuid() == 0)
		return system_wide;
	if (dir && *dir)
		snprintf(room, size, "%s/weir.sock", dir);
	else
		snprintf(room, size, "/tmp/weir-%u/weir.sock", (unsigned)geteuid());
	return !is_there(room) && is_there(system_wide) ? system_wide : room;
}

static enum ctl_exit run(struct ctl *ctl, int argc, char **argv)
{
	struct said said = {0};
	enum ctl_exit code = parse_options(ctl, argc, argv, &said);
	if (code != CTL_OK)
		return code;
	if (said.version || (said.help && ctl->n_args == 0)) {
		if (said.version)
			str_text(&ctl->out, "weirctl " WEIR_VERSION "\n");
		else
			commands_help(&ctl->out);
		return CTL_OK;
	}
	const struct command *c = choose(ctl, &said);
	if (!c)
		return CTL_USAGE;
	if (said.help) {
		command_help(c, &ctl->out);
		return CTL_OK;
	}
	if (ctl->watch_s > 0)
		return watch(ctl, c);
	code = run_once(ctl, c);
	return code == CTL_OK && ctl->n_missing ? CTL_UNREACHABLE : code;
}

int main(int argc, char **argv)
{
	char room[4096];
	struct ctl ctl = {
	    .socket = usual_socket(room, sizeof(room)),
	    .colour = wants_colour(),
	    .out = STR_INIT,
	    .why = STR_INIT,
	    .missing = STR_INIT,
	};
	enum ctl_exit code = run(&ctl, argc, argv);
	ctl_flush(&ctl);
	print_why(&ctl);
	str_fini(&ctl.out);
	str_fini(&ctl.why);
	str_fini(&ctl.missing);
	return (int)code;
}
