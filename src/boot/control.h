/* SPDX-License-Identifier: MIT */
/*
 * The control thread: everything that is not the way of a request.  Signals,
 * generations, the admin API, statistics once a second, the end.
 *
 *   RUNNING --TERM--> DRAINING --all done, or shutdown_timeout, or TERM--> STOPPING
 *      |                                                                      ^
 *      +-------------------------------- INT --------------------------------+
 *
 * Thread: the main thread, unless a function says otherwise.
 */
#ifndef WEIR_BOOT_CONTROL_H
#define WEIR_BOOT_CONTROL_H

#include "options.h"
#include "tls_watch.h"

#include "weir/admin/admin.h"
#include "weir/health/health.h"
#include "weir/proxy/worker.h"

enum control_state { CONTROL_RUNNING, CONTROL_DRAINING, CONTROL_STOPPING };

/* A configuration and its routes, shared by the generations made of it. */
struct shared_conf {
	struct conf *conf;          /* owns */
	struct route_table *routes; /* owns */
	unsigned refs;
};

struct keep;
struct log_writer;
struct members;
struct probing;
struct tracer;
struct cluster;
struct acme;

/*
 * USR2: another process of weir, perhaps a newer one, takes the sockets.
 *
 *   NONE --USR2--> WAITING --it is ready--> DONE, and this one drains
 *     ^               |
 *     +---------------+ it ended, or took more than a minute
 */
enum handover_state { HANDOVER_NONE, HANDOVER_WAITING, HANDOVER_DONE };

struct control;

struct handover {
	enum handover_state state;
	pid_t pid;                             /* of the other */
	void (*done)(struct control *control); /* the other has taken over */
	ev_io ready;  /* what it says: see handover.c; the end: it never will be ready */
	int state_fd; /* owns; what it is told, while WAITING; -1: nothing */
	ev_timer late;
	struct str error; /* owns; why the last one failed or was refused; else empty */
	uint64_t ended;   /* exchanges that had, when the other was told the counters */
};

/*
 * The process before this one, while it drains: see before.c.
 *
 *   GONE --this one has taken over--> RESTS --question--> ASKED
 *     ^                                 | ^                 |
 *     +------------it ended-------------+ +-----answer------+
 */
enum before_state { BEFORE_GONE, BEFORE_RESTS, BEFORE_ASKED };

struct before {
	enum before_state state;
	pid_t pid;
	ev_io said; /* its answers, and its end */
	ev_timer next;
	int file;          /* owns; questions and answers */
	bool news;         /* some backend's state is to be told with the next question */
	uint32_t question; /* number of the last one */
	uint64_t n_conns, n_exchanges;
	/* the other end: what a process that took over wants of a backend is done */
	void (*hear)(struct control *control, struct view pool, struct view name,
		     enum backend_state state);
};

/* heap.c: gives back what a burst left free in the heap; once a second. */
struct heap_watch {
	size_t most; /* bytes in use, since the last time */
	unsigned seconds, quiet;
};
void heap_tick(struct heap_watch *heap);

struct control {
	struct heap_watch heap;
	struct loop loop;
	struct options *options;
	enum control_state state;
	struct worker **workers; /* owns */
	struct pool_worker **pool_workers;
	unsigned n_workers;
	_Atomic uint64_t n_announced_to_all; /* states: workers write, health reads */
	struct pool_registry registry;
	struct list listeners;   /* struct listener */
	struct list generations; /* struct generation, newest last */
	struct generation *current;
	struct shared_conf *shared; /* of `current` */
	struct shared_conf *first;  /* counted; as this process was started with */
	struct list overrides;      /* struct pool_override; owns */
	struct list meters;         /* struct named_meter */
	uint64_t next_generation;
	uint64_t started_us, started_wall_us;
	struct {
		bool ok;
		uint64_t at_wall_us;
		struct str error;
	} last_reload;
	struct admin *admin;
	struct probing *probing;
	struct sandbox *sandbox;   /* NULL: off, or not to be had */
	_Atomic unsigned confined; /* what of it every thread that entered has got */
	struct log_writer *log_writer;
	struct members *members;
	struct log_losses {
		uint64_t n, at_us; /* lines lost so far, and when that was noted */
	} log_losses[N_ADMIN_LOGS];
	struct tracer *tracer;
	struct keep *keep;       /* NULL: nothing is kept */
	struct cluster *cluster; /* NULL: this build has none */
	struct acme *acme;
	struct tls_ticket_ring *tickets; /* counted */
	uint64_t tickets_us;             /* when they were made */
	struct tls_watch tls_watch, users_watch;
	ev_signal signals[7];
	ev_timer tick, drain_timer;
	uint64_t looked_us;   /* when pools were judged */
	uint32_t look_at;     /* the next of them, while this goes on; 0: it does not */
	ev_timer limits_tick; /* runs while some backend has an adaptive limit */
	struct handover handover;
	struct before before;
	uint64_t drain_deadline_us;
	bool drain_heard;     /* every worker has begun to drain */
	unsigned quiet_polls; /* of the drain: no connections left, in a row */
};

/* Nothing is there yet; `options` are borrowed. */
void control_init(struct control *control, struct options *options);
/* Runs until stopped; the exit code. */
int control_run(struct options *options, struct conf *conf);

/* Loads the configuration anew.  On an error nothing changes and `why` says what is wrong. */
enum err control_reload(struct control *control, struct str *why);
/* A new generation out of the same configuration and the overrides of now. */
enum err control_rebuild(struct control *control, struct str *why);
void control_drain(struct control *control);
void control_stop(struct control *control);

/* generation.c */
struct generation *generation_new(struct control *control, struct shared_conf *shared,
				  struct str *why);
void generation_publish(struct control *control, struct generation *gen);
/* A worker has let go: its part of the generation's end. */
void generation_released(struct gen_local *gl);
void generation_free(struct generation *gen);
struct shared_conf *shared_conf_new(struct conf *conf, struct str *why);
void shared_conf_put(struct shared_conf *shared);

/* meters.c */
void meters_get(struct control *control, struct generation *gen);
void meters_put(struct generation *gen);
/* Once a second: what was recorded goes into windows. */
void meters_tick(struct control *control, uint64_t now_us);
void meters_pack(const struct control *control, struct str *out);
void meters_unpack(struct unpack *in, struct control *control);

/* listeners.c */
struct listener *listener_get(struct control *control, const struct addr *addr, struct view text,
			      struct str *why);
void listener_put(struct listener *listener);
/* Every worker has moved on: closes the sockets the current generation does not
 * name, although exchanges of older ones still run. */
void listeners_prune(struct control *control);
/* A generation was published: what it does not name is on its way out. */
void listeners_retire(struct control *control);
/* Another process has the sockets: their files are not ours to remove. */
void listeners_keep_files(struct control *control);
/* Closes all sockets; the listeners stay for the connections they have. */
void listeners_close(struct control *control);
/* Frees what no letter can point to any more. */
void listeners_tick(struct control *control);
void listeners_free(struct control *control);

/* tls.c */
/* Files of TLS are checked while the configuration is loaded. */
void tls_set_checks(void);
/* Contexts of every worker for a generation; false with `why`. */
bool tls_build(struct control *control, struct generation *gen, struct str *why);
void tls_release(struct generation *gen);
/* Makes ticket keys when it is time, and gives them to the workers. */
void tls_tick(struct control *control);
void tls_pack(const struct control *control, struct str *out);
void tls_unpack(struct unpack *in, struct control *control);

/* workers.c */
/* `released`: a worker has let go of its part of a generation. */
enum err workers_start(struct control *control, const struct conf *conf,
		       void (*released)(struct gen_local *gl), struct str *why);
enum err workers_run(struct control *control);
/* Runs fn(worker, arg) on each worker's thread, some time from now.  Any thread. */
void workers_call(struct control *control, void (*fn)(struct worker *w, void *arg), void *arg);
/* Calls fn(control) here once every worker has read all letters posted so far. */
void workers_barrier(struct control *control, void (*fn)(struct control *control));
/* What all workers together have now. */
struct workers_have {
	uint64_t conns, exchanges;
};
struct workers_have workers_have(const struct control *control);
/* Cuts what is left, ends the threads, frees the workers' memory later. */
void workers_stop(struct control *control);
void workers_free(struct control *control);
/* The calling thread, which is to read the bytes of strangers, goes into the sandbox. */
void workers_confine(struct control *control);

/* host.c */
struct admin_host host_of(struct control *control);
/* Notes when lines of logs are lost. */
void host_watch_logs(struct control *control);

/* runtime.c: what admin_host changes about backends; `ctx` is the control */
enum err runtime_set_state(void *ctx, struct backend *b, enum backend_state state, struct str *why);
enum err runtime_set_weight(void *ctx, struct view pool, struct view backend, uint32_t weight,
			    struct str *why);
enum err runtime_add(void *ctx, struct view pool, const struct conf_backend *backend,
		     struct str *why);
enum err runtime_remove(void *ctx, struct view pool, struct view backend, struct str *why);
/* Takes back what was changed; an empty view: of all. */
enum err runtime_reset(void *ctx, struct view pool, struct view backend, struct str *why);
/* Another configuration is in force: forgets what it says by itself. */
/* control_rebuild, and health is told what follows. */
enum err runtime_rebuild(struct control *control, struct str *why);
void runtime_settle(struct control *control);
/* The process that took over wants a backend to be in this state. */
void runtime_hear(struct control *control, struct view pool, struct view name,
		  enum backend_state state);
size_t runtime_count(const struct control *control);
/* What operators and sources want of backends reaches health. */
void runtime_tell(struct control *control);
/* Removes backends that have drained. */
void runtime_tick(struct control *control);
void runtime_pack(const struct control *control, struct str *out);
void runtime_unpack(struct unpack *in, struct control *control);
void runtime_free(struct control *control);

/* probing.c: health on a thread of its own; the functions here are the control thread's. */
struct probing *probing_new(struct control *control, struct str *why);
enum err probing_run(struct probing *probing);
/* Until then, and in tests: whoever turns it is the health thread. */
struct loop *probing_loop(struct probing *probing);
/* Its pools are those of `gen` from now on; what it knew of others is forgotten. */
void probing_follow(struct probing *probing, const struct generation *gen);
/* As health_set_admin; workers hear of it at once. */
void probing_pack(struct probing *probing, struct str *out);
void probing_unpack(struct unpack *in, struct probing *probing);
void probing_set_admin(struct probing *probing, struct backend *b, enum backend_state state,
		       const char *why);
/* Ends the thread: no letter leaves it any more. */
void probing_stop(struct probing *probing);
/* After the workers have ended. */
void probing_free(struct probing *probing);

/* handover.c */
/* Before anybody asks for the time: is there a process that gives what it knows, and if so,
 * by which clock? */
bool handover_is_coming(void);
void handover_take_clock(void);
/* At the start of the process: are we the one that takes over? */
void handover_init(void);
/* Tells the service manager and who started us, if they wait for it, that we serve. */
void handover_ready(struct control *control);
void handover_begin(struct control *control);
/* This process ends: says what no counter of the one that took over has. */
void handover_bye(const struct control *control);
/* This process is about to stop: so is the one that is not ready yet. */
void handover_cancel(struct control *control);
/* What the process before gives, if it gives something: what pools are built with; then
 * what was learned, before any worker runs; then verdicts, once health follows the pools. */
void handover_inherit_early(struct control *control);
bool handover_inherit(struct control *control);
void handover_inherit_health(struct control *control);

/* The process ends: so does what is said between it and the one that took over. */
void handover_free(struct control *control);

/* before.c: what the process before this one still has */
/* This one has taken over; owns both descriptors. */
void before_begin(struct control *control, int fd, int file);
/* An operator or a source wants another state of a backend, as backend.told says. */
void before_tell(struct control *control, struct backend *backend);
void before_status(const struct control *control, struct admin_status *out);
/* The other end: the process that took over has asked. */
void before_answer(struct control *control);
void before_free(struct control *control);

/* keep.c: what is kept in files, for a start after the end of this process */
/* Reads what an earlier one left and goes on with its clock; NULL: nothing is kept. */
struct keep *keep_new(const struct conf *conf);
/* Makes the directory where it is missing, and takes what pools are built with; then what was
 * learned, before any worker runs. */
void keep_inherit_early(struct control *control);
void keep_inherit(struct control *control);
/* Starts the thread that writes; after privileges are dropped. */
void keep_run(struct control *control);
/* Once a second. */
void keep_tick(struct control *control);
/* Another process goes on with the files. */
void keep_leave(struct control *control);
/* Writes what is left, before the workers end; false: the thread hangs in the kernel. */
bool keep_stop(struct control *control);
void keep_free(struct keep *keep);
void keep_status(const struct control *control, struct arena *arena, struct admin_status *out);
/* As admin_host.past. */
bool keep_ask(void *ctx, const struct admin_past *past, struct str *why);

/* privileges.c */
/* At the start: files are made for the user that this process is going to be. */
enum err privileges_prepare(const struct conf *conf, struct str *why);
enum err privileges_drop(const struct conf *conf, struct str *why);
/* As many descriptors as the hard limit gives. */
void privileges_raise_fds(void);

/* circles.c */
/* Says which backends are new and listeners of this weir. */
void circles_warn(const struct generation *gen);

/* descriptors.c */
/* Of `n` that the process may open, where accepting stops. */
uint32_t descriptors_for_clients(uint32_t n);
/* False and a sentence when it is too few for a single exchange. */
bool descriptors_serve(const struct conf *conf, struct str *why);
/* False and a sentence when listeners may take more clients than that. */
bool descriptors_suffice(const struct conf *conf, struct str *why);

/* notify.c: the service manager's protocol; without one nothing happens. */
bool notify_wanted(void);
/* False and errno when there is one and it cannot be told; never waits for it. */
bool notify_state(const char *state);

#endif
