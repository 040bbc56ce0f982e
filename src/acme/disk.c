/* SPDX-License-Identifier: MIT */
/* Files of sites, made and replaced by threads that may wait for the disk. */
#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "notes.h"
#include "x509.h"

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/base/log.h"

#define PEM_MAX (256 * 1024)

struct disk_job {
	char folder[PATH_MAX];
	char file[NAME_MAX + 1], next[NAME_MAX + 1], account_file[NAME_MAX + 1];
	enum conf_acme_key type;
	struct str account_pem, pem;        /* owns */
	struct str directory, order, notes; /* owns; notes: what the next key's file said */
	struct disk_note note;              /* without its texts */
	struct disk_result result;
	disk_done *done;
	void *arg;
};

void disk_next(const char *file, char out[NAME_MAX + 1])
{
	snprintf(out, NAME_MAX + 1, "%.*s.next", NAME_MAX - 5, file);
}

static void job_free(void *arg)
{
	struct disk_job *job = arg;
	x509_forget(&job->account_pem);
	x509_forget(&job->pem);
	x509_forget(&job->notes);
	str_fini(&job->directory);
	str_fini(&job->order);
	free(job);
}

static struct disk_job *job_new(const char *folder, const char *file, disk_done *done, void *arg)
{
	struct disk_job *job = calloc(1, sizeof(*job));
	check(job != NULL);
	snprintf(job->folder, sizeof(job->folder), "%s", folder);
	snprintf(job->file, sizeof(job->file), "%s", file);
	disk_next(file, job->next);
	job->result.what = "";
	job->done = done;
	job->arg = arg;
	return job;
}

static void job_done(void *arg)
{
	struct disk_job *job = arg;
	job->result.pem = str_as_view(&job->pem);
	job->result.order = str_as_view(&job->order);
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
static void read_notes(struct disk_job *job, struct notes *notes)
{
	disk_read(job->folder, job->next, &job->notes);
	if (!notes_read(str_as_view(&job->notes), str_as_view(&job->directory), notes))
		*notes = (struct notes){.directory = str_as_view(&job->directory)};
}

/* On the thread. */
static bool write_notes(struct disk_job *job, const struct notes *notes)
{
	struct str text = STR_INIT;
	notes_put(notes, &text);
	bool ok = put(job, job->next, str_as_view(&text));
	x509_forget(&text);
	return ok;
}

/* On the thread.  That orders have failed is kept: the process may end before this one does. */
static void make_new_key(struct disk_job *job, struct notes *notes)
{
	struct str pem = STR_INIT;
	bool ok = x509_key(job->type, &pem);
	notes->order = VIEW_NONE;
	notes->key = str_as_view(&pem);
	if (ok && write_notes(job, notes))
		job->pem = pem;
	else
		x509_forget(&pem);
}

/* On the thread. */
static void make_key(void *arg)
{
	struct disk_job *job = arg;
	struct view account = str_as_view(&job->account_pem);
	if (account.len && !put(job, job->account_file, account))
		return;
	job->result.account = true;
	struct notes notes;
	read_notes(job, &notes);
	if (notes.order.len && notes.key.len) {
		str_view(&job->pem, notes.key);
		str_view(&job->order, notes.order);
	} else {
		make_new_key(job, &notes);
	}
}

struct work *disk_make_key(struct loop *loop, const struct disk_key *key, disk_done *done,
			   void *arg)
{
	struct disk_job *job = job_new(key->folder, key->file, done, arg);
	snprintf(job->account_file, sizeof(job->account_file), "%s", key->account_file);
	str_view(&job->account_pem, key->account_pem);
	job->type = key->type;
	str_view(&job->directory, key->directory);
	return job_begin(loop, job, make_key);
}

/* On the thread. */
static void write_note(void *arg)
{
	struct disk_job *job = arg;
	struct notes notes;
	read_notes(job, &notes);
	if (!job->note.keeps_order)
		notes.order = str_as_view(&job->order);
	if (!job->note.keeps_failures) {
		notes.failures = job->note.failures;
		notes.again_s = job->note.again_s;
	}
	(void)write_notes(job, &notes);
}

struct work *disk_write_note(struct loop *loop, const struct disk_note *note, disk_done *done,
			     void *arg)
{
	struct disk_job *job = job_new(note->folder, note->file, done, arg);
	job->note = *note;
	str_view(&job->directory, note->directory);
	str_view(&job->order, note->order);
	return job_begin(loop, job, write_note);
}

/* On the thread. */
static void write_pair(void *arg)
{
	struct disk_job *job = arg;
	char next[PATH_MAX + NAME_MAX + 2];
	if (!put(job, job->file, str_as_view(&job->pem)))
		return;
	snprintf(next, sizeof(next), "%s/%s", job->folder, job->next);
	file_remove(next);
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
