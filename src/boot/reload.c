/* SPDX-License-Identifier: MIT */
/* Another configuration while weir runs: everything that can fail first, then the change. */
#include <stdio.h>

#include "control.h"
#include "log_writer.h"
#include "members.h"
#include "shared.h"
#include "tracer.h"

#include "weir/acme/acme.h"

static void note_reload(struct control *control, bool ok, struct view error)
{
	control->last_reload.ok = ok;
	control->last_reload.at_wall_us = clock_wall_us();
	str_reset(&control->last_reload.error);
	str_view(&control->last_reload.error, error);
}

/* What cannot change while running, until it is as at the start again. */
static void warn_fixed(const struct control *control, const struct conf *next, struct str *why)
{
	struct str names = STR_INIT;
	if (conf_needs_restart(control->first->conf, next, &names))
		str_printf(why, "changed, but takes effect at the next start only: " VIEW_FMT "\n",
			   VIEW_ARG(str_as_view(&names)));
	str_fini(&names);
}

static void warn_of_descriptors(const struct conf *conf, struct str *why)
{
	struct str said = STR_INIT;
	if (!descriptors_suffice(conf, &said))
		str_printf(why, "warning: " VIEW_FMT "\n", VIEW_ARG(str_as_view(&said)));
	str_fini(&said);
}

/* ---- parts that follow a new configuration ---- */

enum part { PART_ADMIN, PART_TRACER, PART_SHARED, PART_LOG, PART_ACME, PART_MEMBERS, N_PARTS };

static enum err prepare_part(struct control *control, enum part part, const struct conf *conf,
			     struct str *why)
{
	switch (part) {
	case PART_ADMIN:
		return admin_prepare(control->admin, conf, why);
	case PART_TRACER:
		return tracer_prepare(control->tracer, conf, why);
	case PART_SHARED:
		return shared_prepare(control, conf, why);
	case PART_LOG:
		return log_writer_prepare(control->log_writer, conf, why);
	case PART_ACME:
		return acme_prepare(control->acme, conf, why);
	case PART_MEMBERS:
		members_prepare(control->members, conf);
		break;
	case N_PARTS:
		break;
	}
	return ERR_OK;
}

/* The first n of them, the latest first. */
static void cancel_parts(struct control *control, unsigned n)
{
	if (n > PART_MEMBERS)
		members_cancel(control->members);
	if (n > PART_ACME)
		acme_cancel(control->acme);
	if (n > PART_LOG)
		log_writer_cancel(control->log_writer);
	if (n > PART_SHARED)
		shared_cancel(control);
	if (n > PART_TRACER)
		tracer_cancel(control->tracer);
	if (n > PART_ADMIN)
		admin_cancel(control->admin);
}

/* All of them are ready, or none. */
static enum err prepare_parts(struct control *control, const struct conf *conf, struct str *why)
{
	enum err err = ERR_OK;
	unsigned n = 0;
	while (n < N_PARTS && !(err = prepare_part(control, (enum part)n, conf, why)))
		n++;
	if (err)
		cancel_parts(control, n);
	return err;
}

static void commit_parts(struct control *control)
{
	admin_commit(control->admin);
	tracer_commit(control->tracer);
	shared_commit(control);
	log_writer_commit(control->log_writer);
	acme_commit(control->acme);
	members_commit(control->members);
}

/* Everything that can fail first; nothing has changed when it does. */
static enum err try_reload(struct control *control, struct conf *conf, struct str *why)
{
	struct shared_conf *shared = shared_conf_new(conf, why);
	if (!shared) {
		conf_free(conf);
		return ERR_SYNTAX;
	}
	enum err err = prepare_parts(control, conf, why);
	if (err)
		goto out;
	struct generation *gen = generation_new(control, shared, why);
	if (!gen) {
		cancel_parts(control, N_PARTS);
		err = ERR_IO;
		goto out;
	}
	warn_fixed(control, conf, why);
	warn_of_descriptors(conf, why);
	log_set_level(conf->log.level);
	generation_publish(control, gen);
	runtime_tell(control);
	runtime_settle(control);
	commit_parts(control);
out:
	shared_conf_put(shared);
	return err;
}

static void log_lines(enum log_level level, struct view rest)
{
	while (rest.len) {
		ptrdiff_t end = view_chr(rest, '\n');
		struct view line = view_head(rest, end < 0 ? rest.len : (size_t)end);
		log_line(level, VIEW_FMT, VIEW_ARG(line));
		rest = view_skip(rest, line.len + (end >= 0));
	}
}

enum err control_reload(struct control *control, struct str *why)
{
	if (control->state != CONTROL_RUNNING) {
		str_text(why, "weir is about to stop\n");
		return ERR_CLOSED;
	}
	struct conf_diags diags;
	char state[96];
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)(clock_us() - clock_ahead_us));
	notify_state(state);
	conf_diags_init(&diags);
	struct conf *conf = options_load(control->options, &diags);
	conf_diags_format(&diags, why, false);
	conf_diags_fini(&diags);
	enum err err = conf ? try_reload(control, conf, why) : ERR_SYNTAX;
	notify_state("READY=1");
	if (err) {
		log_error("reload failed, the running configuration stays:");
		log_lines(LOG_LEVEL_ERROR, str_as_view(why));
		note_reload(control, false, str_as_view(why));
		event_add(EVENT_RELOAD_FAILED, VIEW_NONE, VIEW_NONE,
			  "reload failed, the running configuration stays");
		return err;
	}
	log_lines(LOG_LEVEL_WARN, str_as_view(why));
	note_reload(control, true, VIEW_NONE);
	str_reset(&control->handover.error);
	log_info("configuration loaded, generation %llu", (unsigned long long)control->current->id);
	size_t n_changes = runtime_count(control);
	if (n_changes)
		log_info(
		    "%zu change%s made at run time stay%s in force: weirctl runtime lists them",
		    n_changes, n_changes == 1 ? "" : "s", n_changes == 1 ? "s" : "");
	event_add(EVENT_RELOAD, VIEW_NONE, VIEW_NONE, "configuration loaded, generation %llu",
		  (unsigned long long)control->current->id);
	return ERR_OK;
}
