/* SPDX-License-Identifier: MIT */
/* Nodes that know of each other's load, at some age. */
#ifndef WEIR_SIM_NODES_H
#define WEIR_SIM_NODES_H

#include <stdbool.h>
#include <stdint.h>

struct strategy;

struct node_world {
	const struct strategy *strategy;
	uint32_t n_nodes;
	double load;  /* of what 16 backends of 4 workers can serve */
	bool uneven;  /* the first node has 40 % of it, and sends it to half of the backends by keys
		       */
	double part;  /* of what the others have that counts */
	double age_s; /* how often nodes tell each other what they have; 0: never */
};

double nodes_p99_ms(const struct node_world *world, uint64_t seed);

#endif
