/* SPDX-License-Identifier: MIT */
/*
 * Many threads post letters to one loop, which posts each one back to itself
 * once: none is lost, none comes twice, and each sender's come in order.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/defs.h"
#include "weir/loop/loop.h"

#define SENDERS 6
#define LETTERS 20000

struct letter {
	struct mail mail;
	unsigned sender, number;
};

static struct loop receiver;
static struct letter letters[SENDERS][LETTERS];
static unsigned next_of[SENDERS], again_of[SENDERS];
static unsigned n_read;
static int n_wrong;

static void on_again(struct loop *loop, struct mail *mail)
{
	struct letter *l = container_of(mail, struct letter, mail);
	n_wrong += again_of[l->sender]++ != l->number;
	if (++n_read == SENDERS * LETTERS)
		loop_stop(loop);
}

static void on_letter(struct loop *loop, struct mail *mail)
{
	struct letter *l = container_of(mail, struct letter, mail);
	n_wrong += next_of[l->sender]++ != l->number;
	mail->fn = on_again; /* the receiver owns it: it may go on a journey of its own */
	loop_post(loop, mail);
}

static void *send_letters(void *arg)
{
	struct letter *mine = arg;
	for (unsigned i = 0; i < LETTERS; i++)
		loop_post(&receiver, &mine[i].mail);
	return NULL;
}

int main(void)
{
	pthread_t threads[SENDERS];
	alarm(120); /* a lost letter hangs */
	if (loop_init(&receiver, "receiver"))
		return 1;
	for (unsigned s = 0; s < SENDERS; s++) {
		for (unsigned i = 0; i < LETTERS; i++)
			letters[s][i] =
			    (struct letter){.mail.fn = on_letter, .sender = s, .number = i};
		if (pthread_create(&threads[s], NULL, send_letters, letters[s]))
			return 1;
	}
	loop_run(&receiver);
	for (unsigned s = 0; s < SENDERS; s++)
		pthread_join(threads[s], NULL);
	loop_fini(&receiver);
	if (n_wrong)
		fprintf(stderr, "FAIL: %d letters out of order\n", n_wrong);
	return n_wrong ? 1 : 0;
}
