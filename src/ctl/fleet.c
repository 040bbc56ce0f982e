/* SPDX-License-Identifier: MIT */
/* Asking several weirs: who they are, all at once, one after the other. */
#include "fleet.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "merge.h"
#include "table.h"
#include "text.h"

#include "weir/base/file.h"

struct node {
	char *label; /* owns */
	char *where; /* owns: HOST:PORT; NULL: the socket */
	char *why;   /* owns: it cannot be asked, for this reason; or NULL */
};

struct fleet {
	struct node nodes[FLEET_MAX];
	size_t n;
};

/* ---- who they are ---- */

static char *copy_of(struct view text)
{
	return text.len ? strndup(text.ptr, text.len) : NULL;
}

static enum ctl_exit add_node(struct ctl *ctl, struct view label, struct view where)
{
	struct fleet *fleet = ctl->fleet;
	if (fleet->n == FLEET_MAX)
		return ctl_fail(ctl, CTL_USAGE, "more than %d nodes", FLEET_MAX);
	fleet->nodes[fleet->n++] = (struct node){.label = copy_of(label), .where = copy_of(where)};
	return CTL_OK;
}

static enum ctl_exit add_list(struct ctl *ctl)
{
	struct view rest = view_str(ctl->nodes);
	enum ctl_exit code = CTL_OK;
	while (rest.len && code == CTL_OK) {
		ptrdiff_t comma = view_chr(rest, ',');
		struct view one = view_head(rest, comma < 0 ? rest.len : (size_t)comma);
		rest = view_skip(rest, one.len + 1);
		one = view_trim(one);
		if (one.len && view_chr(one, ':') < 0)
			return ctl_fail(
			    ctl, CTL_USAGE,
			    "--nodes takes HOST:PORT,HOST:PORT,... or shared, not \"" VIEW_FMT "\"",
			    VIEW_ARG(one));
		if (one.len)
			code = add_node(ctl, one, one);
	}
	return code == CTL_OK && ctl->fleet->n == 0
		   ? ctl_fail(ctl, CTL_USAGE, "--nodes names nobody")
		   : code;
}

static enum ctl_exit add_other(struct ctl *ctl, const json_t *row)
{
	struct view where = view_str(get_text(row, "status"));
	enum ctl_exit code = add_node(ctl, view_str(get_text(row, "node")), where);
	if (code == CTL_OK && !where.len)
		ctl->fleet->nodes[ctl->fleet->n - 1].why =
		    strdup("it has no status.bind, so nobody else can ask it");
	return code;
}

/* This weir and those that it has heard of. */
static enum ctl_exit add_shared(struct ctl *ctl)
{
	struct fleet *fleet = ctl->fleet;
	json_t *answer, *row;
	size_t i;
	ctl->fleet = NULL; /* only this one is asked */
	enum ctl_exit code = api_get(ctl, "/v1/nodes", &answer);
	ctl->fleet = fleet;
	if (code == CTL_OK && !get_bool(answer, "on"))
		code = ctl_fail(ctl, CTL_FAILED,
				"this weir shares with nobody ('shared' is not configured): name "
				"the nodes, --nodes HOST:PORT,HOST:PORT");
	if (code == CTL_OK)
		code = add_node(ctl, view_str(get_text(answer, "node")), VIEW_NONE);
	json_array_foreach(json_object_get(answer, "others"), i, row) if (code == CTL_OK) code =
	    add_other(ctl, row);
	json_decref(answer);
	return code;
}

static void fleet_free(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n; i++) {
		free(fleet->nodes[i].label);
		free(fleet->nodes[i].where);
		free(fleet->nodes[i].why);
	}
	free(fleet);
}

/* ---- all at once ---- */

struct asked {
	struct ctl ctl; /* its own: what is said of one node */
	const struct node *node;
	const char *path;
	pthread_t thread;
	bool has_thread;
	enum ctl_exit code;
	json_t *answer; /* owns */
};

static void *ask(void *arg)
{
	struct asked *a = arg;
	a->code = api_get(&a->ctl, a->path, &a->answer);
	return NULL;
}

static struct ctl ctl_of(const struct ctl *ctl, const struct node *node)
{
	struct ctl one = *ctl;
	one.fleet = NULL;
	one.node = node->where;
	one.out = one.why = STR_INIT;
	return one;
}

static void begin(struct asked *a, const struct ctl *ctl, const struct node *node, const char *path)
{
	*a = (struct asked){.ctl = ctl_of(ctl, node), .node = node, .path = path};
	if (node->why) {
		str_text(&a->ctl.why, node->why);
		a->code = CTL_UNREACHABLE;
		return;
	}
	a->has_thread = pthread_create(&a->thread, NULL, ask, a) == 0;
	if (!a->has_thread)
		ask(a);
}

static void miss(struct ctl *ctl, const struct node *node, const struct str *why)
{
	ctl->n_missing++;
	put_clean(&ctl->missing, node->label);
	str_text(&ctl->missing, " is not among these: ");
	put_clean_lines(&ctl->missing, why->len ? why->ptr : "no reason is known");
	str_char(&ctl->missing, '\n');
}

/* Takes the answer or the reason why there is none. */
static void finish(struct ctl *ctl, struct asked *a, json_t *answers)
{
	if (a->has_thread)
		pthread_join(a->thread, NULL);
	if (a->code == CTL_OK)
		json_array_append_new(
		    answers, json_pack("{s:s, s:o}", "node", a->node->label, "answer", a->answer));
	else
		miss(ctl, a->node, &a->ctl.why);
	str_fini(&a->ctl.why);
	str_fini(&a->ctl.out);
}

static json_t *ask_all(struct ctl *ctl, const char *path)
{
	struct fleet *fleet = ctl->fleet;
	json_t *answers = json_pack("[]");
	struct asked *asked = calloc(fleet->n, sizeof(*asked));
	ctl->n_missing = 0;
	str_reset(&ctl->missing);
	for (size_t i = 0; asked && i < fleet->n; i++)
		begin(&asked[i], ctl, &fleet->nodes[i], path);
	for (size_t i = 0; asked && i < fleet->n; i++)
		finish(ctl, &asked[i], answers);
	free(asked);
	return answers;
}

/* ---- one answer of all ---- */

typedef json_t *merge_fn(const json_t *answers);

static merge_fn *merge_of(const char *path)
{
	static const char pools[] = "/v1/pools";
	if (strcmp(path, "/v1/status") == 0)
		return merge_status;
	if (strcmp(path, pools) == 0)
		return merge_pools;
	if (strncmp(path, pools, sizeof(pools) - 1) != 0)
		return NULL;
	if (strstr(path, "/histogram?"))
		return merge_histogram;
	return strchr(path + sizeof(pools), '/') ? NULL : merge_pool;
}

/* Who did not answer, and why: a line each. */
static json_t *missing_of(const struct ctl *ctl)
{
	struct view rest = str_as_view(&ctl->missing);
	json_t *lines = json_pack("[]");
	while (rest.len) {
		ptrdiff_t end = view_chr(rest, '\n');
		size_t len = end < 0 ? rest.len : (size_t)end;
		json_array_append_new(lines, json_stringn(rest.ptr, len));
		rest = view_skip(rest, len + 1);
	}
	return lines;
}

static void put_fleet(const struct ctl *ctl, const json_t *answers, json_t *out)
{
	json_t *names = json_pack("[]"), *missing = missing_of(ctl), *row;
	json_t *problems = json_object_get(out, "problems");
	size_t i;
	json_array_foreach(answers, i, row) json_array_append(names, json_object_get(row, "node"));
	json_array_foreach(missing, i, row) if (problems) json_array_insert(problems, i, row);
	json_object_set_new(out, "fleet",
			    json_pack("{s:o, s:o}", "answered", names, "missing", missing));
}

/* What api_get gets of all. */
static enum ctl_exit get_of_all(struct ctl *ctl, const char *path, json_t **out)
{
	merge_fn *merge = merge_of(path);
	struct str full = STR_INIT;
	*out = NULL;
	if (!merge)
		return ctl_fail(ctl, CTL_FAILED, "that is each node's own: ask one of them");
	str_text(&full, path);
	str_text(&full, merge == merge_pools || merge == merge_pool ? "?buckets=total" : "");
	json_t *answers = ask_all(ctl, full.ptr);
	str_fini(&full);
	if (!json_array_size(answers)) {
		json_decref(answers);
		str_view(&ctl->why, str_as_view(&ctl->missing));
		if (ctl->why.len && ctl->why.ptr[ctl->why.len - 1] == '\n')
			ctl->why.ptr[--ctl->why.len] = '\0';
		str_reset(&ctl->missing);
		return CTL_UNREACHABLE;
	}
	*out = merge(answers);
	put_fleet(ctl, answers, *out);
	json_decref(answers);
	return CTL_OK;
}

/* ---- one after the other ---- */

static void put_part_json(json_t *parts, const struct node *node, const struct ctl *one,
			  enum ctl_exit code)
{
	json_t *part = json_pack("{s:s, s:i}", "node", node->label, "exit", (int)code);
	json_t *answer =
	    one->out.len ? json_loadb(one->out.ptr, one->out.len, JSON_DECODE_ANY, NULL) : NULL;
	if (answer)
		json_object_set_new(part, "answer", answer);
	if (one->why.len)
		json_object_set_new(part, "error", json_string(one->why.ptr));
	json_array_append_new(parts, part);
}

static void put_part(struct ctl *ctl, const struct node *node, const struct ctl *one)
{
	struct str title = STR_INIT;
	str_text(&ctl->out, ctl->out.len ? "\n" : "");
	put_clean(&title, node->label);
	put_coloured(&ctl->out, ctl->colour, BOLD, title.ptr, title.len);
	str_char(&ctl->out, '\n');
	str_fini(&title);
	str_view(&ctl->out, str_as_view(&one->out));
	if (!one->why.len)
		return;
	put_clean_lines(&ctl->out, one->why.ptr);
	str_char(&ctl->out, '\n');
}

static enum ctl_exit run_at(struct ctl *one, const struct command *command, const struct node *node)
{
	if (!node->why)
		return command->run(one);
	return ctl_fail(one, CTL_UNREACHABLE, "%s", node->why);
}

/* The worst that happened anywhere is the exit status. */
static enum ctl_exit run_each(struct ctl *ctl, const struct command *command)
{
	enum ctl_exit worst = CTL_OK;
	json_t *parts = json_pack("[]");
	for (size_t i = 0; i < ctl->fleet->n; i++) {
		const struct node *node = &ctl->fleet->nodes[i];
		struct ctl one = ctl_of(ctl, node);
		enum ctl_exit code = run_at(&one, command, node);
		if (ctl->json)
			put_part_json(parts, node, &one, code);
		else
			put_part(ctl, node, &one);
		worst = code > worst ? code : worst;
		str_fini(&one.out);
		str_fini(&one.why);
	}
	if (ctl->json)
		api_put_json(ctl, parts);
	json_decref(parts);
	if (worst != CTL_OK && ctl->all)
		str_text(&ctl->why, "not every node did it, see above");
	return worst;
}

/* What the file of an option has, if it is given. */
static enum ctl_exit read_secret(struct ctl *ctl, const char *option, const char *file,
				 struct str *room)
{
	struct str why = STR_INIT;
	enum err err = file ? file_read_secret(file, room, &why) : ERR_OK;
	if (err)
		ctl_fail(ctl, CTL_USAGE, "cannot read %s %s: %s", option, file,
			 why.ptr ? why.ptr : err_text(err));
	str_fini(&why);
	return err ? CTL_USAGE : CTL_OK;
}

static enum ctl_exit read_secrets(struct ctl *ctl, struct str *token, struct str *user)
{
	enum ctl_exit code = read_secret(ctl, "--token-file", ctl->token_file, token);
	if (code == CTL_OK)
		code = read_secret(ctl, "--password-file", ctl->password_file, user);
	if (code == CTL_OK && user->len && view_chr(str_as_view(user), ':') < 0)
		code = ctl_fail(ctl, CTL_USAGE, "--password-file %s has no NAME:PASSWORD in it",
				ctl->password_file);
	ctl->token = str_as_view(token);
	ctl->user = str_as_view(user);
	return code;
}

enum ctl_exit fleet_run(struct ctl *ctl, const struct command *command)
{
	struct str token = STR_INIT, user = STR_INIT;
	ctl->fleet = calloc(1, sizeof(*ctl->fleet));
	if (!ctl->fleet)
		return ctl_fail(ctl, CTL_FAILED, "no memory");
	ctl->get_of_all = get_of_all;
	json_object_seed(0); /* threads make objects */
	bool shared = !ctl->nodes || strcmp(ctl->nodes, "shared") == 0;
	enum ctl_exit code = read_secrets(ctl, &token, &user);
	if (code == CTL_OK)
		code = shared ? add_shared(ctl) : add_list(ctl);
	if (code == CTL_OK)
		code = command->options & OF_FLEET ? command->run(ctl) : run_each(ctl, command);
	fleet_free(ctl->fleet);
	ctl->fleet = NULL;
	ctl->token = ctl->user = VIEW_NONE;
	str_fini(&token);
	str_fini(&user);
	return code;
}
