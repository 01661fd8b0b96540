/* qemu-io: a command of viv-io's on a disk or node of the machine.
 *
 * It runs on a thread while the loop is served, with a handle of its own. Of a drive that stands beside the drive's (block/blk.h): it may do what
 * the drive may, is counted and limited with it, and what the command wants more is asked of everybody else. On a node that was named it is a
 * user like others, and refused where the node's users do not share. What stands still (sleep, breakpoints) does so for ten seconds at most:
 * whoever stops the machine or takes a disk away waits for requests.
 *
 * What aio_* have begun may go on behind the command. The thread and the handle stay for it, and the next qemu-io shows what it said. */
#include "mon/mon_int.h"

#include "base/log.h"
#include "blkio/blkio.h"
#include "block/blk.h"
#include "block/event.h"
#include "block/graph.h"
#include "block/registry.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

#define PATIENCE_MS 10000
#define TEXT_MAX    (1u << 20)
#define LEFT_MAX    64

struct session {
    struct viv_blkio io;
    char *line, *none;
    pthread_t thread;
    GString *text;     /* what it has printed and nobody has taken; under io.out's lock */
    bool cut;          /* likewise: it was too much */
    bool ran, left;    /* device lock: the command; and it has left requests behind, whose end the loop is told of */
    bool over;         /* they have ended before the command's answer was taken */
    bool listed;       /* in `left`: the loop ends it */
    struct session *next;
};

static struct session *left; /* loop thread */
static GString *late;        /* of those that have ended since the last command */
static bool running;

/* --- output --- */

static void put_bounded(GString *s, bool *cut, const char *text, size_t len)
{
    size_t room = TEXT_MAX - MIN(s->len, TEXT_MAX);

    g_string_append_len(s, text, MIN(len, room));
    if (len > room && !*cut) {
        *cut = true;
        g_string_append(s, "\n[the rest is cut: there was more than 1 MiB]\n");
    }
}

static ssize_t print(void *opaque, const char *text, size_t len)
{
    struct session *s = opaque;

    put_bounded(s->text, &s->cut, text, len);
    return (ssize_t)len;
}

/* Moves what it has said to `out`. */
static void take_text(struct session *s, GString *out)
{
    bool cut = false;

    flockfile(s->io.out);
    fflush(s->io.out);
    put_bounded(out, &cut, s->text->str, s->text->len);
    g_string_truncate(s->text, 0);
    s->cut = false;
    funlockfile(s->io.out);
}

/* --- one command --- */

static void session_free(struct session *s)
{
    if (s->io.out)
        fclose(s->io.out);
    g_string_free(s->text, TRUE);
    g_free(s->line);
    g_free(s->none);
    g_free(s);
}

/* Its thread has ended, or is about to. */
static void end_session(struct session *s, GString *out)
{
    struct viv_err err = VIV_ERR_INIT;

    pthread_join(s->thread, NULL);
    if (s->io.blk && viv_blk_close(s->io.blk, &err) < 0) /* all was flushed, so it does not take long */
        viv_error("qemu-io: %s", err.text);
    viv_err_clear(&err);
    take_text(s, out);
    session_free(s);
}

static void end_left(void *opaque)
{
    struct session *s = opaque, **p = &left;

    if (!s->listed) { /* so soon: who waits for the command does it */
        s->over = true;
        return;
    }
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    if (!late)
        late = g_string_new(NULL);
    end_session(s, late);
}

static void flush(const struct session *s)
{
    int ret = s->io.blk && viv_blk_writable(s->io.blk) ? viv_blk_flush(s->io.blk) : 0;

    if (ret)
        fprintf(s->io.out, "flush failed: %s\n", g_strerror(-ret));
}

static void nothing(void *unused)
{
}

static void *session_main(void *opaque)
{
    struct session *s = opaque;
    bool busy;

    viv_blkio_run(&s->io, s->line);
    busy = viv_blkio_is_busy(&s->io);
    if (!busy)
        flush(s);
    viv_dev_lock();
    s->left = busy;
    s->ran = true;
    viv_loop_call(nothing, NULL); /* who waits looks again */
    viv_dev_unlock();
    if (!busy)
        return NULL;
    viv_blkio_aio_wait(&s->io);
    flush(s);
    viv_loop_call(end_left, s);
    return NULL;
}

static bool has_run(void *opaque)
{
    return ((struct session *)opaque)->ran;
}

static unsigned count_left(void)
{
    unsigned n = 0;

    for (const struct session *s = left; s; s = s->next)
        n++;
    return n;
}

/* Takes the session. */
static int run_session(struct session *s, GString *out, struct viv_err *err)
{
    int ret = viv_thread_start(&s->thread, "viv-qemu-io", session_main, s, err);

    if (ret) {
        if (s->io.blk)
            viv_blk_close(s->io.blk, NULL);
        session_free(s);
        return ret;
    }
    running = true;
    while (!s->ran)
        viv_loop_wait_for(has_run, s, 1000000000);
    running = false;
    if (!s->left || s->over) {
        end_session(s, out);
        return 0;
    }
    take_text(s, out);
    s->listed = true;
    s->next = left;
    left = s;
    return 0;
}

static struct session *session_new(const char *line, const char *device)
{
    static const cookie_io_functions_t io = {.write = print};
    struct session *s = g_new0(struct session, 1);

    s->line = g_strdup(line);
    s->none = g_strdup_printf("Device '%s' has no medium", device);
    s->text = g_string_new(NULL);
    s->io = (struct viv_blkio){.program = "", .none = s->none, .patience_ms = PATIENCE_MS};
    s->io.out = s->io.err = fopencookie(s, "w", io);
    return s;
}

/* --- which disk --- */

/* The handle of a device that was given a node goes by the device's id only: the node's name is the node. */
static struct viv_drive *drive_named(const char *name)
{
    struct viv_drive *d = viv_drive_find(name);

    return d && viv_mon_drive_is_node(d) ? NULL : d;
}

static int open_handle(struct session *s, struct viv_drive *d, struct viv_node *n, struct viv_err *err)
{
    unsigned perms = VIV_PERM_READ | viv_blkio_perms(&s->io, s->line);

    if (d && !d->blk)
        return 0;
    if ((d ? viv_blk_node(d->blk) : n)->read_only && perms != VIV_PERM_READ)
        return viv_fail(err, EROFS, "Block node is read-only");
    if (d)
        return viv_blk_new_beside(d->blk, perms, "qemu-io", &s->io.blk, err);
    viv_node_get(n);
    return viv_blk_new(n, perms, VIV_PERM_READ | VIV_PERM_WRITE | VIV_PERM_RESIZE, "qemu-io", false, &s->io.blk, err);
}

static const struct viv_opt_def io_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "command", .type = VIV_OPT_STR, .required = true},
    {.name = "device-id", .type = VIV_OPT_BOOL, .help = "device is the id of a device"},
    VIV_OPT_END,
};

static int check_quiet(struct viv_err *err)
{
    if (running)
        return viv_fail(err, EBUSY, "another monitor's qemu-io command is running; try again when it has ended");
    if (count_left() >= LEFT_MAX)
        return viv_fail(err, EBUSY, "%u requests of aio_read and aio_write are under way; try again when some have ended", LEFT_MAX);
    return viv_graph_check_quiet(err);
}

/* What others have said since the last command, those that go on too: who flushes finds here what was flushed. */
static void put_others(GString *out)
{
    g_autoptr(GString) all = late ? g_steal_pointer(&late) : g_string_new(NULL);

    for (struct session *s = left; s; s = s->next)
        take_text(s, all);
    g_string_prepend(out, all->str);
}

COMMAND(qemu_io)
{
    const char *device = viv_opts_str(o, "device");
    bool by_device = viv_opts_bool(o, "device-id");
    struct viv_drive *d = by_device ? viv_mon_drive_of(device, err) : drive_named(device);
    struct viv_node *n = d || by_device ? NULL : viv_node_find(device);
    g_autoptr(GString) out = g_string_new(NULL);
    struct session *s;
    int ret;

    if (!d && !n)
        return by_device ? -ENODEV : viv_fail(err, ENOENT, "Cannot find device='' nor node-name='%s'", device);
    ret = check_quiet(err);
    if (ret)
        return ret;
    s = session_new(viv_opts_str(o, "command"), device);
    ret = open_handle(s, d, n, err);
    if (ret) {
        session_free(s);
        return ret;
    }
    ret = run_session(s, out, err);
    if (ret)
        return ret;
    put_others(out);
    *result = viv_mon_text(out->str);
    return 0;
}

static bool none_left(void *unused)
{
    return !left;
}

void viv_mon_end_io(void)
{
    for (struct session *s = left; s; s = s->next)
        viv_node_break_clear(viv_blk_node(s->io.blk));
    while (left)
        viv_loop_wait_for(none_left, NULL, 1000000000);
    if (late)
        g_string_free(g_steal_pointer(&late), TRUE);
}

const struct viv_mon_cmd viv_mon_io[] = {
    {"qemu-io", NULL, "[-d] device:drive command", io_args, "a command of viv-io (\"help\" lists them) on a drive or node, with -d on a device's disk", qemu_io},
    {0},
};
