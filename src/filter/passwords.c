/* SPDX-License-Identifier: MIT */
/* The thread that checks passwords, and those who ask it. */
#include "weir/filter/passwords.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#ifdef WEIR_CRYPT
#include <crypt.h>
#endif

#include "password_cache.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* Whatever carries traffic comes first. */
#define NICE 10

/* One question.  It belongs to who asked, then to the thread, then to who asked again. */
struct password_job {
	struct mail mail;
	struct password_job *next; /* while free */
	struct asker *asker;
	struct loop *loop;
	struct password_wait *wait; /* the asker's thread; NULL: nobody waits any more */
	bool known, right;
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
	struct mail stop, late;
	void (*enter)(void *arg); /* NULL: nothing */
	void *enter_arg;
#ifdef WEIR_CRYPT
	struct crypt_data data; /* the thread's */
#endif
} helper;

static _Atomic unsigned n_waiting; /* over all askers */
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
	struct password_wait *wait = job->wait;
	(void)loop;
	job->next = job->asker->free;
	job->asker->free = job;
	if (!wait)
		return;
	wait->job = NULL;
	wait->done(wait, job->right);
}

static void on_question(struct loop *loop, struct mail *mail)
{
	struct password_job *job = container_of(mail, struct password_job, mail);
	(void)loop;
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
	atomic_fetch_sub(&n_waiting, 1);
	loop_post(job->loop, &job->mail);
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
	sigset_t set, before;
	if (helper.running)
		return true;
	if (loop_init(&helper.loop, "passwords")) {
		str_text(why, "the thread that checks passwords has no descriptors");
		return false;
	}
	atomic_store(&stopping, false);
	make_askers(n_workers);
	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, &before); /* signals are the control thread's */
	helper.running =
	    pthread_create(&helper.thread, NULL, helper_main, helper.enter ? &helper : NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
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

static struct password_job *take_job(uint32_t who)
{
	struct asker *asker = &helper.askers[who == PASSWORDS_CONTROL ? helper.n_workers : who];
	struct password_job *job = asker->free;
	if (!job)
		return NULL;
	if (atomic_fetch_add(&n_waiting, 1) >= PASSWORDS_WAITING) {
		atomic_fetch_sub(&n_waiting, 1);
		return NULL;
	}
	asker->free = job->next;
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
	struct view hash;
	struct password_job *job = take_job(who);
	if (!job)
		return PASSWORD_BUSY;
	job->known = users_find(users, c->name, &hash);
	job->key = password_key_of(hash, c->name, c->password);
	copy(job->hash, hash);
	copy(job->password, c->password);
	job->loop = loop;
	job->wait = wait;
	wait->job = job;
	job->mail.fn = on_question;
	loop_post(&helper.loop, &job->mail);
	return PASSWORD_ASK;
}

void passwords_cancel(struct password_wait *wait)
{
	if (wait->job)
		wait->job->wait = NULL;
	wait->job = NULL;
}
