/* SPDX-License-Identifier: MIT */
/*
 * The pool queue: one line a worker and class, one length for all.  A slot that
 * comes free wakes the worker whose head has the best class and has waited
 * longest, so the order over all workers is by class, and first in, first out
 * within it, up to the time a letter takes.
 *
 * No wake-up is lost: a waiter first counts itself in, then tries once more;
 * whoever drops a lease first counts down, then looks whether anybody waits
 * (both sequentially consistent).  A worker that was woken and has nobody for
 * the slot, because its waiter has left or may not use that backend, wakes the
 * next one.
 *
 * Under overload (codel.h; each worker judges its own lines) the newest are
 * served first, for the oldest are about to give up, and those beyond twice the
 * target are told so at once.  Who waits for one backend to come back
 * (QUEUE_CLASS_PATIENT) has chosen to wait: that is no sign of overload.
 */
#include "registry.h"

#include "weir/base/check.h"

/* One shot of the sweep: a long line is let go in parts, between other work. */
#define SHED_PER_LOOK 64

static struct waiter *oldest_of(struct list *line)
{
	return list_is_empty(line) ? NULL : list_first(line, struct waiter, link);
}

/* Smaller comes first: the class, then the time. */
static uint64_t rank_of(unsigned class, uint64_t since_us)
{
	return (uint64_t)class << 62 | since_us;
}

#ifdef WEIR_CHECK_SLOW
/* Waiters that are looked at: the lines may be long. */
#define VERIFY_MAX 100

/* Who is counted is in the lines, and nobody else; the first of them is shown. */
static void pool_verify(struct pool_state_local *sl)
{
	uint32_t n = 0, n_particular = 0, n_patient = 0;
	uint64_t head = 0;
	for (unsigned c = 0; c < N_QUEUE_CLASSES; c++) {
		list_each (it, &sl->queue[c]) {
			const struct waiter *w = list_entry(it, struct waiter, link);
			check(w->class == c && w->view->sl == sl && w->ready);
			head = head ? head : rank_of(c, w->since_us);
			n_particular += w->only != 0;
			n_patient += c == QUEUE_CLASS_PATIENT;
			if (++n == VERIFY_MAX)
				return;
		}
	}
	check(n_particular == sl->n_particular);
	check(head == atomic_load(&sl->head_rank));
	check(n <= atomic_load(&sl->state->n_queued));
	check(n_patient <= atomic_load(&sl->state->n_patient));
}
#define verify(sl) pool_verify(sl)
#else
#define verify(sl) ((void)0)
#endif

static void show_head(struct pool_state_local *sl)
{
	uint64_t rank = 0;
	for (unsigned c = 0; c < N_QUEUE_CLASSES && !rank; c++) {
		const struct waiter *w = oldest_of(&sl->queue[c]);
		rank = w ? rank_of(c, w->since_us) : 0;
	}
	atomic_store(&sl->head_rank, rank);
	verify(sl);
}

/* ---- letting go ---- */

static void shed(struct pool_state_local *sl, struct waiter *w)
{
	pool_queue_remove(w);
	counter_add(&sl->counters.queue_shed, 1);
	w->shed(w);
}

/* Somebody of a lower class makes room, the newest of the lowest. */
static bool make_room(struct pool_state_local *sl, unsigned class)
{
	for (unsigned c = QUEUE_CLASS_PATIENT; c-- > class + 1;) {
		if (list_is_empty(&sl->queue[c]))
			continue;
		struct waiter *w = list_last(&sl->queue[c], struct waiter, link);
		if (!w->shed)
			continue;
		shed(sl, w);
		return true;
	}
	return false;
}

/* The longest wait of all classes; NULL: nobody waits. */
static struct waiter *oldest_in(struct pool_state_local *sl)
{
	struct waiter *oldest = NULL;
	for (unsigned c = 0; c < QUEUE_CLASS_PATIENT; c++) {
		struct waiter *w = oldest_of(&sl->queue[c]);
		if (w && (!oldest || w->since_us < oldest->since_us))
			oldest = w;
	}
	return oldest;
}

static void shed_overdue(struct pool_state_local *sl)
{
	uint64_t now = sl->pw->loop->now_us;
	struct waiter *w = oldest_in(sl);
	uint64_t target = w ? w->view->pool->conf->queue.target_us : 0;
	if (!target) {
		sl->codel.overloaded = false;
		return;
	}
	uint64_t age = now > w->since_us ? now - w->since_us : 0;
	bool sheds = codel_look(&sl->codel, target, now, age);
	for (unsigned n = 0; sheds && n < SHED_PER_LOOK; n++) {
		w = oldest_in(sl);
		if (!w || !w->shed || now < w->since_us || now - w->since_us <= 2 * target)
			break;
		shed(sl, w);
	}
}

/* ---- in and out ---- */

/*
 * queue.length is for those who wait until backends have done some work.  Whoever waits only
 * because many connections are being opened at this moment is served when they are open:
 * a burst of clients is no overload yet.
 */
static bool count_in(struct pool_view *view, const struct waiter *w)
{
	struct pool_state *state = view->pool->state;
	uint32_t length = unlikely(w->crowded) ? UINT32_MAX : view->pool->conf->queue.length;
	for (unsigned tries = 0; tries < 2; tries++) {
		if (atomic_fetch_add(&state->n_queued, 1) < length)
			return true;
		atomic_fetch_sub(&state->n_queued, 1);
		if (tries || !make_room(view->sl, w->class))
			break;
	}
	return false;
}

enum err pool_queue_push(struct pool_view *view, struct waiter *waiter, uint64_t now_us)
{
	struct pool_state_local *sl = view->sl;
	check(waiter->class < N_QUEUE_CLASSES);
	if (!view->pool->conf->queue.on || !count_in(view, waiter))
		return ERR_FULL;
	waiter->view = view;
	waiter->since_us = now_us;
	list_push_back(&sl->queue[waiter->class], &waiter->link);
	sl->n_particular += waiter->only != 0;
	if (waiter->class == QUEUE_CLASS_PATIENT)
		atomic_fetch_add(&sl->state->n_patient, 1);
	sl->newest_view = view;
	show_head(sl);
	/* a slot may have come free between the failed take and the count */
	queue_wake_local(sl);
	return ERR_OK;
}

void pool_queue_remove(struct waiter *waiter)
{
	struct pool_state_local *sl = waiter->view->sl;
	list_del(&waiter->link);
	sl->n_particular -= waiter->only != 0;
	if (waiter->class == QUEUE_CLASS_PATIENT)
		atomic_fetch_sub(&sl->state->n_patient, 1);
	atomic_fetch_sub(&sl->state->n_queued, 1);
	show_head(sl);
}

void pool_queue_renew(struct pool_view *view)
{
	struct pool_state_local *sl = view->sl;
	if (atomic_load_explicit(&sl->head_rank, memory_order_relaxed) == 0)
		return;
	for (unsigned c = 0; c < N_QUEUE_CLASSES; c++) {
		list_each (it, &sl->queue[c]) {
			struct waiter *w = list_entry(it, struct waiter, link);
			if (w->renew)
				w->renew(w, view);
		}
	}
	sl->newest_view = view;
	queue_wake_local(sl);
}

/* ---- serving ---- */

static enum pool_verdict take_for(const struct waiter *w, struct pool_worker *pw,
				  struct lease *lease)
{
	if (w->only)
		return pool_take_pinned_slot(w->view, pw, w->only - 1, lease);
	return pool_take_slot(w->view, pw, w->tried, w->key, lease);
}

/* Whoever takes any backend of the newest generation: if he is not served, none like him is. */
static bool takes_any(const struct pool_state_local *sl, const struct waiter *w)
{
	return !w->only && (!w->tried || w->tried->n == 0) && w->view == sl->newest_view;
}

/*
 * The first in this line who can be served.  A retry, a pinned client or an
 * exchange of an older generation may wait for others than those behind it and
 * does not hold them up; once `*busy`, only such are looked at.
 */
static struct waiter *next_in(struct pool_state_local *sl, struct list *line, struct lease *lease,
			      bool *busy)
{
	bool newest_first = sl->codel.overloaded;
	struct list *it = newest_first ? line->prev : line->next;
	for (; it != line; it = newest_first ? it->prev : it->next) {
		struct waiter *w = list_entry(it, struct waiter, link);
		if (*busy && !w->only) {
			if (sl->n_particular == 0)
				break;
			continue;
		}
		if (take_for(w, sl->pw, lease) == POOL_TAKEN)
			return w;
		*busy |= takes_any(sl, w);
	}
	return NULL;
}

static struct waiter *next_served(struct pool_state_local *sl, struct lease *lease, bool *busy)
{
	struct waiter *w = NULL;
	*busy = false;
	for (unsigned c = 0; c < N_QUEUE_CLASSES && !w; c++)
		w = next_in(sl, &sl->queue[c], lease, busy);
	return w;
}

void pool_queue_serve(struct pool_state_local *sl)
{
	struct lease lease;
	struct waiter *w;
	bool busy;
	shed_overdue(sl);
	while ((w = next_served(sl, &lease, &busy)) != NULL) {
		pool_queue_remove(w);
		w->ready(w, &lease);
	}
	if (!busy && atomic_load(&sl->state->n_queued) > 0)
		queue_wake(sl->state, sl);
}
