/* SPDX-License-Identifier: MIT */
/* The thread that checks passwords, and those who ask it. */
#include "weir/filter/passwords.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#ifdef WEIR_CRYPT
#include <crypt.h>
#endif

#include "password_cache.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/rng.h"
#include "weir/base/siphash.h"
#include "weir/base/thread.h"

/* Whatever carries traffic comes first. */
#define NICE 10
#define CLIENTS 1024

/* One question.  It belongs to who asked, then to the thread, then to who asked again. */
struct password_job {
	struct mail mail;
	struct password_job *next; /* while free */
	struct asker *asker;
	struct loop *loop;
	struct list waits; /* of the asker's thread, as is under_way; empty: nobody any more */
	bool under_way;
	bool known, right;
	struct list link; /* of the thread: in the line */
	uint64_t round;   /* there, lower ones first */
	struct addr_packed client;
	struct password_key key;
	char hash[USER_HASH_MAX + 1];
	char password[PASSWORD_MAX + 1];
};

/* A thread that may ask. */
struct asker {
	struct password_job *free;
	struct password_job jobs[PASSWORDS_WAITING];
};

/* Written by the control thread before anybody asks and after the last one did. */
static struct {
	bool running;
	pthread_t thread;
	struct loop loop;
	struct asker *askers; /* workers, and the control thread behind them; owns */
	unsigned n_workers;
	struct mail stop, late, turn;
	/* the thread's */
	struct list line;
	uint64_t round;
	uint64_t last[CLIENTS]; /* round of who asked last, by the same hash as below */
	bool turning;
	void (*enter)(void *arg); /* NULL: nothing */
	void *enter_arg;
#ifdef WEIR_CRYPT
	struct crypt_data data; /* the thread's */
#endif
} helper;

static _Atomic unsigned n_waiting; /* over all askers */
/* The same by a keyed hash of the client: who shares a place with another has less, no more. */
static _Atomic unsigned n_waiting_of[CLIENTS];
static uint8_t clients_key[SIPHASH_KEY_LEN];
static _Atomic bool stopping;

/* ---- the thread ---- */

/* Takes as long wherever the first difference is. */
static bool same(const char *a, const char *b)
{
	size_t len = strlen(a);
	unsigned char differs = 0;
	if (len != strlen(b))
		return false;
	for (size_t i = 0; i < len; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return !differs;
}

static bool matches(const char *password, const char *hash)
{
#ifdef WEIR_CRYPT
	const char *got = crypt_rn(password, hash, &helper.data, sizeof(helper.data));
	return got && same(got, hash);
#else
	(void)password;
	(void)hash;
	(void)same;
	return false;
#endif
}

/* Back at who asked. */
static void on_answer(struct loop *loop, struct mail *mail)
{
	struct password_job *job = container_of(mail, struct password_job, mail);
	const bool right = job->right;
	(void)loop;
	job->under_way = false; /* nobody joins any more; one that is told may cancel others */
	while (!list_is_empty(&job->waits)) {
		struct password_wait *wait =
		    list_entry(job->waits.next, struct password_wait, link);
		list_del(&wait->link);
		wait->job = NULL;
		wait->done(wait, right);
	}
	job->next = job->asker->free;
	job->asker->free = job;
}

size_t passwords_place(const struct addr_packed *client)
{
	return siphash64(clients_key, client, sizeof(*client)) % CLIENTS;
}

static void answer(struct password_job *job)
{
	job->right = false;
	if (!atomic_load(&stopping)) {
		/* the same one may have asked a moment before, over another connection */
		bool fresh = job->known && password_cache_has(job->key, clock_us());
		job->right = fresh || (matches(job->password, job->hash) && job->known);
		if (job->right && !fresh)
			password_cache_put(job->key, clock_us());
	}
	explicit_bzero(job->password, sizeof(job->password));
	job->mail.fn = on_answer;
	atomic_fetch_sub(&n_waiting_of[passwords_place(&job->client)], 1);
	atomic_fetch_sub(&n_waiting, 1);
	loop_post(job->loop, &job->mail);
}

/* The first of the lowest round. */
static void answer_next(void)
{
	struct password_job *next = NULL;
	list_each (it, &helper.line) {
		struct password_job *job = list_entry(it, struct password_job, link);
		if (!next || job->round < next->round)
			next = job;
	}
	if (!next)
		return;
	list_del(&next->link);
	helper.round = next->round;
	answer(next);
}

/* One, then a look at who has come meanwhile. */
static void on_turn(struct loop *loop, struct mail *mail)
{
	answer_next();
	helper.turning = !list_is_empty(&helper.line);
	if (helper.turning)
		loop_post(loop, mail);
}

/* Each question of a client is a round behind its last, answered or not: who asks again while he
 * is answered would else be in front of whatever others have besides their first. */
static void on_question(struct loop *loop, struct mail *mail)
{
	struct password_job *job = container_of(mail, struct password_job, mail);
	uint64_t *last = &helper.last[passwords_place(&job->client)];
	job->round = *last + 1 > helper.round ? *last + 1 : helper.round;
	*last = job->round;
	list_push_back(&helper.line, &job->link);
	if (!helper.turning) {
		helper.turning = true;
		helper.turn.fn = on_turn;
		loop_post(loop, &helper.turn);
	}
}

static void on_late(struct loop *loop, struct mail *mail)
{
	(void)loop;
	(void)mail;
	helper.enter(helper.enter_arg);
}

static void *helper_main(void *arg)
{
	pthread_setname_np(pthread_self(), "passwords");
	setpriority(PRIO_PROCESS, 0, NICE); /* of this thread, on Linux */
	if (arg)                            /* it was said before this thread was there */
		helper.enter(helper.enter_arg);
	loop_run(&helper.loop);
	return NULL;
}

/* ---- its life ---- */

static void on_stop(struct loop *loop, struct mail *mail)
{
	(void)mail;
	loop_stop(loop);
}

static void make_askers(unsigned n_workers)
{
	helper.n_workers = n_workers;
	helper.askers = calloc(n_workers + 1, sizeof(*helper.askers));
	check(helper.askers != NULL);
	for (unsigned a = 0; a <= n_workers; a++) {
		struct asker *asker = &helper.askers[a];
		for (unsigned i = 0; i < PASSWORDS_WAITING; i++) {
			asker->jobs[i].asker = asker;
			asker->jobs[i].next = asker->free;
			asker->free = &asker->jobs[i];
		}
	}
}

bool passwords_start(unsigned n_workers, struct str *why)
{
	if (helper.running)
		return true;
	if (loop_init(&helper.loop, "passwords")) {
		str_text(why, "the thread that checks passwords has no descriptors");
		return false;
	}
	atomic_store(&stopping, false);
	list_init(&helper.line);
	helper.turning = false;
	const uint64_t random[2] = {rng_entropy(), rng_entropy()};
	memcpy(clients_key, random, sizeof(clients_key));
	make_askers(n_workers);
	helper.running = thread_start(&helper.thread, helper_main, helper.enter ? &helper : NULL);
	if (helper.running)
		return true;
	str_text(why, "the thread that checks passwords cannot be started");
	loop_fini(&helper.loop);
	free(helper.askers);
	return false;
}

void passwords_enter(void (*enter)(void *arg), void *arg)
{
	helper.enter = enter;
	helper.enter_arg = arg;
	if (!helper.running)
		return;
	helper.late.fn = on_late;
	loop_post(&helper.loop, &helper.late);
}

void passwords_stop(void)
{
	if (!helper.running)
		return;
	atomic_store(&stopping, true);
	helper.stop.fn = on_stop;
	loop_post(&helper.loop, &helper.stop);
	pthread_join(helper.thread, NULL);
	loop_read_mail(&helper.loop);
	while (!list_is_empty(&helper.line))
		answer_next();
	loop_fini(&helper.loop);
	helper.running = false;
}

void passwords_fini(void)
{
	check(!helper.running);
	free(helper.askers);
	helper.askers = NULL;
}

const char *passwords_library(void)
{
#ifdef WEIR_CRYPT
	return "libxcrypt " XCRYPT_VERSION_STR;
#else
	return NULL;
#endif
}

/* ---- asking ---- */

enum password_verdict passwords_look(const struct users *users, const struct credentials *c,
				     uint64_t now_us)
{
	struct view hash;
	if (!users_find(users, c->name, &hash))
		return PASSWORD_ASK;
	struct password_key key = password_key_of(hash, c->name, c->password);
	return password_cache_has(key, now_us) ? PASSWORD_RIGHT : PASSWORD_ASK;
}

/* Somebody asked the same and waits: over HTTP/2 a client sends a password a hundred times. */
static struct password_job *find_job(struct asker *asker, bool known, struct password_key key)
{
	for (size_t i = 0; i < PASSWORDS_WAITING; i++) {
		struct password_job *job = &asker->jobs[i];
		if (job->under_way && job->known == known && job->key.word[0] == key.word[0] &&
		    job->key.word[1] == key.word[1])
			return job;
	}
	return NULL;
}

/* False: there is no place for one more of this client. */
static bool join_line(const struct addr_packed *client)
{
	_Atomic unsigned *own = &n_waiting_of[passwords_place(client)];
	unsigned n = atomic_fetch_add(&n_waiting, 1), n_own = atomic_fetch_add(own, 1);
	if (n < PASSWORDS_WAITING && (n_own < PASSWORDS_SHARE || n < PASSWORDS_WAITING / 2))
		return true;
	atomic_fetch_sub(own, 1);
	atomic_fetch_sub(&n_waiting, 1);
	return false;
}

static struct password_job *take_job(struct asker *asker, const struct addr_packed *client)
{
	struct password_job *job = asker->free;
	if (!job || !join_line(client))
		return NULL;
	asker->free = job->next;
	list_init(&job->waits);
	job->under_way = true;
	job->client = *client;
	return job;
}

static void copy(char *to, struct view v)
{
	if (v.len)
		memcpy(to, v.ptr, v.len);
	to[v.len] = '\0';
}

enum password_verdict passwords_ask(const struct users *users, const struct credentials *c,
				    uint32_t who, struct loop *loop, struct password_wait *wait)
{
	struct asker *asker = &helper.askers[who == PASSWORDS_CONTROL ? helper.n_workers : who];
	struct view hash;
	const bool known = users_find(users, c->name, &hash);
	const struct password_key key = password_key_of(hash, c->name, c->password);
	struct password_job *job = find_job(asker, known, key);
	if (!job) {
		job = take_job(asker, &wait->client);
		if (!job)
			return PASSWORD_BUSY;
		job->known = known;
		job->key = key;
		copy(job->hash, hash);
		copy(job->password, c->password);
		job->loop = loop;
		job->mail.fn = on_question;
		loop_post(&helper.loop, &job->mail);
	}
	list_push_back(&job->waits, &wait->link);
	wait->job = job;
	return PASSWORD_ASK;
}

void passwords_cancel(struct password_wait *wait)
{
	if (wait->job)
		list_del(&wait->link);
	wait->job = NULL;
}
