#include "dev/virtio/virtio_9p.h"

#include "host/thread.h"

#include <assert.h>
#include <glib.h>

enum { THREADS_MAX = 8 };

struct virtio_9p_pool {
    void (*serve)(void *opaque, struct virtio_9p_job *job);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct virtio_9p_job *first, **last;
    unsigned waiting; /* jobs not taken yet */
    unsigned sleeping, threads;
    bool end;
    pthread_t thread[THREADS_MAX];
};

static void *worker(void *opaque)
{
    struct virtio_9p_pool *p = opaque;

    viv_p9_thread_init();
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct virtio_9p_job *job = p->first;

        if (!job && p->end)
            break;
        if (!job) {
            p->sleeping++;
            pthread_cond_wait(&p->work, &p->lock);
            p->sleeping--;
            continue;
        }
        p->first = job->next;
        if (!p->first)
            p->last = &p->first;
        p->waiting--;
        pthread_mutex_unlock(&p->lock);
        p->serve(p->opaque, job);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void virtio_9p_pool_add(struct virtio_9p_pool *p, struct virtio_9p_job *job)
{
    pthread_mutex_lock(&p->lock);
    job->next = NULL;
    *p->last = job;
    p->last = &job->next;
    p->waiting++;
    /* The first one is made with the pool: a job is served even when no more can be started. */
    if (p->waiting > p->sleeping && p->threads < THREADS_MAX &&
        !viv_thread_start(&p->thread[p->threads], "viv-9p", worker, p, NULL))
        p->threads++;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

struct virtio_9p_pool *virtio_9p_pool_new(void (*serve)(void *opaque, struct virtio_9p_job *job), void *opaque, struct viv_err *err)
{
    struct virtio_9p_pool *p = g_new0(struct virtio_9p_pool, 1);

    p->serve = serve;
    p->opaque = opaque;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    if (viv_thread_start(&p->thread[0], "viv-9p", worker, p, err) < 0) {
        virtio_9p_pool_free(p);
        return NULL;
    }
    p->threads = 1;
    return p;
}

void virtio_9p_pool_free(struct virtio_9p_pool *p)
{
    pthread_mutex_lock(&p->lock);
    assert(!p->first);
    p->end = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    g_free(p);
}
