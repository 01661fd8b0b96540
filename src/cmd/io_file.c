/* open, close, reopen, quit. */
#include "cmd/io.h"

#include "block/blk.h"
#include "block/event.h"
#include "block/options.h"
#include "opt/opt.h"

#include <getopt.h>
#include <glib.h>
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
        ret = viv_blk_open(o, image, perms, perms, "viv-io", &f->io.blk, &err);
    if (!ret && (ret = viv_opts_check_used(o, &err)) != 0)
        io_close(f);
    viv_opts_free(o);
    viv_raw_free(image);
    if (ret) {
        viv_blkio_error(&f->io, "can't open device %s%s%s", path ? path : "", path ? ": " : "", err.text);
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

    if (!f->io.blk)
        return 0;
    viv_node_break_clear(viv_blk_node(f->io.blk));
    ret = viv_blk_close(f->io.blk, &err); /* after what is under way, limits or not */
    viv_blkio_aio_wait(&f->io);
    f->io.blk = NULL;
    if (ret)
        viv_blkio_error(&f->io, "%s", err.text);
    viv_err_clear(&err);
    return ret != 0;
}

static const struct viv_blkio_command *self(const char *name)
{
    for (const struct viv_blkio_command *c = io_file_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

static struct io_file *of(struct viv_blkio *f)
{
    return (struct io_file *)f;
}

/* key=value behind what is there; commas of the value are doubled by the caller's rule: none of ours has one. */
static void add(GString *s, const char *text)
{
    g_string_append_printf(s, "%s%s", s->len ? "," : "", text);
}

static int cmd_open(struct viv_blkio *f, int argc, char **argv)
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
            return viv_blkio_usage(f, self(argv[0]));
        }
    }
    if (argc - optind > 1)
        return viv_blkio_usage(f, self(argv[0]));
    if (f->blk)
        return viv_blkio_error(f, "file open already, try 'help close'");
    return io_open(of(f), argv[optind], s->str);
}

static int cmd_close(struct viv_blkio *f, int argc, char **argv)
{
    return io_close(of(f));
}

/* Closes and opens again, since the new options may want another lock. When they do not work, as it was before. */
static int cmd_reopen(struct viv_blkio *f, int argc, char **argv)
{
    struct io_file *file = of(f);
    g_autoptr(GString) s = g_string_new(file->options);
    g_autofree char *old = g_strdup(file->options), *path = g_strdup(file->path);
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
            return viv_blkio_usage(f, self(argv[0]));
        }
    }
    if (optind != argc)
        return viv_blkio_usage(f, self(argv[0]));
    if (ro && rw)
        return viv_blkio_error(f, "Only one -r/-w option may be given");
    if (ro || rw)
        add(s, ro ? "read-only=on" : "read-only=off");
    if (io_close(file))
        return 1;
    if (!io_open(file, path, s->str))
        return 0;
    io_open(file, path, old);
    return 1;
}

static int cmd_quit(struct viv_blkio *f, int argc, char **argv)
{
    of(f)->quit = true;
    return 0;
}

const struct viv_blkio_command io_file_commands[] = {
    {"close", "c", cmd_close, 0, 0, false, NULL, "close the current open file", NULL},
    {"open", "o", cmd_open, 0, -1, true, "[-rsCnkU] [-i aio] [-t cache] [-d discard] [-o options] [path]",
     "open the file specified by path",
     " Example:\n 'open -n -o driver=raw /tmp/data' - opens a raw file read-write, uncached\n\n"
     " -r, -- read-only\n -s, -- writes go to a temporary file\n -n, -- cache=none\n -U, -- no locks, with -r\n"
     " -i, -- aio mode\n -t, -- cache mode\n -d, -- discard mode\n -o, -- options as -drive has them\n"},
    {"quit", "q", cmd_quit, 0, 0, true, NULL, "exit the program", NULL},
    {"reopen", NULL, cmd_reopen, 0, -1, false, "[(-r|-w)] [-c cache] [-o options]", "reopens an image with new options",
     " -r, -- read-only\n -w, -- read-write\n -c, -- cache mode\n -o, -- options as of open\n"},
    {0},
};
