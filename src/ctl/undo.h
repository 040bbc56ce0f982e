/* SPDX-License-Identifier: MIT */
/* Commands that a person can paste: what takes a change back. */
#ifndef WEIR_CTL_UNDO_H
#define WEIR_CTL_UNDO_H

#include "ctl.h"

/* A word that a shell reads back as it is. */
void put_shell_word(struct str *out, const char *word);
/* "undo: weirctl COMMAND "; the line is left open. */
void undo_begin(struct ctl *ctl, const char *command);
/* "POOL/BACKEND" */
void undo_place(struct ctl *ctl, const char *pool, const char *backend);

#endif
