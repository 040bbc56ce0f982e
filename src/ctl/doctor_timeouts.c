/* SPDX-License-Identifier: MIT */
/* weirctl doctor on timeouts that contradict each other. */
#include "doctor.h"

#include "api.h"

#include "weir/base/parse.h"

/* 0 when it is not there, or off. */
static uint64_t duration_of(const json_t *section, const char *key)
{
	uint64_t us = 0;
	return parse_duration_us(view_str(get_text(section, key)), &us) ? us : 0;
}

uint64_t doctor_duration_at(const json_t *object, const char *section, const char *key)
{
	return duration_of(json_object_get(object, section), key);
}

static void check_route_timeouts(struct doctor *d, const json_t *route)
{
	uint64_t total = doctor_duration_at(route, "timeouts", "total");
	const char *pool = get_text(route, "pool");
	const json_t *conf = json_object_get(json_object_get(d->config, "pools"), pool);
	uint64_t response = doctor_duration_at(route, "timeouts", "response");
	if (!response)
		response = doctor_duration_at(conf, "timeouts", "response");
	if (total && response > total)
		doctor_find(
		    d, NOTE,
		    "lower timeouts.response below timeouts.total, or the retry it allows "
		    "never comes",
		    "route %s: timeouts.total ends an exchange before timeouts.response can",
		    get_text(route, "name"));
	uint64_t queue = doctor_duration_at(conf, "queue", "timeout");
	if (total && queue >= total)
		doctor_find(d, NOTE, "lower queue.timeout: who waited that long has no time left",
			    "route %s: queue.timeout of pool %s is not shorter than timeouts.total",
			    get_text(route, "name"), pool);
}

static void check_pool_timeouts(struct doctor *d, const char *name, const json_t *conf)
{
	uint64_t shutdown = 0, response = doctor_duration_at(conf, "timeouts", "response");
	parse_duration_us(view_str(get_text(d->config, "shutdown_timeout")), &shutdown);
	if (shutdown && response > shutdown)
		doctor_find(
		    d, NOTE, "raise shutdown_timeout to at least timeouts.response",
		    "pool %s: a stop cuts requests that timeouts.response would still wait for",
		    name);
	if (response && doctor_duration_at(conf, "timeouts", "connect") > response)
		doctor_find(d, NOTE,
			    "lower timeouts.connect: a backend nearby answers in milliseconds",
			    "pool %s: timeouts.connect is longer than timeouts.response", name);
	uint64_t interval = doctor_duration_at(conf, "health", "interval");
	if (interval && doctor_duration_at(conf, "health", "timeout") > interval)
		doctor_find(d, NOTE, "lower health.timeout below health.interval",
			    "pool %s: a health check may take longer than the time to the next",
			    name);
}

/* What would have to happen within timeouts.response, and comes later. */
static void check_pool_waits(struct doctor *d, const char *name, const json_t *conf)
{
	uint64_t response = doctor_duration_at(conf, "timeouts", "response");
	const json_t *retry = json_object_get(conf, "retry");
	if (response && duration_of(retry, "attempt_timeout") >= response)
		doctor_find(d, NOTE,
			    "lower retry.attempt_timeout, or no second attempt is ever made for it",
			    "pool %s: retry.attempt_timeout is not shorter than timeouts.response",
			    name);
	if (response && doctor_duration_at(retry, "hedge", "after") >= response)
		doctor_find(d, NOTE, "lower retry.hedge.after, or nobody else is ever asked",
			    "pool %s: retry.hedge.after is not shorter than timeouts.response",
			    name);
	if (response && doctor_duration_at(conf, "slo", "p95") >= response)
		doctor_find(d, NOTE,
			    "lower timeouts.response to what is still of use, or mend slo.p95",
			    "pool %s: slo.p95 is not shorter than timeouts.response", name);
	uint64_t queue = doctor_duration_at(conf, "queue", "timeout");
	if (queue && doctor_duration_at(conf, "queue", "target") >= queue)
		doctor_find(d, NOTE,
			    "lower queue.target: overload is seen only once exchanges time out",
			    "pool %s: queue.target is not shorter than queue.timeout", name);
}

void doctor_timeouts(struct doctor *d)
{
	size_t i;
	json_t *row;
	const char *name;
	json_array_foreach(json_object_get(d->config, "routes"), i, row)
	    check_route_timeouts(d, row);
	json_object_foreach(json_object_get(d->config, "pools"), name, row)
	{
		check_pool_timeouts(d, name, row);
		check_pool_waits(d, name, row);
	}
}
