/* SPDX-License-Identifier: MIT */
/*
 * weir init.  The file that it writes sends everything to the program that listens at most
 * ports, as several of one name are one pool.  What else answers is named in comments alone:
 * a service that listens on loopback only may have its reasons.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/str.h"
#include "weir/conf/conf.h"

struct plan {
	struct init_found found[INIT_FOUND_MAX];
	size_t n;
	const char *chosen; /* the name of the process behind the pool */
	uint16_t port;      /* where weir is to listen */
};

static size_t count_named(const struct plan *plan, const char *name)
{
	size_t n = 0;
	for (size_t i = 0; i < plan->n; i++)
		n += strcmp(plan->found[i].name, name) == 0;
	return n;
}

/* The name that most have; among equals the one of the first port. */
static const char *choose(const struct plan *plan)
{
	const char *best = NULL;
	for (size_t i = 0; i < plan->n; i++)
		if (!best || count_named(plan, plan->found[i].name) > count_named(plan, best))
			best = plan->found[i].name;
	return best;
}

static bool can_bind(uint16_t port)
{
	struct addr addr;
	char text[32];
	int on = 1;
	snprintf(text, sizeof(text), "0.0.0.0:%u", port);
	int fd =
	    addr_parse(view_str(text), &addr) ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	bool can = bind(fd, &addr.sa, addr.len) == 0 && listen(fd, 1) == 0;
	close(fd);
	return can;
}

static uint16_t choose_port(void)
{
	if (geteuid() == 0 && can_bind(80))
		return 80;
	for (uint16_t port = 8080; port < 8180; port++)
		if (can_bind(port))
			return port;
	return 8080;
}

/* ---- the file ---- */

static const char head[] =
    "# Written by weir init.  weir.yaml(5) has every key; the guide says how to use them.\n"
    "#\n"
    "#   weir -t -c FILE     finds mistakes, with line, column and a likely fix\n"
    "#   weirctl reload      puts a change into effect without losing a request\n"
    "#   weirctl top         shows the traffic; weirctl doctor what hurts or soon will\n"
    "\n"
    "listeners:\n";

static const char tail[] = "\n"
			   "# Who asked what, and how long it took:\n"
			   "# log: {access: {path: /var/log/weir/access.log}}\n";

static const char nobody[] =
    "# Nobody answered HTTP on this machine: put the addresses of the app servers here,\n"
    "# and take the routes away.\n"
    "# pools:\n"
    "#   app: {backends: [127.0.0.1:3000, 127.0.0.1:3001]}\n"
    "\n"
    "routes:\n"
    "  - name: hello\n"
    "    respond: {body: \"weir is running; it has no app server yet\\n\"}\n";

static void put_address(struct str *out, const struct init_found *found)
{
	str_printf(out, found->six ? "\"[::1]:%u\"" : "127.0.0.1:%u", found->port);
}

/* A comment is one line: what a process calls itself is not ours. */
static void put_name(struct str *out, const char *name)
{
	for (; *name; name++)
		str_char(out, *name > ' ' && *name < 0x7f ? *name : '?');
}

static void put_pool(struct str *out, const struct plan *plan)
{
	str_text(out, "pools:\n"
		      "  app:\n"
		      "    # a backend that does not answer this is left out until it does again\n"
		      "    # health: {path: /healthz}\n"
		      "    backends:\n");
	for (size_t i = 0; i < plan->n; i++) {
		if (strcmp(plan->found[i].name, plan->chosen) != 0)
			continue;
		str_text(out, "      - ");
		put_address(out, &plan->found[i]);
		if (*plan->chosen) {
			str_text(out, "  # ");
			put_name(out, plan->chosen);
		}
		str_char(out, '\n');
	}
}

static void put_others(struct str *out, const struct plan *plan)
{
	bool first = true;
	for (size_t i = 0; i < plan->n; i++) {
		if (strcmp(plan->found[i].name, plan->chosen) == 0)
			continue;
		if (first)
			str_text(out, "\n# Others that answer HTTP here; a pool each, and routes "
				      "that lead to them, publish them:\n");
		first = false;
		str_text(out, "#   ");
		put_address(out, &plan->found[i]);
		str_char(out, ' ');
		put_name(out, plan->found[i].name);
		str_char(out, '\n');
	}
}

static void put_file(struct str *out, const struct plan *plan)
{
	str_text(out, head);
	str_printf(out,
		   "  - bind: 0.0.0.0:%u\n"
		   "    # tls: {certificates: [{cert: site.pem, key: site.key}]}\n\n",
		   plan->port);
	if (plan->n) {
		put_pool(out, plan);
		put_others(out, plan);
	} else {
		str_text(out, nobody);
	}
	str_text(out, tail);
}

/* What is written has to load: a program that breaks its own rule says so here. */
static bool loads(struct view text, const char *path)
{
	struct conf_diags diags;
	struct str said = STR_INIT;
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(text, path, &diags);
	conf_diags_format(&diags, &said, false);
	if (!conf)
		fprintf(stderr, "%.*s", (int)said.len, said.ptr);
	conf_free(conf);
	conf_diags_fini(&diags);
	str_fini(&said);
	return conf != NULL;
}

/* Never over a file that is there; half a file is none. */
static bool write_file(const char *path, struct view text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		fprintf(stderr,
			errno == EEXIST ? "weir: %s is there already, and stays as it is: "
					  "name another file, weir init FILE\n"
					: "weir: cannot write %s: %m\n",
			path);
		return false;
	}
	bool ok = write(fd, text.ptr, text.len) == (ssize_t)text.len;
	int error = errno;
	if (close(fd) || !ok) {
		fprintf(stderr, "weir: cannot write %s: %s\n", path, strerror(error));
		unlink(path);
		return false;
	}
	return true;
}

static void say(const char *path, const struct plan *plan)
{
	printf("wrote %s: listens at port %u\n", path, plan->port);
	for (size_t i = 0; i < plan->n; i++) {
		bool used = strcmp(plan->found[i].name, plan->chosen) == 0;
		printf("  %s port %u%s%s%s\n", used ? "backend" : "left out", plan->found[i].port,
		       *plan->found[i].name ? ", " : "", plan->found[i].name,
		       used ? "" : " (named in a comment)");
	}
	if (!plan->n)
		printf(
		    "  nobody answers HTTP on this machine: it says hello until there is a pool\n");
	printf("next:\n"
	       "  weir -t -c %s     test it\n"
	       "  weir -c %s        run it\n",
	       path, path);
}

int init_run(const char *path)
{
	struct plan plan = {.port = choose_port()};
	struct str text = STR_INIT;
	plan.n = init_find(plan.found);
	plan.chosen = choose(&plan);
	put_file(&text, &plan);
	bool ok = loads(str_as_view(&text), path) && write_file(path, str_as_view(&text));
	if (ok)
		say(path, &plan);
	str_fini(&text);
	return ok ? 0 : 1;
}
