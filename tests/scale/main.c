/* SPDX-License-Identifier: MIT */
/*
 * weir-lines: what cache lines shared between workers cost, measured here with two
 * threads and the real pool code, and worked out for up to 64.
 *
 *   weir-lines          prints both tables
 *
 * A request writes one line that others write, too: that of its backend's number in
 * flight, once when it begins and once when it ends; strategies that compare loads
 * read all of them.  Measured is a lease, taken and dropped,
 *
 *   alone      one thread
 *   pair       two threads, each on a core, as often as they can
 *   swept      one thread, while another one writes every line all the time: each
 *              access finds its line at the other core, as with many workers
 *
 * The rest is arithmetic.  N workers think (all of a request but the visits) and visit
 * B lines, twice a request, for as long as a line takes to change cores: a closed
 * network, solved exactly by mean value analysis (Reiser and Lavenberg 1980).  A line
 * that changes sockets takes about three times as long; that is the last column.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "../unit/pool/world.h"

#define LEASES 400000
#define VISITS 2
/* CPU time of a request, small and kept alive, on a machine like this one. */
#define REQUEST_NS 10000.0

static struct world world;
static struct world_gen gen;
static _Atomic int n_ready, n_wanted;
static _Atomic bool stop;

struct side {
	unsigned worker;
	bool sweeps;
	double ns; /* of a lease */
};

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void pin(unsigned cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void sweep(void)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		for (uint32_t i = 0; i < gen.pool.n; i++)
			atomic_fetch_add_explicit(&gen.pool.backends[i]->in_flight, 0,
						  memory_order_relaxed);
}

static void lease_all(struct side *side)
{
	struct pool_worker *pw = &world.pws[side->worker];
	struct pool_view *view = &gen.views[side->worker];
	double begin = now_ns();
	for (int i = 0; i < LEASES; i++) {
		struct lease lease;
		pw->loop->now_us += 10;
		check(pool_take(view, pw, NULL, 0, &lease) == POOL_TAKEN);
		lease.served = true;
		lease_drop(&lease, false, 10);
	}
	side->ns = (now_ns() - begin) / LEASES;
}

static void *run(void *arg)
{
	struct side *side = arg;
	pin(side->worker);
	atomic_fetch_add(&n_ready, 1);
	while (atomic_load(&n_ready) < atomic_load(&n_wanted))
		;
	if (side->sweeps)
		sweep();
	else
		lease_all(side);
	return NULL;
}

/* Nanoseconds of a lease on the first thread. */
static double measure(const char *strategy, uint32_t n, bool second, bool sweeps)
{
	struct side sides[2] = {{.worker = 0}, {.worker = 1, .sweeps = sweeps}};
	pthread_t threads[2];
	unsigned n_threads = second ? 2 : 1;
	world_init(&world, 2, n);
	world.conf.balance = view_str(strategy);
	world_build(&world, &gen);
	atomic_store(&n_ready, 0);
	atomic_store(&n_wanted, (int)n_threads);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < n_threads; i++)
		check(pthread_create(&threads[i], NULL, run, &sides[i]) == 0);
	pthread_join(threads[0], NULL);
	atomic_store(&stop, true);
	if (second)
		pthread_join(threads[1], NULL);
	world_release(&world, &gen);
	world_fini(&world);
	return sides[0].ns;
}

static double least_of_five(const char *strategy, uint32_t n, bool second, bool sweeps)
{
	double best = measure(strategy, n, second, sweeps);
	for (int i = 1; i < 5; i++) {
		double ns = measure(strategy, n, second, sweeps);
		best = ns < best ? ns : best;
	}
	return best;
}

/*
 * Requests a second of N workers over N times those of one, when a visit takes
 * `line_ns` and the rest `think_ns`.
 */
static double efficiency(unsigned n_workers, unsigned n_lines, double think_ns, double line_ns)
{
	double queue = 0, rate = 0, one = 0;
	for (unsigned n = 1; n <= n_workers; n++) {
		double stay = line_ns * (1 + queue); /* at one line, the arrival theorem */
		rate = n / (think_ns + VISITS * stay);
		queue = rate * VISITS / n_lines * stay;
		one = n == 1 ? rate : one;
	}
	return rate / (n_workers * one);
}

static void print_model(double line_ns, double read_ns)
{
	static const unsigned workers[] = {2, 4, 8, 16, 32, 64};
	static const unsigned lines[] = {1, 4, 16, 64};
	printf("\nrequests a second of N workers, of N times those of one (%.0f us a request, "
	       "a line %.0f ns)\n",
	       REQUEST_NS / 1000, line_ns);
	printf("%10s %9s %9s %9s %9s %20s\n", "WORKERS", "1 BACKEND", "4", "16", "64",
	       "4, LINES 3 x AS FAR");
	for (size_t w = 0; w < sizeof(workers) / sizeof(workers[0]); w++) {
		printf("%10u", workers[w]);
		for (size_t l = 0; l < sizeof(lines) / sizeof(lines[0]); l++)
			printf(" %9.3f",
			       efficiency(workers[w], lines[l], REQUEST_NS + read_ns, line_ns));
		printf(" %20.3f\n",
		       efficiency(workers[w], 4, REQUEST_NS + 3 * read_ns, 3 * line_ns));
	}
}

int main(void)
{
	static const char *const names[] = {"auto", "least-request", "p2c", "round-robin"};
	static const uint32_t sizes[] = {1, 4, 16, 64};
	double line_ns = 0, read_ns = 0;
	printf("nanoseconds of CPU for a lease\n%-14s %9s %8s %8s %8s\n", "STRATEGY", "BACKENDS",
	       "ALONE", "PAIR", "SWEPT");
	for (size_t s = 0; s < sizeof(names) / sizeof(names[0]); s++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			double alone = least_of_five(names[s], sizes[i], false, false);
			double pair = least_of_five(names[s], sizes[i], true, false);
			double swept = least_of_five(names[s], sizes[i], true, true);
			printf("%-14s %9u %8.0f %8.0f %8.0f\n", names[s], sizes[i], alone, pair,
			       swept);
			if (s == 0 && sizes[i] == 1)
				line_ns = (swept - alone) / VISITS;
			if (s == 0 && sizes[i] == 16)
				read_ns = swept - alone - VISITS * line_ns;
		}
	}
	print_model(line_ns > 0 ? line_ns : 0, read_ns > 0 ? read_ns : 0);
	return 0;
}
