/* viv-storaged: the block layer as a daemon. Answers to qemu-storage-daemon's command line and QMP. */
#include "cmd/storaged.h"

#include "base/log.h"
#include "base/program.h"
#include "block/job.h"
#include "block/options.h"
#include "chr/chr.h"
#include "cmd/daemon.h"
#include "cmd/objects.h"
#include "export/export.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/signals.h"
#include "host/thread.h"
#include "mon/mon.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { OPT_BLOCKDEV = 256, OPT_CHARDEV, OPT_DAEMONIZE, OPT_EXPORT, OPT_MONITOR, OPT_NBD_SERVER, OPT_OBJECT, OPT_PIDFILE };

static const char shorts[] = ":hT:V";
static const struct option longs[] = {
    {"blockdev", required_argument, NULL, OPT_BLOCKDEV},
    {"chardev", required_argument, NULL, OPT_CHARDEV},
    {"daemonize", no_argument, NULL, OPT_DAEMONIZE},
    {"export", required_argument, NULL, OPT_EXPORT},
    {"help", no_argument, NULL, 'h'},
    {"monitor", required_argument, NULL, OPT_MONITOR},
    {"nbd-server", required_argument, NULL, OPT_NBD_SERVER},
    {"object", required_argument, NULL, OPT_OBJECT},
    {"pidfile", required_argument, NULL, OPT_PIDFILE},
    {"trace", required_argument, NULL, 'T'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void print_help(void)
{
    printf("Usage: viv-storaged [options]\n"
           "Vivarium storage daemon: images for other programs, without a machine\n"
           "\n"
           "  -h, --help             display this help and exit\n"
           "  -V, --version          output version information and exit\n"
           "\n"
           "  --blockdev [driver=]<driver>[,node-name=<N>][,discard=ignore|unmap]\n"
           "             [,cache.direct=on|off][,cache.no-flush=on|off]\n"
           "             [,read-only=on|off][,auto-read-only=on|off]\n"
           "             [,force-share=on|off][,detect-zeroes=on|off|unmap]\n"
           "             [,driver specific parameters...]\n"
           "                         makes a block node (JSON works too)\n"
           "\n"
           "  --chardev <options>    makes a character device; 'help' lists them\n"
           "\n"
           "  --export [type=]nbd,id=<id>,node-name=<node-name>[,name=<export-name>]\n"
           "           [,writable=on|off][,bitmap=<name>]\n"
           "                         exports a block node over NBD (needs --nbd-server)\n"
           "  --export [type=]vhost-user-blk,id=<id>,node-name=<node-name>,\n"
           "           addr.type=unix,addr.path=<socket>[,writable=on|off]\n"
           "           [,logical-block-size=<size>][,num-queues=<n>]\n"
           "                         exports it as a disk for a virtual machine\n"
           "  --export [type=]fuse,id=<id>,node-name=<node-name>,mountpoint=<file>\n"
           "           [,growable=on|off][,writable=on|off][,allow-other=on|off|auto]\n"
           "                         exports it as what <file> holds\n"
           "\n"
           "  --monitor [chardev=]name[,mode=control][,pretty=on|off]\n"
           "                         QMP on a character device\n"
           "\n"
           "  --nbd-server addr.type=inet,addr.host=<host>,addr.port=<port>\n"
           "               [,tls-creds=<id>][,max-connections=<n>]\n"
           "  --nbd-server addr.type=unix,addr.path=<path>\n"
           "               [,tls-creds=<id>][,max-connections=<n>]\n"
           "                         starts an NBD server for the exports that follow\n"
           "\n"
           "  --object help          lists objects\n"
           "  --object <type>,help   lists the properties of one\n"
           "  --object <type>,id=<id>[,<property>=<value>...]\n"
           "                         makes an object: a secret, TLS credentials\n"
           "\n"
           "  --daemonize            goes to the background once it is ready\n"
           "  --pidfile <path>       writes the process id to a file\n"
           "\n"
           "Options are done in order: a node comes before its export. Sizes are bytes or\n"
           "1k, 1M, 1G ...\n");
}

/* --- options --- */

static int blockdev_add(struct viv_raw_opts *raw, struct viv_err *err)
{
    return viv_blockdev_add(raw, err);
}

static int add_chardev(struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_chr *c;

    return viv_raw_get(raw, "id") ? viv_chr_new(raw, &c, err) : viv_fail(err, EINVAL, "--chardev: id is missing");
}

static const char *const modes[] = {"control", "readline", NULL};
static const struct viv_opt_def monitor_opts[] = {
    {.name = "chardev", .type = VIV_OPT_STR, .required = true, .help = "id of a --chardev"},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = modes, .def = "control", .help = "control: QMP"},
    {.name = "pretty", .type = VIV_OPT_BOOL, .help = "indented answers"},
    {.name = "id", .type = VIV_OPT_STR, .help = "name of the monitor"},
    VIV_OPT_END,
};

static int add_monitor_opts(struct viv_opts *o, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "chardev");
    struct viv_chr *c = viv_chr_find(id);

    if (strcmp(viv_opts_str(o, "mode"), "control") != 0)
        return viv_fail(err, ENOTSUP, "--monitor: only mode=control (QMP) is there");
    if (!c)
        return viv_fail(err, ENOENT, "--monitor: there is no --chardev with id '%s' in front", id);
    return viv_qmp_new(c, viv_opts_bool(o, "pretty"), err);
}

static int add_monitor(struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_opts *o = NULL;
    int ret = viv_opts_from_raw("--monitor", monitor_opts, raw, &o, err);

    if (!ret)
        ret = add_monitor_opts(o, err);
    viv_opts_free(o);
    return ret;
}

/* What takes a set of options. */
static const struct {
    int option;
    const char *what, *implied;
    int (*add)(struct viv_raw_opts *raw, struct viv_err *err);
} sets[] = {
    {OPT_BLOCKDEV, "--blockdev", "driver", blockdev_add},
    {OPT_CHARDEV, "--chardev", "backend", add_chardev},
    {OPT_EXPORT, "--export", "type", viv_export_add},
    {OPT_MONITOR, "--monitor", "chardev", add_monitor},
    {OPT_NBD_SERVER, "--nbd-server", NULL, viv_export_nbd_start},
};

static int do_option(int c, const char *text, struct viv_err *err)
{
    struct viv_raw_opts *raw = NULL;
    int ret = 0;

    if (c == OPT_OBJECT)
        return viv_object_add_text("--object", text, err);
    for (unsigned i = 0; i < G_N_ELEMENTS(sets); i++) {
        if (sets[i].option != c)
            continue;
        ret = viv_raw_parse(sets[i].what, sets[i].implied, text, &raw, err);
        if (!ret)
            ret = sets[i].add(raw, err);
        viv_raw_free(raw);
    }
    return ret;
}

struct args {
    bool daemonize;
    const char *pidfile;
};

/* "--export help", "--export nbd,help" and the like. */
static bool is_help(int c, const char *text)
{
    struct viv_raw_opts *raw = NULL;
    const char *name;
    bool wanted;

    if (c == OPT_OBJECT)
        return cmd_object_help(text);
    if ((c != OPT_BLOCKDEV && c != OPT_CHARDEV && c != OPT_EXPORT) || viv_raw_parse("help", "name", text, &raw, NULL))
        return false;
    wanted = viv_raw_help(raw);
    name = viv_raw_get(raw, "name");
    if (name && (strcmp(name, "help") == 0 || strcmp(name, "?") == 0))
        name = NULL;
    if (wanted && c == OPT_CHARDEV)
        viv_chr_help(name, stdout);
    else if (wanted && c == OPT_BLOCKDEV)
        viv_node_print_help(name);
    else if (wanted)
        viv_export_help(name);
    viv_raw_free(raw);
    return wanted;
}

/* What must be known before anything is made. 1: all is said. */
static int first_pass(int argc, char **argv, struct args *a, struct viv_err *err)
{
    int c;

    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (c == 'h')
            print_help();
        else if (c == 'V')
            viv_program_print_version();
        if (c == 'h' || c == 'V' || is_help(c, optarg))
            return 1;
        if (c == 'T')
            return viv_fail(err, ENOTSUP, "--trace is not implemented; strace and perf work on this program");
        if (c == ':')
            return viv_fail(err, EINVAL, "option '%s' needs an argument", argv[optind - 1]);
        if (c == '?')
            return viv_fail(err, EINVAL, "unrecognized option '%s' (--help lists them)", argv[optind - 1]);
        if (c == OPT_DAEMONIZE)
            a->daemonize = true;
        if (c == OPT_PIDFILE && a->pidfile)
            return viv_fail(err, EINVAL, "--pidfile option can only be given once");
        if (c == OPT_PIDFILE)
            a->pidfile = optarg;
    }
    return optind < argc ? viv_fail(err, EINVAL, "Unexpected argument: %s", argv[optind]) : 0;
}

static int second_pass(int argc, char **argv, struct viv_err *err)
{
    int c, ret = 0;

    optind = 0; /* once more from the start */
    while (!ret && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
        ret = do_option(c, optarg, err);
    return ret;
}

/* --- life --- */

static void on_signal(int signo, pid_t from)
{
    viv_loop_quit();
}

/* Device lock held. */
static int start(int argc, char **argv, const struct args *a, struct viv_err *err)
{
    int ret = second_pass(argc, argv, err);

    if (!ret && a->pidfile)
        ret = cmd_pidfile_write("--pidfile", a->pidfile, err);
    if (ret)
        return ret;
    viv_signals_started();
    return cmd_daemon_ready(err);
}

/* All of it, whatever fails; the first error counts. */
static int finish(struct viv_err *err)
{
    struct viv_err later = VIV_ERR_INIT;
    int ret, r;

    viv_dev_lock();
    viv_jobs_finish();
    ret = viv_exports_finish(err);
    viv_mon_free_all();
    viv_chr_free_all();
    r = viv_blockdev_close_all(ret ? &later : err);
    viv_dev_unlock();
    cmd_objects_free();
    cmd_pidfile_remove();
    return ret ? ret : r;
}

static int run(int argc, char **argv, const struct args *a, struct viv_err *err)
{
    struct viv_err late = VIV_ERR_INIT;
    int ret = 0, r;

    if (a->daemonize)
        viv_chr_stdio_refuse("--daemonize: stdio is not possible in the background; use a socket, a file or a pty");
    if (a->daemonize)
        ret = cmd_daemon_start("--daemonize", err);
    if (ret)
        return ret;
    viv_thread_name("viv-storaged");
    viv_signals_init(on_signal);
    storaged_use_commands();
    viv_mon_use_block();
    viv_mon_use(viv_mon_common);
    viv_mon_use(viv_mon_chardev);
    viv_dev_lock();
    ret = start(argc, argv, a, err);
    viv_dev_unlock();
    if (!ret)
        viv_loop_run();
    r = finish(ret ? &late : err);
    return ret ? ret : r;
}

int main(int argc, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    struct args a = {0};
    int ret;

    viv_program_init(argv[0], "viv-storaged");
    cmd_objects_use();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    ret = first_pass(argc, argv, &a, &err);
    if (!ret)
        ret = run(argc, argv, &a, &err);
    if (ret < 0)
        viv_error("%s", err.text);
    if (fflush(stdout) && ret >= 0)
        ret = -EIO;
    return ret < 0 ? 1 : 0;
}
