/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_OPTIONS_H
#define KACCEL_OPTIONS_H

#include "device.h"
#include "lane.h"

/* What the commands that start an instance have in common. Entries of a struct option array. */
#define KAC_LANE_OPTIONS                                                                     \
	{"memory", required_argument, NULL, 'm'}, {"objects", required_argument, NULL, 'o'}, \
		{"connections", required_argument, NULL, 'C'},                               \
		{"refresh", required_argument, NULL, 'r'},                                   \
	{                                                                                    \
		"dev", required_argument, NULL, 'd'                                          \
	}

struct kac_lane_arguments {
	struct kac_lane_options lane;
	const char *devices; /* --dev, or NULL */
};

/* With the defaults. */
struct kac_lane_arguments kac_lane_arguments(void);

/*
 * Take one of KAC_LANE_OPTIONS, as kac_getopt() gave it. 0, or KAC_EXIT_USAGE and a line on stderr,
 * also for an option that is none of them (@argv is the command's).
 */
int kac_lane_argument(int opt, const char *value, char **argv, struct kac_lane_arguments *args);

/*
 * The devices that --dev names, else those that carry @addr (NULL: any). 0, or KAC_EXIT_FAIL and a
 * line on stderr.
 */
int kac_lane_devices(const struct kac_lane_arguments *args, const struct in6_addr *addr,
		     struct kac_devices *devs);

#endif
