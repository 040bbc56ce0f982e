/* SPDX-License-Identifier: MIT */
/*
 * Plain HTTP at a port of TLS: the handshake has failed, and a person in front of a
 * browser is told why.  Nothing is waited for: the connection ends here.
 */
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "client.h"
#include "client_h1.h"

#define DRAIN_BYTES 4096
#define DRAINS 16

/* Both TLS libraries look for methods where a record should begin. */
static bool is_plain(const char *why)
{
	return why && strcasestr(why, "http") && strcasestr(why, "request");
}

void client_refuse_plain(struct client *c)
{
	static const char text[] =
	    "HTTP/1.1 400 Bad Request\r\n"
	    "Content-Type: text/plain\r\n"
	    "Content-Length: 62\r\n"
	    "Connection: close\r\n\r\n"
	    "This port speaks TLS: the request came without; use https://.\n";
	char room[DRAIN_BYTES];
	int fd = c->stream.io.fd;
	if (!is_plain(stream_why(&c->stream)))
		return;
	/* what is left unread would have the kernel take the answer back */
	for (int n = 0; n < DRAINS && recv(fd, room, sizeof(room), MSG_DONTWAIT) > 0; n++)
		;
	ssize_t sent = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)sent; /* it is told or not: either way the connection ends */
	shutdown(fd, SHUT_WR);
}
