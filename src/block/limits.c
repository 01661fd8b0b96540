/* I/O limits from options: the names of today and those of old, of drives and of throttle-group objects. */
#include "block/throttle.h"

#include "opt/opt.h"

#include <errno.h>
#include <glib.h>

static const struct {
    const char *name, *old;
    bool bytes;
} names[VIV_LIMITS] = {
    [VIV_LIMIT_BPS_TOTAL] = {"bps-total", "bps", true},
    [VIV_LIMIT_BPS_READ] = {"bps-read", "bps_rd", true},
    [VIV_LIMIT_BPS_WRITE] = {"bps-write", "bps_wr", true},
    [VIV_LIMIT_IOPS_TOTAL] = {"iops-total", "iops", false},
    [VIV_LIMIT_IOPS_READ] = {"iops-read", "iops_rd", false},
    [VIV_LIMIT_IOPS_WRITE] = {"iops-write", "iops_wr", false},
};

static uint64_t number(struct viv_opts *o, const char *key, bool bytes)
{
    return bytes ? viv_opts_size(o, key) : (uint64_t)viv_opts_int(o, key);
}

/* One value under either name (old NULL: there is none). */
static int read_value(struct viv_opts *o, const char *name, const char *old, bool bytes, uint64_t *out,
                      struct viv_err *err)
{
    bool is_new = viv_opts_given(o, name), is_old = old && viv_opts_given(o, old);

    if (is_new && is_old)
        return viv_fail(err, EINVAL, "%s: %s and %s are the same", viv_opts_what(o), name, old);
    *out = is_new ? number(o, name, bytes) : is_old ? number(o, old, bytes) : 0;
    return 0;
}

/* "<today>bps-total" and so on. The same limits' other names: with `old` in front, or (NULL) their own. */
static int read_limits(struct viv_opts *o, const char *today, const char *old, struct viv_limits *l, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; i < VIV_LIMITS && !ret; i++) {
        const char *base = names[i].name;
        g_autofree char *avg = g_strconcat(today, base, NULL), *max = g_strconcat(avg, "-max", NULL);
        g_autofree char *length = g_strconcat(max, "-length", NULL);
        g_autofree char *old_avg = old ? g_strconcat(old, base, NULL) : g_strdup(names[i].old);
        g_autofree char *old_max = g_strconcat(old_avg, old ? "-max" : "_max", NULL);
        g_autofree char *old_length = old ? g_strconcat(old_max, "-length", NULL) : NULL;

        ret = read_value(o, avg, old_avg, names[i].bytes, &l->l[i].avg, err);
        if (!ret)
            ret = read_value(o, max, old_max, names[i].bytes, &l->l[i].max, err);
        if (!ret)
            ret = read_value(o, length, old_length, false, &l->l[i].length, err);
    }
    return ret ? ret : viv_limits_check(l, viv_opts_what(o), err);
}

int viv_limits_read(struct viv_opts *o, struct viv_limits *l, const char **group, struct viv_err *err)
{
    const char *today = viv_opts_str(o, "throttling.group"), *old = viv_opts_str(o, "group");
    int ret;

    *l = (struct viv_limits){0};
    if (today && old)
        return viv_fail(err, EINVAL, "%s: throttling.group and group are the same", viv_opts_what(o));
    *group = today ? today : old;
    ret = read_value(o, "throttling.iops-size", "iops_size", true, &l->iops_size, err);
    return ret ? ret : read_limits(o, "throttling.", NULL, l, err);
}

/* --- throttle-group objects: "x-bps-total", and "limits.bps-total" as JSON has it --- */

#define LIMIT(name, type, what)                                                                                        \
    {"x-" name, type, what " a second"}, {"x-" name "-max", type, what " a second in bursts"},                         \
        {"x-" name "-max-length", VIV_OPT_INT, "seconds of a burst", .min = 1, .max = 1000000},                        \
        {"limits." name, type, "as x-" name}, {"limits." name "-max", type, "as x-" name "-max"},                      \
    {                                                                                                                  \
        "limits." name "-max-length", VIV_OPT_INT, "as x-" name "-max-length", .min = 1, .max = 1000000                \
    }

const struct viv_opt_def viv_throttle_group_opts[] = {
    {"id", VIV_OPT_STR, "name of the group", .required = true},
    LIMIT("bps-total", VIV_OPT_SIZE, "bytes"),
    LIMIT("bps-read", VIV_OPT_SIZE, "bytes read"),
    LIMIT("bps-write", VIV_OPT_SIZE, "bytes written"),
    LIMIT("iops-total", VIV_OPT_INT, "requests"),
    LIMIT("iops-read", VIV_OPT_INT, "reads"),
    LIMIT("iops-write", VIV_OPT_INT, "writes"),
    {"x-iops-size", VIV_OPT_SIZE, "a larger request counts as many of this size"},
    {"limits.iops-size", VIV_OPT_SIZE, "as x-iops-size"},
    VIV_OPT_END,
};

static GHashTable *objects; /* id -> a reference to its group */

static void put_group(gpointer t)
{
    viv_throttle_put(t);
}

static int read_group(struct viv_opts *o, struct viv_limits *l, struct viv_err *err)
{
    int ret = read_value(o, "x-iops-size", "limits.iops-size", true, &l->iops_size, err);

    return ret ? ret : read_limits(o, "x-", "limits.", l, err);
}

int viv_throttle_group_add(struct viv_opts *o, struct viv_err *err)
{
    const char *id = viv_opts_str(o, "id");
    struct viv_throttle *there = viv_throttle_find(id);
    struct viv_limits l = {0};
    int ret;

    if (there) {
        viv_throttle_put(there);
        return viv_fail(err, EEXIST, "there is a throttle group '%s' already", id);
    }
    ret = read_group(o, &l, err);
    if (ret)
        return ret;
    objects = objects ? objects : g_hash_table_new_full(g_str_hash, g_str_equal, g_free, put_group);
    g_hash_table_insert(objects, g_strdup(id), viv_throttle_get(id, &l));
    return 0;
}

int viv_throttle_group_del(const char *id, struct viv_err *err)
{
    struct viv_throttle *t = objects ? g_hash_table_lookup(objects, id) : NULL;

    if (!t)
        return viv_fail(err, ENOENT, "there is no throttle group '%s'", id);
    if (viv_throttle_is_used(t))
        return viv_fail(err, EBUSY, "object '%s' is in use, can not be deleted", id);
    g_hash_table_remove(objects, id);
    return 0;
}

int viv_throttle_group_change(struct viv_opts *o, struct viv_err *err)
{
    struct viv_limits l = {0};
    int ret = read_group(o, &l, err);

    if (!ret)
        viv_throttle_put(viv_throttle_get(viv_opts_str(o, "id"), &l));
    return ret;
}

static void put_limit(struct viv_raw_opts *to, const char *name, const char *tail, uint64_t value)
{
    g_autofree char *key = g_strconcat("limits.", name, tail, NULL), *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);

    viv_raw_set(to, key, text);
}

struct viv_raw_opts *viv_throttle_group_now(const char *id)
{
    struct viv_raw_opts *r = viv_raw_new("throttle-group");
    struct viv_throttle *t = g_hash_table_lookup(objects, id);
    struct viv_limits l;

    viv_throttle_limits(t, &l);
    viv_raw_set(r, "id", id);
    for (unsigned i = 0; i < VIV_LIMITS; i++) {
        put_limit(r, names[i].name, "", l.l[i].avg);
        put_limit(r, names[i].name, "-max", l.l[i].max);
        put_limit(r, names[i].name, "-max-length", MAX(l.l[i].length, 1));
    }
    put_limit(r, "iops-size", "", l.iops_size);
    return r;
}

void viv_throttle_groups_free(void)
{
    if (objects)
        g_hash_table_destroy(objects);
    objects = NULL;
}
