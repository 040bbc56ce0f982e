/* SPDX-License-Identifier: MIT */
/*
 * hiredis' reader for answers that are what we ask for: a word, a number, or a list of those.
 * Lists in lists, and long ones, whose room would be taken at once, are REDIS_ERR_OOM.
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_READER_H
#define WEIR_CLUSTER_READER_H

/* Of a list: three for each of 256 nodes are the most that is asked for. */
#define READER_ELEMENTS_MAX 1024

struct redisReader;

/* NULL without memory; redisReaderFree. */
struct redisReader *flat_reader_new(void);

#endif
