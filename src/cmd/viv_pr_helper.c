/* viv-pr-helper: sends guests' persistent reservations to SCSI devices. It has the privilege that this takes, and VMs have not. */
#include "cmd/daemon.h"
#include "cmd/pr.h"

#include "base/log.h"
#include "base/program.h"
#include "host/thread.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 256
#define FIRST_PASSED_FD 3 /* sd_listen_fds(3) */

struct args {
    const char *socket, *pidfile, *user, *group;
    bool daemon, quiet;
    int verbose;
};

static struct args args = {.socket = "/run/viv-pr-helper.sock", .pidfile = "/run/viv-pr-helper.pid"};
static int clients; /* atomic */
static bool made_socket;

static int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *fmt, ...)
{
    va_list ap;

    fputs("viv-pr-helper: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

/* ---- clients ---- */

static void *client_main(void *opaque)
{
    int sock = GPOINTER_TO_INT(opaque);
    const char *wrong = pr_serve(sock, pr_run);

    if (wrong && !args.quiet)
        viv_warn("a client was sent away: %s", wrong);
    close(sock);
    g_atomic_int_add(&clients, -1);
    return NULL;
}

static void start_client(int sock)
{
    pthread_t t;
    struct viv_err err = VIV_ERR_INIT;

    if (g_atomic_int_add(&clients, 1) >= CLIENTS_MAX || viv_thread_start(&t, "viv-pr", client_main, GINT_TO_POINTER(sock), &err)) {
        viv_warn("a client was sent away: %s", *err.text ? err.text : "there are too many");
        g_atomic_int_add(&clients, -1);
        close(sock);
        return;
    }
    pthread_detach(t);
    if (args.verbose)
        viv_info("a client has come");
}

static int serve(int listener)
{
    for (;;) {
        int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (sock >= 0)
            start_client(sock);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            g_usleep(100000); /* until another one goes */
        else if (errno != EINTR && errno != ECONNABORTED)
            return fail("no more clients: %s", g_strerror(errno));
    }
}

/* ---- start ---- */

/* systemd's socket, if it has passed one. -1: none; -2: what it passed is no use. */
static int passed_socket(void)
{
    const char *pid = g_getenv("LISTEN_PID"), *fds = g_getenv("LISTEN_FDS");
    int type = 0;
    socklen_t len = sizeof(type);

    if (!pid || !fds || strtol(pid, NULL, 10) != getpid())
        return -1;
    if (strcmp(fds, "1") != 0 || getsockopt(FIRST_PASSED_FD, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM) {
        fail("socket activation: one stream socket is wanted, %s descriptors came", fds);
        return -2;
    }
    fcntl(FIRST_PASSED_FD, F_SETFD, FD_CLOEXEC);
    return FIRST_PASSED_FD;
}

static int make_socket(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;
    struct stat st;
    mode_t mask;

    if (strlen(path) >= sizeof(a.sun_path)) {
        fail("socket path '%s' is too long: at most %zu bytes", path, sizeof(a.sun_path) - 1);
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && connect(s, (struct sockaddr *)&a, sizeof(a)) == 0) {
        fail("socket '%s' is another helper's, which runs", path);
        close(s);
        return -1;
    }
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    mask = umask(0077);
    ret = bind(s, (struct sockaddr *)&a, sizeof(a));
    umask(mask);
    if (ret || listen(s, 64)) {
        fail("socket '%s': %s", path, g_strerror(errno));
        close(s);
        return -1;
    }
    made_socket = true;
    return s;
}

/* Everything but the right to send SCSI commands. */
static int drop_privileges(void)
{
    struct passwd *pw = args.user ? getpwnam(args.user) : NULL;
    struct group *gr = args.group ? getgrnam(args.group) : NULL;
    uid_t uid = pw ? pw->pw_uid : getuid();
    gid_t gid = gr ? gr->gr_gid : pw ? pw->pw_gid : getgid();

    if (args.user && !pw)
        return fail("there is no user '%s'", args.user);
    if (args.group && !gr)
        return fail("there is no group '%s'", args.group);
    if (made_socket && (pw || gr) && chown(args.socket, uid, gid))
        return fail("socket '%s' cannot be given to %s: %s", args.socket, args.user ? args.user : args.group,
                    g_strerror(errno));
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_RAWIO, -1))
        return fail("capability sys_rawio is not known here");
    if (pw || gr ? capng_change_id((int)uid, (int)gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) : capng_apply(CAPNG_SELECT_BOTH))
        return fail("privileges cannot be dropped to capability sys_rawio: start it as root");
    return 0;
}

static void on_end(int sig)
{
    if (made_socket)
        unlink(args.socket);
    if (args.daemon)
        unlink(args.pidfile);
    _exit(0);
}

static int print_help(void)
{
    viv_program_print_version();
    printf("usage: viv-pr-helper [options]\n\n"
           "  -d, --daemon         run in the background\n"
           "  -f, --pidfile=PATH   with -d (%s)\n"
           "  -k, --socket=PATH    where VMs connect (%s); systemd's socket activation works too\n"
           "  -u, --user=USER      drop to this user; -g, --group=GROUP: to this group\n"
           "  -q, --quiet   -v, --verbose\n"
           "  -h, --help    -V, --version\n",
           args.pidfile, args.socket);
    return 0;
}

/* Exit code, or -1: go on. */
static int parse(int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, 'h'},       {"version", no_argument, NULL, 'V'},
                                          {"daemon", no_argument, NULL, 'd'},     {"pidfile", required_argument, NULL, 'f'},
                                          {"socket", required_argument, NULL, 'k'}, {"user", required_argument, NULL, 'u'},
                                          {"group", required_argument, NULL, 'g'}, {"quiet", no_argument, NULL, 'q'},
                                          {"verbose", no_argument, NULL, 'v'},    {"trace", required_argument, NULL, 'T'},
                                          {0}};
    int c;

    while ((c = getopt_long(argc, argv, ":hVdf:k:u:g:qvT:", longs, NULL)) != -1) {
        switch (c) {
        case 'h': return print_help();
        case 'V': return viv_program_print_version();
        case 'd': args.daemon = true; break;
        case 'f': args.pidfile = g_canonicalize_filename(optarg, NULL); break; /* a daemon leaves this directory */
        case 'k': args.socket = g_canonicalize_filename(optarg, NULL); break;
        case 'u': args.user = optarg; break;
        case 'g': args.group = optarg; break;
        case 'q': args.quiet = true; break;
        case 'v': args.verbose++; break;
        case 'T': return fail("--trace is not implemented; -v tells of clients");
        case ':': return fail("option '%s' wants a value", argv[optind - 1]);
        default: return fail("unknown option '%s'; --help lists them", argv[optind - 1]);
        }
    }
    return optind < argc ? fail("'%s' is too many: there are options only", argv[optind]) : -1;
}

/* The parent waits there for cmd_daemon_ready(): whoever started us hears what goes wrong, and finds us without privileges. */
static int go_to_background(void)
{
    struct viv_err err = VIV_ERR_INIT;

    return cmd_daemon_start("--daemon", &err) || cmd_pidfile_write("--pidfile", args.pidfile, &err) ? fail("%s", err.text) : 0;
}

int main(int argc, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    int ret, listener;

    viv_program_init(argv[0], "viv-pr-helper");
    ret = parse(argc, argv);
    if (ret >= 0)
        return ret;
    listener = passed_socket();
    if (listener == -1)
        listener = make_socket(args.socket);
    if (listener < 0)
        return 1;
    ret = args.daemon ? go_to_background() : 0;
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    signal(SIGHUP, on_end);
    if (!ret)
        ret = drop_privileges();
    if (!ret && cmd_daemon_ready(&err))
        ret = fail("%s", err.text);
    if (!ret)
        ret = serve(listener);
    if (made_socket)
        unlink(args.socket);
    cmd_pidfile_remove();
    return ret;
}
