/* How long disks' requests take, as query-blockstats tells it, and block-latency-histogram-set. */
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "block/latency.h"
#include "block/registry.h"
#include "block/stats.h"

#include <errno.h>

static const char *const kinds[VIV_LATENCIES] = {"rd", "wr", "flush"};
static const char *const words[VIV_LATENCIES] = {"read", "write", "flush"};

/* --- what there is --- */

static json_t *integers(const uint64_t *v, size_t n)
{
    json_t *a = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_integer((json_int_t)v[i]));
    return a;
}

static void put_histogram(json_t *stats, struct viv_latency *l, unsigned kind)
{
    g_autofree char *name = g_strdup_printf("%s_latency_histogram", kinds[kind]);
    g_autofree uint64_t *boundaries = NULL, *bins = NULL;
    unsigned n;

    if (viv_latency_histogram(l, kind, &boundaries, &bins, &n))
        json_object_set_new(stats, name, json_pack("{s:o, s:o}", "boundaries", integers(boundaries, n), "bins", integers(bins, (size_t)n + 1)));
}

static void put_figure(json_t *row, const char *form, unsigned kind, uint64_t v)
{
    g_autoptr(GString) name = g_string_new(form);

    g_string_replace(name, "%s", kinds[kind], 1);
    json_object_set_new(row, name->str, json_integer((json_int_t)v));
}

static json_t *interval_json(uint32_t seconds, const struct viv_latency_figures *f)
{
    json_t *row = json_pack("{s:I, s:f, s:f}", "interval_length", (json_int_t)seconds, "avg_rd_queue_depth", f[VIV_LATENCY_READ].depth,
                            "avg_wr_queue_depth", f[VIV_LATENCY_WRITE].depth);

    for (unsigned k = 0; k < VIV_LATENCIES; k++) {
        put_figure(row, "min_%s_latency_ns", k, f[k].min);
        put_figure(row, "max_%s_latency_ns", k, f[k].max);
        put_figure(row, "avg_%s_latency_ns", k, f[k].avg);
    }
    return row;
}

void viv_mon_put_latency(json_t *stats, struct viv_latency *l)
{
    struct viv_latency_figures f[VIV_LATENCIES];
    json_t *timed = json_array();
    uint32_t seconds;

    json_object_set_new(stats, "timed_stats", timed);
    for (unsigned i = 0; l && (seconds = viv_latency_interval(l, i, viv_blk_stats_clock(), f)) != 0; i++)
        json_array_append_new(timed, interval_json(seconds, f));
    for (unsigned k = 0; l && k < VIV_LATENCIES; k++)
        put_histogram(stats, l, k);
}

/* --- block-latency-histogram-set --- */

#define BOUNDARIES_MAX 4096 /* of all lists */

struct boundaries {
    uint64_t *v; /* NULL: none were given */
    unsigned n;
};

/* The list `key`, one item after the other; the types have been checked. */
static int take_list(struct viv_raw_opts *raw, const char *key, struct boundaries *b, struct viv_err *err)
{
    struct viv_raw_opts *list = viv_raw_take_below(raw, key, key);
    size_t n = list ? viv_raw_count(list) : 0;

    b->n = (unsigned)n;
    b->v = n ? g_new(uint64_t, n) : NULL;
    for (size_t i = 0; i < n; i++) {
        const char *index, *text;

        viv_raw_at(list, i, &index, &text);
        b->v[i] = *text == '-' ? 0 : g_ascii_strtoull(text, NULL, 10);
    }
    viv_raw_free(list);
    return viv_latency_are_boundaries(b->v, b->n) ? 0 : viv_fail(err, EINVAL, "'%s' are nanoseconds above 0, each more than the one before", key);
}

/* `of`: of each kind; behind them those of all. */
static void apply(struct viv_latency *l, const struct boundaries of[VIV_LATENCIES + 1])
{
    bool any = false;

    for (unsigned k = 0; k <= VIV_LATENCIES; k++)
        any |= of[k].v != NULL;
    for (unsigned k = 0; k < VIV_LATENCIES; k++) {
        const struct boundaries *b = of[k].v ? &of[k] : &of[VIV_LATENCIES];

        if (b->v)
            viv_latency_set_histogram(l, k, b->v, b->n);
        else if (!any)
            viv_latency_clear_histogram(l, k);
    }
}

int viv_mon_set_histograms(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    static const struct viv_opt_def args[] = {{.name = "id", .type = VIV_OPT_STR, .required = true}, VIV_OPT_END};
    struct boundaries of[VIV_LATENCIES + 1] = {0};
    struct viv_drive *d = NULL;
    struct viv_opts *o = NULL;
    int ret;

    if (viv_raw_count(raw) > BOUNDARIES_MAX)
        return viv_fail(err, E2BIG, "block-latency-histogram-set: %u boundaries at most", BOUNDARIES_MAX);
    ret = take_list(raw, "boundaries", &of[VIV_LATENCIES], err);

    for (unsigned k = 0; k < VIV_LATENCIES && !ret; k++) {
        g_autofree char *key = g_strdup_printf("boundaries-%s", words[k]);

        ret = take_list(raw, key, &of[k], err);
    }
    if (!ret)
        ret = viv_mon_take_opts("block-latency-histogram-set", args, raw, &o, err);
    if (!ret && !(d = viv_mon_drive_of(viv_opts_str(o, "id"), err)))
        ret = -ENODEV;
    if (!ret)
        apply(d->counters->latency, of);
    viv_opts_free(o);
    for (unsigned k = 0; k <= VIV_LATENCIES; k++)
        g_free(of[k].v);
    return ret;
}
