/* Jobs that belong together: all succeed, or none does. Each waits when its work is done until all have come so far; then all are pending, and
 * one decision, to go on or to give up, is for all of them. */
#include "block/job_int.h"

#include <errno.h>

struct viv_job_group {
    unsigned refs; /* device lock */
    pthread_mutex_t lock;
    pthread_cond_t change;
    unsigned members, waiting;
    bool manual; /* one is to be finalized by hand, and so are all */
    enum { OPEN, GO, STOP } decision;
};

struct viv_job_group *viv_job_group_new(void)
{
    struct viv_job_group *g = g_new0(struct viv_job_group, 1);

    g->refs = 1;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->change, NULL);
    return g;
}

void viv_job_group_put(struct viv_job_group *g)
{
    if (!g || --g->refs)
        return;
    pthread_cond_destroy(&g->change);
    pthread_mutex_destroy(&g->lock);
    g_free(g);
}

void viv_job_group_join(struct viv_job_group *g, struct viv_job *j)
{
    if (!g)
        return;
    j->group = g;
    g->refs++;
    g->members++;
    g->manual |= !j->auto_finalize;
}

int viv_job_group_wait(struct viv_job *j)
{
    struct viv_job_group *g = j->group;
    bool stop;

    pthread_mutex_lock(&g->lock);
    if (++g->waiting == g->members && g->decision == OPEN && !g->manual)
        g->decision = GO;
    pthread_cond_broadcast(&g->change);
    while (g->waiting < g->members && g->decision == OPEN)
        pthread_cond_wait(&g->change, &g->lock);
    stop = g->decision == STOP;
    pthread_mutex_unlock(&g->lock);
    return stop ? -ECANCELED : 0;
}

int viv_job_group_wait_decision(struct viv_job *j)
{
    struct viv_job_group *g = j->group;
    bool stop;

    pthread_mutex_lock(&g->lock);
    while (g->decision == OPEN)
        pthread_cond_wait(&g->change, &g->lock);
    stop = g->decision == STOP;
    pthread_mutex_unlock(&g->lock);
    return stop ? -ECANCELED : 0;
}

static bool decide(struct viv_job_group *g, int decision)
{
    bool open;

    pthread_mutex_lock(&g->lock);
    open = g->decision == OPEN;
    if (open)
        g->decision = decision;
    pthread_cond_broadcast(&g->change);
    pthread_mutex_unlock(&g->lock);
    return open;
}

void viv_job_group_finalize(struct viv_job *j)
{
    decide(j->group, GO);
}

bool viv_job_group_fail(struct viv_job *j)
{
    return decide(j->group, STOP);
}
