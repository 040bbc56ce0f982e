/* SPDX-License-Identifier: MIT */
/*
 * A generation: one loaded configuration made ready to serve.  Immutable once
 * published, except for each worker's own gen_local.
 *
 *  control: generation_new --> publish by letter to each worker
 *  worker:  makes it current; conns and exchanges hold counts on gen_local;
 *           when the last count of a replaced one goes, tells the control thread
 *  control: all workers have let go --> generation_free
 */
#ifndef WEIR_PROXY_GENERATION_H
#define WEIR_PROXY_GENERATION_H

#include <stdatomic.h>

#include "weir/base/file.h"
#include "weir/conf/conf.h"
#include "weir/filter/filter.h"
#include "weir/net/tls.h"
#include "weir/pool/pool.h"
#include "weir/route/route.h"
#include "weir/stats/meter.h"

struct generation;
struct worker;
struct control;
struct shared_conf;

/* Run-time state of one bound address; outlives generations. */
struct listener {
	struct list registry_link; /* control thread */
	unsigned refs;             /* control thread: generations that name it */
	struct addr addr;
	char text[ADDR_TEXT_MAX];
	unsigned n_workers;
	struct file_id file; /* control thread: of a unix socket */
	bool unlinked;       /* control thread: a unix socket's file is gone */
	bool retired;        /* control thread: workers close it, no generation may take it up */
	/* [n_workers]; -1 where a worker has none (unix sockets: only worker 0).  The
	 * worker closes its own when it leaves; control those no worker took over. */
	_Atomic int *fds;
	/* all workers; changes at accept and close, which is the last that is done to it: so
	 * that it may be freed when no generation names it and nobody is counted */
	_Atomic uint32_t n_conns CACHE_ALIGNED;
	struct listener_local {
		struct counter accepted, refused;
		uint32_t n_handshakes; /* in progress */
		/* struct client, longest first: in progress; waiting for a place; the same, but
		 * their address has enough of them */
		struct list shaking, waiting, greedy;
		struct timer slow;         /* set while some wait */
		uint64_t crowd_logged_us;  /* the last warning about connections_per_client */
		uint64_t misled_logged_us; /* and about clients that speak something else */
	} CACHE_ALIGNED local[];
};

/* One bind of one configured listener. */
struct gen_listener {
	const struct conf_listener *conf;
	struct listener *listener;
};

/* A worker's side. */
struct gen_local {
	struct generation *gen;
	unsigned refs;               /* that worker: conns and exchanges; plus 1 while current */
	struct pool_view *views;     /* [gen->n_pools] */
	struct tls_server **servers; /* [conf->n_listeners], NULL without TLS; counted */
	struct list link;            /* that worker: worker->gens */
	struct mail mail;            /* publishes it, later reports that it is let go */
	struct worker *worker;
};

struct generation {
	uint64_t id;
	struct conf *conf;          /* of `shared` */
	struct route_table *routes; /* of `shared` */
	struct arena *arena;        /* owns this struct and the arrays */
	struct pool *pools;
	uint32_t n_pools;
	struct gen_listener *listeners;
	uint32_t n_listeners;
	/* latency by phase; each is counted by named_meters, which are the control thread's */
	struct meter **route_meters;    /* [conf->n_routes] */
	struct meter **listener_meters; /* [conf->n_listeners] */
	struct named_meter **named_meters;
	size_t n_named_meters;
	struct filter_set filters;
	bool access_log;                    /* exchanges are logged */
	bool limits_bodies;                 /* a route has limits.body_bytes */
	bool tracing;                       /* exchanges belong to traces */
	bool sends_proxy;                   /* a pool has send_proxy */
	struct tls_inventory *certificates; /* of the arena */
	uint64_t tls_mark;                  /* of the files of TLS that it was made of */
	uint64_t users_mark;                /* and of those of users */
	struct users *status_users;         /* counted; of status.auth, or NULL */
	struct view acme; /* what proves to an authority that names are ours; empty: nothing */
	struct view acme_guest; /* the answer to another node's challenge, whole; empty: none */
	unsigned n_workers;
	unsigned n_live;            /* control thread: workers that have not let go */
	struct gen_local *local;    /* [n_workers] */
	struct list link;           /* control thread: all generations alive */
	struct control *owner;      /* control thread */
	struct shared_conf *shared; /* control thread; counted */
};

#endif
