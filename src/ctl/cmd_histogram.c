/* SPDX-License-Identifier: MIT */
/* weirctl histogram: how latency is distributed, a line for each power of two. */
#include "api.h"
#include "backend.h"
#include "client.h"
#include "commands.h"
#include "text.h"

#include <math.h>

#include "weir/base/defs.h"

#define OCTAVES 32
#define BAR_WIDTH 40

struct bucket {
	uint64_t lower_us;
	uint64_t count;
};

struct spread {
	uint64_t octave[OCTAVES]; /* samples by 63 - clz(us), 0 us in the first */
	uint64_t n;
	uint64_t most;
};

static struct bucket bucket_at(const json_t *buckets, size_t i)
{
	const json_t *pair = json_array_get(buckets, i);
	json_int_t lower = json_integer_value(json_array_get(pair, 0));
	json_int_t count = json_integer_value(json_array_get(pair, 1));
	return (struct bucket){lower > 0 ? (uint64_t)lower : 0, count > 0 ? (uint64_t)count : 0};
}

static unsigned octave_of(uint64_t us)
{
	unsigned octave = us ? 63 - (unsigned)__builtin_clzll(us) : 0;
	return octave < OCTAVES ? octave : OCTAVES - 1;
}

static struct spread spread_of(const json_t *buckets)
{
	struct spread s = {0};
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		struct bucket b = bucket_at(buckets, i);
		s.octave[octave_of(b.lower_us)] += b.count;
		s.n += b.count;
	}
	for (size_t i = 0; i < OCTAVES; i++)
		s.most = s.octave[i] > s.most ? s.octave[i] : s.most;
	return s;
}

/* The middle of the bucket that holds rank ceil(q * n): 32 buckets an octave above 64 us. */
static uint64_t quantile_us(const json_t *buckets, uint64_t n, double q)
{
	double rank = ceil(q * (double)n - 1e-6);
	uint64_t seen = 0;
	for (size_t i = 0; i < json_array_size(buckets); i++) {
		struct bucket b = bucket_at(buckets, i);
		seen += b.count;
		if ((double)seen >= rank)
			return b.lower_us < 64
				   ? b.lower_us
				   : b.lower_us + (UINT64_C(1) << octave_of(b.lower_us)) / 64;
	}
	return 0;
}

static const struct mark {
	const char *name;
	double q;
} marks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

static void put_quantiles(struct str *out, const json_t *buckets, uint64_t n)
{
	str_u64(out, n);
	str_text(out, " samples");
	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		str_printf(out, ", %s ", marks[i].name);
		put_duration_us(out, quantile_us(buckets, n, marks[i].q));
	}
	str_text(out, "\n\n");
}

/* The quantiles that lie in this octave. */
static void put_marks(struct str *out, const json_t *buckets, uint64_t n, unsigned octave)
{
	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		if (octave_of(quantile_us(buckets, n, marks[i].q)) == octave)
			str_printf(out, " <%s", marks[i].name);
}

static void octave_row(struct table *t, const struct spread *s, const json_t *buckets,
		       unsigned octave)
{
	uint64_t count = s->octave[octave];
	put_duration_us(table_cell(t), octave ? UINT64_C(1) << octave : 0);
	str_u64(table_cell(t), count);
	str_printf(table_cell(t), "%.1f %%", 100 * (double)count / (double)s->n);
	struct str *bar = table_cell(t);
	uint64_t width = (count * BAR_WIDTH + s->most - 1) / s->most;
	for (uint64_t i = 0; i < width; i++)
		str_char(bar, '#');
	put_marks(bar, buckets, s->n, octave);
}

static void print_histogram(struct ctl *ctl, const json_t *answer)
{
	static const struct column columns[] = {
	    {"FROM", RIGHT}, {"SAMPLES", RIGHT}, {"SHARE", RIGHT}, {"", LEFT}};
	const json_t *buckets = json_object_get(answer, "buckets");
	struct spread s = spread_of(buckets);
	if (s.n == 0) {
		str_text(&ctl->out, "no samples\n");
		return;
	}
	unsigned first = 0, last = OCTAVES - 1;
	while (s.octave[first] == 0)
		first++;
	while (s.octave[last] == 0)
		last--;
	struct table t;
	table_init(&t, columns, ARRAY_LEN(columns));
	for (unsigned octave = first; octave <= last; octave++)
		octave_row(&t, &s, buckets, octave);
	put_quantiles(&ctl->out, buckets, s.n);
	table_print(&t, &ctl->out, ctl->colour);
	table_fini(&t);
}

enum ctl_exit cmd_histogram(struct ctl *ctl)
{
	struct backend_ref ref;
	enum ctl_exit code = backend_ref_parse(ctl, ctl->args[0], false, &ref);
	if (code != CTL_OK)
		return code;
	struct str path = STR_INIT;
	str_text(&path, "/v1/pools/");
	client_escape(&path, ref.pool);
	str_text(&path, "/histogram?phase=");
	client_escape(&path, ctl->phase ? ctl->phase : "total");
	str_text(&path, "&window=");
	client_escape(&path, ctl->window ? ctl->window : "1m");
	if (ref.backend) {
		str_text(&path, "&backend=");
		client_escape(&path, ref.backend);
	}
	code = api_show(ctl, path.ptr, print_histogram);
	str_fini(&path);
	return code;
}
