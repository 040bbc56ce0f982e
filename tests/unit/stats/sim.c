/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

#define JOBS_MAX 100000
#define AT_ONCE_MAX 16384
#define NEVER INFINITY

struct job {
	struct job *next; /* in a queue, or free */
	double arrived_us, at_us;
	unsigned backend;
	uint32_t others, elsewhere;
	bool at_shared, is_foreign, is_other;
};

struct queue {
	struct job *first, **last;
	unsigned free_workers;
};

struct sim {
	struct sim_plan plan;
	struct rng rng;
	double now_us;
	unsigned n; /* backends in use */
	unsigned in_flight[SIM_BACKENDS];
	unsigned other_in_flight[SIM_BACKENDS], other_sent[SIM_BACKENDS], other_said[SIM_BACKENDS];
	double since_us[SIM_BACKENDS];
	struct queue queue[SIM_BACKENDS], shared;
	struct job *at_once[SIM_BACKENDS][AT_ONCE_MAX]; /* backends of the universal law */
	double next_us[SIM_BACKENDS];                   /* when such a backend finishes one */
	struct job jobs[JOBS_MAX], *free;
	struct job *heap[JOBS_MAX]; /* by at_us */
	size_t n_heap;
	double next_second_us;
	unsigned seconds, arrivals;
	struct levels *levels[SIM_BACKENDS];
	struct hist_set sets[SIM_BACKENDS];
	struct windows *windows[SIM_BACKENDS];
	struct scaling_part *parts[SIM_BACKENDS];
	double factor, next_foreign_us;
	double reports, report_us; /* share of another kind, and what it takes */
	bool unheard, blind;
	unsigned turn;
	unsigned asking, n_asked; /* clients of a closed world: without a request; all of them */
	void (*on_look)(void *ctx, const struct scaling *s);
	void *ctx;
	struct scaling *scaling;
	char names[SIM_BACKENDS][8];
	struct hist_total measured; /* until sim_measure was called */
};

static double exponential(struct sim *s, double mean)
{
	return -mean * log(((double)(rng_next(&s->rng) >> 11) + 0.5) / 9007199254740992.0);
}

/* ---- events ---- */

static void heap_push(struct sim *s, struct job *job)
{
	size_t i = s->n_heap++;
	for (; i > 0 && s->heap[(i - 1) / 2]->at_us > job->at_us; i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = job;
}

static struct job *heap_pop(struct sim *s)
{
	struct job *top = s->heap[0], *last = s->heap[--s->n_heap];
	size_t i = 0;
	for (;;) {
		size_t k = 2 * i + 1;
		if (k >= s->n_heap)
			break;
		if (k + 1 < s->n_heap && s->heap[k + 1]->at_us < s->heap[k]->at_us)
			k++;
		if (last->at_us <= s->heap[k]->at_us)
			break;
		s->heap[i] = s->heap[k];
		i = k;
	}
	s->heap[i] = last;
	return top;
}

/* ---- stations ---- */

static void queue_init(struct queue *q, unsigned workers)
{
	*q = (struct queue){.last = &q->first, .free_workers = workers};
}

static struct job *queue_next(struct queue *q)
{
	struct job *job = q->first;
	if (job && !(q->first = job->next))
		q->last = &q->first;
	return job;
}

/* True when the job has a worker at once; else it waits. */
static bool queue_enter(struct queue *q, struct job *job)
{
	if (q->free_workers) {
		q->free_workers--;
		return true;
	}
	job->next = NULL;
	*q->last = job;
	q->last = &job->next;
	return false;
}

static double uniform(struct sim *s)
{
	return ((double)(rng_next(&s->rng) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(struct sim *s)
{
	return sqrt(-2 * log(uniform(s))) * cos(2 * M_PI * uniform(s));
}

/* Exponential, or as even or uneven as the plan says: an Erlang or a hyperexponential time. */
static double service(struct sim *s, double mean)
{
	double cv2 = s->plan.cv2, sum = 0;
	mean *= s->factor;
	if (s->plan.times == SIM_FIXED)
		return mean;
	if (s->plan.times == SIM_PARETO)
		return fmin(mean / 3 * pow(uniform(s), -1 / 1.5), mean * 300);
	if (s->plan.times == SIM_LOGNORMAL) /* of a standard deviation of one */
		return mean * exp(normal(s) - 0.5);
	if (s->plan.times == SIM_MIX)
		return uniform(s) < s->plan.mix ? 3 * mean : mean / 2;
	if (cv2 <= 0 || cv2 == 1)
		return exponential(s, mean);
	if (cv2 > 1) { /* two kinds, with the same share of the work each */
		double p = (1 + sqrt((cv2 - 1) / (cv2 + 1))) / 2;
		bool quick = (double)(rng_next(&s->rng) >> 11) < p * 9007199254740992.0;
		return exponential(s, mean / 2 / (quick ? p : 1 - p));
	}
	unsigned steps = (unsigned)(1 / cv2 + 0.5);
	for (unsigned i = 0; i < steps; i++)
		sum += exponential(s, mean / steps);
	return sum;
}

/* When it is over what takes `us` and begins now, by a backend that stands still at times. */
static double end_at(const struct sim *s, unsigned b, double us)
{
	double every = s->plan.pause_s * 1e6, end = s->now_us + us;
	if (every <= 0)
		return end;
	double next = (floor(s->now_us / every) + b / 16.0) * every; /* not all at once */
	for (; next <= end; next += every)
		if (next + s->plan.pause_us > s->now_us)
			end += next + s->plan.pause_us - fmax(next, s->now_us);
	return end;
}

static void serve(struct sim *s, struct job *job, bool shared)
{
	double factor = s->plan.slow[job->backend] > 0 ? s->plan.slow[job->backend] : 1;
	job->at_shared = shared;
	double mean = shared ? s->plan.shared_us : s->plan.service_us * factor;
	bool report = s->reports > 0 && !shared && uniform(s) < s->reports;
	double us = report ? exponential(s, s->report_us) : service(s, mean);
	if (s->plan.hangs > 0 && uniform(s) < s->plan.hangs)
		us += s->plan.hang_us;
	job->at_us = end_at(s, job->backend, us);
	heap_push(s, job);
}

/* It has a worker of its backend. */
static void start(struct sim *s, struct job *job)
{
	if (!s->plan.shared_workers)
		serve(s, job, false);
	else if (queue_enter(&s->shared, job))
		serve(s, job, true);
}

static void level(struct sim *s, unsigned b, int change)
{
	uint64_t us = (uint64_t)s->now_us - (uint64_t)s->since_us[b];
	levels_pass(s->levels[b], s->in_flight[b], us);
	s->since_us[b] = s->now_us;
	s->in_flight[b] += (unsigned)change;
}

static void account(struct sim *s, const struct job *job)
{
	unsigned b = job->backend;
	uint64_t us = (uint64_t)(s->now_us - job->arrived_us);
	levels_served(s->levels[b], job->others, job->elsewhere, us);
	uint64_t queued = s->plan.queue_us > 0 ? (uint64_t)exponential(s, s->plan.queue_us) : 0;
	const uint64_t phases[N_PHASES] = {
	    [PHASE_queue] = queued, [PHASE_wait] = us, [PHASE_total] = queued + us};
	hist_sets_record_all(&(struct hist_set *){&s->sets[b]}, 1, phases);
}

static void put_back(struct sim *s, struct job *job)
{
	job->next = s->free;
	s->free = job;
}

static void finish(struct sim *s, struct job *job)
{
	unsigned b = job->backend;
	s->other_in_flight[b] -= job->is_other;
	if (!job->is_foreign && !job->is_other) {
		level(s, b, -1);
		account(s, job);
		if (s->plan.clients) /* some may have gone */
			s->asking += s->n_asked-- <= s->plan.clients;
	}
	put_back(s, job);
	struct job *next = queue_next(&s->queue[b]);
	if (next)
		start(s, next);
	else
		s->queue[b].free_workers++;
}

/* ---- backends that work on all requests at once, ever slower for it ---- */

/* Without a memory, so that what was drawn before counts no more when their number changes. */
static void draw_next(struct sim *s, unsigned b)
{
	const struct sim_plan *p = &s->plan;
	double n = s->in_flight[b];
	double rate = p->lam * n / (1 + p->sig * (n - 1) + p->kap * n * (n - 1));
	s->next_us[b] = n > 0 ? s->now_us + exponential(s, 1e6 / rate) : NEVER;
}

static void enter_at_once(struct sim *s, struct job *job, unsigned n_before)
{
	check(n_before < AT_ONCE_MAX);
	s->at_once[job->backend][n_before] = job;
	draw_next(s, job->backend);
}

/* Any of them, with the same probability. */
static void finish_one_of(struct sim *s, unsigned b)
{
	unsigned n = s->in_flight[b], i = rng_below(&s->rng, n);
	struct job *job = s->at_once[b][i];
	s->at_once[b][i] = s->at_once[b][n - 1];
	level(s, b, -1);
	account(s, job);
	put_back(s, job);
	draw_next(s, b);
}

static unsigned next_at_once(const struct sim *s)
{
	unsigned best = 0;
	for (unsigned b = 1; b < s->plan.backends; b++)
		if (s->next_us[b] < s->next_us[best])
			best = b;
	return best;
}

static void on_event(struct sim *s, struct job *job)
{
	if (!job->at_shared) {
		finish(s, job);
		return;
	}
	struct job *next = queue_next(&s->shared);
	if (next)
		serve(s, next, true);
	else
		s->shared.free_workers++;
	serve(s, job, false);
}

/* ---- arrivals ---- */

/* By what that node itself has in flight. */
static unsigned pick(struct sim *s, const unsigned *in_flight)
{
	unsigned best = rng_below(&s->rng, s->n);
	if (s->plan.uneven) {
		unsigned at = rng_below(&s->rng, s->n + 3);
		return at < 4 ? 0 : at - 3;
	}
	if (s->plan.round_robin)
		return s->turn++ % s->n;
	if (s->plan.random)
		return best;
	for (unsigned k = 1, i = best; k < s->n; k++) {
		i = (i + 1) % s->n;
		if (in_flight[i] < in_flight[best])
			best = i;
	}
	return best;
}

static struct job *take(struct sim *s)
{
	struct job *job = s->free;
	check(job != NULL);
	s->free = job->next;
	return job;
}

/* Of somebody else, whom the statistics do not see. */
static void arrive_foreign(struct sim *s)
{
	struct job *job = take(s);
	unsigned b = rng_below(&s->rng, s->n);
	*job = (struct job){.backend = b, .is_foreign = true};
	if (queue_enter(&s->queue[b], job))
		start(s, job);
	s->next_foreign_us = s->now_us + exponential(s, 1e6 / s->plan.foreign / s->n);
}

static unsigned elsewhere(const struct sim *s, unsigned b)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < s->plan.backends; i++)
		sum += i == b ? 0 : s->in_flight[i];
	return sum;
}

/* Until the next one: more even the more it is made of, 600 at most. */
static double between(struct sim *s, double mean)
{
	unsigned parts = s->plan.paced ? s->plan.paced : 1;
	double product = 1;
	for (unsigned i = 0; i < parts; i++)
		product *= uniform(s);
	return -mean / parts * log(product);
}

static void arrive_by_other(struct sim *s)
{
	struct job *job = take(s);
	unsigned b = pick(s, s->other_in_flight);
	*job = (struct job){.arrived_us = s->now_us, .backend = b, .is_other = true};
	s->other_in_flight[b]++;
	s->other_sent[b]++;
	if (queue_enter(&s->queue[b], job))
		start(s, job);
}

static void arrive(struct sim *s)
{
	if (s->plan.other > 0 && uniform(s) < s->plan.other) {
		arrive_by_other(s);
		return;
	}
	struct job *job = take(s);
	unsigned b = pick(s, s->in_flight);
	*job = (struct job){.arrived_us = s->now_us,
			    .backend = b,
			    .others = s->in_flight[b],
			    .elsewhere = elsewhere(s, b)};
	level(s, b, 1);
	s->arrivals++;
	if (s->plan.lam > 0)
		enter_at_once(s, job, job->others);
	else if (queue_enter(&s->queue[b], job))
		start(s, job);
}

/* ---- what the control thread does ---- */

static void look(struct sim *s)
{
	struct scaling_member members[SIM_BACKENDS];
	for (unsigned b = 0; b < s->plan.backends; b++)
		members[b] = (struct scaling_member){
		    .name = view_str(s->names[b]),
		    .part = s->parts[b],
		    .windows = s->windows[b],
		    .levels = (const struct levels *const *)&s->levels[b],
		    .n_levels = 1,
		    .weight = 1,
		    .usable = b < s->n,
		};
	struct scaling_input in = {
	    .pool = VIEW("slow"),
	    .members = members,
	    .n = s->plan.backends,
	    .slo_p95_us = s->plan.slo_p95_us,
	    .pooled = !s->plan.random && !s->plan.uneven && !s->plan.round_robin,
	    .now_us = (uint64_t)s->now_us,
	    .wall_us = (uint64_t)s->now_us,
	};
	scaling_look(s->scaling, &in);
	if (s->on_look)
		s->on_look(s->ctx, s->scaling);
}

/* What it said a second ago is what is known now. */
static void hear_other(struct sim *s)
{
	double sum = 0;
	for (unsigned b = 0; b < s->plan.backends; b++) {
		scaling_part_others(s->parts[b], s->unheard ? 0 : s->other_said[b]);
		sum += s->other_said[b];
		s->other_said[b] = s->other_sent[b];
		s->other_sent[b] = 0;
	}
	scaling_others(s->scaling, sum, !s->unheard);
}

static void second(struct sim *s)
{
	for (unsigned b = 0; b < s->plan.backends; b++) {
		const struct hist_set *sets[] = {&s->sets[b]};
		windows_fold(s->windows[b], sets, 1, (uint64_t)s->now_us);
	}
	hear_other(s);
	scaling_count(s->scaling, s->arrivals);
	for (unsigned b = 0; b < s->plan.backends; b++)
		scaling_part_fold(s->parts[b], s->scaling,
				  (const struct levels *const *)&s->levels[b], 1);
	s->arrivals = 0;
	if (++s->seconds % (s->plan.interval ? s->plan.interval : 10) == 0 && !s->blind)
		look(s);
}

/* ---- running ---- */

struct sim *sim_new(const struct sim_plan *plan, uint64_t seed)
{
	struct sim *s = calloc(1, sizeof(*s));
	check(s && plan->backends <= SIM_BACKENDS);
	s->plan = *plan;
	s->n = plan->backends;
	rng_init(&s->rng, seed);
	for (size_t i = 0; i < JOBS_MAX; i++) {
		s->jobs[i].next = s->free;
		s->free = &s->jobs[i];
	}
	for (unsigned b = 0; b < plan->backends; b++) {
		snprintf(s->names[b], sizeof(s->names[b]), "b%u", b % 100);
		queue_init(&s->queue[b], plan->workers);
		s->next_us[b] = NEVER;
		s->levels[b] = levels_new();
		s->windows[b] = windows_new(0);
		s->parts[b] = scaling_part_new();
	}
	queue_init(&s->shared, plan->shared_workers);
	s->scaling = scaling_new();
	s->next_second_us = 1e6;
	s->factor = 1;
	s->next_foreign_us = plan->foreign > 0 ? 0 : NEVER;
	s->asking = plan->clients;
	return s;
}

void sim_run(struct sim *s, double rate, unsigned seconds)
{
	double end = s->now_us + seconds * 1e6;
	bool open = !s->plan.clients;
	double arrival = open ? s->now_us + between(s, 1e6 / rate) : NEVER;
	while (s->now_us < end) {
		double event = s->n_heap ? s->heap[0]->at_us : NEVER;
		unsigned b = next_at_once(s);
		double next = fmin(fmin(arrival, event), fmin(s->next_us[b], s->next_second_us));
		next = fmin(next, s->next_foreign_us);
		for (; s->asking; s->asking--, s->n_asked++)
			arrive(s);
		s->now_us = next;
		if (next == s->next_second_us) {
			second(s);
			s->next_second_us += 1e6;
		} else if (next == s->next_foreign_us) {
			arrive_foreign(s);
		} else if (next == arrival) {
			arrive(s);
			arrival += between(s, 1e6 / rate);
		} else if (next == s->next_us[b]) {
			finish_one_of(s, b);
		} else {
			on_event(s, heap_pop(s));
		}
	}
}

void sim_set_speed(struct sim *s, double factor, double mix)
{
	s->factor = factor;
	s->plan.mix = mix;
}

void sim_set_reports(struct sim *s, double share, double us)
{
	s->reports = share;
	s->report_us = us;
}

void sim_set_clients(struct sim *s, unsigned clients)
{
	if (clients > s->n_asked)
		s->asking += clients - s->n_asked - s->asking;
	s->plan.clients = clients;
}

void sim_set_other(struct sim *s, double share, bool heard)
{
	s->plan.other = share;
	s->unheard = !heard;
}

void sim_on_look(struct sim *s, void (*on_look)(void *ctx, const struct scaling *s), void *ctx)
{
	s->on_look = on_look;
	s->ctx = ctx;
}

void sim_stop_looking(struct sim *s)
{
	s->blind = true;
}

void sim_set_backends(struct sim *s, unsigned n)
{
	check(n && n <= s->plan.backends);
	s->n = n;
}

static struct hist_total served_total(const struct sim *s)
{
	struct hist_total sum = {0};
	for (unsigned b = 0; b < s->plan.backends; b++)
		hist_total_add_set(&sum, &s->sets[b], PHASE_wait);
	return sum;
}

void sim_measure(struct sim *s)
{
	s->measured = served_total(s);
}

double sim_measured_us(const struct sim *s, double quantile)
{
	struct hist_total now = served_total(s);
	now.n -= s->measured.n;
	now.overflow -= s->measured.overflow;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		now.count[i] -= s->measured.count[i];
	return (double)hist_total_quantile(&now, quantile);
}

struct sim_result sim_result(const struct sim *s)
{
	struct sim_result r = {.scaling = s->scaling};
	memcpy(r.parts, s->parts, sizeof(r.parts));
	return r;
}

void sim_free(struct sim *s)
{
	for (unsigned b = 0; b < s->plan.backends; b++) {
		levels_free(s->levels[b]);
		hist_set_fini(&s->sets[b]);
		windows_free(s->windows[b]);
		scaling_part_free(s->parts[b]);
	}
	scaling_free(s->scaling);
	free(s);
}
