/* SPDX-License-Identifier: MIT */
/* Files that are replaced as a whole. */
#ifndef WEIR_STATE_FILES_H
#define WEIR_STATE_FILES_H

#include "weir/base/view.h"

/* 0, or errno: then what was there is there still. */
int file_replace(const char *directory, const char *name, struct view bytes);

#endif
