// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "device.h"

/* Whether frames of the device begin with an Ethernet header: loopback's do. */
static bool has_ethernet(const char *name)
{
	__cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {};

	if (fd < 0)
		return false;
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &req))
		return false;
	return req.ifr_hwaddr.sa_family == ARPHRD_ETHER ||
	       req.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
}

static int add(struct kac_devices *devs, uint32_t ifindex)
{
	unsigned int i;

	for (i = 0; i < devs->count; i++) {
		if (devs->ifindex[i] == ifindex)
			return 0;
	}
	if (devs->count == KAC_DEVICES_MAX)
		return -E2BIG;
	devs->ifindex[devs->count++] = ifindex;
	return 0;
}

int kac_devices_parse(const char *list, struct kac_devices *devs, char bad[32])
{
	int err = 0;

	devs->count = 0;
	while (*list && !err) {
		size_t len = strcspn(list, ",");
		uint32_t ifindex;

		snprintf(bad, 32, "%.*s", (int)len, list);
		ifindex = len < IF_NAMESIZE ? if_nametoindex(bad) : 0;
		if (!ifindex)
			return -ENODEV;
		if (!has_ethernet(bad))
			return -EMEDIUMTYPE;
		err = add(devs, ifindex);
		list += len + (list[len] == ',');
	}
	return err ? err : devs->count ? 0 : -ENODEV;
}

static bool carries(const struct sockaddr *sa, const struct in6_addr *addr)
{
	struct in6_addr own = IN6ADDR_ANY_INIT;

	if (sa->sa_family == AF_INET) {
		own.s6_addr[10] = 0xff;
		own.s6_addr[11] = 0xff;
		memcpy(&own.s6_addr[12], &((const struct sockaddr_in *)sa)->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		own = ((const struct sockaddr_in6 *)sa)->sin6_addr;
	} else {
		return false;
	}
	return !addr || !memcmp(&own, addr, sizeof(own));
}

int kac_devices_of(const struct in6_addr *addr, struct kac_devices *devs)
{
	struct ifaddrs *all, *ifa;
	int err = 0;

	if (addr &&
	    (IN6_IS_ADDR_UNSPECIFIED(addr) || (IN6_IS_ADDR_V4MAPPED(addr) && !addr->s6_addr32[3])))
		addr = NULL;
	devs->count = 0;
	if (getifaddrs(&all))
		return -errno;
	for (ifa = all; ifa && !err; ifa = ifa->ifa_next) {
		if (!ifa->ifa_addr || !(ifa->ifa_flags & IFF_UP) || !has_ethernet(ifa->ifa_name))
			continue;
		if ((ifa->ifa_flags & IFF_LOOPBACK) || carries(ifa->ifa_addr, addr))
			err = add(devs, if_nametoindex(ifa->ifa_name));
	}
	freeifaddrs(all);
	return err ? err : devs->count ? 0 : -ENODEV;
}
