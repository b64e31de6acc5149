/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_DEVICE_H
#define KACCEL_DEVICE_H

#include <netinet/in.h>
#include <stdint.h>

#include "kaccel.h"

#define KAC_DEVICES_MAX 64

struct kac_devices {
	uint32_t ifindex[KAC_DEVICES_MAX];
	unsigned int count;
};

/*
 * Devices by name, separated by commas. 0; -ENODEV and *@bad (in @list) for one that does not
 * exist, -EMEDIUMTYPE for one without Ethernet headers, -E2BIG.
 */
int kac_devices_parse(const char *list, struct kac_devices *devs, char bad[32]);

/*
 * The loopback device and those that are up, have Ethernet headers and carry @addr (IPv4 mapped
 * into IPv6), or any address when @addr is NULL or unspecified. 0, -ENODEV when there is none, or
 * -errno.
 */
int kac_devices_of(const struct in6_addr *addr, struct kac_devices *devs);

#endif
