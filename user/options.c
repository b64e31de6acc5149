// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <getopt.h>

#include "options.h"

struct kac_lane_arguments kac_lane_arguments(void)
{
	struct kac_lane_arguments args = {
		.lane = {.memory = KAC_MEMORY_DEFAULT,
			 .objects = KAC_OBJECTS_DEFAULT,
			 .conns = KAC_CONNS_DEFAULT},
	};

	return args;
}

int kac_lane_argument(int opt, const char *value, char **argv, struct kac_lane_arguments *args)
{
	struct kac_lane_options *lane = &args->lane;
	uint64_t v;

	switch (opt) {
	case 'm':
		if (kac_parse_size(value, &lane->memory) || !lane->memory ||
		    lane->memory > 1ULL << 40)
			return kac_usage("--memory %s: not a size, such as 64M or 1G", value);
		return 0;
	case 'o':
		if (kac_parse_u64(value, 1, 1 << 22, &v))
			return kac_usage("--objects %s: not a number, 1 to 4194304", value);
		lane->objects = v;
		return 0;
	case 'C':
		if (kac_parse_u64(value, 1, 1 << 24, &v))
			return kac_usage("--connections %s: not a number, 1 to 16777216", value);
		lane->conns = v;
		return 0;
	case 'r':
		if (kac_parse_u64(value, 1, 3600, &v))
			return kac_usage("--refresh %s: not seconds, 1 to 3600", value);
		lane->refresh_ns = v * 1000000000ULL;
		return 0;
	case 'd':
		args->devices = value;
		return 0;
	default:
		return kac_usage_option(opt, argv);
	}
}

int kac_lane_devices(const struct kac_lane_arguments *args, const struct in6_addr *addr,
		     struct kac_devices *devs)
{
	char bad[32];
	int err;

	if (!args->devices) {
		if (kac_devices_of(addr, devs))
			return kac_fail("no device is up: name one with --dev");
		return 0;
	}
	err = kac_devices_parse(args->devices, devs, bad);
	if (err == -EMEDIUMTYPE)
		return kac_fail("--dev %s: has no Ethernet header; attach to the device below it",
				bad);
	if (err)
		return kac_fail("--dev %s: no such device in this network namespace", bad);
	return 0;
}
