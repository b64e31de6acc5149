// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "kaccel.h"

#define VERSION "0.1.0"

struct command {
	const char *name;
	kac_cmd_fn run;
	const char *brief;
	const char *usage;
};

static const struct command commands[] = {
	{"serve", cmd_serve, "serve a directory, its files answered in the kernel",
	 "Usage: kaccel serve DIR [--listen ADDR:PORT] [--dev IF[,IF]...] [--memory SIZE]\n"
	 "                    [--objects N] [--connections N] [--refresh SEC]\n"
	 "\n"
	 "Serve the files of DIR over HTTP until interrupted. Those that fit are pinned and\n"
	 "answered in the kernel, the others by a server of kaccel's own. Leaves nothing behind.\n"
	 "\n"
	 "  --listen ADDR:PORT  default: 127.0.0.1:8080\n"
	 "  --dev IF            devices to answer on; default: lo and those that carry ADDR\n"
	 "  --memory SIZE       for the pinned files; default: 64M\n"
	 "  --objects N         pinned files at most; default: 4096\n"
	 "  --connections N     connections followed at most; default: 65536\n"
	 "  --refresh SEC       pass one request per connection so often; default: 1\n"},
	{"attach", cmd_attach, "answer in the kernel in front of a running server",
	 "Usage: kaccel attach { --cgroup PATH | --pid PID | --unit NAME } --port N\n"
	 "                     [--dev IF[,IF]...] [--memory SIZE] [--objects N]\n"
	 "                     [--connections N] [--refresh SEC]\n"
	 "       kaccel attach --upgrade\n"
	 "\n"
	 "Put kaccel in front of the server that listens on port N in that cgroup. It goes on\n"
	 "when this command has ended, until 'kaccel detach'.\n"
	 "\n"
	 "  --dev IF         devices that clients come in by; default: all that have an address\n"
	 "  --memory SIZE    for pinned objects; default: 64M\n"
	 "  --objects N      pinned objects at most; default: 4096\n"
	 "  --connections N  connections followed at most; default: 65536\n"
	 "  --refresh SEC    pass one request per connection so often; below the server's\n"
	 "                   idle timeout; default: 1\n"
	 "  --upgrade        put this version's programs in place of those attached\n"},
	{"detach", cmd_detach, "stop answering, and go away",
	 "Usage: kaccel detach [--now]\n"
	 "\n"
	 "Stop answering at once; connections that were answered are kept right until they close.\n"
	 "\n"
	 "  --now  reset those connections, and remove everything\n"},
	{"pin", cmd_pin, "put a file or a directory's files into the kernel",
	 "Usage: kaccel pin FILE --url URL [--type MIME] [--ttl SEC] [--header 'NAME: VALUE']...\n"
	 "       kaccel pin DIR --url PREFIX [--ttl SEC]\n"
	 "\n"
	 "Answer URL with FILE, or every URL below PREFIX with the file of that name below DIR\n"
	 "(index.html also for its directory). What was pinned there is replaced. A URL is\n"
	 "http://HOST[:PORT]/PATH[?QUERY]; HOST * is any host and port.\n"
	 "\n"
	 "  --type MIME     Content-Type; default: by FILE's extension\n"
	 "  --ttl SEC       answer with it for so long; default: until it is unpinned\n"
	 "  --header FIELD  one more header field; replaces a field of the same name\n"},
	{"unpin", cmd_unpin, "take an object out of the kernel",
	 "Usage: kaccel unpin { URL | --all }\n"
	 "\n"
	 "Leave URL, or every URL, to the origin.\n"},
	{"list", cmd_list, "list what is pinned", "Usage: kaccel list\n"},
	{"show", cmd_show, "show one object",
	 "Usage: kaccel show URL [--body]\n"
	 "\n"
	 "Show the object that URL is answered with.\n"
	 "\n"
	 "  --body  write its body, nothing else, to standard output\n"},
	{"stats", cmd_stats, "show counters and memory in use",
	 "Usage: kaccel stats [--all]\n"
	 "\n"
	 "  --all  counters that are 0, too (--json always has them)\n"},
	{"check", cmd_check, "say what this machine can do", "Usage: kaccel check\n"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

struct globals {
	struct kac_ctx ctx;
	bool help, version;
};

static void print_usage(FILE *out)
{
	size_t i;

	fputs("Usage: kaccel [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n", out);
	for (i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].brief);
	fputs("\nOptions, before or after the command:\n"
	      "  --instance NAME  which instance; default: default\n"
	      "  --json           print JSON\n"
	      "  --help           this, or with a command its arguments\n"
	      "  --version        the version\n",
	      out);
}

static bool is_instance_name(const char *name)
{
	size_t len = strlen(name);

	/* bpffs takes no dots. */
	return len && len < KAC_INSTANCE_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
		       len;
}

/* Take the global options out of @argv, wherever they stand; what is behind "--" is left alone. */
static int parse_globals(int *argc, char **argv, struct globals *g)
{
	int from, to = 1;

	for (from = 1; from < *argc; from++) {
		const char *arg = argv[from];

		if (!strcmp(arg, "--"))
			break;
		if (!strcmp(arg, "--json")) {
			g->ctx.json = true;
		} else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			g->help = true;
		} else if (!strcmp(arg, "--version") || !strcmp(arg, "-V")) {
			g->version = true;
		} else if (!strncmp(arg, "--instance=", strlen("--instance="))) {
			g->ctx.instance = arg + strlen("--instance=");
		} else if (!strcmp(arg, "--instance")) {
			if (from + 1 == *argc)
				return kac_usage("--instance: a name is missing after it");
			g->ctx.instance = argv[++from];
		} else {
			argv[to++] = argv[from];
		}
	}
	while (from < *argc)
		argv[to++] = argv[from++];
	argv[to] = NULL;
	*argc = to;
	if (!is_instance_name(g->ctx.instance))
		return kac_usage("--instance '%s': use 1 to %d letters, digits, '_' and '-'",
				 g->ctx.instance, KAC_INSTANCE_MAX - 1);
	return KAC_EXIT_OK;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static int run(int argc, char **argv)
{
	struct globals g = {.ctx = {.instance = "default"}};
	const struct command *command;
	int status;

	status = parse_globals(&argc, argv, &g);
	if (status)
		return status;
	if (g.version) {
		printf("kaccel %s, libbpf %s\n", VERSION, libbpf_version_string());
		return KAC_EXIT_OK;
	}
	if (argc < 2) {
		print_usage(g.help ? stdout : stderr);
		return g.help ? KAC_EXIT_OK : KAC_EXIT_USAGE;
	}
	command = find_command(argv[1]);
	if (!command)
		return kac_usage("unknown %s '%s': 'kaccel --help' lists them",
				 *argv[1] == '-' ? "option" : "command", argv[1]);
	if (g.help) {
		fputs(command->usage, stdout);
		return KAC_EXIT_OK;
	}
	return command->run(&g.ctx, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);

	/* Output that was lost (a full disk) is a failure too. */
	if (fflush(stdout) || ferror(stdout))
		return kac_fail("standard output: %s", strerror(errno));
	return status;
}
