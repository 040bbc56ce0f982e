/* SPDX-License-Identifier: MIT */
#include "disk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "x509.h"

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/base/log.h"

#define PEM_MAX (256 * 1024)

struct disk_job {
	char folder[PATH_MAX];
	char file[NAME_MAX + 1], next[NAME_MAX + 1], account_file[NAME_MAX + 1];
	enum conf_acme_key type;
	struct str account_pem, pem; /* owns */
	struct disk_result result;
	disk_done *done;
	void *arg;
};

static void job_free(void *arg)
{
	struct disk_job *job = arg;
	x509_forget(&job->account_pem);
	x509_forget(&job->pem);
	free(job);
}

static struct disk_job *job_new(const char *folder, const char *file, disk_done *done, void *arg)
{
	struct disk_job *job = calloc(1, sizeof(*job));
	check(job != NULL);
	snprintf(job->folder, sizeof(job->folder), "%s", folder);
	snprintf(job->file, sizeof(job->file), "%s", file);
	snprintf(job->next, sizeof(job->next), "%.*s.next", NAME_MAX - 5, file);
	job->result.what = "";
	job->done = done;
	job->arg = arg;
	return job;
}

static void job_done(void *arg)
{
	struct disk_job *job = arg;
	job->result.pem = str_as_view(&job->pem);
	job->done(job->arg, &job->result);
	job_free(job);
}

static struct work *job_begin(struct loop *loop, struct disk_job *job, void (*run)(void *arg))
{
	struct work *work = work_begin(
	    loop, &(struct work_job){.run = run, .done = job_done, .drop = job_free, .arg = job});
	if (!work)
		job_free(job);
	return work;
}

/* On the thread. */
static bool put(struct disk_job *job, const char *name, struct view bytes)
{
	job->result.error = file_replace(job->folder, name, bytes);
	job->result.what = job->result.error ? name : "";
	return !job->result.error;
}

/* On the thread. */
static void make_key(void *arg)
{
	struct disk_job *job = arg;
	struct view account = str_as_view(&job->account_pem);
	if (account.len && !put(job, job->account_file, account))
		return;
	job->result.account = true;
	struct str pem = STR_INIT;
	if (x509_key(job->type, &pem) && put(job, job->next, str_as_view(&pem)))
		job->pem = pem;
	else
		x509_forget(&pem);
}

struct work *disk_make_key(struct loop *loop, const struct disk_key *key, disk_done *done,
			   void *arg)
{
	struct disk_job *job = job_new(key->folder, key->file, done, arg);
	snprintf(job->account_file, sizeof(job->account_file), "%s", key->account_file);
	str_view(&job->account_pem, key->account_pem);
	job->type = key->type;
	return job_begin(loop, job, make_key);
}

/* On the thread. */
static void write_pair(void *arg)
{
	struct disk_job *job = arg;
	char next[PATH_MAX + NAME_MAX + 2];
	if (!put(job, job->file, str_as_view(&job->pem)))
		return;
	snprintf(next, sizeof(next), "%s/%s", job->folder, job->next);
	unlink(next);
}

bool disk_read(const char *folder, const char *file, struct str *out)
{
	char path[PATH_MAX];
	struct str why = STR_INIT;
	snprintf(path, sizeof(path), "%s/%s", folder, file);
	file_owner_begin();
	bool is_there = file_identify(path).ino != 0;
	bool ok = is_there && file_read(path, PEM_MAX, 0, out, &why) == ERR_OK;
	file_owner_end();
	if (is_there && !ok)
		log_warn("acme: %s cannot be read: %s", path, why.ptr);
	str_fini(&why);
	return ok;
}

struct work *disk_write_pair(struct loop *loop, const char *folder, const char *file,
			     struct view pem, disk_done *done, void *arg)
{
	struct disk_job *job = job_new(folder, file, done, arg);
	str_view(&job->pem, pem);
	return job_begin(loop, job, write_pair);
}
