/* SPDX-License-Identifier: MIT */
/* Pages of weirctl top that stand in place of the rows: the keys, or all about one row. */
#include "top.h"

#include <string.h>

#include "api.h"
#include "backend.h"
#include "client.h"
#include "text.h"

static const char help[] =
    "  Up Down  j k       move\n"
    "  PgUp PgDn Space    a page\n"
    "  Home End  g G      the first, the last\n"
    "  Enter              all about this row\n"
    "  /                  show only what has this in name, address or state\n"
    "  s  r               sort by the next column; turn the order round\n"
    "  p                  pause\n"
    "  d                  drain: no new requests (after a question)\n"
    "  m                  maintenance: out of service (after a question)\n"
    "  e                  enable again (after a question)\n"
    "  w                  set the weight\n"
    "  ?  h               this page\n"
    "  q                  quit\n";

static void put_line(struct str *out, const char *name, const char *text)
{
	if (!*text)
		return;
	str_printf(out, "%s%s", name, *name ? "  " : "");
	put_clean(out, text);
	str_char(out, '\n');
}

static void put_side(struct str *out, const char *name, const json_t *side)
{
	if (!json_is_integer(json_object_get(side, "p50_us")))
		return;
	str_printf(out, "%s  p50 ", name);
	put_duration_us(out, get_u64(side, "p50_us"));
	str_text(out, "  p95 ");
	put_duration_us(out, get_u64(side, "p95_us"));
	str_char(out, '\n');
}

static void put_pool(struct str *out, const json_t *answer)
{
	const json_t *evidence = json_object_get(answer, "evidence");
	size_t i;
	json_t *f;
	put_line(out, "", get_text(answer, "sentence"));
	str_char(out, '\n');
	put_side(out, "alone", json_object_get(evidence, "alone"));
	put_side(out, "now  ", json_object_get(evidence, "now"));
	json_array_foreach(json_object_get(answer, "forecast"), i, f)
	    put_line(out, "", get_text(f, "sentence"));
}

static void put_slow(struct str *out, const json_t *answer)
{
	size_t i;
	json_t *row;
	if (json_array_size(json_object_get(answer, "slow")))
		str_text(out, "\nthe slowest of the last five minutes\n");
	json_array_foreach(json_object_get(answer, "slow"), i, row)
	{
		const json_t *phases = json_object_get(row, "phases");
		put_duration_us(out, get_u64(phases, "total_us"));
		str_text(out, "  ");
		put_clean(out, get_text(row, "method"));
		str_char(out, ' ');
		put_clean(out, get_text(row, "path"));
		str_printf(out, "  status %u, wait ", (unsigned)get_u64(row, "status"));
		put_duration_us(out, get_u64(phases, "wait_us"));
		str_printf(out, ", %u beside\n", (unsigned)get_u64(row, "in_flight"));
	}
}

static void put_backend(struct str *out, const json_t *b)
{
	const json_t *phases = json_object_get(json_object_get(b, "latency"), "1m");
	const char *name;
	json_t *latency;
	put_state(out, b);
	str_text(out, "  weight ");
	str_u64(out, get_u64(b, "weight"));
	str_text(out, "  requests ");
	str_u64(out, get_u64(b, "requests"));
	str_text(out, "  errors ");
	str_u64(out, get_u64(b, "errors"));
	str_text(out, "\n\nlatency of the last minute\n");
	json_object_foreach((json_t *)phases, name, latency)
	{
		if (!get_u64(latency, "n"))
			continue;
		str_printf(out, "  %-9s p50 ", name);
		put_duration_us(out, get_u64(latency, "p50_us"));
		str_text(out, "  p99 ");
		put_duration_us(out, get_u64(latency, "p99_us"));
		str_char(out, '\n');
	}
}

/* What weir does not answer is said in place of it. */
static void ask(struct top *top, const struct top_row *row, const char *rest,
		void (*put)(struct str *out, const json_t *answer))
{
	struct str path = STR_INIT;
	json_t *answer;
	str_text(&path, "/v1/pools/");
	client_escape(&path, get_text(row->pool, "name"));
	str_text(&path, rest);
	if (row->backend) {
		str_text(&path, "&backend=");
		client_escape(&path, get_text(row->backend, "name"));
	}
	if (api_get(top->ctl, path.ptr, &answer) == CTL_OK)
		put(&top->page, answer);
	else
		put_line(&top->page, "", top->ctl->why.ptr);
	str_reset(&top->ctl->why);
	json_decref(answer);
	str_fini(&path);
}

static void make_detail(struct top *top)
{
	struct str *out = &top->page;
	const struct top_row *row = &top->rows[top->at];
	put_line(out, "", top->chosen.ptr ? top->chosen.ptr : get_text(row->pool, "name"));
	if (row->backend) {
		put_line(out, "", get_text(row->backend, "address"));
		put_backend(out, row->backend);
		put_line(out, "", get_text(row->backend, "verdict_sentence"));
		ask(top, row, "/slow?limit=5", put_slow);
	} else {
		put_line(out, "", get_text(row->pool, "strategy"));
		ask(top, row, "/scaling", put_pool);
	}
}

void top_page_make(struct top *top)
{
	str_reset(&top->page);
	if (top->shown == SHOWN_HELP)
		str_text(&top->page, help);
	else if (top->n_rows)
		make_detail(top);
}
