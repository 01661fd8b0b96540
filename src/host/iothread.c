#include "host/iothread.h"

#include "host/lock.h"
#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS 16

struct viv_iojob {
    struct viv_iothread *thread;
    struct viv_iojob *next;
    uint64_t number; /* what epoll knows of it: a job may be freed between its bell and the lock */
    int fd;
    void (*fn)(void *opaque);
    void *opaque;
};

struct viv_iothread {
    struct viv_iothread *next;
    char *id;
    pthread_t thread;
    pthread_mutex_t lock; /* tid, while it starts */
    pthread_cond_t started;
    int tid, epoll, wake; /* wake: number 0 of epoll's */
    bool quit;            /* atomic */
    /* Device lock. */
    unsigned users;
    uint64_t numbers;
    struct viv_iojob *jobs;
};

static struct viv_iothread *first;

/* ---- the thread ---- */

static void serve(struct viv_iothread *t, uint64_t number)
{
    struct viv_iojob *j;
    eventfd_t rings;

    viv_dev_lock();
    for (j = t->jobs; j && j->number != number; j = j->next)
        ;
    if (j && eventfd_read(j->fd, &rings) == 0)
        j->fn(j->opaque);
    viv_dev_unlock();
}

static void *run(void *opaque)
{
    struct viv_iothread *t = opaque;
    struct epoll_event events[EVENTS];

    pthread_mutex_lock(&t->lock);
    t->tid = gettid();
    pthread_cond_signal(&t->started);
    pthread_mutex_unlock(&t->lock);
    while (!__atomic_load_n(&t->quit, __ATOMIC_ACQUIRE)) {
        int n = epoll_wait(t->epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.u64)
                serve(t, events[i].data.u64);
        }
    }
    return NULL;
}

/* ---- jobs ---- */

static int watch(struct viv_iothread *t, int fd, uint64_t number)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = number};

    return epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

struct viv_iojob *viv_iojob_new(struct viv_iothread *t, void (*fn)(void *opaque), void *opaque, struct viv_err *err)
{
    struct viv_iojob *j = g_new0(struct viv_iojob, 1);
    int rc = 0;

    *j = (struct viv_iojob){.thread = t, .number = ++t->numbers, .fn = fn, .opaque = opaque, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (j->fd < 0)
        rc = -errno;
    j->next = t->jobs;
    t->jobs = j;
    if (!rc)
        rc = watch(t, j->fd, j->number);
    if (rc < 0) {
        viv_fail_os(err, -rc, "iothread '%.60s'", t->id);
        viv_iojob_free(j);
        return NULL;
    }
    return j;
}

void viv_iojob_free(struct viv_iojob *j)
{
    struct viv_iojob **at;

    if (!j)
        return;
    for (at = &j->thread->jobs; *at != j; at = &(*at)->next)
        ;
    *at = j->next;
    if (j->fd >= 0) {
        epoll_ctl(j->thread->epoll, EPOLL_CTL_DEL, j->fd, NULL);
        close(j->fd);
    }
    g_free(j);
}

void viv_iojob_ring(struct viv_iojob *j)
{
    eventfd_write(j->fd, 1); /* full: it has been rung */
}

int viv_iojob_fd(const struct viv_iojob *j)
{
    return j->fd;
}

/* ---- threads by name ---- */

static struct viv_iothread **find(const char *id)
{
    struct viv_iothread **p = &first;

    while (*p && strcmp((*p)->id, id) != 0)
        p = &(*p)->next;
    return p;
}

static void thread_free(struct viv_iothread *t)
{
    if (t->epoll >= 0)
        close(t->epoll);
    if (t->wake >= 0)
        close(t->wake);
    pthread_cond_destroy(&t->started);
    pthread_mutex_destroy(&t->lock);
    g_free(t->id);
    g_free(t);
}

static int start(struct viv_iothread *t, struct viv_err *err)
{
    g_autofree char *name = g_strdup_printf("IO %s", t->id);
    int rc = t->epoll < 0 || t->wake < 0 ? -errno : watch(t, t->wake, 0);

    if (rc < 0)
        return viv_fail_os(err, -rc, "iothread '%.60s'", t->id);
    rc = viv_thread_start(&t->thread, name, run, t, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&t->lock);
    while (!t->tid)
        pthread_cond_wait(&t->started, &t->lock);
    pthread_mutex_unlock(&t->lock);
    return 0;
}

int viv_iothread_add(const char *id, struct viv_err *err)
{
    struct viv_iothread *t;
    int rc;

    if (*find(id))
        return viv_fail(err, EEXIST, "there is an iothread '%.60s' already", id);
    t = g_new0(struct viv_iothread, 1);
    t->id = g_strdup(id);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->started, NULL);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rc = start(t, err);
    if (rc < 0)
        thread_free(t);
    else
        *find(id) = t;
    return rc;
}

/* It has no jobs, and may be waiting for the device lock to find that out. */
static void end(struct viv_iothread *t)
{
    __atomic_store_n(&t->quit, true, __ATOMIC_RELEASE);
    eventfd_write(t->wake, 1);
    pthread_join(t->thread, NULL);
    thread_free(t);
}

int viv_iothread_del(const char *id, struct viv_err *err)
{
    struct viv_iothread **p = find(id), *t = *p;

    if (!t)
        return viv_fail(err, ENOENT, "there is no iothread '%.60s'", id);
    if (t->users)
        return viv_fail(err, EBUSY, "iothread '%.60s' is in use by %u device%s", id, t->users, t->users > 1 ? "s" : "");
    *p = t->next;
    viv_dev_unlock();
    end(t);
    viv_dev_lock();
    return 0;
}

void viv_iothread_free_all(void)
{
    while (first) {
        struct viv_iothread *t = first;

        first = t->next;
        end(t);
    }
}

struct viv_iothread *viv_iothread_next(struct viv_iothread *t)
{
    return t ? t->next : first;
}

const char *viv_iothread_id(const struct viv_iothread *t)
{
    return t->id;
}

int viv_iothread_tid(const struct viv_iothread *t)
{
    return t->tid;
}

struct viv_iothread *viv_iothread_get(const char *id, struct viv_err *err)
{
    struct viv_iothread *t = *find(id);

    if (t)
        t->users++;
    else
        viv_fail(err, ENOENT, "there is no iothread '%.60s'; -object iothread,id=%.60s makes one", id, id);
    return t;
}

void viv_iothread_put(struct viv_iothread **t)
{
    if (*t)
        (*t)->users--;
    *t = NULL;
}
