/* SPDX-License-Identifier: MIT */
/* When to renew: the window that an authority names, kept within bounds of our own. */
#include "ari.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "weir/base/check.h"

/* Where it does not say; RFC 9773 4.3 has the bounds. */
#define AGAIN_S (6 * UINT64_C(3600))
#define AGAIN_MIN_S UINT64_C(60)
#define AGAIN_MAX_S (24 * UINT64_C(3600))

static void finish(struct ari *ari, struct ari_answer answer)
{
	if (!answer.again_s)
		answer.again_s = AGAIN_S;
	else if (answer.again_s < AGAIN_MIN_S)
		answer.again_s = AGAIN_MIN_S;
	else if (answer.again_s > AGAIN_MAX_S)
		answer.again_s = AGAIN_MAX_S;
	ari->step = ARI_IDLE;
	ari->done(ari->arg, &answer);
}

int64_t ari_time(const char *text)
{
	struct tm tm = {0};
	int hours = 0, minutes = 0;
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return 0;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	bool ahead = *rest == '+', behind = *rest == '-';
	if ((ahead || behind) && sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2)
		return 0;
	if (!ahead && !behind && *rest != 'Z' && *rest != 'z')
		return 0;
	int64_t offset = (hours * 60 + minutes) * 60;
	return timegm(&tm) - (ahead ? offset : -offset);
}

static void take_window(struct ari *ari, const struct ca_answer *a)
{
	const json_t *window = json_object_get(a->root, "suggestedWindow");
	struct ari_answer answer = {.start_s = ari_time(ca_text(window, "start")),
				    .end_s = ari_time(ca_text(window, "end")),
				    .again_s = a->retry_after_s};
	if (answer.start_s <= 0 || answer.end_s <= answer.start_s)
		answer.start_s = answer.end_s = 0;
	finish(ari, answer);
}

static void on_answer(void *arg, const struct ca_answer *a)
{
	struct ari *ari = arg;
	const char *place = a->ok ? ca_text(a->root, "renewalInfo") : "";
	struct str url = STR_INIT;
	if (a->ok && ari->step == ARI_WINDOW) {
		take_window(ari, a);
	} else if (ari->step == ARI_DIRECTORY && view_istarts(view_str(place), VIEW("https://"))) {
		str_printf(&url, "%s/" VIEW_FMT, place, VIEW_ARG(str_as_view(&ari->id)));
		ari->step = ARI_WINDOW;
		ca_get(&ari->ca, str_as_view(&url));
	} else {
		finish(ari, (struct ari_answer){.again_s = a->retry_after_s});
	}
	str_fini(&url);
}

void ari_init(struct ari *ari, struct fetcher *fetcher)
{
	*ari = (struct ari){.id = STR_INIT};
	ca_init(&ari->ca, fetcher);
	ari->ca.done = on_answer;
	ari->ca.arg = ari;
}

void ari_fini(struct ari *ari)
{
	ca_fini(&ari->ca);
	str_fini(&ari->id);
}

void ari_ask(struct ari *ari, struct view directory, const char *id)
{
	check(ari->step == ARI_IDLE);
	str_reset(&ari->id);
	str_text(&ari->id, id);
	ari->step = ARI_DIRECTORY;
	ca_get(&ari->ca, directory);
}

void ari_stop(struct ari *ari)
{
	ca_stop(&ari->ca);
	ari->step = ARI_IDLE;
}
