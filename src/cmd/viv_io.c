/* viv-io: reads and writes disk images piece by piece. Answers to qemu-io's command line and command language. */
#include "cmd/io.h"
#include "cmd/objects.h"

#include "base/log.h"
#include "opt/opt.h"

#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct io_command *const tables[] = {io_rw_commands, io_aio_commands, io_map_commands, io_file_commands, io_break_commands};

static int cmd_help(struct io_file *f, int argc, char **argv);

static const struct io_command help = {"help",      "?", cmd_help, 0, 1, true, "[command]", "help for one or all commands",
                                       NULL};

static const struct io_command *find(const char *name)
{
    if (strcmp(name, help.name) == 0 || strcmp(name, help.alt) == 0)
        return &help;
    for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++)
        for (const struct io_command *c = tables[t]; c->name; c++)
            if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
                return c;
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct io_command *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void help_all(void)
{
    const struct io_command *all[64];
    unsigned n = 0;

    all[n++] = &help;
    for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++)
        for (const struct io_command *c = tables[t]; c->name; c++) {
            g_assert(n < G_N_ELEMENTS(all));
            all[n++] = c;
        }
    qsort(all, n, sizeof(all[0]), by_name);
    for (unsigned i = 0; i < n; i++)
        io_usage(all[i]);
    printf("\nUse 'help commandname' for extended help.\n");
}

static int cmd_help(struct io_file *f, int argc, char **argv)
{
    const struct io_command *c;

    if (argc == 1) {
        help_all();
        return 0;
    }
    c = find(argv[1]);
    if (!c) {
        printf("command %s not found\n", argv[1]);
        return 1;
    }
    io_usage(c);
    if (c->help)
        printf("\n%s\n", c->help);
    return 0;
}

static int unknown(const char *name)
{
    fflush(stdout);
    fprintf(stderr, "command \"%s\" not found\n", name);
    return 1;
}

static int bad_count(const struct io_command *c, int args)
{
    fflush(stdout);
    fprintf(stderr, "bad argument count %d to %s, expected ", args, c->name);
    if (c->max < 0)
        fprintf(stderr, "at least %d arguments\n", c->min);
    else if (c->min == c->max)
        fprintf(stderr, "%d arguments\n", c->min);
    else
        fprintf(stderr, "between %d and %d arguments\n", c->min, c->max);
    return 1;
}

/* One line: words between blanks. */
static int run_line(struct io_file *f, const char *line)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \t\n", -1);
    const struct io_command *c;
    int argc = 0;

    for (char **w = words; *w; w++) { /* what stands between two blanks is no word */
        if (**w)
            words[argc++] = *w;
        else
            g_free(*w);
    }
    words[argc] = NULL;
    if (!argc)
        return 0;
    c = find(words[0]);
    if (!c)
        return unknown(words[0]);
    if (argc - 1 < c->min || (c->max >= 0 && argc - 1 > c->max))
        return bad_count(c, argc - 1);
    if (!c->anytime && !f->blk) {
        fflush(stdout);
        fprintf(stderr, "no file open, try 'help open'\n");
        return 1;
    }
    optind = 0; /* getopt starts over */
    return c->run(f, argc, words);
}

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
        bad |= run_line(f, line);
    }
    free(line);
    return bad;
}

static int print_help(void)
{
    printf("viv-io version " VIV_VERSION "\n"
           "usage: viv-io [options] [-c command]... [file]\n\n"
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
        f->misalign = true;
    else if (c == 'y')
        a->image_opts = true;
    else if (c == 'h')
        a->done = 1 + print_help();
    else if (c == 'V')
        a->done = 1 + (printf("viv-io version " VIV_VERSION "\n") < 0);
    else if (c == 'x')
        a->done = cmd_object_add(optarg, &err) ? 1 + io_error("%s", err.text) : 0;
    else if (c == 'T')
        a->done = 1 + io_error("'%s' is not implemented yet", argv[optind - 1]);
    else if (c == ':')
        a->done = 1 + io_error("missing argument for option '%s'", argv[optind - 1]);
    else
        a->done = 1 + io_error("unrecognized option '%s'; 'viv-io --help' lists them", argv[optind - 1]);
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
        a->done = 1 + io_error("one file at most: '%s' is too many", argv[optind + 1]);
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
        bad |= run_line(f, a->commands->pdata[i]);
    if (!a->commands->len)
        bad = run_input(f);
    return bad | io_close(f);
}

int main(int argc, char **argv)
{
    struct args a = {.commands = g_ptr_array_new(), .options = g_string_new(NULL)};
    struct io_file f = {0};
    int ret;

    viv_log_set_program("viv-io");
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
        return io_error("cannot write to standard output");
    return ret;
}
