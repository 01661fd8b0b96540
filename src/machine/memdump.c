#include "machine/memdump_int.h"

#include "host/lock.h"
#include "host/loop.h"
#include "host/open.h"
#include "host/thread.h"
#include "machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    struct memdump *now; /* NULL: none; the machine is in VIV_RUN_SAVE else */
    pthread_t thread;
    enum viv_run_state before;
    void (*ended)(void);
    struct viv_err err;  /* the thread's while there is one */
    int rc;
    struct viv_memdump_state last;
} dump;

static void free_dump(struct memdump *d)
{
    if (d->fd >= 0)
        close(d->fd);
    if (d->blocks)
        g_array_unref(d->blocks);
    if (d->loads)
        g_array_unref(d->loads);
    if (d->notes)
        g_byte_array_unref(d->notes);
    g_free(d->name);
    g_free(d);
}

/* --- the end --- */

static void go_on(void)
{
    viv_vm_set_state(dump.before == VIV_RUN_RUNNING ? VIV_RUN_PAUSED : dump.before);
    if (dump.before == VIV_RUN_RUNNING && !atomic_load(&dump.now->cancel))
        viv_vm_cont(NULL);
}

static void join(void)
{
    pthread_join(dump.thread, NULL);
    dump.last.completed = atomic_load(&dump.now->completed);
    dump.last.status = dump.rc ? VIV_MEMDUMP_FAILED : VIV_MEMDUMP_COMPLETED;
    dump.last.err = dump.err;
}

/* First DUMP_COMPLETED, then RESUME. */
static void on_end(void *unused)
{
    join();
    dump.ended();
    go_on();
    free_dump(dump.now);
    dump.now = NULL;
}

static void *run(void *opaque)
{
    struct memdump *d = opaque;

    dump.rc = d->format == VIV_MEMDUMP_ELF ? memdump_write_elf(d, &dump.err) : memdump_write_kdump(d, &dump.err);
    if (close(d->fd) && !dump.rc)
        dump.rc = viv_fail_os(&dump.err, errno, "dump: failed to write to %s", d->name);
    d->fd = -1;
    viv_loop_call(on_end, &dump);
    return NULL;
}

/* --- the beginning --- */

static int check_state(struct viv_err *err)
{
    switch (viv_vm_state()) {
    case VIV_RUN_INMIGRATE:
        return viv_fail(err, EBUSY, "Dump not allowed during incoming migration.");
    case VIV_RUN_SAVE:
    case VIV_RUN_RESTORE:
        return dump.now ? viv_fail(err, EBUSY, "There is a dump in process, please wait.")
                        : viv_fail(err, EBUSY, "the machine is being saved or loaded");
    default:
        return 0;
    }
}

static int open_target(struct memdump *d, const struct viv_memdump_params *p, struct viv_err *err)
{
    struct stat st;
    int rc = 0;

    d->name = p->path ? g_strdup_printf("'%s'", p->path) : g_strdup("the file descriptor");
    if (p->path) { /* which may be on a disk that sleeps: the guest need not wait as well */
        viv_dev_unlock();
        d->fd = viv_open(p->path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);
        viv_dev_lock();
        rc = d->fd < 0 ? d->fd : 0;
    }
    if (!rc && fstat(d->fd, &st))
        rc = viv_fail_os(err, errno, "dump: %s", d->name);
    d->plain = !rc && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
    return rc;
}

static void stand_still(void)
{
    dump.before = viv_vm_state();
    if (dump.before == VIV_RUN_RUNNING)
        viv_vm_stop(VIV_RUN_SAVE);
    else
        viv_vm_set_state(VIV_RUN_SAVE);
}

static int begin(struct memdump *d, const struct viv_memdump_params *p, struct viv_err *err)
{
    int rc;

    stand_still();
    dump.now = d;
    dump.last = (struct viv_memdump_state){.status = VIV_MEMDUMP_ACTIVE};
    dump.err = (struct viv_err)VIV_ERR_INIT;
    dump.rc = 0;
    rc = memdump_map(d, p, err);
    dump.last.total = d->total;
    if (!rc) {
        memdump_make_notes(d);
        rc = viv_thread_start(&dump.thread, "dump", run, d, err);
    }
    if (rc) {
        dump.last.status = VIV_MEMDUMP_FAILED;
        go_on();
        dump.now = NULL;
    }
    return rc;
}

int viv_memdump_start(const struct viv_memdump_params *p, void (*ended)(void), struct viv_err *err)
{
    struct memdump *d = g_new0(struct memdump, 1);
    int rc = check_state(err);

    VIV_ASSERT_DEV_LOCKED();
    d->fd = p->path ? -1 : p->fd_take;
    d->format = p->format;
    dump.ended = ended;
    if (!rc)
        rc = open_target(d, p, err);
    if (!rc)
        rc = begin(d, p, err);
    if (rc)
        free_dump(d);
    return rc;
}

static bool has_ended(void *unused)
{
    return !dump.now;
}

int viv_memdump_wait(struct viv_err *err)
{
    while (!viv_loop_wait_for(has_ended, NULL, 3600 * (int64_t)1000000000))
        continue;
    if (dump.rc)
        *err = dump.err;
    return dump.rc;
}

void viv_memdump_get(struct viv_memdump_state *out)
{
    *out = dump.last;
    if (dump.now)
        out->completed = atomic_load(&dump.now->completed);
}

void viv_memdump_cancel(void)
{
    if (dump.now)
        atomic_store(&dump.now->cancel, true);
}

void viv_memdump_finish(void)
{
    if (!dump.now)
        return;
    viv_memdump_cancel();
    join();
    viv_loop_forget(&dump);
    free_dump(dump.now);
    dump.now = NULL;
}
