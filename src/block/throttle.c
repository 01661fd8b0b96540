#include "block/throttle.h"

#include "host/thread.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define NS 1000000000.0

/* ---- limits ---- */

static const char *const limit_names[] = {"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"};

bool viv_limits_any(const struct viv_limits *l)
{
    for (unsigned i = 0; i < VIV_LIMITS; i++)
        if (l->l[i].avg || l->l[i].max)
            return true;
    return false;
}

static int check_one(const struct viv_limit *l, const char *name, const char *what, struct viv_err *err)
{
    if (l->max && !l->avg)
        return viv_fail(err, EINVAL, "%s: %s-max needs %s, the rate outside of bursts", what, name, name);
    if (l->max && l->max < l->avg)
        return viv_fail(err, EINVAL, "%s: %s-max is below %s", what, name, name);
    if (l->length > 1 && !l->max) /* 1 is what there is when nothing is said */
        return viv_fail(err, EINVAL, "%s: %s-max-length needs %s-max", what, name, name);
    if (l->avg > 1000000000000000ull || l->max > 1000000000000000ull || l->length > 1000000)
        return viv_fail(err, EINVAL, "%s: %s is out of range (at most 10^15 a second, bursts of 10^6 seconds)", what, name);
    return 0;
}

int viv_limits_check(const struct viv_limits *l, const char *what, struct viv_err *err)
{
    for (unsigned t = 0; t < VIV_LIMITS; t += 3) {
        for (unsigned i = t + 1; i < t + 3; i++)
            if ((l->l[t].avg && l->l[i].avg) || (l->l[t].max && l->l[i].max))
                return viv_fail(err, EINVAL, "%s: %s and %s exclude each other", what, limit_names[t], limit_names[i]);
        for (unsigned i = t; i < t + 3; i++)
            if (check_one(&l->l[i], limit_names[i], what, err))
                return -EINVAL;
    }
    if (l->iops_size && !l->l[VIV_LIMIT_IOPS_TOTAL].avg && !l->l[VIV_LIMIT_IOPS_READ].avg &&
        !l->l[VIV_LIMIT_IOPS_WRITE].avg)
        return viv_fail(err, EINVAL, "%s: iops-size needs a limit of requests (iops-total ...)", what);
    return 0;
}

/* ---- buckets ---- */

static void leak(struct viv_buckets *b, uint64_t now)
{
    double seconds = now > b->at ? (now - b->at) / NS : 0;

    for (unsigned i = 0; i < VIV_LIMITS; i++) {
        b->level[i] = fmax(0, b->level[i] - seconds * b->limits.l[i].avg);
        b->burst[i] = fmax(0, b->burst[i] - seconds * b->limits.l[i].max);
    }
    b->at = now;
}

/* Seconds until it has leaked enough. Without bursts there is room for a tenth of a second, so that a rate is kept by more than
 * one request at a time; bursts of more than a second fill a bucket of their own, which leaks at their rate. */
static double wait_for(const struct viv_buckets *b, unsigned i)
{
    const struct viv_limit *l = &b->limits.l[i];
    uint64_t length = l->length ? l->length : 1;
    double over, wait = 0;

    if (!l->avg)
        return 0;
    over = b->level[i] - (l->max ? (double)l->max * length : l->avg / 10.0);
    if (over > 0)
        wait = over / l->avg;
    over = b->burst[i] - l->max / 10.0;
    if (l->max && length > 1 && over > 0)
        wait = fmax(wait, over / l->max);
    return wait;
}

/* Which buckets: total, and that of the direction; of bytes and of requests. */
static const unsigned reads[] = {VIV_LIMIT_BPS_TOTAL, VIV_LIMIT_BPS_READ, VIV_LIMIT_IOPS_TOTAL, VIV_LIMIT_IOPS_READ};
static const unsigned writes[] = {VIV_LIMIT_BPS_TOTAL, VIV_LIMIT_BPS_WRITE, VIV_LIMIT_IOPS_TOTAL, VIV_LIMIT_IOPS_WRITE};

uint64_t viv_buckets_wait(struct viv_buckets *b, bool write, uint64_t now)
{
    const unsigned *which = write ? writes : reads;
    double wait = 0;

    leak(b, now);
    for (unsigned n = 0; n < 4; n++)
        wait = fmax(wait, wait_for(b, which[n]));
    return (uint64_t)ceil(fmin(wait * NS, 3600 * NS));
}

void viv_buckets_add(struct viv_buckets *b, bool write, uint64_t bytes)
{
    const unsigned *which = write ? writes : reads;
    double requests = b->limits.iops_size ? fmax(1, (double)bytes / b->limits.iops_size) : 1;

    for (unsigned n = 0; n < 4; n++) {
        double units = which[n] >= VIV_LIMIT_IOPS_TOTAL ? requests : (double)bytes;

        b->level[which[n]] += units;
        b->burst[which[n]] += units;
    }
}

/* ---- groups ---- */

struct viv_throttled {
    struct viv_throttle *group;
    struct viv_blk *blk;
    void (*release)(struct viv_blk *blk, struct viv_blk_req *req);
    struct viv_blk_req *head[2], **tail[2]; /* held: reads, writes */
    unsigned held;
    struct viv_throttled *next;
};

struct viv_throttle {
    char *name;
    int refs;
    struct viv_buckets buckets;
    struct viv_throttled *members; /* who comes first changes with every release */
    struct viv_throttle *next;
};

/* One lock and one thread for all groups: it only does arithmetic. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct viv_throttle *groups;
static bool running;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t bytes_of(const struct viv_blk_req *r)
{
    return r->op == VIV_BLK_READ || r->op == VIV_BLK_WRITE ? r->len : 0;
}

static struct viv_blk_req *take_first(struct viv_throttled *m, int dir)
{
    struct viv_blk_req *r = m->head[dir];

    m->head[dir] = r->next;
    if (!m->head[dir])
        m->tail[dir] = &m->head[dir];
    m->held--;
    return r;
}

/* The member goes behind the others. */
static void rotate(struct viv_throttle *t, struct viv_throttled *m)
{
    struct viv_throttled **p = &t->members;

    while (*p != m)
        p = &(*p)->next;
    *p = m->next;
    while (*p)
        p = &(*p)->next;
    m->next = NULL;
    *p = m;
}

/* Releases what may go; lowers *wait to the time until the next one may. */
static void serve(struct viv_throttle *t, uint64_t now, uint64_t *wait)
{
    bool again = true;

    while (again) {
        again = false;
        for (struct viv_throttled *m = t->members; m && !again; m = m->next) {
            for (int dir = 0; dir < 2 && !again; dir++) {
                uint64_t w = m->head[dir] ? viv_buckets_wait(&t->buckets, dir, now) : UINT64_MAX;
                struct viv_blk_req *r;

                if (w) {
                    *wait = MIN(*wait, w);
                    continue;
                }
                r = take_first(m, dir);
                viv_buckets_add(&t->buckets, dir, bytes_of(r));
                m->release(m->blk, r);
                rotate(t, m);
                again = true; /* the list has changed */
            }
        }
    }
}

static void *serve_all(void *unused)
{
    viv_thread_name("viv-throttle");
    pthread_mutex_lock(&lock);
    for (;;) {
        uint64_t now = now_ns(), wait = UINT64_MAX, until;
        struct timespec ts;

        for (struct viv_throttle *t = groups; t; t = t->next)
            serve(t, now, &wait);
        if (wait == UINT64_MAX) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        until = now + wait;
        ts = (struct timespec){.tv_sec = until / 1000000000u, .tv_nsec = until % 1000000000u};
        pthread_cond_timedwait(&changed, &lock, &ts);
    }
    return NULL;
}

/* Lock held. False: no thread, so nothing can be held. */
static bool ensure_thread(void)
{
    pthread_condattr_t attr;
    pthread_t thread;

    if (running)
        return true;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&thread, NULL, serve_all, NULL) != 0)
        return false;
    pthread_detach(thread);
    running = true;
    return true;
}

static struct viv_throttle *find(const char *name)
{
    struct viv_throttle *t = groups;

    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t;
}

struct viv_throttle *viv_throttle_find(const char *name)
{
    struct viv_throttle *t;

    pthread_mutex_lock(&lock);
    t = find(name);
    if (t)
        t->refs++;
    pthread_mutex_unlock(&lock);
    return t;
}

struct viv_throttle *viv_throttle_get(const char *name, const struct viv_limits *l)
{
    struct viv_throttle *t;

    pthread_mutex_lock(&lock);
    t = find(name);
    if (!t) {
        t = g_new0(struct viv_throttle, 1);
        t->name = g_strdup(name);
        t->next = groups;
        groups = t;
    }
    t->refs++;
    t->buckets.limits = *l;
    if (running)
        pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return t;
}

struct viv_throttle *viv_throttle_ref(struct viv_throttle *t)
{
    pthread_mutex_lock(&lock);
    t->refs++;
    pthread_mutex_unlock(&lock);
    return t;
}

const char *viv_throttle_name(const struct viv_throttle *t)
{
    return t->name;
}

void viv_throttle_put(struct viv_throttle *t)
{
    struct viv_throttle **p = &groups;

    pthread_mutex_lock(&lock);
    if (--t->refs) {
        pthread_mutex_unlock(&lock);
        return;
    }
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    pthread_mutex_unlock(&lock);
    g_free(t->name);
    g_free(t);
}

bool viv_throttle_is_used(struct viv_throttle *t)
{
    bool used;

    pthread_mutex_lock(&lock);
    used = t->refs > 1;
    pthread_mutex_unlock(&lock);
    return used;
}

void viv_throttle_limits(struct viv_throttle *t, struct viv_limits *out)
{
    pthread_mutex_lock(&lock);
    *out = t->buckets.limits;
    pthread_mutex_unlock(&lock);
}

/* ---- members ---- */

struct viv_throttle *viv_throttle_group(const struct viv_throttled *m)
{
    return m->group;
}

struct viv_throttled *viv_throttle_join(struct viv_throttle *take, struct viv_blk *blk,
                                        void (*release)(struct viv_blk *blk, struct viv_blk_req *req))
{
    struct viv_throttled *m = g_new0(struct viv_throttled, 1);

    *m = (struct viv_throttled){.group = take, .blk = blk, .release = release};
    m->tail[0] = &m->head[0];
    m->tail[1] = &m->head[1];
    pthread_mutex_lock(&lock);
    m->next = take->members;
    take->members = m;
    pthread_mutex_unlock(&lock);
    return m;
}

/* Lock held. They count all the same. */
static void release_all(struct viv_throttled *m)
{
    for (int dir = 0; dir < 2; dir++) {
        while (m->head[dir]) {
            struct viv_blk_req *r = take_first(m, dir);

            viv_buckets_add(&m->group->buckets, dir, bytes_of(r));
            m->release(m->blk, r);
        }
    }
}

void viv_throttle_release_all(struct viv_throttled *m)
{
    pthread_mutex_lock(&lock);
    release_all(m);
    pthread_mutex_unlock(&lock);
}

void viv_throttle_leave(struct viv_throttled *m)
{
    struct viv_throttled **p = &m->group->members;

    pthread_mutex_lock(&lock);
    release_all(m);
    while (*p != m)
        p = &(*p)->next;
    *p = m->next;
    pthread_mutex_unlock(&lock);
    viv_throttle_put(m->group);
    g_free(m);
}

bool viv_throttle_hold(struct viv_throttled *m, struct viv_blk_req *req)
{
    struct viv_buckets *b = &m->group->buckets;
    int dir = req->op != VIV_BLK_READ;
    bool hold;

    if (req->op == VIV_BLK_FLUSH)
        return false;
    pthread_mutex_lock(&lock);
    hold = (m->head[dir] || viv_buckets_wait(b, dir, now_ns())) && ensure_thread();
    if (hold) {
        req->next = NULL;
        *m->tail[dir] = req;
        m->tail[dir] = &req->next;
        m->held++;
        pthread_cond_signal(&changed);
    } else {
        viv_buckets_add(b, dir, bytes_of(req));
    }
    pthread_mutex_unlock(&lock);
    return hold;
}

unsigned viv_throttle_held(struct viv_throttled *m)
{
    unsigned n;

    pthread_mutex_lock(&lock);
    n = m->held;
    pthread_mutex_unlock(&lock);
    return n;
}
