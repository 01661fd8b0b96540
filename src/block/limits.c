/* I/O limits from options: the names of today and those of old. */
#include "block/throttle.h"

#include "opt/opt.h"

#include <errno.h>
#include <glib.h>

static const struct {
    const char *name, *old;
    bool bytes;
} names[VIV_LIMITS] = {
    [VIV_LIMIT_BPS_TOTAL] = {"throttling.bps-total", "bps", true},
    [VIV_LIMIT_BPS_READ] = {"throttling.bps-read", "bps_rd", true},
    [VIV_LIMIT_BPS_WRITE] = {"throttling.bps-write", "bps_wr", true},
    [VIV_LIMIT_IOPS_TOTAL] = {"throttling.iops-total", "iops", false},
    [VIV_LIMIT_IOPS_READ] = {"throttling.iops-read", "iops_rd", false},
    [VIV_LIMIT_IOPS_WRITE] = {"throttling.iops-write", "iops_wr", false},
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

int viv_limits_read(struct viv_opts *o, struct viv_limits *l, const char **group, struct viv_err *err)
{
    const char *today = viv_opts_str(o, "throttling.group"), *old = viv_opts_str(o, "group");
    int ret;

    *l = (struct viv_limits){0};
    if (today && old)
        return viv_fail(err, EINVAL, "%s: throttling.group and group are the same", viv_opts_what(o));
    *group = today ? today : old;
    ret = read_value(o, "throttling.iops-size", "iops_size", true, &l->iops_size, err);
    for (unsigned i = 0; i < VIV_LIMITS && !ret; i++) {
        g_autofree char *max = g_strdup_printf("%s-max", names[i].name);
        g_autofree char *old_max = g_strdup_printf("%s_max", names[i].old);
        g_autofree char *length = g_strdup_printf("%s-max-length", names[i].name);

        ret = read_value(o, names[i].name, names[i].old, names[i].bytes, &l->l[i].avg, err);
        if (!ret)
            ret = read_value(o, max, old_max, names[i].bytes, &l->l[i].max, err);
        if (!ret)
            ret = read_value(o, length, NULL, false, &l->l[i].length, err);
    }
    return ret ? ret : viv_limits_check(l, viv_opts_what(o), err);
}
