#include "block/range.h"

#include <stddef.h>

void viv_range_lock_init(struct viv_range_lock *l)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->released, NULL);
    l->oldest = l->newest = NULL;
}

void viv_range_lock_fini(struct viv_range_lock *l)
{
    pthread_cond_destroy(&l->released);
    pthread_mutex_destroy(&l->lock);
}

static bool must_wait(const struct viv_range *r)
{
    const struct viv_range *e;

    for (e = r->prev; e; e = e->prev)
        if (e->start < r->end && r->start < e->end && (e->exclusive || r->exclusive))
            return true;
    return false;
}

/* The lock is held. */
static void append(struct viv_range_lock *l, struct viv_range *r, uint64_t start, uint64_t end, bool exclusive)
{
    *r = (struct viv_range){start, end, exclusive, l->newest, NULL};
    if (l->newest)
        l->newest->next = r;
    else
        l->oldest = r;
    l->newest = r;
}

void viv_range_acquire(struct viv_range_lock *l, struct viv_range *r, uint64_t start, uint64_t end,
                       bool exclusive)
{
    pthread_mutex_lock(&l->lock);
    append(l, r, start, end, exclusive);
    while (must_wait(r))
        pthread_cond_wait(&l->released, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void take_out(struct viv_range_lock *l, struct viv_range *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        l->oldest = r->next;
    if (r->next) {
        r->next->prev = r->prev;
        pthread_cond_broadcast(&l->released);
    } else {
        l->newest = r->prev;
    }
}

bool viv_range_try(struct viv_range_lock *l, struct viv_range *r, uint64_t start, uint64_t end, bool exclusive)
{
    bool taken;

    pthread_mutex_lock(&l->lock);
    append(l, r, start, end, exclusive);
    taken = !must_wait(r);
    if (!taken)
        take_out(l, r);
    pthread_mutex_unlock(&l->lock);
    return taken;
}

void viv_range_release(struct viv_range_lock *l, struct viv_range *r)
{
    pthread_mutex_lock(&l->lock);
    take_out(l, r);
    pthread_mutex_unlock(&l->lock);
}
