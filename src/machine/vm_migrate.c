/* migrate and -incoming: the whole VM in a file, or through a pipe or another descriptor.
 *
 * Saving: what there is to write is taken under the device lock (vm_save.c), then a thread writes it while the loop is served, so that
 * monitors answer and the process can be ended though the file is large, or nobody reads the pipe. */
#include "machine/vm.h"

#include "base/units.h"
#include "host/clock.h"
#include "host/fdname.h"
#include "host/lock.h"
#include "host/loop.h"
#include "host/thread.h"
#include "machine/vm_stream.h"
#include "net/announce.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct save {
    struct viv_vm_stream *stream;
    struct viv_vm_picture picture;
    pthread_t thread;
    enum viv_run_state before;
    bool cancelled;
    int64_t start;
    struct viv_err err; /* the thread's */
    int rc;
};

static struct {
    struct save *now; /* NULL: no thread writes; the machine is in VIV_RUN_SAVE else */
    void (*ended)(void);
    struct viv_save_progress last;
} saving;

/* ---- where to ---- */

static const char *behind(const char *uri, const char *kind)
{
    return g_str_has_prefix(uri, kind) && uri[strlen(kind)] ? uri + strlen(kind) : NULL;
}

bool viv_vm_uri_is_known(const char *uri)
{
    return behind(uri, "file:") || behind(uri, "fd:");
}

static int open_uri(const char *uri, bool write, struct viv_vm_stream **out, struct viv_err *err)
{
    const char *path = behind(uri, "file:"), *fd = behind(uri, "fd:");
    int n;

    if (path)
        return viv_vm_stream_open(path, write, out, err);
    if (!fd)
        return viv_fail(err, EINVAL, "'%.80s': only file:PATH and fd:NAME are supported; a program gets it through a named pipe "
                        "(mkfifo P; PROGRAM <P &) as file:P", uri);
    n = viv_fdname_take_any("fd", fd, err);
    return n < 0 ? n : viv_vm_stream_open_fd(n, uri, write, out, err);
}

/* ---- save: the end ---- */

static void free_save(struct save *s)
{
    viv_vm_stream_free(s->stream);
    viv_vm_picture_fini(&s->picture);
    g_free(s);
}

static void note_end(const struct save *s)
{
    struct viv_save_progress *p = &saving.last;

    viv_vm_save_get(p);
    p->status = !s->rc ? VIV_SAVE_COMPLETED : s->cancelled ? VIV_SAVE_CANCELLED : VIV_SAVE_FAILED;
    p->err = s->err;
}

static void go_on(enum viv_run_state before)
{
    viv_vm_set_state(before == VIV_RUN_RUNNING ? VIV_RUN_PAUSED : before);
    if (before == VIV_RUN_RUNNING)
        viv_vm_cont(NULL);
}

static void on_end(void *unused)
{
    struct save *s = saving.now;

    pthread_join(s->thread, NULL);
    note_end(s);
    saving.now = NULL;
    if (s->rc)
        go_on(s->before);
    else
        viv_vm_set_state(VIV_RUN_POSTMIGRATE);
    free_save(s);
    saving.ended();
}

static void *run(void *opaque)
{
    struct save *s = opaque;

    viv_vm_picture_put(s->stream, &s->picture);
    s->rc = viv_vm_stream_finish(s->stream, &s->err);
    viv_loop_call(on_end, &saving);
    return NULL;
}

/* ---- save: the beginning ---- */

static int check_state(enum viv_run_state now, struct viv_err *err)
{
    switch (now) {
    case VIV_RUN_INMIGRATE:
        return viv_fail(err, EBUSY, "the machine waits for its saved state (-incoming)");
    case VIV_RUN_SAVE:
    case VIV_RUN_RESTORE:
        return viv_fail(err, EBUSY, "the machine is being saved or loaded already");
    case VIV_RUN_INTERNAL_ERROR: /* half a load, say: saved, it would count as whole */
        return viv_fail(err, EBUSY, "the machine has failed; there is nothing to save");
    default:
        return viv_dev_can_save_all(err);
    }
}

/* It stands. */
static int begin(struct save *s, struct viv_err *err)
{
    int rc = viv_vm_quiesce(err);

    if (!rc)
        rc = viv_dev_can_save_all(err); /* what the guest was about to do is done */
    if (!rc)
        rc = viv_vm_picture_take(&s->picture, err);
    if (!rc)
        rc = viv_thread_start(&s->thread, "save", run, s, err);
    return rc;
}

int viv_vm_save_start(const char *uri, void (*ended)(void), struct viv_err *err)
{
    enum viv_run_state before = viv_vm_state();
    struct viv_vm_stream *stream;
    struct save *s;
    int rc = check_state(before, err);

    VIV_ASSERT_DEV_LOCKED();
    if (!rc)
        rc = open_uri(uri, true, &stream, err);
    if (rc < 0)
        return rc;
    s = g_new0(struct save, 1);
    *s = (struct save){.stream = stream, .before = before, .start = viv_clock_ns(VIV_CLOCK_HOST), .err = VIV_ERR_INIT};
    viv_vm_stop(VIV_RUN_SAVE);
    rc = begin(s, err);
    if (rc < 0) {
        go_on(before);
        viv_vm_stream_cancel(stream);
        viv_vm_stream_finish(stream, NULL);
        free_save(s);
        return rc;
    }
    saving.now = s;
    saving.ended = ended;
    saving.last = (struct viv_save_progress){.status = VIV_SAVE_ACTIVE, .err = VIV_ERR_INIT};
    return 0;
}

static bool has_ended(void *unused)
{
    return !saving.now;
}

int viv_vm_save_wait(struct viv_err *err)
{
    while (!viv_loop_wait_for(has_ended, NULL, 3600 * (int64_t)VIV_NS_PER_SEC))
        continue;
    if (saving.last.status == VIV_SAVE_COMPLETED)
        return 0;
    *err = saving.last.err;
    return -err->code;
}

void viv_vm_save_get(struct viv_save_progress *out)
{
    const struct save *s = saving.now;

    *out = saving.last;
    if (!s)
        return;
    out->ms = (viv_clock_ns(VIV_CLOCK_HOST) - s->start) / (int64_t)VIV_NS_PER_MS;
    out->sent = viv_vm_stream_sent(s->stream);
    out->ram = s->picture.ram;
    out->ram_done = atomic_load(&s->picture.ram_done);
}

void viv_vm_save_cancel(void)
{
    if (!saving.now)
        return;
    saving.now->cancelled = true;
    viv_vm_stream_cancel(saving.now->stream);
}

void viv_vm_save_finish(void)
{
    if (!saving.now)
        return;
    viv_vm_save_cancel();
    pthread_join(saving.now->thread, NULL);
    viv_loop_forget(&saving);
    note_end(saving.now);
    free_save(saving.now);
    saving.now = NULL;
}

/* ---- load ---- */

int viv_vm_load(const char *uri, struct viv_err *err)
{
    struct viv_vm_stream *s;
    int rc = open_uri(uri, false, &s, err);

    VIV_ASSERT_DEV_LOCKED();
    if (rc < 0)
        return rc;
    viv_vm_set_state(VIV_RUN_RESTORE);
    rc = viv_vm_get_machine(s, err);
    viv_vm_stream_close(s, NULL);
    if (rc < 0) {
        viv_vm_set_state(VIV_RUN_INTERNAL_ERROR);
        viv_err_prefix(err, "cannot load '%s'", behind(uri, "file:") ? behind(uri, "file:") : uri);
        return rc;
    }
    viv_vm_set_state(VIV_RUN_PAUSED);
    return viv_announce(&viv_announce_defaults, NULL, 0, NULL, err); /* once it runs: it may be on another host */
}
