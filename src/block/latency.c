/* See latency.h. An interval is two windows of its length that begin half of it apart: the older one is what is told. */
#include "block/latency.h"

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define NS_PER_S 1000000000ll

struct histogram {
    uint64_t *boundaries, *bins; /* n and n + 1; bins NULL: there is no histogram */
    unsigned n;
};

struct window {
    int64_t end;
    struct {
        uint64_t min, max, sum, count;
    } of[VIV_LATENCIES];
};

struct interval {
    uint32_t seconds;
    struct window window[2];
};

struct viv_latency {
    atomic_bool wanted;   /* there is something to count in */
    pthread_mutex_t lock; /* of what follows */
    struct histogram histogram[VIV_LATENCIES];
    GArray *intervals;
};

struct viv_latency *viv_latency_new(void)
{
    struct viv_latency *l = g_new0(struct viv_latency, 1);

    pthread_mutex_init(&l->lock, NULL);
    l->intervals = g_array_new(FALSE, TRUE, sizeof(struct interval));
    return l;
}

static void clear(struct histogram *h)
{
    g_free(h->boundaries);
    g_free(h->bins);
    *h = (struct histogram){0};
}

void viv_latency_free(struct viv_latency *l)
{
    for (unsigned k = 0; k < VIV_LATENCIES; k++)
        clear(&l->histogram[k]);
    g_array_free(l->intervals, TRUE);
    pthread_mutex_destroy(&l->lock);
    g_free(l);
}

/* Lock held. */
static void look_if_wanted(struct viv_latency *l)
{
    bool wanted = l->intervals->len;

    for (unsigned k = 0; k < VIV_LATENCIES; k++)
        wanted |= l->histogram[k].bins != NULL;
    atomic_store(&l->wanted, wanted);
}

/* --- histograms --- */

bool viv_latency_are_boundaries(const uint64_t *boundaries, unsigned n)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < n; last = boundaries[i++])
        if (boundaries[i] <= last)
            return false;
    return true;
}

void viv_latency_clear_histogram(struct viv_latency *l, unsigned kind)
{
    pthread_mutex_lock(&l->lock);
    clear(&l->histogram[kind]);
    look_if_wanted(l);
    pthread_mutex_unlock(&l->lock);
}

void viv_latency_set_histogram(struct viv_latency *l, unsigned kind, const uint64_t *boundaries, unsigned n)
{
    pthread_mutex_lock(&l->lock);
    clear(&l->histogram[kind]);
    l->histogram[kind] = (struct histogram){g_memdup2(boundaries, n * sizeof(*boundaries)), g_new0(uint64_t, (size_t)n + 1), n};
    look_if_wanted(l);
    pthread_mutex_unlock(&l->lock);
}

bool viv_latency_histogram(struct viv_latency *l, unsigned kind, uint64_t **boundaries, uint64_t **bins, unsigned *n)
{
    const struct histogram *h = &l->histogram[kind];
    bool found;

    pthread_mutex_lock(&l->lock);
    found = h->bins;
    if (found) {
        *n = h->n;
        *boundaries = g_memdup2(h->boundaries, h->n * sizeof(*h->boundaries));
        *bins = g_memdup2(h->bins, ((size_t)h->n + 1) * sizeof(*h->bins));
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

static void add_to_histogram(struct histogram *h, uint64_t ns)
{
    unsigned from = 0, to = h->n; /* the bin is in [from, to] */

    if (!h->bins)
        return;
    while (from < to) {
        unsigned mid = from + (to - from) / 2;

        if (ns < h->boundaries[mid])
            to = mid;
        else
            from = mid + 1;
    }
    h->bins[from]++;
}

/* --- intervals --- */

/* Windows whose time is over begin anew, as far from each other as they were. */
static void turn(struct interval *v, int64_t now)
{
    int64_t length = v->seconds * NS_PER_S;

    for (unsigned i = 0; i < 2; i++) {
        struct window *w = &v->window[i];

        if (now >= w->end)
            *w = (struct window){.end = w->end + (now - w->end) / length * length + length};
    }
}

void viv_latency_add_interval(struct viv_latency *l, uint32_t seconds, int64_t now)
{
    int64_t length = seconds * NS_PER_S;
    const struct interval v = {seconds, {{.end = now + length / 2}, {.end = now + length}}};

    pthread_mutex_lock(&l->lock);
    g_array_append_val(l->intervals, v);
    look_if_wanted(l);
    pthread_mutex_unlock(&l->lock);
}

static void add_to_interval(struct interval *v, unsigned kind, uint64_t ns, int64_t now)
{
    turn(v, now);
    for (unsigned i = 0; i < 2; i++) {
        struct window *w = &v->window[i];

        w->of[kind].min = w->of[kind].count++ ? MIN(w->of[kind].min, ns) : ns;
        w->of[kind].max = MAX(w->of[kind].max, ns);
        w->of[kind].sum += ns;
    }
}

uint32_t viv_latency_interval(struct viv_latency *l, unsigned i, int64_t now, struct viv_latency_figures out[VIV_LATENCIES])
{
    uint32_t seconds = 0;

    pthread_mutex_lock(&l->lock);
    if (i < l->intervals->len) {
        struct interval *v = &g_array_index(l->intervals, struct interval, i);
        const struct window *w;
        int64_t since;

        turn(v, now);
        w = &v->window[v->window[1].end < v->window[0].end];
        since = now - (w->end - v->seconds * NS_PER_S);
        seconds = v->seconds;
        for (unsigned k = 0; k < VIV_LATENCIES; k++)
            out[k] = (struct viv_latency_figures){w->of[k].min, w->of[k].max, w->of[k].count ? w->of[k].sum / w->of[k].count : 0,
                                                  since > 0 ? (double)w->of[k].sum / (double)since : 0};
    }
    pthread_mutex_unlock(&l->lock);
    return seconds;
}

void viv_latency_add(struct viv_latency *l, unsigned kind, uint64_t ns, int64_t now, bool timed)
{
    if (!atomic_load_explicit(&l->wanted, memory_order_relaxed))
        return;
    pthread_mutex_lock(&l->lock);
    add_to_histogram(&l->histogram[kind], ns);
    for (unsigned i = 0; timed && i < l->intervals->len; i++)
        add_to_interval(&g_array_index(l->intervals, struct interval, i), kind, ns, now);
    pthread_mutex_unlock(&l->lock);
}
