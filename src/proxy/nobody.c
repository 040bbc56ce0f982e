/* SPDX-License-Identifier: MIT */
/* What clients that are no connection have in common. */
#include "nobody.h"

enum io nobody_trailers(struct exchange *ex, const struct message *trailers)
{
	(void)trailers;
	return ex->client_ops->data(ex, (struct span){NULL, 0}, true);
}

enum io nobody_interim(struct exchange *ex, struct message *resp)
{
	(void)ex;
	(void)resp;
	return IO_OK;
}

void nobody_resume(struct exchange *ex)
{
	(void)ex;
}

size_t nobody_owes(const struct exchange *ex)
{
	(void)ex;
	return 0;
}
