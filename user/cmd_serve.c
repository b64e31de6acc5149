// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "instance.h"
#include "lane.h"
#include "options.h"
#include "origin.h"
#include "pin.h"

/* How long Ctrl-C waits for connections to end by themselves. */
#define DRAIN_MS 3000
#define POLL_MS	 50

struct serve {
	const struct kac_ctx *ctx;
	const char *dir;
	const char *listen;
	struct kac_lane_arguments args;
	char cgroup[KAC_PATH_MAX];
	struct sockaddr_storage addr;
	socklen_t addr_len;
	int listen_fd;
	struct kac_devices devs;
};

static int parse(struct serve *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"listen", required_argument, NULL, 'l'},
		KAC_LANE_OPTIONS,
		{},
	};
	int opt, err;

	optind = 0;
	while ((opt = kac_getopt(argc, argv, options)) != -1) {
		if (opt == 'l') {
			s->listen = optarg;
			continue;
		}
		err = kac_lane_argument(opt, optarg, argv, &s->args);
		if (err)
			return err;
	}
	if (optind + 1 != argc)
		return kac_usage("serve: name one directory, as in 'kaccel serve /var/www/html'");
	s->dir = argv[optind];
	return 0;
}

/* Parse ADDR:PORT, [ADDR]:PORT or :PORT. IPv4 is mapped into @sa's IPv6 only for finding devices.
 */
static int parse_listen(const char *text, struct sockaddr_storage *sa, socklen_t *len,
			struct in6_addr *mapped, uint32_t *port)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	struct sockaddr_in6 *in6 = (void *)sa;
	struct sockaddr_in *in = (void *)sa;
	size_t n = colon ? (size_t)(colon - text) : 0;
	uint64_t v;

	memset(sa, 0, sizeof(*sa));
	memset(mapped, 0, sizeof(*mapped));
	if (!colon || n >= sizeof(host) || kac_parse_u64(colon + 1, 1, 65535, &v))
		return -EINVAL;
	*port = v;
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		snprintf(host, sizeof(host), "%.*s", (int)n - 2, text + 1);
		if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
			return -EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(v);
		*mapped = in6->sin6_addr;
		*len = sizeof(*in6);
		return 0;
	}
	snprintf(host, sizeof(host), "%.*s", (int)n, text);
	if (inet_pton(AF_INET, n ? host : "0.0.0.0", &in->sin_addr) != 1)
		return -EINVAL;
	in->sin_family = AF_INET;
	in->sin_port = htons(v);
	mapped->s6_addr[10] = 0xff;
	mapped->s6_addr[11] = 0xff;
	memcpy(&mapped->s6_addr[12], &in->sin_addr, 4);
	*len = sizeof(*in);
	return 0;
}

/* In the origin's process: a socket belongs to the cgroup of the process that made it. */
static int open_listener(struct serve *s)
{
	int one = 1;

	s->listen_fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return kac_fail("--listen %s: %s", s->listen, strerror(errno));
	setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s->listen_fd, (struct sockaddr *)&s->addr, s->addr_len) ||
	    listen(s->listen_fd, SOMAXCONN))
		return errno == EADDRINUSE
			       ? kac_fail("--listen %s: something listens there already; give "
					  "another address or port",
					  s->listen)
			       : kac_fail("--listen %s: %s", s->listen, strerror(errno));
	return 0;
}

/* What the command line names, before anything is made. */
static int resolve(struct serve *s)
{
	struct in6_addr mapped;
	struct stat st;

	if (!s->dir || stat(s->dir, &st) || !S_ISDIR(st.st_mode))
		return kac_fail("%s: not a directory", s->dir);
	if (parse_listen(s->listen, &s->addr, &s->addr_len, &mapped, &s->args.lane.port))
		return kac_usage("--listen %s: not ADDR:PORT, such as 127.0.0.1:8080 or [::1]:8080",
				 s->listen);
	if (kac_netns_cookie(0, &s->args.lane.netns))
		return kac_fail(
			"this kernel has no network namespace cookies (5.14): 'kaccel check'");
	return kac_lane_devices(&s->args, &mapped, &s->devs);
}

/* A cgroup that a killed server left behind is taken over, and with it all that it made. */
static int make_cgroup(struct serve *s)
{
	char root[KAC_PATH_MAX];
	int n;

	if (kac_cgroup_root(root))
		return kac_fail(
			"cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified");
	n = snprintf(s->cgroup, sizeof(s->cgroup), "%s/kaccel-%s", root, s->ctx->instance);
	if (n >= (int)sizeof(s->cgroup))
		return kac_fail("the path of cgroup v2 is too long");
	if (mkdir(s->cgroup, 0755) && errno != EEXIST)
		return kac_fail("cannot make the cgroup %s: %s", s->cgroup, strerror(errno));
	if (kac_cgroup_some_pid(s->cgroup))
		return kac_fail(
			"instance '%s' is being served by process %d: stop it, or name another "
			"with --instance",
			s->ctx->instance, (int)kac_cgroup_some_pid(s->cgroup));
	return 0;
}

/* Remove everything; called by whichever of the two processes is left. */
static void clean_up(const struct serve *s)
{
	uint32_t left = 1;
	int waited;

	kac_lane_drain(s->ctx, &left);
	for (waited = 0; left && waited < POLL_MS * 4; waited += POLL_MS) {
		usleep(POLL_MS * 1000);
		if (kac_lane_draining(s->ctx, &left))
			break;
	}
	if (left)
		kac_lane_reset(s->ctx, &left);
	kac_lane_remove(s->ctx);
	rmdir(s->cgroup);
}

static sigset_t ending_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	return set;
}

/*
 * The origin's process, the only one in the cgroup. Ends when the other side of @control does: at
 * once when it was closed without a word, for then its parent is dead and what it leaves is this
 * process's to remove.
 */
static int origin_main(struct serve *s, int control)
{
	__cleanup_mime struct kac_mime *mime = NULL;
	struct kac_origin_options opt = {.root = s->dir};
	struct kac_origin *origin = NULL;
	sigset_t signals = ending_signals();
	char root[KAC_PATH_MAX], word = 0;
	int err, waited;

	/* Ctrl-C goes to the whole group; the parent says when. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	err = kac_cgroup_enter(s->cgroup);
	if (!err)
		err = kac_mime_load(NULL, &mime);
	if (err)
		kac_fail("the embedded origin did not start: %s", strerror(-err));
	else
		err = open_listener(s);
	opt.mime = mime;
	opt.listen_fd = s->listen_fd;
	if (!err) {
		err = kac_origin_start(&opt, &origin);
		if (err)
			kac_fail("the embedded origin did not start: %s", strerror(-err));
	}
	word = !!err;
	if (send(control, &word, 1, MSG_NOSIGNAL) != 1 || err)
		return 1;
	if (read(control, &word, 1) == 1) {
		/* Asked to end: connections are given time to. */
		kac_origin_quiesce(origin);
		for (waited = 0; waited < DRAIN_MS && kac_origin_connections(origin);
		     waited += POLL_MS)
			usleep(POLL_MS * 1000);
		kac_origin_stop(origin);
		return 0;
	}
	kac_origin_stop(origin);
	if (!kac_cgroup_root(root))
		kac_cgroup_enter(root);
	clean_up(s);
	return 1;
}

static int pin_files(const struct serve *s, struct kac_pin_totals *totals)
{
	__cleanup_store struct kac_store *store = NULL;
	__cleanup_mime struct kac_mime *mime = NULL;
	int err;

	err = kac_mime_load(NULL, &mime);
	if (err)
		return kac_fail("%s: %s; install the package media-types", KAC_MIME_TYPES,
				strerror(-err));
	err = kac_store_open(s->ctx, false, &store);
	if (err)
		return kac_fail_instance(s->ctx, err);
	err = kac_pin_tree(store, mime, s->dir, "*", "/", 0, totals);
	if (err)
		return kac_fail("%s: %s", s->dir, strerror(-err));
	return 0;
}

/* Everything between the fork and the wait: returns a KAC_EXIT_* status. */
static int start(struct serve *s, int control)
{
	struct kac_pin_totals totals = {};
	__cleanup_fd int cgroup = kac_cgroup_open(s->cgroup);
	char word = 0;
	unsigned int i;
	int err;

	err = cgroup < 0 ? cgroup : 0;
	for (i = 0; i < s->devs.count && !err; i++)
		err = kac_lane_attach_device(s->ctx, s->devs.ifindex[i]);
	if (!err)
		err = kac_lane_attach_cgroup(s->ctx, cgroup);
	if (err)
		return kac_fail("cannot attach: %s; 'kaccel check' says what this kernel lacks",
				strerror(-err));
	err = pin_files(s, &totals);
	if (err)
		return err;
	if (read(control, &word, 1) != 1 || word)
		return KAC_EXIT_FAIL;
	printf("http://%s/ serves %s: ", s->listen, s->dir);
	kac_pin_totals_print(&totals, stdout);
	printf("\nWatch the hits with 'kaccel stats%s%s'; Ctrl-C ends.\n",
	       strcmp(s->ctx->instance, "default") ? " --instance " : "",
	       strcmp(s->ctx->instance, "default") ? s->ctx->instance : "");
	fflush(stdout);
	return 0;
}

/* Until a signal comes or the origin ends. */
static int wait_for_end(const struct kac_ctx *ctx, pid_t origin, int signals)
{
	__cleanup_config struct kac_config *config = NULL;
	struct pollfd fds = {.fd = signals, .events = POLLIN};
	int status;

	if (kac_instance_config(ctx, &config))
		config = NULL;
	for (;;) {
		if (config)
			kac_instance_set_clock(config);
		if (poll(&fds, 1, 500) > 0)
			return KAC_EXIT_OK;
		if (waitpid(origin, &status, WNOHANG) == origin)
			return kac_fail("the embedded origin ended (%s %d)",
					WIFSIGNALED(status) ? "signal" : "status",
					WIFSIGNALED(status) ? WTERMSIG(status)
							    : WEXITSTATUS(status));
	}
}

static int serve(struct serve *s)
{
	int control[2], err;
	__cleanup_fd int signals = -1;
	sigset_t set = ending_signals();
	uint32_t left;
	pid_t origin;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control))
		return kac_fail("socketpair: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	fflush(NULL);
	origin = fork();
	if (!origin) {
		close(control[0]);
		_exit(origin_main(s, control[1]));
	}
	close(control[1]);
	if (origin < 0 || signals < 0) {
		close(control[0]);
		return kac_fail("fork: %s", strerror(errno));
	}
	err = start(s, control[0]);
	if (!err)
		err = wait_for_end(s->ctx, origin, signals);
	/* Stop answering, then let the origin close what is open, translated to the end. */
	kac_lane_drain(s->ctx, &left);
	if (send(control[0], "", 1, MSG_NOSIGNAL) == 1)
		waitpid(origin, NULL, 0);
	close(control[0]);
	return err;
}

/* Make the instance, in place of one whose server was killed before it could clean up. */
static int create(const struct serve *s)
{
	__cleanup_fd int cgroup = kac_cgroup_open(s->cgroup), lock = -1;
	uint64_t id;
	int err;

	err = kac_instance_make(s->ctx);
	if (!err)
		err = kac_instance_lock(s->ctx, &lock);
	if (err) {
		kac_fail("cannot make the instance in %s: %s", KAC_BPFFS, strerror(-err));
		return err;
	}
	if (cgroup >= 0 && !kac_cgroup_id(cgroup, &id) && kac_instance_cgroup(s->ctx) == id) {
		kac_lane_remove(s->ctx);
		kac_close_fd(&lock);
		lock = -1;
		return create(s);
	}
	return kac_lane_create(s->ctx, &s->args.lane);
}

int cmd_serve(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct serve s = {.ctx = ctx,
			  .listen = "127.0.0.1:8080",
			  .listen_fd = -1,
			  .args = kac_lane_arguments()};
	int err;

	err = parse(&s, argc, argv);
	if (err)
		return err;
	if (geteuid())
		return kac_fail_instance(ctx, -EPERM);
	err = resolve(&s);
	if (!err)
		err = make_cgroup(&s);
	if (err)
		return err;
	err = create(&s);
	if (err) {
		rmdir(s.cgroup);
		if (err == -EEXIST)
			return kac_fail("instance '%s' exists: 'kaccel detach --now' it, or name "
					"another with --instance",
					ctx->instance);
		return KAC_EXIT_FAIL;
	}
	err = serve(&s);
	clean_up(&s);
	return err;
}
