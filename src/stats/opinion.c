/* SPDX-License-Identifier: MIT */
/* What verdicts are called, and when one takes the place of another. */
#include <stdio.h>
#include <string.h>

#include "verdict.h"

#include "weir/base/check.h"

static const struct {
	const char *name, *sentence;
	bool is_problem;
} verdicts[] = {
#define VERDICT(name, is_problem, sentence) {#name, sentence, is_problem},
#include "weir/tbl/verdicts.def"
#undef VERDICT
};

const char *verdict_name(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].name;
}

const char *verdict_sentence(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].sentence;
}

bool verdict_is_problem(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].is_problem;
}

/* ---- what is said now ---- */

enum verdict scaling_part_verdict(const struct scaling_part *part)
{
	if (!part)
		return VERDICT_not_enough_data;
	return part->odd[0] ? VERDICT_odd : part->opinion.verdict;
}

const char *scaling_part_sentence(const struct scaling_part *part)
{
	if (!part)
		return "";
	return part->odd[0] ? part->odd : part->sentence;
}

void scaling_part_odd(struct scaling_part *part, const char *why)
{
	snprintf(part->odd, sizeof(part->odd), "%s", why);
}

/* Some errors, and clients who leave, may come of what is known to be wrong already. */
static bool fails_first(const struct scaling *s)
{
	return s->failing_text[0] &&
	       (s->failing.group == FAILING_ERRORS || !verdict_is_problem(s->opinion.verdict));
}

enum verdict scaling_verdict(const struct scaling *s)
{
	if (!s)
		return VERDICT_not_enough_data;
	if (s->odd[0])
		return VERDICT_odd;
	return fails_first(s) ? VERDICT_failing : s->opinion.verdict;
}

const char *scaling_sentence(const struct scaling *s)
{
	if (!s)
		return "";
	if (s->odd[0])
		return s->odd;
	return fails_first(s) ? s->failing_text : s->sentence;
}

void scaling_odd(struct scaling *s, const char *who)
{
	snprintf(s->odd, sizeof(s->odd), "%s", who);
}

void scaling_answers(struct scaling *s, const double totals[N_FAILING], uint64_t wall_us)
{
	failing_second(&s->failing, totals, wall_us);
	if (!failing_say(&s->failing, s->failing_text))
		s->failing_text[0] = '\0';
}

const char *scaling_failing_beside(const struct scaling *s)
{
	return s && s->failing_text[0] && scaling_verdict(s) != VERDICT_failing ? s->failing_text
										: NULL;
}

const char *scaling_slow_beside(const struct scaling *s)
{
	if (!s || verdict_is_problem(scaling_verdict(s)))
		return NULL;
	if (s->missed >= SCALING_HOLD)
		return s->missed_by;
	bool slower = s->opinion.verdict != VERDICT_healthy &&
		      strncmp(s->sentence, SLOWER, strlen(SLOWER)) == 0;
	return slower ? "" : NULL;
}

/* ---- what was said before ---- */

/*
 * True when the sentence of this look belongs to the verdict that holds now.  "Healthy" does
 * not outlast two looks that see the objective broken, whatever they find the cause to be.
 */
static bool opine(struct scaling_opinion *o, enum verdict verdict)
{
	if (verdict == o->verdict) {
		o->agreed = o->against = 0;
		return true;
	}
	if (o->verdict == VERDICT_healthy && ++o->against >= SCALING_HOLD - 1) {
		o->verdict = VERDICT_not_enough_data;
		o->against = 0;
		if (verdict == o->verdict) {
			o->agreed = 0;
			return true;
		}
	}
	o->agreed = verdict == o->next ? o->agreed + 1 : 1;
	o->next = verdict;
	if (o->agreed < SCALING_HOLD)
		return false;
	o->verdict = verdict;
	o->agreed = 0;
	return true;
}

void opinion_settle(struct scaling_opinion *o, char *sentence, enum verdict verdict,
		    const char *said)
{
	bool own = opine(o, verdict);
	if (o->verdict == VERDICT_performance || o->verdict == VERDICT_scalability)
		o->cause = o->verdict;
	if (own)
		snprintf(sentence, SCALING_SENTENCE, "%s", said);
	else if (o->verdict == VERDICT_not_enough_data) /* what came is no reason for it */
		snprintf(sentence, SCALING_SENTENCE, "%u of the %d looks that must agree: %s",
			 o->agreed, SCALING_HOLD, said);
	else /* figures of earlier looks are no longer so */
		snprintf(sentence, SCALING_SENTENCE,
			 "so far: %s; %u of the %d looks that must agree to change that: %s",
			 verdict_sentence(o->verdict), o->agreed, SCALING_HOLD, said);
}
