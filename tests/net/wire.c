// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * wire CLIENT_IF SERVER_IF DIR: joins the two devices by lossy.bpf.c and obeys one command a line
 * on stdin, with one line on stdout for each; ends with stdin. Runs in the wire's namespace.
 *
 *	rule N name=value ...	set rule N (names: see rule_fields; prefix=HEX)
 *	off			no rules
 *	get N			"MATCHED ACTED"
 *	held			number of frames held for a release
 *	release			put them back, in the order they were taken; their number
 *	capture on|off		write DIR/client.pcap and DIR/server.pcap
 *	sync			finish what was captured so far
 *
 * The two captures are what passed at either end: the server's shows what was sent and lost, the
 * client's what arrived.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "lossy.h"
#include "lossy.skel.h"

#define HELD_MAX     1024
#define CAPTURE_SNAP 65535

struct held_frame {
	struct lossy_held held;
	__u64 due_ns; /* 0: when told */
};

struct tap {
	int fd;
	int out_fd; /* apart from @fd, which does not see what it sent itself */
	int ifindex;
	FILE *pcap;
};

struct wire {
	struct lossy *skel;
	struct ring_buffer *ring;
	struct tap client;
	struct tap server;
	struct held_frame *held[HELD_MAX];
	int held_nr;
	bool capturing;
};

struct pcap_head {
	__u32 magic;
	__u16 major;
	__u16 minor;
	__u32 zone;
	__u32 sigfigs;
	__u32 snaplen;
	__u32 linktype;
};

struct pcap_record {
	__u32 sec;
	__u32 nsec;
	__u32 caplen;
	__u32 len;
};

static const struct {
	const char *name;
	size_t offset;
} rule_fields[] = {
	{"action", offsetof(struct lossy_rule, action)},
	{"dir", offsetof(struct lossy_rule, dir)},
	{"flags_mask", offsetof(struct lossy_rule, flags_mask)},
	{"flags_value", offsetof(struct lossy_rule, flags_value)},
	{"len_min", offsetof(struct lossy_rule, len_min)},
	{"len_max", offsetof(struct lossy_rule, len_max)},
	{"port", offsetof(struct lossy_rule, port)},
	{"seen", offsetof(struct lossy_rule, seen)},
	{"skip", offsetof(struct lossy_rule, skip)},
	{"count", offsetof(struct lossy_rule, count)},
	{"chance", offsetof(struct lossy_rule, chance)},
	{"seed", offsetof(struct lossy_rule, seed)},
	{"hold_ms", offsetof(struct lossy_rule, hold_ms)},
	{"base", offsetof(struct lossy_rule, base)},
	{"offset", offsetof(struct lossy_rule, offset)},
};

static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void put_back(struct wire *w, const struct lossy_held *h)
{
	struct tap *tap = h->dir == LOSSY_TO_SERVER ? &w->server : &w->client;

	if (send(tap->out_fd, h->frame, h->len, 0) < 0)
		fprintf(stderr, "wire: a held frame could not be put back: %s\n", strerror(errno));
}

static int on_held(void *arg, void *data, size_t size)
{
	const struct lossy_held *h = data;
	struct held_frame *f;
	struct wire *w = arg;

	(void)size;
	if (w->held_nr == HELD_MAX)
		return 0;
	f = malloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->held = *h;
	f->due_ns = h->hold_ms ? now_ns() + h->hold_ms * 1000000ULL : 0;
	w->held[w->held_nr++] = f;
	return 0;
}

/* Put back what is due (or, with @all, what waits to be told). Returns how many frames. */
static int release(struct wire *w, bool all)
{
	__u64 now = now_ns();
	int i, kept = 0, nr;

	for (i = 0; i < w->held_nr; i++) {
		struct held_frame *f = w->held[i];

		if (f->due_ns ? f->due_ns <= now : all) {
			put_back(w, &f->held);
			free(f);
		} else {
			w->held[kept++] = f;
		}
	}
	nr = w->held_nr - kept;
	w->held_nr = kept;
	return nr;
}

/* Milliseconds until the next held frame is due; -1: none is. */
static int next_due_ms(const struct wire *w)
{
	__u64 next = 0, now = now_ns();
	int i;

	for (i = 0; i < w->held_nr; i++) {
		__u64 due = w->held[i]->due_ns;

		if (due && (!next || due < next))
			next = due;
	}
	if (!next)
		return -1;
	return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

static int open_packet_socket(int ifindex, __u16 proto)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET, .sll_protocol = htons(proto), .sll_ifindex = ifindex};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int open_tap(struct tap *tap, const char *dev)
{
	int size = 64 << 20, one = 1;

	tap->ifindex = if_nametoindex(dev);
	if (!tap->ifindex)
		return -errno;
	tap->fd = open_packet_socket(tap->ifindex, ETH_P_ALL);
	if (tap->fd < 0)
		return tap->fd;
	tap->out_fd = open_packet_socket(tap->ifindex, 0);
	if (tap->out_fd < 0)
		return tap->out_fd;
	setsockopt(tap->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(tap->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
	return 0;
}

static int open_pcap(struct tap *tap, const char *dir, const char *name)
{
	/* magic of nanosecond timestamps, Ethernet */
	struct pcap_head head = {0xa1b23c4d, 2, 4, 0, 0, CAPTURE_SNAP, 1};
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.pcap", dir, name);
	tap->pcap = fopen(path, "we");
	if (!tap->pcap)
		return -errno;
	fwrite(&head, sizeof(head), 1, tap->pcap);
	return 0;
}

static void drain_tap(struct tap *tap, bool keep)
{
	unsigned char frame[CAPTURE_SNAP];
	char control[256];

	for (;;) {
		struct iovec iov = {frame, sizeof(frame)};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t len = recvmsg(tap->fd, &msg, MSG_TRUNC);
		struct pcap_record rec = {};
		struct cmsghdr *c;

		if (len < 0)
			break;
		if (!keep)
			continue;
		for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			struct timespec t;

			if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS)
				continue;
			memcpy(&t, CMSG_DATA(c), sizeof(t));
			rec.sec = t.tv_sec;
			rec.nsec = t.tv_nsec;
		}
		rec.len = len;
		rec.caplen = len < CAPTURE_SNAP ? len : CAPTURE_SNAP;
		fwrite(&rec, sizeof(rec), 1, tap->pcap);
		fwrite(frame, rec.caplen, 1, tap->pcap);
	}
}

static int parse_prefix(struct lossy_rule *r, const char *hex)
{
	size_t n = strlen(hex) / 2, i;

	if (n > LOSSY_PREFIX_MAX)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		unsigned int byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EINVAL;
		r->prefix[i] = byte;
	}
	r->prefix_len = n;
	return 0;
}

static int set_rule(struct wire *w, __u32 nr, char *words)
{
	struct lossy_rule r = {.len_max = ~0U};
	char *word, *save = NULL;

	for (word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');
		size_t i, nr_fields = sizeof(rule_fields) / sizeof(rule_fields[0]);

		if (!value)
			return -EINVAL;
		*value++ = '\0';
		if (!strcmp(word, "prefix")) {
			if (parse_prefix(&r, value))
				return -EINVAL;
			continue;
		}
		for (i = 0; i < nr_fields; i++)
			if (!strcmp(word, rule_fields[i].name))
				break;
		if (i == nr_fields)
			return -EINVAL;
		*(__u32 *)((char *)&r + rule_fields[i].offset) = strtoul(value, NULL, 0);
	}
	return bpf_map_update_elem(bpf_map__fd(w->skel->maps.rules), &nr, &r, BPF_ANY);
}

/* Carry out one command and print its one line. */
static void obey(struct wire *w, char *line)
{
	int rules = bpf_map__fd(w->skel->maps.rules), at = 0;
	struct lossy_rule r = {};
	__u32 nr = 0;

	if (sscanf(line, "rule %u %n", &nr, &at) == 1 && at) {
		printf("%s\n", set_rule(w, nr, line + at) ? "error" : "ok");
	} else if (!strcmp(line, "off")) {
		for (nr = 0; nr < LOSSY_RULES; nr++)
			bpf_map_update_elem(rules, &nr, &r, BPF_ANY);
		puts("ok");
	} else if (sscanf(line, "get %u", &nr) == 1) {
		bpf_map_lookup_elem(rules, &nr, &r);
		printf("%llu %llu\n", r.matched, r.acted);
	} else if (!strcmp(line, "held")) {
		ring_buffer__consume(w->ring);
		printf("%d\n", w->held_nr);
	} else if (!strcmp(line, "release")) {
		ring_buffer__consume(w->ring);
		printf("%d\n", release(w, true));
	} else if (!strncmp(line, "capture ", 8)) {
		drain_tap(&w->client, w->capturing);
		drain_tap(&w->server, w->capturing);
		w->capturing = !strcmp(line + 8, "on");
		puts("ok");
	} else if (!strcmp(line, "sync")) {
		drain_tap(&w->client, w->capturing);
		drain_tap(&w->server, w->capturing);
		fflush(w->client.pcap);
		fflush(w->server.pcap);
		puts("ok");
	} else {
		puts("error");
	}
	fflush(stdout);
}

/* Carry out the whole lines that are in @text, and keep the rest. -1 at the end of stdin. */
static int read_commands(struct wire *w, char *text, size_t size, size_t *len)
{
	ssize_t n = read(STDIN_FILENO, text + *len, size - 1 - *len);
	char *eol;

	if (n <= 0)
		return -1;
	*len += n;
	text[*len] = '\0';
	while ((eol = memchr(text, '\n', *len))) {
		size_t used = eol + 1 - text;

		*eol = '\0';
		obey(w, text);
		*len -= used;
		memmove(text, text + used, *len + 1);
	}
	return 0;
}

static int attach(struct wire *w, int ifindex)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(w->skel->progs.wire));
	int err;

	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

static int run(struct wire *w)
{
	char text[4096];
	size_t len = 0;

	for (;;) {
		struct pollfd fds[] = {
			{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = ring_buffer__epoll_fd(w->ring), .events = POLLIN},
			{.fd = w->client.fd, .events = w->capturing ? POLLIN : 0},
			{.fd = w->server.fd, .events = w->capturing ? POLLIN : 0},
		};

		if (poll(fds, 4, next_due_ms(w)) < 0 && errno != EINTR)
			return -errno;
		ring_buffer__consume(w->ring);
		release(w, false);
		if (w->capturing) {
			drain_tap(&w->client, true);
			drain_tap(&w->server, true);
		}
		if (fds[0].revents && read_commands(w, text, sizeof(text), &len))
			return 0;
	}
}

int main(int argc, char **argv)
{
	struct wire w = {.capturing = true};
	int err;

	if (argc != 4) {
		fputs("usage: wire CLIENT_IF SERVER_IF DIR\n", stderr);
		return 2;
	}
	err = open_tap(&w.client, argv[1]) ?: open_tap(&w.server, argv[2]);
	err = err ?: open_pcap(&w.client, argv[3], "client");
	err = err ?: open_pcap(&w.server, argv[3], "server");
	if (err)
		goto out;
	w.skel = lossy__open();
	if (!w.skel) {
		err = -errno;
		goto out;
	}
	w.skel->rodata->client_ifindex = w.client.ifindex;
	w.skel->rodata->server_ifindex = w.server.ifindex;
	err = lossy__load(w.skel);
	if (err)
		goto out;
	w.ring = ring_buffer__new(bpf_map__fd(w.skel->maps.held), on_held, &w, NULL);
	if (!w.ring) {
		err = -errno;
		goto out;
	}
	err = attach(&w, w.client.ifindex) ?: attach(&w, w.server.ifindex);
	if (err)
		goto out;
	puts("ready");
	fflush(stdout);
	err = run(&w);
out:
	if (err)
		fprintf(stderr, "wire: %s\n", strerror(-err));
	if (w.client.pcap)
		fclose(w.client.pcap);
	if (w.server.pcap)
		fclose(w.server.pcap);
	ring_buffer__free(w.ring);
	lossy__destroy(w.skel);
	return err ? 1 : 0;
}
