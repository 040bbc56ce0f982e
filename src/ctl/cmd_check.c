/* SPDX-License-Identifier: MIT */
/*
 * weirctl check: the line and the exit status that Nagios, Icinga and their kin
 * expect of a plugin (Monitoring Plugins Development Guidelines).
 */
#include "api.h"
#include "backend.h"
#include "commands.h"
#include "text.h"

#include <string.h>

/* Exit statuses of plugins; they differ from those of other commands. */
enum verdict { OK, WARNING, CRITICAL, UNKNOWN };

struct findings {
	enum verdict verdict;
	struct str text; /* sentences, parted by "; " */
	uint64_t n_pools;
	uint64_t n_backends;
	uint64_t n_up;
};

static struct str *find(struct findings *f, enum verdict verdict)
{
	if (verdict > f->verdict)
		f->verdict = verdict;
	if (f->text.len)
		str_text(&f->text, "; ");
	return &f->text;
}

static void look_at_backend(struct findings *f, const char *pool, const json_t *b)
{
	const char *state = get_text(b, "state");
	f->n_backends++;
	f->n_up += backend_is_usable(b);
	/* draining and maintenance are somebody's wish */
	if (strcmp(state, "down") != 0 && strcmp(state, "ejected") != 0)
		return;
	struct str *text = find(f, WARNING);
	str_printf(text, "%s/%s is ", pool, get_text(b, "name"));
	put_state(text, b);
}

static void look_at_pool(struct findings *f, const json_t *pool)
{
	size_t i;
	json_t *b;
	uint64_t n_up = f->n_up;
	f->n_pools++;
	json_array_foreach(json_object_get(pool, "backends"), i, b)
	    look_at_backend(f, get_text(pool, "name"), b);
	if (f->n_up == n_up)
		str_printf(find(f, CRITICAL), "pool %s has no backend that takes requests",
			   get_text(pool, "name"));
}

/*
 * Whether the rows told it already, with more detail.  Problems begin with their subject:
 * "backend app/b2 is down: ...", "pool api has no ...", "the last reload failed: ...".
 */
static bool is_told(const struct findings *f, const char *problem)
{
	static const char *const verbs[] = {" is ", " has ", " failed"};
	static const char intro[] = "backend ";
	const char *subject = problem;
	if (strncmp(subject, intro, sizeof(intro) - 1) == 0)
		subject += sizeof(intro) - 1;
	for (size_t i = 0; f->text.len && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const char *verb = strstr(subject, verbs[i]);
		if (verb && memmem(f->text.ptr, f->text.len, subject,
				   (size_t)(verb - subject) + strlen(verbs[i])))
			return true;
	}
	return false;
}

static void look_at_status(struct findings *f, const json_t *status)
{
	size_t i;
	json_t *problem;
	const json_t *reload = json_object_get(status, "last_reload");
	if (has_member(reload, "ok") && !get_bool(reload, "ok"))
		str_printf(find(f, WARNING), "the last reload failed: %s",
			   get_text(reload, "error"));
	json_array_foreach(json_object_get(status, "problems"), i,
			   problem) if (json_is_string(problem) &&
					!is_told(f, json_string_value(problem)))
	    str_text(find(f, WARNING), json_string_value(problem));
}

/* One line: no control bytes, and no bar before the performance data. */
static void put_line(struct ctl *ctl, enum verdict verdict, const char *text)
{
	static const char *const names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
	size_t start = ctl->out.len;
	str_printf(&ctl->out, "WEIR %s - ", names[verdict]);
	put_clean(&ctl->out, text);
	for (char *p = ctl->out.ptr + start; *p; p++)
		if (*p == '|')
			*p = '/';
}

static void put_performance(struct str *out, const struct findings *f, const json_t *status)
{
	static const struct {
		const char *key;
		const char *unit; /* c: a counter */
	} rows[] = {{"in_flight", ""}, {"connections", ""}, {"requests", "c"}, {"errors", "c"}};
	const json_t *totals = json_object_get(status, "totals");
	str_printf(out, " | backends_up=%u;;;0;%u", (unsigned)f->n_up, (unsigned)f->n_backends);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		str_printf(out, " %s=%llu%s", rows[i].key,
			   (unsigned long long)get_u64(totals, rows[i].key), rows[i].unit);
	str_char(out, '\n');
}

static enum verdict report(struct ctl *ctl, const json_t *status, const json_t *pools)
{
	struct findings f = {.text = STR_INIT};
	size_t i;
	json_t *pool;
	json_array_foreach(json_object_get(pools, "pools"), i, pool) look_at_pool(&f, pool);
	look_at_status(&f, status);
	if (f.verdict == OK)
		str_printf(&f.text, "%u of %u backends up in %u pool%s", (unsigned)f.n_up,
			   (unsigned)f.n_backends, (unsigned)f.n_pools, f.n_pools == 1 ? "" : "s");
	put_line(ctl, f.verdict, f.text.ptr);
	put_performance(&ctl->out, &f, status);
	str_fini(&f.text);
	return f.verdict;
}

/* weir that does not answer is down; what we may not ask, or do not understand, is unknown. */
static enum verdict report_failure(struct ctl *ctl, enum ctl_exit code)
{
	enum verdict verdict = code == CTL_UNREACHABLE && !ctl->forbidden ? CRITICAL : UNKNOWN;
	put_line(ctl, verdict, ctl->why.ptr);
	str_char(&ctl->out, '\n');
	str_reset(&ctl->why);
	return verdict;
}

enum ctl_exit cmd_check(struct ctl *ctl)
{
	json_t *status, *pools = NULL;
	enum verdict verdict;
	if (ctl->json)
		return ctl_fail(ctl, CTL_USAGE,
				"check takes no --json: its line is made for programs");
	enum ctl_exit code = api_get(ctl, "/v1/status", &status);
	if (code == CTL_OK)
		code = api_get(ctl, "/v1/pools", &pools);
	if (code == CTL_OK)
		verdict = report(ctl, status, pools);
	else
		verdict = report_failure(ctl, code);
	json_decref(status);
	json_decref(pools);
	return (enum ctl_exit)verdict;
}
