/* SPDX-License-Identifier: MIT */
/* Between the control thread and ACME: what it may ask, and whom it tells. */
#include "issued.h"

#include "control.h"
#include "shared.h"

static bool rebuild(struct control *control)
{
	struct str why = STR_INIT;
	bool serves = control->current && control->state == CONTROL_RUNNING;
	bool ok = serves && runtime_rebuild(control, &why) == ERR_OK;
	if (serves && !ok)
		log_error("acme: no generation can be made: " VIEW_FMT,
			  VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
	return ok;
}

/* What came can be served: the same library has read it just now. */
static void on_changed(void *ctx)
{
	rebuild(ctx);
}

static void on_passed(struct control *control)
{
	if (control->acme)
		acme_published(control->acme);
}

/* A letter that comes behind that of the generation. */
static bool on_publish(void *ctx)
{
	bool ok = rebuild(ctx);
	workers_barrier(ctx, on_passed);
	return ok;
}

static void on_news(void *ctx, const struct acme_news *news)
{
	(void)ctx;
	event_add(EVENT_CERTIFICATE, VIEW_NONE, VIEW_NONE, VIEW_FMT ": %s", VIEW_ARG(news->site),
		  news->text);
	log_line(news->event == ACME_ISSUED ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		 "acme: " VIEW_FMT ": %s", VIEW_ARG(news->site), news->text);
}

static void on_turn(void *ctx, const struct acme_wish *wish, struct acme_turn *out)
{
	shared_turn(ctx, wish, out);
}

struct acme *issued_new(struct control *control)
{
	return acme_new(&control->loop, &(struct acme_host){.ctx = control,
							    .turn = on_turn,
							    .changed = on_changed,
							    .publish = on_publish,
							    .news = on_news});
}
