/* flush, truncate, and what a script wants besides: sleep, signals. */
#include "blkio/blkio.h"

#include "block/graph.h"
#include "host/lock.h"

#include <getopt.h>
#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct viv_blkio_command *self(const char *name)
{
    for (const struct viv_blkio_command *c = viv_blkio_basic_commands; c->name; c++)
        if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
            return c;
    g_assert_not_reached();
}

static int cmd_flush(struct viv_blkio *f, int argc, char **argv)
{
    int ret = viv_blk_flush(f->blk);

    if (ret)
        fprintf(f->out, "flush failed: %s\n", g_strerror(-ret));
    return ret != 0;
}

/* Nobody reads or writes meanwhile, and other users are told: those who could not follow refuse it. */
static int resize(struct viv_blkio *f, uint64_t size, enum viv_prealloc how, struct viv_err *err)
{
    struct viv_node *n;
    int ret;

    viv_dev_lock();
    ret = viv_blk_check_resize(viv_blk_node(f->blk), size, f->blk, err);
    viv_dev_unlock();
    if (ret)
        return ret;
    viv_graph_begin();
    n = viv_blk_node(f->blk);
    ret = viv_node_truncate(n, size, how, err);
    viv_graph_end();
    viv_dev_lock();
    if (!ret)
        viv_blk_tell_resized(n, f->blk);
    viv_dev_unlock();
    return ret;
}

static int cmd_truncate(struct viv_blkio *f, int argc, char **argv)
{
    static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
    enum viv_prealloc how = VIV_PREALLOC_OFF;
    struct viv_err err = {0};
    uint64_t size;
    int c, ret;

    while ((c = getopt(argc, argv, "m:")) != -1) {
        unsigned i = 0;

        if (c != 'm')
            return viv_blkio_usage(f, self(argv[0]));
        while (modes[i] && strcmp(modes[i], optarg) != 0)
            i++;
        if (!modes[i])
            return viv_blkio_error(f, "Invalid preallocation mode '%s' (off, metadata, falloc and full work)", optarg);
        how = i;
    }
    if (argc - optind != 1)
        return viv_blkio_usage(f, self(argv[0]));
    if (viv_blkio_parse(f, argv[optind], &size))
        return 1;
    ret = resize(f, size, how, &err);
    if (ret)
        viv_blkio_error(f, "%s", err.text);
    viv_err_clear(&err);
    return ret != 0;
}

static int cmd_sleep(struct viv_blkio *f, int argc, char **argv)
{
    uint64_t ms;

    if (viv_blkio_parse(f, argv[1], &ms))
        return 1;
    if (f->patience_ms && ms > f->patience_ms)
        return viv_blkio_error(f, "sleep: %u ms at most here", f->patience_ms);
    g_usleep(ms * 1000);
    return 0;
}

static int cmd_sigraise(struct viv_blkio *f, int argc, char **argv)
{
    uint64_t sig;

    if (viv_blkio_parse(f, argv[1], &sig))
        return 1;
    if (sig > (uint64_t)SIGRTMAX)
        return viv_blkio_error(f, "signal argument '%s' is not a signal of this system: 1 to %d", argv[1], SIGRTMAX);
    fflush(f->out); /* it may be the last thing we do */
    kill(getpid(), sig); /* to whichever thread takes signals */
    return 0;
}

static int cmd_abort(struct viv_blkio *f, int argc, char **argv)
{
    fflush(f->out);
    abort();
}

const struct viv_blkio_command viv_blkio_basic_commands[] = {
    {"abort", NULL, cmd_abort, 0, 0, true, NULL, "simulate a program crash using abort(3)", NULL},
    {"flush", "f", cmd_flush, 0, 0, false, NULL, "flush all in-core file state to disk", NULL},
    {"sigraise", NULL, cmd_sigraise, 1, 1, true, "signal", "raises a signal", " Example:\n 'sigraise 15' - raises SIGTERM\n"},
    {"sleep", NULL, cmd_sleep, 1, 1, true, NULL, "waits for the given value in milliseconds", NULL},
    {"truncate", "t", cmd_truncate, 1, 3, false, "[-m prealloc_mode] off", "truncates the current file at the given offset",
     NULL, VIV_PERM_WRITE | VIV_PERM_RESIZE},
    {0},
};
