/* SPDX-License-Identifier: MIT */
/* How a command fails, and how one that goes on writes. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>

enum ctl_exit ctl_fail(struct ctl *ctl, enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&ctl->why, fmt, ap);
	va_end(ap);
	return code;
}

void ctl_flush(struct ctl *ctl)
{
	bool ok = fwrite(ctl->out.ptr ? ctl->out.ptr : "", 1, ctl->out.len, stdout) == ctl->out.len;
	if (!ok || fflush(stdout)) {
		fputs("weirctl: cannot write to standard output\n", stderr);
		exit(CTL_FAILED);
	}
	str_reset(&ctl->out);
}
