/* viv-io: reads and writes disk images piece by piece. Answers to qemu-io's command line and command language. */
#include "cmd/io.h"
#include "cmd/objects.h"

#include "base/log.h"
#include "base/program.h"
#include "opt/opt.h"

#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int run_input(struct io_file *f)
{
    char *line = NULL;
    size_t room = 0;
    int bad = 0;

    while (!f->quit) {
        printf("viv-io> ");
        fflush(stdout);
        if (getline(&line, &room, stdin) < 0)
            break;
        bad |= viv_blkio_run(&f->io, line);
    }
    free(line);
    return bad;
}

static int print_help(void)
{
    viv_program_print_version();
    printf("usage: viv-io [options] [-c command]... [file]\n\n"
           "  -c, --cmd COMMAND    run it; may be given many times. Without: commands from standard input\n"
           "  -f, --format FMT     the image's format (else probed)\n"
           "  --image-opts         file is a list of options as -drive has them (driver=qcow2,file.filename=...)\n"
           "  --object secret,...  a password, for key-secret= of encrypted images\n"
           "  -r, --read-only      open read-only\n"
           "  -s, --snapshot       writes go to a temporary file\n"
           "  -n, --nocache        as -t none\n"
           "  -t, --cache MODE     writeback, none, writethrough, directsync, unsafe\n"
           "  -d, --discard MODE   unmap (default) or ignore\n"
           "  -i, --aio MODE       threads, io_uring or native\n"
           "  -m, --misalign       buffers that are not aligned to pages\n"
           "  -U, --force-share    open without locks (with -r)\n"
           "  -h, --help   -V, --version\n\n"
           "'viv-io -c help' lists the commands. Exit code 1 when a command failed.\n");
    return 0;
}

struct args {
    GPtrArray *commands; /* borrowed texts */
    GString *options;
    bool image_opts, open;
    int done; /* exit code + 1: nothing to do */
};

static void option(struct args *a, const char *key, const char *value)
{
    g_string_append_printf(a->options, "%s%s=%s", a->options->len ? "," : "", key, value);
}

static void parse_one(struct args *a, struct io_file *f, int c, char **argv)
{
    struct viv_err err = VIV_ERR_INIT;
    static const struct {
        int c;
        const char *key, *value; /* value NULL: the argument */
    } simple[] = {
        {'f', "format", NULL},          {'r', "read-only", "on"},    {'s', "snapshot", "on"}, {'n', "cache", "none"},
        {'t', "cache", NULL},           {'d', "discard", NULL},      {'i', "aio", NULL},      {'k', "aio", "native"},
        {'U', "force-share", "on"},     {'C', "copy-on-read", "on"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(simple); i++)
        if (simple[i].c == c)
            return option(a, simple[i].key, simple[i].value ? simple[i].value : optarg);
    if (c == 'c')
        g_ptr_array_add(a->commands, optarg);
    else if (c == 'm')
        f->io.misalign = true;
    else if (c == 'y')
        a->image_opts = true;
    else if (c == 'h')
        a->done = 1 + print_help();
    else if (c == 'V')
        a->done = 1 + viv_program_print_version();
    else if (c == 'x')
        a->done = viv_object_add_text("--object", optarg, &err) ? 1 + viv_blkio_error(&f->io, "%s", err.text) : 0;
    else if (c == 'T')
        a->done = 1 + viv_blkio_error(&f->io, "'%s' is not implemented yet", argv[optind - 1]);
    else if (c == ':')
        a->done = 1 + viv_blkio_error(&f->io, "missing argument for option '%s'", argv[optind - 1]);
    else
        a->done = 1 + viv_blkio_error(&f->io, "unrecognized option '%s'; 'viv-io --help' lists them", argv[optind - 1]);
}

static void parse(struct args *a, struct io_file *f, int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {"cmd", required_argument, NULL, 'c'},
                                          {"format", required_argument, NULL, 'f'},
                                          {"read-only", no_argument, NULL, 'r'},
                                          {"snapshot", no_argument, NULL, 's'},
                                          {"nocache", no_argument, NULL, 'n'},
                                          {"copy-on-read", no_argument, NULL, 'C'},
                                          {"misalign", no_argument, NULL, 'm'},
                                          {"native-aio", no_argument, NULL, 'k'},
                                          {"aio", required_argument, NULL, 'i'},
                                          {"cache", required_argument, NULL, 't'},
                                          {"discard", required_argument, NULL, 'd'},
                                          {"trace", required_argument, NULL, 'T'},
                                          {"force-share", no_argument, NULL, 'U'},
                                          {"image-opts", no_argument, NULL, 'y'},
                                          {"object", required_argument, NULL, 'x'},
                                          {0}};
    int c;

    while (!a->done && (c = getopt_long(argc, argv, ":hVc:d:f:rsnCmki:t:T:U", longs, NULL)) != -1)
        parse_one(a, f, c, argv);
    if (!a->done && argc - optind > 1)
        a->done = 1 + viv_blkio_error(&f->io, "one file at most: '%s' is too many", argv[optind + 1]);
    a->open = optind < argc;
}

static int run(struct args *a, struct io_file *f, const char *file)
{
    int bad = 0;

    if (a->open && a->image_opts) {
        if (a->options->len)
            g_string_prepend_c(a->options, ',');
        g_string_prepend(a->options, file);
        file = NULL;
    }
    if (a->open && io_open(f, file, a->options->str))
        return 1;
    for (guint i = 0; i < a->commands->len && !f->quit; i++)
        bad |= viv_blkio_run(&f->io, a->commands->pdata[i]);
    if (!a->commands->len)
        bad = run_input(f);
    return bad | io_close(f);
}

int main(int argc, char **argv)
{
    struct args a = {.commands = g_ptr_array_new(), .options = g_string_new(NULL)};
    struct io_file f = {.io = {.out = stdout, .err = stderr, .program = "viv-io: ", .none = "no file open, try 'help open'", .more = io_file_commands}};
    int ret;

    viv_program_init(argv[0], "viv-io");
    cmd_objects_use();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    parse(&a, &f, argc, argv);
    ret = a.done ? a.done - 1 : run(&a, &f, argv[optind]);
    g_ptr_array_unref(a.commands);
    g_string_free(a.options, TRUE);
    g_free(f.path);
    g_free(f.options);
    cmd_objects_free();
    if (fflush(stdout) && !ret)
        return viv_blkio_error(&f.io, "cannot write to standard output");
    return ret;
}
