/* SPDX-License-Identifier: MIT */
#include "issued.h"

#include "control.h"
#include "members.h"

/* What came can be served: the same library has read it just now. */
static void on_changed(void *ctx)
{
	struct control *control = ctx;
	struct str why = STR_INIT;
	if (control->current && control->state == CONTROL_RUNNING && runtime_rebuild(control, &why))
		log_error("a new certificate cannot be used: " VIEW_FMT,
			  VIEW_ARG(str_as_view(&why)));
	str_fini(&why);
}

static void on_news(void *ctx, const struct acme_news *news)
{
	(void)ctx;
	event_add(EVENT_CERTIFICATE, VIEW_NONE, VIEW_NONE, VIEW_FMT ": %s", VIEW_ARG(news->site),
		  news->text);
	log_line(news->event == ACME_ISSUED ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
		 "acme: " VIEW_FMT ": %s", VIEW_ARG(news->site), news->text);
}

struct acme *issued_new(struct control *control)
{
	return acme_new(
	    &control->loop, members_fetcher(control->members),
	    &(struct acme_host){.ctx = control, .changed = on_changed, .news = on_news});
}
