/* SPDX-License-Identifier: MIT */
/* A worker's side of a generation: counted, and reported once it is let go of. */
#include "weir/proxy/generation.h"

#include "weir/base/check.h"
#include "weir/proxy/worker.h"

static void report_release(struct loop *loop, struct mail *mail)
{
	struct gen_local *gl = container_of(mail, struct gen_local, mail);
	(void)loop;
	gl->worker->on_gen_released(gl);
}

void gen_put(struct gen_local *gl)
{
	check(gl->refs > 0);
	if (--gl->refs > 0)
		return;
	list_del(&gl->link);
	gl->mail.fn = report_release;
	loop_post(gl->worker->control, &gl->mail);
}
