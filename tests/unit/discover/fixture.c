/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "weir/base/file.h"

struct fetch *__wrap_fetch_begin(struct fetcher *f, const struct fetch_request *req);
void __wrap_fetch_cancel(struct fetch *fetch);

struct world w;

static struct fetch *handle(void)
{
	return (struct fetch *)&w.asked;
}

struct fetch *__wrap_fetch_begin(struct fetcher *f, const struct fetch_request *req)
{
	cr_assert_eq(f, &w.fetcher);
	cr_assert(!w.open, "one question at a time: %s", w.url);
	w.asked = *req;
	w.open = true;
	w.n_asked++;
	snprintf(w.url, sizeof(w.url), VIEW_FMT, VIEW_ARG(req->url));
	snprintf(w.headers, sizeof(w.headers), VIEW_FMT, VIEW_ARG(req->headers));
	snprintf(w.body, sizeof(w.body), VIEW_FMT, VIEW_ARG(req->body));
	return handle();
}

void __wrap_fetch_cancel(struct fetch *fetch)
{
	if (!fetch)
		return;
	cr_assert(fetch == handle() && w.open, "cancelled what is over");
	w.open = false;
}

/* ---- life ---- */

static void changed(void *ctx)
{
	cr_assert_eq(ctx, &w);
	w.n_changed++;
}

static void news(void *ctx, const struct discover_news *n)
{
	cr_assert_eq(ctx, &w);
	w.n_news++;
	snprintf(w.news, sizeof(w.news),
		 VIEW_FMT " %s " VIEW_FMT ": %zu, %zu new, %zu gone%s%s%s, one: " VIEW_FMT,
		 VIEW_ARG(n->pool), n->kind, VIEW_ARG(n->text), n->n, n->n_new, n->n_gone,
		 n->error ? ", error: " : "", n->error ? n->error : "",
		 n->recovered ? ", recovered" : "", VIEW_ARG(n->member));
}

void world_init(void)
{
	memset(&w, 0, sizeof(w));
	cr_assert_eq(loop_init(&w.loop, "test"), ERR_OK);
	fetcher_init(&w.fetcher, &w.loop);
	w.d = discover_new(&w.loop, &w.fetcher,
			   &(struct discover_host){.ctx = &w, .changed = changed, .news = news});
	w.pool = (struct conf_pool){.name = VIEW("p"), .sources = w.sources};
	w.conf = (struct conf){.pools = &w.pool, .n_pools = 1};
	strcpy(w.folder, "/tmp/weir-discover-XXXXXX");
	cr_assert(mkdtemp(w.folder) != NULL);
}

void world_fini(void)
{
	struct str command = STR_INIT;
	discover_free(w.d);
	cr_assert(!w.open, "a question outlives its source");
	fetcher_fini(&w.fetcher);
	loop_fini(&w.loop);
	str_printf(&command, "rm -r %s", w.folder);
	cr_assert_eq(system(command.ptr), 0);
	str_fini(&command);
}

void begin(enum conf_source_kind kind, const char *text)
{
	w.before_us = clock_us();
	w.sources[w.pool.n_sources++] = (struct conf_source){.kind = kind, .text = view_str(text)};
	discover_prepare(w.d, &w.conf);
	discover_commit(w.d);
}

struct source *source_of(unsigned i)
{
	list_each (it, &w.d->sources)
		if (i-- == 0)
			return list_entry(it, struct source, link);
	cr_assert_fail("there is no such source");
	return NULL;
}

/* ---- answers ---- */

static void finish(const struct fetch_answer *answer)
{
	cr_assert(w.open, "nothing is asked");
	struct fetch_request asked = w.asked;
	w.before_us = clock_us();
	w.open = false;
	asked.done(asked.arg, answer);
}

void answer_with(unsigned status, const char *head, const char *body)
{
	struct message *msg = calloc(1, sizeof(*msg));
	msg->headers[0] =
	    (struct header){.name = VIEW("x-consul-index"), .value = view_str(head ? head : "")};
	msg->n_headers = head != NULL;
	finish(&(struct fetch_answer){
	    .end = FETCH_OK, .why = "", .status = status, .msg = msg, .body = view_str(body)});
	free(msg);
}

void answer_cut(const char *body)
{
	finish(&(struct fetch_answer){
	    .end = FETCH_FAILED, .why = "cut", .status = 200, .body = view_str(body)});
}

void answer_failed(enum fetch_end end, unsigned status, const char *why)
{
	finish(&(struct fetch_answer){.end = end, .why = why, .status = status});
}

void piece(const char *bytes)
{
	cr_assert(w.open && w.asked.piece);
	w.before_us = clock_us();
	w.asked.piece(w.asked.arg, view_str(bytes));
}

/* ---- time ---- */

void fire(void)
{
	struct source *s = source_of(0);
	cr_assert(timer_is_set(&s->timer), "it waits for nothing");
	timer_clear(&s->timer);
	w.before_us = clock_us();
	s->timer.fn(&s->timer);
}

void expect_due(unsigned ms)
{
	const struct timer *timer = &source_of(0)->timer;
	cr_assert(timer_is_set(timer), "it waits for nothing");
	cr_expect(timer->deadline_us >= w.before_us + ms * 1000 &&
		      timer->deadline_us <= clock_us() + ms * 1100,
		  "in %lld us, not %u ms", (long long)(timer->deadline_us - clock_us()), ms);
}

void expect_no_timer(void)
{
	cr_expect(!timer_is_set(&source_of(0)->timer));
}

/* ---- what came of it ---- */

const char *members(void)
{
	static const char *const states[] = {"", "draining ", "gone "};
	static char out[4096];
	struct str text = str_fixed(out, sizeof(out));
	struct arena *arena = arena_new();
	size_t n;
	const struct discover_source *rows = discover_status(w.d, arena, &n);
	for (size_t i = 0; i < rows[0].n_members; i++) {
		const struct discover_member *m = &rows[0].members[i];
		str_printf(&text, "%s%s" VIEW_FMT, i ? ", " : "", states[m->state],
			   VIEW_ARG(m->name));
		if (!view_eq(m->name, m->address))
			str_printf(&text, " at " VIEW_FMT, VIEW_ARG(m->address));
		str_printf(&text, " w%u", m->weight);
		if (m->priority)
			str_printf(&text, " p%u", m->priority);
		str_printf(&text, " (" VIEW_FMT ")", VIEW_ARG(m->cause));
	}
	arena_free(arena);
	return text.len ? out : "";
}

void expect_members(const char *text)
{
	cr_expect_str_eq(members(), text);
}

void expect_error(const char *text)
{
	cr_expect_str_eq(source_of(0)->error, text);
}

void write_file(const char *name, const char *text)
{
	snprintf(w.file, sizeof(w.file), "%s/%s", w.folder, name);
	FILE *f = fopen(w.file, "w");
	cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}
