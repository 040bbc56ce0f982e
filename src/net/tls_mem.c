/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL's memory.  A handshake takes and gives back some 500 blocks, a record written
 * by OpenSSL 2 to 4, the buffers of a connection 34 KB: each thread keeps a few of each
 * size, so that none of it reaches the heap in the steady state.  6 % of a handshake.
 *
 * A block belongs to the thread that frees it, whoever got it; no lock, no sharing.  What
 * a thread keeps is bounded.  Threads live as long as the process: nothing is given back at
 * the end.  Sanitizers watch their own heap: there this stays out of the way.
 *
 * AWS-LC is served likewise; it takes NULL for a failure, even of 0 bytes.
 */
#include <openssl/crypto.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tls_compat.h"

#include "weir/net/tls.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MEMORY 0
#elif defined(__has_feature)
#define OWN_MEMORY (!__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer))
#else
#define OWN_MEMORY 1
#endif

#if OWN_MEMORY

/* Steps of 32 bytes up to 1 KiB, then powers of two up to 32 KiB; beyond it the heap. */
#define STEP 32
#define N_SMALL 32
#define N_CLASSES (N_SMALL + 5)
/* Of each class a thread keeps this much, or 4 blocks. */
#define KEEP_BYTES (32 * 1024)

/* In front of every block; as wide as malloc's alignment. */
struct head {
	union {
		struct head *next; /* while kept */
		size_t size;       /* as asked for */
	};
	size_t class;
};

_Static_assert(sizeof(struct head) == 16, "what follows stays aligned");

static __thread struct {
	struct head *first[N_CLASSES];
	unsigned n[N_CLASSES];
} kept;

static size_t class_of(size_t size)
{
	size_t class = N_SMALL;
	if (size <= STEP * N_SMALL)
		return (size - 1) / STEP;
	while (class < N_CLASSES && (size_t)2048 << (class - N_SMALL) < size)
		class ++;
	return class;
}

static size_t class_size(size_t class)
{
	return class < N_SMALL ? (class + 1) * STEP : (size_t)2048 << (class - N_SMALL);
}

static void *get(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (size == 0)
		size = TLS_EMPTY_BLOCK;
	if (size == 0 || size > SIZE_MAX / 2)
		return NULL;
	size_t class = class_of(size);
	struct head *h = class < N_CLASSES ? kept.first[class] : NULL;
	if (h) {
		kept.first[class] = h->next;
		kept.n[class]--;
	} else {
		h = malloc(sizeof(*h) + (class < N_CLASSES ? class_size(class) : size));
		if (!h)
			return NULL;
	}
	h->class = class;
	h->size = size;
	return h + 1;
}

static void put(void *ptr, const char *file, int line)
{
	(void)file;
	(void)line;
	if (!ptr)
		return;
	struct head *h = (struct head *)ptr - 1;
	size_t class = h->class;
	tls_wipe(ptr, h->size);
	if (class >= N_CLASSES ||
	    (kept.n[class] >= 4 && kept.n[class] * class_size(class) >= KEEP_BYTES)) {
		free(h);
		return;
	}
	h->next = kept.first[class];
	kept.first[class] = h;
	kept.n[class]++;
}

static void *move(void *ptr, size_t size, const char *file, int line)
{
	if (!ptr)
		return get(size, file, line);
	if (size == 0)
		size = TLS_EMPTY_BLOCK;
	if (size == 0) {
		put(ptr, file, line);
		return NULL;
	}
	struct head *h = (struct head *)ptr - 1;
	if (h->class < N_CLASSES && size <= class_size(h->class)) {
		h->size = size;
		return ptr;
	}
	void *to = get(size, file, line);
	if (!to)
		return NULL;
	memcpy(to, ptr, h->size < size ? h->size : size);
	put(ptr, file, line);
	return to;
}

void tls_memory_init(void)
{
	CRYPTO_set_mem_functions(get, move, put);
}

#else

void tls_memory_init(void)
{
}

#endif

const char *tls_library(void)
{
	return tls_library_name();
}
