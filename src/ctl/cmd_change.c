/* SPDX-License-Identifier: MIT */
/*
 * Commands that change a backend.  Each shows the row as it is afterwards and
 * the command that takes the change back.
 */
#include "api.h"
#include "backend.h"
#include "commands.h"
#include "text.h"
#include "undo.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weir/base/parse.h"

#define WEIGHT_MAX 65535
#define WAIT_NS 250000000

static void put_row(struct ctl *ctl, const char *pool, const json_t *row)
{
	struct table t;
	if (!has_member(row, "state"))
		return;
	backends_table_init(&t);
	backends_table_row(&t, pool, row);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

/* The pool as it is now. */
static enum ctl_exit get_pool(struct ctl *ctl, const struct backend_ref *ref, json_t **pool)
{
	struct backend_ref whole = *ref;
	struct str path = STR_INIT;
	whole.backend = NULL;
	backend_ref_path(&whole, &path);
	enum ctl_exit code = api_get(ctl, path.ptr, pool);
	str_fini(&path);
	return code;
}

static enum ctl_exit change(struct ctl *ctl, const char *method, const struct backend_ref *ref,
			    json_t *body, json_t **row)
{
	struct str path = STR_INIT;
	backend_ref_path(ref, &path);
	enum ctl_exit code = api_send(ctl, method, path.ptr, body, row);
	str_fini(&path);
	return code;
}

/* ---- drain, maintenance, enable ---- */

/* The command that brings a backend into the state. */
static const char *command_to(const char *state)
{
	if (strcmp(state, "draining") == 0)
		return "drain";
	return strcmp(state, "maintenance") == 0 ? "maintenance" : "enable";
}

static bool expects_pins(const json_t *row)
{
	const json_t *sessions = json_object_get(row, "sessions");
	return sessions && !get_bool(sessions, "over");
}

/* Nothing is in flight, in the process before a hand-over neither. */
static bool is_done(const json_t *row)
{
	return get_u64(row, "in_flight") == 0 &&
	       (!has_member(row, "idle") || get_bool(row, "idle"));
}

/* And no pinned client is to be expected. */
static bool is_idle(const json_t *row)
{
	return is_done(row) && !expects_pins(row);
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The row as it is now in place of *row. */
static enum ctl_exit look_again(struct ctl *ctl, const struct backend_ref *ref, json_t **row)
{
	json_t *pool;
	enum ctl_exit code = get_pool(ctl, ref, &pool);
	if (code != CTL_OK)
		return code;
	json_decref(*row);
	*row = json_incref((json_t *)pool_backend(pool, ref->backend));
	json_decref(pool);
	if (!*row)
		return ctl_fail(ctl, CTL_FAILED, "%s/%s was removed meanwhile", ref->pool,
				ref->backend);
	if (strcmp(command_to(get_text(*row, "state")), "enable") == 0)
		return ctl_fail(ctl, CTL_FAILED, "%s/%s was enabled again meanwhile", ref->pool,
				ref->backend);
	return CTL_OK;
}

/* The time is over: pinned clients can be moved, requests under way are not to be cut. */
static enum ctl_exit waited_enough(struct ctl *ctl, const struct backend_ref *ref,
				   const json_t *row)
{
	uint64_t n = get_u64(row, "in_flight");
	if (!is_done(row) && !expects_pins(row))
		return ctl_fail(ctl, CTL_FAILED,
				"%s/%s still has %llu in flight after %s; it goes on draining",
				ref->pool, ref->backend, (unsigned long long)n, ctl->wait_time);
	return CTL_OK;
}

/* Polls until it is idle or the time is over; *row becomes the last one seen. */
static enum ctl_exit wait_until_idle(struct ctl *ctl, const struct backend_ref *ref,
				     uint64_t time_us, json_t **row)
{
	uint64_t until = now_us() + time_us;
	while (!is_idle(*row)) {
		if (time_us && now_us() >= until)
			return waited_enough(ctl, ref, *row);
		nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
		enum ctl_exit code = look_again(ctl, ref, row);
		if (code != CTL_OK)
			return code;
	}
	return CTL_OK;
}

static enum ctl_exit parse_wait(struct ctl *ctl, uint64_t *time_us)
{
	*time_us = 0;
	if (ctl->wait_time &&
	    (!parse_duration_us(view_str(ctl->wait_time), time_us) || *time_us == 0))
		return ctl_fail(ctl, CTL_USAGE, "--wait takes a duration such as 30s, not \"%s\"",
				ctl->wait_time);
	return CTL_OK;
}

/* `pool` as it was before: is nobody left in it? */
static void warn_of_last(struct ctl *ctl, const struct backend_ref *ref, const json_t *pool)
{
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	{
		if (strcmp(get_text(b, "name"), ref->backend) != 0 && backend_is_usable(b) &&
		    get_u64(b, "weight") > 0)
			return;
	}
	str_printf(&ctl->out, "pool %s has no backend left that takes requests: clients get 503\n",
		   ref->pool);
}

static void print_state_change(struct ctl *ctl, const struct backend_ref *ref, const json_t *row,
			       const json_t *pool, const char *old_command)
{
	if (ctl->json) {
		api_put_json(ctl, row);
		return;
	}
	put_row(ctl, ref->pool, row);
	if (strcmp(old_command, command_to(get_text(row, "state"))) == 0) {
		str_text(&ctl->out, "nothing changed: it was so before\n");
		return;
	}
	if (strcmp(command_to(get_text(row, "state")), "enable") != 0)
		warn_of_last(ctl, ref, pool);
	if (expects_pins(row))
		str_text(&ctl->out,
			 "pinned clients may still come; maintenance --wait moves them\n");
	undo_begin(ctl, old_command);
	undo_place(ctl, ref->pool, ref->backend);
	str_char(&ctl->out, '\n');
}

static enum ctl_exit set_state(struct ctl *ctl, const char *state)
{
	struct backend_ref ref;
	json_t *pool, *row;
	uint64_t time_us;
	enum ctl_exit code = parse_wait(ctl, &time_us);
	if (code == CTL_OK)
		code = backend_ref_parse(ctl, ctl->args[0], true, &ref);
	if (code == CTL_OK)
		code = get_pool(ctl, &ref, &pool);
	if (code != CTL_OK)
		return code;
	const char *old = command_to(get_text(pool_backend(pool, ref.backend), "state"));
	code = change(ctl, "POST", &ref, json_pack("{s:s}", "state", state), &row);
	if (code == CTL_OK && ctl->wait)
		code = wait_until_idle(ctl, &ref, time_us, &row);
	if (code == CTL_OK)
		print_state_change(ctl, &ref, row, pool, old);
	json_decref(pool);
	json_decref(row);
	return code;
}

enum ctl_exit cmd_drain(struct ctl *ctl)
{
	return set_state(ctl, "drain");
}

enum ctl_exit cmd_maintenance(struct ctl *ctl)
{
	return set_state(ctl, "maintenance");
}

enum ctl_exit cmd_enable(struct ctl *ctl)
{
	return set_state(ctl, "up");
}

/* ---- weight ---- */

static enum ctl_exit parse_weight(struct ctl *ctl, const char *text, uint64_t *weight)
{
	if (!parse_u64(view_str(text), weight) || *weight > WEIGHT_MAX)
		return ctl_fail(ctl, CTL_USAGE, "a weight is a number from 0 to %d, not \"%s\"",
				WEIGHT_MAX, text);
	return CTL_OK;
}

enum ctl_exit cmd_weight(struct ctl *ctl)
{
	struct backend_ref ref;
	json_t *pool, *row;
	uint64_t weight;
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], true, &ref);
	if (code == CTL_OK)
		code = parse_weight(ctl, ctl->args[1], &weight);
	if (code == CTL_OK)
		code = get_pool(ctl, &ref, &pool);
	if (code != CTL_OK)
		return code;
	uint64_t old = get_u64(pool_backend(pool, ref.backend), "weight");
	json_t *body = json_pack("{s:I}", "weight", (json_int_t)weight);
	code = change(ctl, "POST", &ref, body, &row);
	if (code != CTL_OK) {
		json_decref(pool);
		return code;
	}
	if (ctl->json) {
		api_put_json(ctl, row);
	} else {
		put_row(ctl, ref.pool, row);
		if (!weight)
			warn_of_last(ctl, &ref, pool);
		undo_begin(ctl, "weight");
		undo_place(ctl, ref.pool, ref.backend);
		str_printf(&ctl->out, " %u\n", (unsigned)old);
	}
	json_decref(pool);
	json_decref(row);
	return CTL_OK;
}

/* ---- add, remove ---- */

enum ctl_exit cmd_add(struct ctl *ctl)
{
	struct backend_ref ref;
	json_t *row;
	uint64_t weight = 1;
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], false, &ref);
	if (code == CTL_OK && ref.backend)
		code = ctl_fail(ctl, CTL_USAGE,
				"add takes a pool and an address; --name names the backend");
	if (code == CTL_OK && ctl->weight)
		code = parse_weight(ctl, ctl->weight, &weight);
	if (code != CTL_OK)
		return code;
	json_t *body = json_pack("{s:s, s:s*}", "address", ctl->args[1], "name", ctl->name);
	if (!body)
		return ctl_fail(ctl, CTL_USAGE, "the address or the name is not UTF-8");
	if (ctl->weight)
		json_object_set_new(body, "weight", json_integer((json_int_t)weight));
	struct str path = STR_INIT;
	backend_ref_path(&ref, &path);
	str_text(&path, "/backends");
	code = api_send(ctl, "POST", path.ptr, body, &row);
	str_fini(&path);
	if (code != CTL_OK)
		return code;
	if (ctl->json) {
		api_put_json(ctl, row);
	} else {
		put_row(ctl, ref.pool, row);
		undo_begin(ctl, "remove");
		undo_place(ctl, ref.pool, get_text(row, "name"));
		str_char(&ctl->out, '\n');
	}
	json_decref(row);
	return CTL_OK;
}

/* `old` is the row before. */
static void put_undo_of_remove(struct ctl *ctl, const char *pool, const json_t *old)
{
	const char *address = get_text(old, "address"), *name = get_text(old, "name");
	undo_begin(ctl, "add");
	put_shell_word(&ctl->out, pool);
	str_char(&ctl->out, ' ');
	put_shell_word(&ctl->out, address);
	if (strcmp(name, address) != 0) {
		str_text(&ctl->out, " --name ");
		put_shell_word(&ctl->out, name);
	}
	if (get_u64(old, "weight") != 1)
		str_printf(&ctl->out, " --weight %u", (unsigned)get_u64(old, "weight"));
	str_char(&ctl->out, '\n');
}

static void print_removal(struct ctl *ctl, const struct backend_ref *ref, const json_t *answer,
			  const json_t *pool)
{
	if (ctl->json) {
		api_put_json(ctl, answer);
		return;
	}
	const json_t *old = pool_backend(pool, ref->backend);
	put_row(ctl, ref->pool, answer);
	uint64_t left = get_u64(answer, "in_flight");
	put_clean(&ctl->out, ctl->args[0]);
	if (left)
		str_printf(&ctl->out, " goes when its last %u requests are done\n", (unsigned)left);
	else if (!is_done(answer))
		str_text(&ctl->out, " goes when the process that handed over lets go of it\n");
	else
		str_text(&ctl->out, " is removed\n");
	warn_of_last(ctl, ref, pool);
	if (old)
		put_undo_of_remove(ctl, ref->pool, old);
}

enum ctl_exit cmd_remove(struct ctl *ctl)
{
	struct backend_ref ref;
	json_t *pool, *answer;
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], true, &ref);
	if (code == CTL_OK)
		code = get_pool(ctl, &ref, &pool);
	if (code != CTL_OK)
		return code;
	code = change(ctl, "DELETE", &ref, NULL, &answer);
	if (code == CTL_OK)
		print_removal(ctl, &ref, answer, pool);
	json_decref(pool);
	json_decref(answer);
	return code;
}
