/* SPDX-License-Identifier: MIT */
/* The file in which one process tells another: a head, and blocks of which a reader takes all or
 * nothing. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover_state.h"

#include "weir/base/file.h"
#include "weir/base/hash.h"

#define MAGIC "weir state \n"
#define VERSION 1
/* More than the largest pools need: a bound on what a reader takes. */
#define STATE_MAX ((size_t)1 << 30)

struct head { /* without gaps */
	char magic[sizeof(MAGIC) - 1];
	uint32_t version;
	uint64_t len, hash;
};

void state_leave_head(struct str *out)
{
	static const struct head none;
	str_put(out, &none, sizeof(none));
}

void state_seal(struct str *out)
{
	struct head head = {.version = VERSION};
	if (out->overflow || out->len - sizeof(head) > STATE_MAX) {
		out->overflow = true;
		return;
	}
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	head.len = out->len - sizeof(head);
	head.hash = hash_bytes(out->ptr + sizeof(head), head.len, VERSION);
	memcpy(out->ptr, &head, sizeof(head));
}

bool state_store(int fd, struct view blocks, struct str *why)
{
	struct head head = {.version = VERSION, .len = blocks.len};
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	head.hash = hash_bytes(blocks.ptr, blocks.len, VERSION);
	if (blocks.len <= STATE_MAX && ftruncate(fd, 0) == 0 &&
	    file_write_at(fd, view_of((const char *)&head, sizeof(head)), 0) &&
	    file_write_at(fd, blocks, sizeof(head)))
		return true;
	str_text(why, blocks.len > STATE_MAX ? "there is too much of it" : strerror(errno));
	return false;
}

/* NULL, or what is wrong with it. */
static const char *check_head(const struct head *head, off_t size)
{
	if (memcmp(head->magic, MAGIC, sizeof(head->magic)) != 0)
		return "it is none of weir's";
	if (head->version != VERSION)
		return "it is of a version that is not known here";
	if (head->len > STATE_MAX || size < 0 || head->len != (uint64_t)size - sizeof(*head))
		return "it is cut";
	return NULL;
}

bool state_load(int fd, struct str *out, struct str *why)
{
	struct head head;
	struct stat st;
	const char *wrong = NULL;
	if (fstat(fd, &st) || st.st_size < (off_t)sizeof(head) ||
	    !file_read_at(fd, &head, sizeof(head), 0))
		wrong = "it is cut";
	else
		wrong = check_head(&head, st.st_size);
	if (!wrong && !str_reserve(out, head.len))
		wrong = "there is no memory for it";
	if (!wrong && !file_read_at(fd, out->ptr, head.len, sizeof(head)))
		wrong = "it cannot be read";
	if (!wrong && hash_bytes(out->ptr, head.len, VERSION) != head.hash)
		wrong = "it is damaged";
	if (wrong)
		str_text(why, wrong);
	else
		out->len = head.len;
	return !wrong;
}
