/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_CLOCK_BPF_H
#define KACCEL_CLOCK_BPF_H

#include "maps.bpf.h"

#define NSEC_PER_SEC 1000000000ULL

/*
 * Seconds of UTC. CLOCK_TAI is the one wall clock that a program can read (6.1); its distance from
 * UTC is what the kernel has been told, 0 on most machines, and user space keeps it in the
 * configuration.
 */
static __always_inline __u32 clock_utc(const struct kac_config *cfg)
{
	return bpf_ktime_get_tai_ns() / NSEC_PER_SEC - cfg->tai_offset;
}

static __always_inline void put_digits(__u8 *to, __u32 n)
{
	to[0] = '0' + n / 10 % 10;
	to[1] = '0' + n % 10;
}

/*
 * IMF-fixdate (RFC 9110 5.6.7) of a second of UTC into KAC_DATE_LEN bytes. Days to civil date by
 * shifting the year to begin in March, so that the leap day is its last.
 */
static __always_inline void clock_format(__u32 utc, __u8 *to)
{
	/* Without the closing NUL: mergeable strings are a section that libbpf does not link. */
	static const char days[21] = "ThuFriSatSunMonTueWed";
	static const char months[36] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
	__u32 day = utc / 86400, second = utc % 86400;
	__u32 z = day + 719468; /* days from 0000-03-01 to the epoch */
	__u32 era = z / 146097, doe = z % 146097;
	__u32 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	__u32 doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	__u32 mp = (5 * doy + 2) / 153;
	__u32 year = yoe + era * 400 + (mp >= 10);
	__u32 wd = day % 7 * 3;

	mp = mp % 12 * 3;
	kac_opaque(wd);
	kac_opaque(mp);
	if (wd > sizeof(days) - 3 || mp > sizeof(months) - 3)
		return;
	to[0] = days[wd];
	to[1] = days[wd + 1];
	to[2] = days[wd + 2];
	to[3] = ',';
	to[4] = ' ';
	put_digits(to + 5, doy - (153 * (mp / 3) + 2) / 5 + 1);
	to[7] = ' ';
	to[8] = months[mp];
	to[9] = months[mp + 1];
	to[10] = months[mp + 2];
	to[11] = ' ';
	put_digits(to + 12, year / 100);
	put_digits(to + 14, year);
	to[16] = ' ';
	put_digits(to + 17, second / 3600);
	to[19] = ':';
	put_digits(to + 20, second / 60 % 60);
	to[22] = ':';
	put_digits(to + 23, second % 60);
	to[25] = ' ';
	to[26] = 'G';
	to[27] = 'M';
	to[28] = 'T';
}

#endif
