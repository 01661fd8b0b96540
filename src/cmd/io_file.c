/* open, close, reopen, flush, truncate, and what a script wants besides: sleep, signals, quit. */
#include "cmd/io.h"

#include "block/blk.h"
#include "block/event.h"
#include "block/options.h"
#include "opt/opt.h"

#include <errno.h>
#include <getopt.h>
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

int io_open(struct io_file *f, const char *path, const char *options)
{
    struct viv_opts *o = NULL;
    struct viv_raw_opts *image = NULL;
    struct viv_err err = {0};
    unsigned perms = VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE;
    int ret = viv_drive_parse("viv-io", options ? options : "", &o, &image, &err);

    if (!ret && path)
        ret = viv_opts_set(o, "file", path, &err);
    if (!ret && !viv_opts_given(o, "discard")) /* who types 'discard' means it */
        ret = viv_opts_set(o, "discard", "unmap", &err);
    if (!ret && (viv_opts_bool(o, "readonly") || viv_opts_bool(o, "read-only")))
        perms = VIV_PERM_READ;
    if (!ret)
        ret = viv_blk_open(o, image, perms, perms, "viv-io", &f->blk, &err);
    if (!ret && (ret = viv_opts_check_used(o, &err)) != 0)
        io_close(f);
    viv_opts_free(o);
    viv_raw_free(image);
    if (ret) {
        io_error("can't open device %s%s%s", path ? path : "", path ? ": " : "", err.text);
        viv_err_clear(&err);
        return 1;
    }
    if (f->path != path) {
        g_free(f->path);
        f->path = g_strdup(path);
    }
    if (f->options != options) {
        g_free(f->options);
        f->options = g_strdup(options);
    }
    return 0;
}

int io_close(struct io_file *f)
{
    struct viv_err err = {0};
    int ret = 0;

    if (!f->blk)
        return 0;
    viv_node_break_clear(viv_blk_node(f->blk));
    ret = viv_blk_close(f->blk, &err); /* after what is under way, limits or not */
    io_aio_wait();
    f->blk = NULL;
    if (ret)
        io_error("%s", err.text);
    viv_err_clear(&err);
    return ret != 0;
}

static const struct io_command *self(const char *name)
{
    for (const struct io_command *c = io_file_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

/* key=value behind what is there; commas of the value are doubled by the caller's rule: none of ours has one. */
static void add(GString *s, const char *text)
{
    g_string_append_printf(s, "%s%s", s->len ? "," : "", text);
}

static int cmd_open(struct io_file *f, int argc, char **argv)
{
    g_autoptr(GString) s = g_string_new(NULL);
    int c;

    while ((c = getopt(argc, argv, "rsCnkUi:t:d:o:")) != -1) {
        g_autofree char *pair = NULL;

        switch (c) {
        case 'r':
            add(s, "read-only=on");
            break;
        case 's':
            add(s, "snapshot=on");
            break;
        case 'C':
            add(s, "copy-on-read=on");
            break;
        case 'n':
            add(s, "cache=none");
            break;
        case 'U':
            add(s, "force-share=on");
            break;
        case 'k':
            add(s, "aio=native");
            break;
        case 'i':
        case 't':
        case 'd':
            pair = g_strdup_printf("%s=%s", c == 'i' ? "aio" : c == 't' ? "cache" : "discard", optarg);
            add(s, pair);
            break;
        case 'o':
            add(s, optarg);
            break;
        default:
            return io_usage(self(argv[0]));
        }
    }
    if (argc - optind > 1)
        return io_usage(self(argv[0]));
    if (f->blk)
        return io_error("file open already, try 'help close'");
    return io_open(f, argv[optind], s->str);
}

static int cmd_close(struct io_file *f, int argc, char **argv)
{
    return io_close(f);
}

/* Closes and opens again, since the new options may want another lock. When they do not work, as it was before. */
static int cmd_reopen(struct io_file *f, int argc, char **argv)
{
    g_autoptr(GString) s = g_string_new(f->options);
    g_autofree char *old = g_strdup(f->options), *path = g_strdup(f->path);
    bool ro = false, rw = false;
    int c;

    while ((c = getopt(argc, argv, "rwc:o:")) != -1) {
        if (c == 'c') {
            g_autofree char *pair = g_strdup_printf("cache=%s", optarg);

            add(s, pair);
        } else if (c == 'r' || c == 'w') {
            *(c == 'r' ? &ro : &rw) = true;
        } else if (c == 'o') {
            add(s, optarg);
        } else {
            return io_usage(self(argv[0]));
        }
    }
    if (optind != argc)
        return io_usage(self(argv[0]));
    if (ro && rw)
        return io_error("Only one -r/-w option may be given");
    if (ro || rw)
        add(s, ro ? "read-only=on" : "read-only=off");
    if (io_close(f))
        return 1;
    if (!io_open(f, path, s->str))
        return 0;
    io_open(f, path, old);
    return 1;
}

static int cmd_flush(struct io_file *f, int argc, char **argv)
{
    int ret = viv_blk_flush(f->blk);

    if (ret)
        printf("flush failed: %s\n", g_strerror(-ret));
    return ret != 0;
}

static int cmd_truncate(struct io_file *f, int argc, char **argv)
{
    static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
    enum viv_prealloc how = VIV_PREALLOC_OFF;
    struct viv_err err = {0};
    uint64_t size;
    int c, ret;

    while ((c = getopt(argc, argv, "m:")) != -1) {
        unsigned i = 0;

        if (c != 'm')
            return io_usage(self(argv[0]));
        while (modes[i] && strcmp(modes[i], optarg) != 0)
            i++;
        if (!modes[i])
            return io_error("Invalid preallocation mode '%s' (off, metadata, falloc and full work)", optarg);
        how = i;
    }
    if (argc - optind != 1)
        return io_usage(self(argv[0]));
    if (io_parse(argv[optind], &size))
        return 1;
    ret = viv_node_truncate(viv_blk_node(f->blk), size, how, &err);
    if (ret)
        io_error("%s", err.text);
    viv_err_clear(&err);
    return ret != 0;
}

static int cmd_sleep(struct io_file *f, int argc, char **argv)
{
    uint64_t ms;

    if (io_parse(argv[1], &ms))
        return 1;
    g_usleep(ms * 1000);
    return 0;
}

static int cmd_sigraise(struct io_file *f, int argc, char **argv)
{
    uint64_t sig;

    if (io_parse(argv[1], &sig))
        return 1;
    if (sig > (uint64_t)SIGRTMAX)
        return io_error("signal argument '%s' is not a signal of this system: 1 to %d", argv[1], SIGRTMAX);
    fflush(stdout); /* it may be the last thing we do */
    raise(sig);
    return 0;
}

static int cmd_abort(struct io_file *f, int argc, char **argv)
{
    fflush(stdout);
    abort();
}

static int cmd_quit(struct io_file *f, int argc, char **argv)
{
    f->quit = true;
    return 0;
}

const struct io_command io_file_commands[] = {
    {"abort", NULL, cmd_abort, 0, 0, true, NULL, "simulate a program crash using abort(3)", NULL},
    {"close", "c", cmd_close, 0, 0, false, NULL, "close the current open file", NULL},
    {"flush", "f", cmd_flush, 0, 0, false, NULL, "flush all in-core file state to disk", NULL},
    {"open", "o", cmd_open, 0, -1, true, "[-rsCnkU] [-i aio] [-t cache] [-d discard] [-o options] [path]",
     "open the file specified by path",
     " Example:\n 'open -n -o driver=raw /tmp/data' - opens a raw file read-write, uncached\n\n"
     " -r, -- read-only\n -s, -- writes go to a temporary file\n -n, -- cache=none\n -U, -- no locks, with -r\n"
     " -i, -- aio mode\n -t, -- cache mode\n -d, -- discard mode\n -o, -- options as -drive has them\n"},
    {"quit", "q", cmd_quit, 0, 0, true, NULL, "exit the program", NULL},
    {"reopen", NULL, cmd_reopen, 0, -1, false, "[(-r|-w)] [-c cache] [-o options]", "reopens an image with new options",
     " -r, -- read-only\n -w, -- read-write\n -c, -- cache mode\n -o, -- options as of open\n"},
    {"sigraise", NULL, cmd_sigraise, 1, 1, true, "signal", "raises a signal", " Example:\n 'sigraise 15' - raises SIGTERM\n"},
    {"sleep", NULL, cmd_sleep, 1, 1, true, NULL, "waits for the given value in milliseconds", NULL},
    {"truncate", "t", cmd_truncate, 1, 3, false, "[-m prealloc_mode] off", "truncates the current file at the given offset",
     NULL},
    {0},
};
