/* SPDX-License-Identifier: MIT */
/*
 * Opening the access log: "stdout", a file, a FIFO.  It never waits for a reader.
 * What it makes belongs to the user that weir is going to be, who opens it again;
 * as root it follows no link, and takes no file, that somebody else put there.
 */
#ifndef WEIR_BOOT_LOG_FILE_H
#define WEIR_BOOT_LOG_FILE_H

#include <stdbool.h>

/* A descriptor, or -1 and errno.  *created tells whether the file was not there, so that
 * file_remove may take it back. */
int log_file_open(const char *path, bool *created);

#endif
