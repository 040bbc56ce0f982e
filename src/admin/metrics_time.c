/* SPDX-License-Identifier: MIT */
/*
 * Of GET /metrics: how long exchanges took.
 *
 * Histograms are most of the text, so buckets are where a quantile is asked for: of
 * every phase for a pool, of `wait` and `total` for a backend, and for its other
 * phases the time spent.  The borders are powers of two of a microsecond, where
 * struct hist_octaves has its own.
 */
#include "metrics.h"

#include <string.h>

#define FIRST_OCTAVE 2 /* the first that is above all of the first border */
static const char *const borders[] = {
    "0.000064", "0.000128", "0.000256", "0.000512", "0.001024",  "0.002048", "0.004096",
    "0.008192", "0.016384", "0.032768", "0.065536", "0.131072",  "0.262144", "0.524288",
    "1.048576", "2.097152", "4.194304", "8.388608", "16.777216",
};

static char *put_bytes(char *at, struct view v)
{
	memcpy(at, v.ptr, v.len);
	return at + v.len;
}

static char *put_bucket(char *at, struct view labels, const char *le, uint64_t n)
{
	at = digits_u64(stpcpy(stpcpy(put_bytes(at, labels), le), "\"} "), n);
	*at++ = '\n';
	return at;
}

/* family_part{pool="p",backend="b",phase="x" */
static void put_phase_name(struct str *out, const char *family, const char *part,
			   struct view labels, enum phase phase)
{
	str_text(out, family);
	str_text(out, part);
	str_view(out, labels);
	str_text(out, ",phase=\"");
	str_text(out, phase_name(phase));
	str_char(out, '"');
}

/*
 * `labels` are those without phase and le.  Whole microseconds are cut off, so "less
 * than the border" is "at most the border".
 */
static void put_histogram(struct scene *s, const char *family, struct view labels, enum phase phase,
			  const struct hist_octaves *octaves)
{
	struct str *line = &s->labels, *out = s->m.out;
	uint64_t below = 0;
	uint32_t octave = 0;
	str_reset(line);
	put_phase_name(line, family, "_bucket", labels, phase);
	str_text(line, ",le=\"");
	struct view start = str_as_view(line);
	if (!str_reserve(out, (ARRAY_LEN(borders) + 1) * (start.len + 16 + DIGITS_U64)))
		return;
	char *at = out->ptr + out->len;
	for (size_t i = 0; i < ARRAY_LEN(borders); i++) {
		for (; octave < FIRST_OCTAVE + i; octave++)
			below += octaves->count[octave];
		at = put_bucket(at, start, borders[i], below);
	}
	at = put_bucket(at, start, "+Inf", octaves->n);
	out->len = (size_t)(at - out->ptr);
	s->m.has_labels = true;
	put_phase_name(out, family, "_sum", labels, phase);
	metric_seconds(&s->m, octaves->sum_us);
	put_phase_name(out, family, "_count", labels, phase);
	metric_u64(&s->m, octaves->n);
}

static void put_pool_phases(struct scene *s)
{
	static const char *const family = "weir_pool_phase_duration_seconds";
	metric_family(&s->m, family, "histogram",
		      "Phases of exchanges that succeeded, up to the last full second.");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		struct str text = STR_INIT;
		struct metric labels = {.out = &text};
		const struct windows *windows = s->pools[p].state->windows;
		metric_label(&labels, "pool", s->pools[p].conf->name);
		for (int phase = 0; phase < N_PHASES; phase++) {
			struct hist_octaves octaves;
			if (windows && windows_octaves(windows, (enum phase)phase, &octaves))
				put_histogram(s, family, str_as_view(&text), (enum phase)phase,
					      &octaves);
		}
		str_fini(&text);
	}
}

/* A thousand fit no cache: the next is asked for. */
static void prefetch_ahead(const struct pool *pool, uint32_t i)
{
	if (i + 1 < pool->n && pool->backends[i + 1]->windows)
		windows_prefetch_octaves(pool->backends[i + 1]->windows);
}

static void put_phases(struct scene *s, uint32_t p, uint32_t i, const void *family)
{
	static const enum phase phases[] = {PHASE_wait, PHASE_total};
	const struct backend *b = s->pools[p].backends[i];
	struct hist_octaves octaves;
	prefetch_ahead(&s->pools[p], i);
	for (size_t k = 0; b->windows && k < ARRAY_LEN(phases); k++)
		if (windows_octaves(b->windows, phases[k], &octaves))
			put_histogram(s, family, s->backend[p][i], phases[k], &octaves);
}

static void put_backend_phases(struct scene *s)
{
	static const char *const family = "weir_backend_phase_duration_seconds";
	metric_family(&s->m, family, "histogram",
		      "Phases wait and total of exchanges that succeeded, up to the last full "
		      "second.");
	each_backend(s, put_phases, family);
}

static void put_time(struct scene *s, uint32_t p, uint32_t i, const void *family)
{
	const struct backend *b = s->pools[p].backends[i];
	struct hist_octaves octaves;
	prefetch_ahead(&s->pools[p], i);
	for (int phase = 0; b->windows && phase < PHASE_total; phase++) {
		if (!windows_octaves(b->windows, (enum phase)phase, &octaves))
			continue;
		begin_backend(s, family, p, i);
		metric_word(&s->m, "phase", phase_name((enum phase)phase));
		metric_seconds(&s->m, octaves.sum_us);
	}
}

static void put_backend_time(struct scene *s)
{
	static const char *const family = "weir_backend_phase_seconds_total";
	metric_family(&s->m, family, "counter",
		      "time that exchanges which succeeded spent, by phase; without total");
	each_backend(s, put_time, family);
}

void put_time_metrics(struct scene *s)
{
	put_pool_phases(s);
	put_backend_phases(s);
	put_backend_time(s);
}
