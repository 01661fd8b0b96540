#include "block/job_int.h"

#include "host/lock.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct viv_job_prepared {
    bool done;
    int ret;
};

static struct viv_job *jobs; /* newest first; device lock */
static unsigned threads;     /* that nobody has joined yet; device lock */
static void (*on_event)(enum viv_job_event event, const struct viv_job_info *info);

static const char *const names[] = {"created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting", "concluded", "null"};

const char *viv_job_status_name(enum viv_job_status s)
{
    return names[s];
}

void viv_jobs_on_event(void (*fn)(enum viv_job_event event, const struct viv_job_info *info))
{
    on_event = fn;
}

/* --- telling; device lock held --- */

void viv_job_info(const struct viv_job *j, struct viv_job_info *out)
{
    struct viv_job *m = (struct viv_job *)j;

    pthread_mutex_lock(&m->lock);
    *out = (struct viv_job_info){.id = j->id,
                                 .type = j->type->name,
                                 .block = j->type->block,
                                 .status = j->status,
                                 .offset = j->offset,
                                 .len = j->len,
                                 .speed = j->speed,
                                 .auto_finalize = j->auto_finalize,
                                 .auto_dismiss = j->auto_dismiss,
                                 .busy = j->status == VIV_JOB_RUNNING && !j->sleeping && !j->paused,
                                 .ready = j->ready,
                                 .paused = j->want_pause || j->paused,
                                 .io_status = j->io_status};
    pthread_mutex_unlock(&m->lock);
    if (j->ret && j->status >= VIV_JOB_ABORTING)
        out->error = j->err.text;
}

static void nothing(void *unused)
{
}

/* Whoever sends it, and whoever waits in the loop, looks again. */
static void wake_loop(void)
{
    viv_loop_call(nothing, NULL);
}

static void tell(const struct viv_job *j, enum viv_job_event event)
{
    struct viv_job_info info;

    viv_job_info(j, &info);
    if (on_event && (info.block || event == VIV_JOB_EVENT_STATUS))
        on_event(event, &info);
    wake_loop();
}

static void set_status(struct viv_job *j, enum viv_job_status s)
{
    if (j->status == s && s != VIV_JOB_CREATED)
        return;
    j->status = s;
    tell(j, VIV_JOB_EVENT_STATUS);
}

/* From the job's thread. */
static void set_status_there(struct viv_job *j, enum viv_job_status s)
{
    viv_dev_lock();
    set_status(j, s);
    viv_dev_unlock();
}

/* --- the list --- */

struct viv_job *viv_job_find(const char *id)
{
    struct viv_job *j = jobs;

    while (j && strcmp(j->id, id) != 0)
        j = j->next;
    return j;
}

struct viv_job *viv_job_next(struct viv_job *j)
{
    return j ? j->next : jobs;
}

static void unlink_job(struct viv_job *j)
{
    struct viv_job **p = &jobs;

    while (*p && *p != j)
        p = &(*p)->next;
    if (*p)
        *p = j->next;
}

/* What it holds of others. */
static void let_go(struct viv_job *j)
{
    if (j->type->free && !j->let_go)
        j->type->free(j);
    j->let_go = true;
    for (unsigned i = 0; i < G_N_ELEMENTS(j->used); i++)
        if (j->used[i]) {
            viv_node_detach(j->used[i], &j->user[i]);
            viv_node_put(&j->used[i]);
        }
    viv_node_put(&j->node);
    viv_node_put(&j->target);
    viv_node_put(&j->top);
    viv_node_put(&j->base);
}

void viv_job_free(struct viv_job *j)
{
    let_go(j);
    viv_job_group_put(j->group);
    pthread_cond_destroy(&j->change);
    pthread_mutex_destroy(&j->lock);
    g_free(j->backing_file);
    g_free(j->bitmap_name);
    g_free(j->id);
    g_free(j);
}

/* --- jobs that belong together --- */

/* Device lock held. It has failed, or is to: the others of its group have no reason to go on. */
static void fail_group(struct viv_job *j)
{
    if (!j->group || !viv_job_group_fail(j))
        return;
    for (struct viv_job *o = jobs; o; o = o->next) {
        if (o == j || o->group != j->group || o->concluded)
            continue;
        pthread_mutex_lock(&o->lock);
        o->cancel = o->force = true;
        pthread_cond_broadcast(&o->change);
        pthread_mutex_unlock(&o->lock);
    }
}

/* --- in its thread --- */

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* The lock is held, and let go while it is paused. */
static void pause_here(struct viv_job *j)
{
    if (!j->want_pause || j->cancel || !j->go) /* while it begins the graph may stand still for it */
        return;
    j->paused = true;
    pthread_mutex_unlock(&j->lock);
    set_status_there(j, j->ready ? VIV_JOB_STANDBY : VIV_JOB_PAUSED);
    pthread_mutex_lock(&j->lock);
    while (j->want_pause && !j->cancel)
        pthread_cond_wait(&j->change, &j->lock);
    j->paused = false;
    pthread_mutex_unlock(&j->lock);
    set_status_there(j, j->ready ? VIV_JOB_READY : VIV_JOB_RUNNING);
    pthread_mutex_lock(&j->lock);
}

bool viv_job_wait(struct viv_job *j, uint64_t bytes, int64_t ns)
{
    int64_t start = now_ns();
    bool stopped;

    pthread_mutex_lock(&j->lock);
    for (;;) {
        int64_t left = ns;
        struct timespec until;

        pause_here(j);
        if (j->speed && bytes)
            left = MAX(left, (int64_t)MIN((double)bytes * 1e9 / (double)j->speed, 1e15));
        left -= now_ns() - start;
        if (j->cancel || j->complete || left <= 0)
            break;
        left += now_ns();
        until = (struct timespec){left / 1000000000, left % 1000000000};
        j->sleeping = true;
        pthread_cond_timedwait(&j->change, &j->lock, &until);
        j->sleeping = false;
    }
    stopped = j->cancel;
    pthread_mutex_unlock(&j->lock);
    return stopped;
}

bool viv_job_stopped(struct viv_job *j)
{
    return viv_job_wait(j, 0, 0);
}

void viv_job_set_progress(struct viv_job *j, uint64_t offset, uint64_t len)
{
    pthread_mutex_lock(&j->lock);
    j->offset = offset;
    j->len = len;
    pthread_mutex_unlock(&j->lock);
}

void viv_job_set_ready(struct viv_job *j)
{
    viv_dev_lock();
    pthread_mutex_lock(&j->lock);
    j->ready = true;
    pthread_mutex_unlock(&j->lock);
    set_status(j, VIV_JOB_READY);
    tell(j, VIV_JOB_EVENT_READY);
    viv_dev_unlock();
}

static void tell_error(struct viv_job *j, bool read, const char *action)
{
    struct viv_job_info info;

    viv_dev_lock();
    viv_job_info(j, &info);
    info.error_operation = read ? "read" : "write";
    info.error_action = action;
    if (on_event)
        on_event(VIV_JOB_EVENT_ERROR, &info);
    wake_loop();
    viv_dev_unlock();
}

#define RETRY_NS 100000000ll

int viv_job_error(struct viv_job *j, int ret, bool read)
{
    enum viv_job_on_error how = read ? j->on_source : j->on_target;

    if (how == VIV_ON_ERROR_ENOSPC)
        how = ret == -ENOSPC ? VIV_ON_ERROR_STOP : VIV_ON_ERROR_REPORT;
    if (how == VIV_ON_ERROR_REPORT) {
        tell_error(j, read, "report");
        return ret;
    }
    pthread_mutex_lock(&j->lock);
    if (how == VIV_ON_ERROR_STOP) {
        j->want_pause = true;
        j->io_status = ret == -ENOSPC ? "nospace" : "failed";
    }
    pthread_mutex_unlock(&j->lock);
    tell_error(j, read, how == VIV_ON_ERROR_STOP ? "stop" : "ignore");
    return viv_job_wait(j, 0, how == VIV_ON_ERROR_STOP ? 0 : RETRY_NS) ? ret : 0;
}

/* Until somebody finalizes it. */
static int wait_pending(struct viv_job *j)
{
    bool stop;

    if (j->group)
        return viv_job_group_wait_decision(j);
    pthread_mutex_lock(&j->lock);
    while (!j->auto_finalize && !j->finalize && !(j->cancel && j->force))
        pthread_cond_wait(&j->change, &j->lock);
    stop = j->cancel && j->force;
    pthread_mutex_unlock(&j->lock);
    return stop ? -ECANCELED : 0;
}

/* Its end, with j->ret. */
static void wind_up(struct viv_job *j, int ret)
{
    if (!ret) {
        viv_dev_lock();
        set_status(j, VIV_JOB_WAITING);
        viv_dev_unlock();
        ret = j->group ? viv_job_group_wait(j) : 0;
    }
    if (!ret) {
        viv_dev_lock();
        set_status(j, VIV_JOB_PENDING);
        if (!j->auto_finalize)
            tell(j, VIV_JOB_EVENT_PENDING);
        viv_dev_unlock();
        ret = wait_pending(j);
    }
    if (!ret && j->type->settle)
        ret = j->type->settle(j, &j->err);
    if (ret) {
        viv_dev_lock();
        j->ret = ret;
        fail_group(j);
        set_status(j, VIV_JOB_ABORTING);
        viv_dev_unlock();
    }
    if (j->type->clean)
        j->type->clean(j, !ret);
}

static void forget(struct viv_job *j)
{
    set_status(j, VIV_JOB_NULL);
    unlink_job(j);
    viv_job_free(j);
}

/* In the loop, when its thread has done all. Who hears that it has ended may take or remove its nodes at once. */
static void conclude(void *opaque)
{
    struct viv_job *j = opaque;

    pthread_join(j->thread, NULL);
    threads--;
    let_go(j);
    j->concluded = true;
    if (j->ret && j->ret != -ECANCELED)
        viv_fail(&j->err, -j->ret, "%s", strerror(-j->ret));
    tell(j, j->ret == -ECANCELED ? VIV_JOB_EVENT_CANCELLED : VIV_JOB_EVENT_COMPLETED);
    set_status(j, VIV_JOB_CONCLUDED);
    if (j->auto_dismiss)
        forget(j);
}

static int prepare_here(struct viv_job *j)
{
    int ret = j->type->prepare ? j->type->prepare(j, &j->err) : 0;

    viv_dev_lock();
    j->ret = j->prep->ret = ret;
    j->prep->done = true;
    if (!ret)
        set_status(j, VIV_JOB_RUNNING);
    wake_loop();
    viv_dev_unlock();
    return ret;
}

static void *job_main(void *opaque)
{
    struct viv_job *j = opaque;
    bool cancelled;
    int ret = j->prep ? prepare_here(j) : 0;

    if (ret)
        return NULL; /* the starter's again */
    pthread_mutex_lock(&j->lock);
    while (!j->go) /* what it tells from here on comes behind the answer to who started it */
        pthread_cond_wait(&j->change, &j->lock);
    pthread_mutex_unlock(&j->lock);
    ret = j->type->run(j, &j->err);
    pthread_mutex_lock(&j->lock);
    cancelled = j->cancel && (j->force || !j->ready);
    pthread_mutex_unlock(&j->lock);
    if (cancelled && j->type->block)
        ret = -ECANCELED;
    wind_up(j, ret);
    viv_loop_call(conclude, j);
    return NULL;
}

/* --- starting --- */

struct viv_job *viv_job_new(const struct viv_job_type *type, const struct viv_block_job_opts *o, struct viv_err *err)
{
    pthread_condattr_t attr;
    struct viv_job *j;

    if (!viv_is_id(o->job.id))
        return viv_fail(err, EINVAL, "Invalid job ID '%s'", o->job.id ? o->job.id : ""), NULL;
    if (type->block && viv_graph_check_quiet(err))
        return NULL;
    if (viv_job_find(o->job.id))
        return viv_fail(err, EEXIST, "Job ID '%s' already in use", o->job.id), NULL;
    j = g_new0(struct viv_job, 1);
    *j = (struct viv_job){.type = type,
                          .id = g_strdup(o->job.id),
                          .speed = o->job.speed,
                          .auto_finalize = !o->job.no_auto_finalize,
                          .auto_dismiss = !o->job.no_auto_dismiss,
                          .io_status = "ok",
                          .sync = o->sync,
                          .on_source = o->on_source,
                          .on_target = o->on_target,
                          .bitmap_mode = o->bitmap_mode,
                          .write_blocking = o->write_blocking,
                          .same_backing = o->same_backing,
                          .backing_file = g_strdup(o->backing_file),
                          .node = o->node,
                          .target = o->target,
                          .base = o->base,
                          .top = o->top};
    for (struct viv_node **n = (struct viv_node *[]){j->node, j->target, j->base, j->top}, **end = n + 4; n < end; n++)
        if (*n)
            viv_node_get(*n);
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->change, &attr);
    pthread_condattr_destroy(&attr);
    return j;
}

static bool in_chain(struct viv_node *top, const struct viv_node *n)
{
    while (top && top != n)
        top = top->backing;
    return top;
}

static bool meets(const struct viv_job *a, const struct viv_job *b)
{
    struct viv_node *const of[] = {a->node, a->target};

    for (unsigned i = 0; i < G_N_ELEMENTS(of); i++)
        for (struct viv_node *n = of[i]; n; n = n->backing)
            if (in_chain(b->node, n) || in_chain(b->target, n))
                return true;
    return false;
}

bool viv_job_has(const struct viv_node *n, const char **who)
{
    for (const struct viv_job *j = jobs; j; j = j->next)
        if (j->type->block && !j->concluded && (in_chain(j->node, n) || in_chain(j->target, n))) {
            *who = j->id;
            return true;
        }
    return false;
}

int viv_job_check_chain(struct viv_job *j, struct viv_err *err)
{
    for (const struct viv_job *o = jobs; o; o = o->next)
        if (o->type->block && !o->concluded && (o->type->changes_graph || j->type->changes_graph) && meets(j, o))
            return viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job: %s", j->node->name ? j->node->name : "",
                            o->type->name);
    return 0;
}

void viv_job_list(struct viv_job *j)
{
    j->next = jobs;
    jobs = j;
    set_status(j, VIV_JOB_CREATED);
}

static bool is_prepared(void *opaque)
{
    return ((struct viv_job_prepared *)opaque)->done;
}

int viv_job_start(struct viv_job *j, struct viv_err *err)
{
    struct viv_job_prepared prep = {0};
    bool failed;
    int ret;

    j->prep = &prep; /* the job itself may be gone by then */
    viv_job_list(j);
    ret = viv_thread_start(&j->thread, "viv-job", job_main, j, err);
    threads += !ret;
    while (!ret && !prep.done)
        viv_loop_wait_for(is_prepared, &prep, 1000000000);
    failed = !ret && prep.ret;
    if (!ret && !failed) {
        pthread_mutex_lock(&j->lock);
        j->go = true;
        pthread_cond_broadcast(&j->change);
        pthread_mutex_unlock(&j->lock);
        return 0;
    }
    threads -= !ret;
    if (!ret) {
        pthread_join(j->thread, NULL);
        ret = viv_fail(err, -j->ret, "%s", j->err.text[0] ? j->err.text : strerror(-j->ret));
    }
    forget(j);
    return ret;
}

/* --- in steps --- */

int viv_job_prepare(struct viv_job *j, struct viv_err *err)
{
    return j->type->prepare(j, err);
}

void viv_job_unprepare(struct viv_job *j)
{
    j->type->clean(j, false);
}

void viv_job_drop(struct viv_job *j)
{
    j->ret = -ECANCELED;
    set_status(j, VIV_JOB_ABORTING);
    set_status(j, VIV_JOB_CONCLUDED);
    forget(j);
}

int viv_job_go(struct viv_job *j, struct viv_err *err)
{
    int ret;

    j->go = true;
    set_status(j, VIV_JOB_RUNNING);
    ret = viv_thread_start(&j->thread, "viv-job", job_main, j, err);
    threads += !ret;
    if (!ret)
        return 0;
    viv_dev_unlock();
    viv_job_unprepare(j);
    viv_dev_lock();
    fail_group(j);
    viv_job_drop(j);
    return ret;
}

static int run_simple(struct viv_job *j, struct viv_err *err)
{
    int ret = j->simple_run(j->opaque, err);

    viv_job_set_progress(j, 1, 1);
    return ret;
}

static void free_simple(struct viv_job *j)
{
    j->simple_end(j->opaque);
}

int viv_job_start_simple(const struct viv_job_opts *o, enum viv_job_simple type, int (*run)(void *opaque, struct viv_err *err),
                         void (*end)(void *opaque), void *opaque, struct viv_err *err)
{
#define SIMPLE(kind) {.name = kind, .run = run_simple, .free = free_simple}
    static const struct viv_job_type types[] = {[VIV_JOB_CREATE] = SIMPLE("create"),
                                                [VIV_JOB_SNAPSHOT_SAVE] = SIMPLE("snapshot-save"),
                                                [VIV_JOB_SNAPSHOT_LOAD] = SIMPLE("snapshot-load"),
                                                [VIV_JOB_SNAPSHOT_DELETE] = SIMPLE("snapshot-delete")};
    struct viv_block_job_opts all = {.job = *o};
    struct viv_job *j;

    j = viv_job_new(&types[type], &all, err);
    if (!j) {
        end(opaque);
        return -EINVAL;
    }
    j->opaque = opaque;
    j->simple_run = run;
    j->simple_end = end;
    j->len = 1;
    return viv_job_start(j, err);
}

/* --- steering --- */

static int check_verb(const struct viv_job *j, enum viv_job_verb verb, struct viv_err *err)
{
    enum { CR = 1 << VIV_JOB_CREATED, RU = 1 << VIV_JOB_RUNNING, PA = 1 << VIV_JOB_PAUSED, RE = 1 << VIV_JOB_READY, SB = 1 << VIV_JOB_STANDBY,
           WA = 1 << VIV_JOB_WAITING, PE = 1 << VIV_JOB_PENDING, CO = 1 << VIV_JOB_CONCLUDED, LIVE = CR | RU | PA | RE | SB };
    static const struct {
        const char *name;
        unsigned states;
    } verbs[] = {[VIV_JOB_CANCEL] = {"cancel", LIVE | WA | PE}, [VIV_JOB_PAUSE] = {"pause", LIVE}, [VIV_JOB_RESUME] = {"resume", LIVE},
                 [VIV_JOB_SET_SPEED] = {"set-speed", LIVE}, [VIV_JOB_COMPLETE] = {"complete", RE}, [VIV_JOB_FINALIZE] = {"finalize", PE},
                 [VIV_JOB_DISMISS] = {"dismiss", CO}};

    if (verbs[verb].states & 1u << j->status)
        return 0;
    return viv_fail(err, EBUSY, "Job '%s' in state '%s' cannot accept command verb '%s'", j->id, names[j->status], verbs[verb].name);
}

/* The job may be gone when this is true. */
static bool has_ended(void *opaque)
{
    const char *id = opaque;
    const struct viv_job *j = viv_job_find(id);

    return !j || j->concluded;
}

void viv_job_wait_end(const char *id)
{
    g_autofree char *mine = g_strdup(id); /* it may be the job's */

    while (!has_ended(mine))
        viv_loop_wait_for(has_ended, mine, 1000000000);
}

static bool has_paused(void *opaque)
{
    const struct viv_job *j = viv_job_find(opaque);

    return !j || j->status != VIV_JOB_RUNNING || j->concluded;
}

static int set_pause(struct viv_job *j, bool on, struct viv_err *err)
{
    int ret = 0;

    pthread_mutex_lock(&j->lock);
    if (on && j->want_pause)
        ret = viv_fail(err, EBUSY, "Job is already paused");
    else if (!on && !j->want_pause)
        ret = viv_fail(err, EINVAL, "Can't resume a job that was not paused");
    j->want_pause = ret ? j->want_pause : on;
    if (!on)
        j->io_status = "ok";
    pthread_cond_broadcast(&j->change);
    pthread_mutex_unlock(&j->lock);
    if (!ret && on) {
        g_autofree char *id = g_strdup(j->id);

        viv_loop_wait_for(has_paused, id, 2000000000);
    }
    return ret;
}

int viv_job_do(struct viv_job *j, enum viv_job_verb verb, bool force, uint64_t speed, struct viv_err *err)
{
    int ret = check_verb(j, verb, err);
    bool begun;

    if (!ret && verb == VIV_JOB_CANCEL && !j->type->block)
        ret = viv_fail(err, ENOTSUP, "Job '%s' of type '%s' cannot be cancelled", j->id, j->type->name);
    if (ret)
        return ret;
    if (verb == VIV_JOB_PAUSE || verb == VIV_JOB_RESUME)
        return set_pause(j, verb == VIV_JOB_PAUSE, err);
    if (verb == VIV_JOB_DISMISS) {
        forget(j);
        return 0;
    }
    pthread_mutex_lock(&j->lock);
    if (verb == VIV_JOB_CANCEL && j->ready && !force && j->complete)
        ret = viv_fail(err, EBUSY, "Job '%s' is completing", j->id);
    j->cancel |= !ret && verb == VIV_JOB_CANCEL;
    j->force |= verb == VIV_JOB_CANCEL && (force || !j->ready || j->status == VIV_JOB_PENDING);
    j->complete |= verb == VIV_JOB_COMPLETE;
    j->finalize |= verb == VIV_JOB_FINALIZE;
    if (verb == VIV_JOB_FINALIZE && j->group)
        viv_job_group_finalize(j);
    if (verb == VIV_JOB_SET_SPEED)
        j->speed = speed;
    begun = j->go; /* else its starter's command is still under way, perhaps below us: it ends when that goes on */
    pthread_cond_broadcast(&j->change);
    pthread_mutex_unlock(&j->lock);
    if (!ret && verb == VIV_JOB_CANCEL && j->force)
        fail_group(j);
    if (!ret && begun && (verb == VIV_JOB_FINALIZE || (verb == VIV_JOB_CANCEL && j->force)))
        viv_job_wait_end(j->id);
    return ret;
}

static bool none_left(void *unused)
{
    return !threads;
}

void viv_jobs_finish(void)
{
    for (struct viv_job *j = jobs; j; j = j->next) {
        pthread_mutex_lock(&j->lock);
        j->auto_finalize |= !j->type->block;
        j->cancel |= j->type->block && !j->concluded;
        j->force |= j->type->block;
        pthread_cond_broadcast(&j->change);
        pthread_mutex_unlock(&j->lock);
        if (j->force)
            fail_group(j);
    }
    while (!none_left(NULL))
        viv_loop_wait_for(none_left, NULL, 1000000000);
    while (jobs) {
        struct viv_job *j = jobs;

        jobs = j->next;
        viv_job_free(j);
    }
}
