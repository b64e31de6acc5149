// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <jansson.h>

#include "cgroup.h"
#include "kaccel.skel.h"
#include "kaccel.h"

enum importance {
	NEEDED, /* without it the packet lane does not run */
	BETTER, /* without it something falls back */
	ADVICE, /* the operator should know */
};

struct finding {
	const char *name;
	enum importance importance;
	bool ok;
	const char *why; /* what follows, and what to do; when not ok, or always for advice */
};

static int silent(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return 0;
}

static bool is_fs(const char *path, long magic)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == magic;
}

static bool cgroup2_mounted(void)
{
	char path[KAC_PATH_MAX];

	return !kac_cgroup_root(path);
}

static bool netns_cookies(void)
{
	uint64_t cookie;

	return !kac_netns_cookie(0, &cookie);
}

/* The verifier is the judge of every helper and map type at once. */
static bool programs_load(void)
{
	struct kaccel *skel = kaccel__open();
	bool ok;

	if (!skel)
		return false;
	bpf_map__set_max_entries(skel->maps.arena, 1);
	bpf_map__set_max_entries(skel->maps.objects, 1);
	bpf_map__set_max_entries(skel->maps.conns, 1);
	ok = !kaccel__load(skel);
	kaccel__destroy(skel);
	return ok;
}

/* A kernel that knows TCX links asks for the device; one that does not, refuses the type. */
static bool has_tcx(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	__cleanup_fd int prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, NULL, "GPL", insns, 2, NULL);
	__cleanup_fd int link = -1;

	if (prog < 0)
		return false;
	link = bpf_link_create(prog, 0x7fffffff, 46 /* BPF_TCX_INGRESS */, NULL);
	return link == -ENODEV;
}

static bool jit_enabled(void)
{
	FILE *f = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	int on = 1;

	if (f) {
		if (fscanf(f, "%d", &on) != 1)
			on = 1;
		fclose(f);
	}
	return on;
}

static const char *const importance_names[] = {"needed", "better", "advice"};

static void print_text(const struct utsname *os, const struct finding *f, size_t n, bool lane)
{
	size_t i;

	printf("kernel %s, %s\n", os->release, os->machine);
	printf("packet lane (TC): %s\n", lane ? "can run" : "cannot run");
	for (i = 0; i < n; i++) {
		if (f[i].importance == ADVICE)
			printf("  note     %-16s %s\n", f[i].name, f[i].why);
		else if (f[i].ok)
			printf("  ok       %s\n", f[i].name);
		else
			printf("  %-8s %-16s %s\n",
			       f[i].importance == NEEDED ? "MISSING" : "without", f[i].name,
			       f[i].why);
	}
}

static void print_json(const struct utsname *os, const struct finding *f, size_t n, bool lane)
{
	json_t *out = json_object(), *list = json_array(), *lanes = json_object();
	char *text;
	size_t i;

	for (i = 0; i < n; i++) {
		json_t *one = json_object();

		json_object_set_new(one, "name", json_string(f[i].name));
		json_object_set_new(one, "importance",
				    json_string(importance_names[f[i].importance]));
		json_object_set_new(one, "ok", json_boolean(f[i].ok));
		json_object_set_new(one, "why",
				    f[i].ok && f[i].importance != ADVICE ? json_null()
									 : json_string(f[i].why));
		json_array_append_new(list, one);
	}
	json_object_set_new(out, "kernel", json_string(os->release));
	json_object_set_new(lanes, "packet", json_boolean(lane));
	json_object_set_new(out, "lanes", lanes);
	json_object_set_new(out, "findings", list);
	text = json_dumps(out, JSON_INDENT(2));
	puts(text);
	free(text);
	json_decref(out);
}

int cmd_check(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct finding f[] = {
		{"root", NEEDED, geteuid() == 0,
		 "needs CAP_BPF and CAP_NET_ADMIN: run it with sudo"},
		{"bpffs", BETTER, is_fs(KAC_BPFFS, BPF_FS_MAGIC),
		 "not mounted on " KAC_BPFFS "; kaccel mounts it when it attaches"},
		{"BTF", NEEDED, access("/sys/kernel/btf/vmlinux", R_OK) == 0,
		 "the kernel does not describe its types: CONFIG_DEBUG_INFO_BTF=y"},
		{"cgroup v2", NEEDED, cgroup2_mounted(),
		 "mount -t cgroup2 none /sys/fs/cgroup/unified; CONFIG_CGROUP_BPF=y"},
		{"netns cookies", NEEDED, netns_cookies(), "came with 5.14"},
		{"programs", NEEDED, false,
		 "the verifier refuses them: 6.1 or newer is needed; KACCEL_DEBUG=1 shows its "
		 "words"},
		{"TCX links", BETTER, false, "came with 6.6; clsact filters are used instead"},
		{"JIT", BETTER, jit_enabled(),
		 "sysctl net.core.bpf_jit_enable=1; interpreted programs are slow"},
		{"bypass", ADVICE, true,
		 "what is answered in the kernel is not seen by nftables, limit_req, auth_request "
		 "or "
		 "the origin's access log"},
	};
	const size_t n = sizeof(f) / sizeof(f[0]);
	bool lane = true;
	struct utsname os;
	size_t i;

	if (argc > 1)
		return kac_usage("check: takes no arguments");
	if (!getenv("KACCEL_DEBUG"))
		libbpf_set_print(silent);
	uname(&os);
	if (f[0].ok) {
		f[5].ok = programs_load();
		f[6].ok = has_tcx();
	} else {
		f[5].why = f[6].why = "could not be tried without root";
	}
	for (i = 0; i < n; i++)
		lane &= f[i].ok || f[i].importance != NEEDED;
	if (ctx->json)
		print_json(&os, f, n, lane);
	else
		print_text(&os, f, n, lane);
	return lane ? KAC_EXIT_OK : KAC_EXIT_FAIL;
}
