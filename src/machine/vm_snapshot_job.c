/* snapshot-save, snapshot-load, snapshot-delete: what savevm and its kin do, as jobs.
 *
 * A job has a thread, but the work is the loop's, which alone stops machines: the thread asks for it and waits. The loop may be inside
 * another command just then (one that saves, loads or changes nodes serves it): the job's turn comes when that has ended. */
#include "machine/vm_snapshot.h"

#include "block/job.h"
#include "block/snapshot_set.h"
#include "host/lock.h"
#include "host/loop.h"
#include "machine/vm.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>

#define TURN_US 10000 /* between two looks whether it is the job's turn */

struct work {
    enum viv_vm_snapshot_verb verb;
    char *name, *vmstate;
    char **devices;
    struct viv_err *err; /* the thread's, who waits */
    int rc;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool asked; /* `lock`: the loop has not done yet what it was asked for */
};

static bool others_turn(void)
{
    return viv_vm_state() == VIV_RUN_SAVE || viv_vm_state() == VIV_RUN_RESTORE || viv_snapshot_set_must_wait();
}

/* The machine stands if it cannot be loaded, whatever the reason: who asked for another time has no use for this one going on. */
static int load(const struct work *w, const struct viv_snapshot_wish *wish, struct viv_err *err)
{
    bool ran = viv_vm_state() == VIV_RUN_RUNNING;
    int rc;

    if (ran)
        viv_vm_stop(VIV_RUN_PAUSED);
    rc = viv_vm_snapshot_load(w->name, wish, err);
    return rc || !ran ? rc : viv_vm_cont(err);
}

static int act(const struct work *w, struct viv_err *err)
{
    const struct viv_snapshot_wish wish = {w->vmstate, (const char *const *)w->devices};

    if (!viv_vm_exists())
        return viv_fail(err, ESHUTDOWN, "the machine is gone");
    switch (w->verb) {
    case VIV_VM_SNAPSHOT_SAVE:
        return viv_vm_snapshot_save(w->name, &wish, err);
    case VIV_VM_SNAPSHOT_LOAD:
        return load(w, &wish, err);
    default:
        return viv_vm_snapshot_delete(w->name, &wish, err);
    }
}

/* In the loop. */
static void on_call(void *opaque)
{
    struct work *w = opaque;

    w->rc = others_turn() ? -EAGAIN : act(w, w->err);
    if (w->rc == -EAGAIN && w->err->code)
        w->rc = -EIO; /* somebody else's word */
    pthread_mutex_lock(&w->lock);
    w->asked = false;
    pthread_cond_signal(&w->change);
    pthread_mutex_unlock(&w->lock);
}

/* In the job's thread. */
static int run(void *opaque, struct viv_err *err)
{
    struct work *w = opaque;

    w->err = err;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        w->asked = true;
        viv_loop_call(on_call, w);
        while (w->asked)
            pthread_cond_wait(&w->change, &w->lock);
        pthread_mutex_unlock(&w->lock);
        if (w->rc != -EAGAIN)
            return w->rc;
        g_usleep(TURN_US);
    }
}

static void end(void *opaque)
{
    struct work *w = opaque;

    pthread_cond_destroy(&w->change);
    pthread_mutex_destroy(&w->lock);
    g_strfreev(w->devices);
    g_free(w->vmstate);
    g_free(w->name);
    g_free(w);
}

int viv_vm_snapshot_start(const char *job_id, enum viv_vm_snapshot_verb verb, const char *name, const struct viv_snapshot_wish *wish,
                          struct viv_err *err)
{
    static const enum viv_job_simple types[] = {[VIV_VM_SNAPSHOT_SAVE] = VIV_JOB_SNAPSHOT_SAVE, [VIV_VM_SNAPSHOT_LOAD] = VIV_JOB_SNAPSHOT_LOAD,
                                                [VIV_VM_SNAPSHOT_DELETE] = VIV_JOB_SNAPSHOT_DELETE};
    const struct viv_job_opts o = {.id = job_id, .no_auto_dismiss = true};
    struct work *w = g_new0(struct work, 1);

    VIV_ASSERT_DEV_LOCKED();
    *w = (struct work){.verb = verb, .name = g_strdup(name), .vmstate = g_strdup(wish->vmstate),
                       .devices = g_strdupv((char **)wish->devices)};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->change, NULL);
    return viv_job_start_simple(&o, types[verb], run, end, w, err);
}
