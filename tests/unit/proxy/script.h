/* SPDX-License-Identifier: MIT */
/*
 * Flow scripts: what a client and backends say and hear, and when, as text.
 *
 *   === a retry goes to the other backend        a script's title
 *   backends 2                                   b1, b2; 1 unless said
 *   second auth retry: off                       the last of them is of a pool of this name, that
 *                                                may have a line in YAML
 *   pool retry: {attempts: 1}                    a line of the pool (listener, route) in YAML
 *   ahead {redirect: {to: /new}}                 a route ahead of that one
 *   log format: combined                         there is an access log, of these settings
 *   only h1 any                                  versions of client and backends; any any
 *   uncut                                        depends on how bytes are cut: run whole only
 *
 *   client asks GET /x with "Name: value" with "Other: value" body "text"
 *   b1 hears GET /x with "Name: value" without Other body "text"
 *   b1 answers 200 with "Name: value" body "text"
 *   client gets 200 body "text"                  a whole message, which is then forgotten
 *
 *   ... unfinished                               asks, answers: more of the body follows
 *   client sends "text"    b1 sends bytes 70000  more of it
 *   client ends            b1 ends with "X: 1"   no more of it; these trailers follow
 *   b1 hears head POST /   client gets head 200  not the whole message yet
 *   client gets body "text"                      so much of it so far
 *   client gets nothing    b2 hears nothing
 *   client is cut          b1 is cut             closed, or reset, before the message was whole
 *   client is closed                             nothing half-said is left behind
 *   client is gone         b1 is gone            either, or a stream was reset
 *   client shuts           b1 shuts              ends its direction
 *   client closes          b1 closes             at once, read or not
 *   b1 deafens                                   what is sent to it next fails, as after a reset
 *   client stalls          b1 stalls             reads no more, with windows that are wide
 *   b1 resets REFUSED_STREAM                     the stream, by a code: h2 only
 *   b1 refuses             b1 listens            connections from now on
 *   next recv fails ECONNRESET                   of what weir itself calls: see kernel.c
 *   weir stops                                   as when it has drained for long enough
 *   at once                                      weir gets no turn until something is heard
 *   one turn                                     or but this one
 *   reload pool limits: {requests: 2}            the same configuration with this line of the pool,
 *   reload backends 2                            with so many backends, which listen from then on,
 *   reload named other                           with another name for the first pool
 *   client has 70000                             so many bytes of the body now
 *   after 500ms
 *   expect outcome.ok = 1                        see world_counter
 *   logged {*,"status":200,*}                         the next line of the log; * is anything
 *   logged nothing                               there is none
 *   ... with "!Name: value"                      HTTP/2: the field is never to be indexed
 *   client > GET / HTTP/1.1\r\n\r\n              bytes of HTTP/1 as they are
 *   client < HTTP/1.1 200                        the next bytes of a tunnel or head
 *
 * `client`, `client2`, ... are connections of their own.  Each script runs for all pairs of
 * versions that it allows, cut everywhere, and in two: at each place for one of the pairs (on a
 * sanitizer and on Debian 13 at one place in seven), with WEIR_CUT_ONE_OF=1 in the environment for
 * all of them.  With WEIR_FLOW=text only scripts with that in their title run.
 */
#ifndef TESTS_UNIT_PROXY_SCRIPT_H
#define TESTS_UNIT_PROXY_SCRIPT_H

#include "peer.h"

/* Runs all scripts of a file; ends the process with a message when one fails. */
void script_run_file(const char *path);
/*
 * The same whole and once for each time that weir asks for memory, which it does not get: a
 * script may then end early, but nothing may be left over, broken or wrongly called whole.
 */
void script_run_without_memory(const char *path);
/* And once for each system call and way for it to fail: see kernel.h. */
void script_run_with_faults(const char *path);

#endif
