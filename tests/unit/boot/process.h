/* SPDX-License-Identifier: MIT */
/*
 * A whole weir, from the start to the end of its process: what it serves, keeps and reloads.  Its
 * client, its one backend and its operator are the test:
 *
 *   TestSuite(name, .init = process_begin, .fini = process_end, .timeout = 300);
 *
 *   write_conf("routes: [{pool: app}]\n");
 *   start_weir();
 *   is_served("/a");
 *   stop_weir();
 */
#ifndef TESTS_UNIT_BOOT_PROCESS_H
#define TESTS_UNIT_BOOT_PROCESS_H

#include <jansson.h>
#include <netinet/in.h>
#include <sys/types.h>

#define PATIENCE 60000 /* milliseconds that nothing takes */

extern pid_t weir;
extern char folder[]; /* where all of it is; the directory of its process is another */

void process_begin(void);
void process_end(void);

/* A listener "web", a pool "app" with the backend "one", a status socket, a directory for state;
 * `more`: other pools first. */
void write_conf(const char *more);
/* `listener`: more of its settings, ", tls: {...}". */
void write_conf_of(const char *listener, const char *more);
/* All of it; the status socket has to be folder/status. */
void write_text(const char *yaml);
void start_weir(void);
void stop_weir(void);

/* A socket of the folder: "web", "status". */
int connect_to(const char *name);
int listen_as(const char *name);
/* An address of this process alone, so that a port which is free stays free; "127.1.2.7:80". */
void own_address(struct sockaddr_in *out, char *text, size_t size);
int connect_at(const struct sockaddr_in *addr);
void put(int fd, const char *text);
/* Until the peer has no more to say; closes. */
const char *take(int fd);
/* The backend is asked, and what it says is what the client gets. */
void is_served(const char *target);
/* "hi", to one request: its head. */
const char *backend_answers(const char *target);

json_t *ask(const char *path);
/* The status it is answered with, and something of what is said (NULL: anything). */
void change(const char *method, const char *path, const char *body, unsigned want,
	    const char *says);
/* As often as the kind of event was noted. */
unsigned count_events(const char *kind);
void wait_for_event(const char *kind, unsigned n);

#endif
