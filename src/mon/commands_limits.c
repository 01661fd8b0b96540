/* I/O limits of a running machine's disks: block_set_io_throttle, and what query-block says of them. */
#include "mon/mon_int.h"

#include "block/throttle.h"
#include "dev/storage/front.h"

#include <string.h>

static const char *const names[VIV_LIMITS] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};

#define RATE(n)     {.name = n, .type = VIV_OPT_INT, .max = INT64_MAX, .required = true}
#define BURST(n)    {.name = n "_max", .type = VIV_OPT_INT, .max = INT64_MAX}
#define LENGTH(n)   {.name = n "_max_length", .type = VIV_OPT_INT, .min = 1, .max = INT64_MAX}
#define EACH(what)  what("bps"), what("bps_rd"), what("bps_wr"), what("iops"), what("iops_rd"), what("iops_wr")

static const struct viv_opt_def throttle_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .help = "the drive"},
    {.name = "id", .type = VIV_OPT_STR, .help = "the device that has the drive"},
    EACH(RATE),
    EACH(BURST),
    EACH(LENGTH),
    {.name = "iops_size", .type = VIV_OPT_INT, .max = INT64_MAX, .help = "a larger request counts as many of this size"},
    {.name = "group", .type = VIV_OPT_STR, .help = "disks of one group share its limits"},
    VIV_OPT_END,
};

static const struct viv_opt_def people_args[] = {{.name = "device", .type = VIV_OPT_STR, .required = true}, EACH(RATE), VIV_OPT_END};

static uint64_t value(struct viv_opts *o, const char *name, const char *suffix)
{
    g_autofree char *full = g_strconcat(name, suffix, NULL);

    return viv_opts_given(o, full) ? (uint64_t)viv_opts_int(o, full) : 0;
}

static int limit(struct viv_opts *o, const char *group, struct viv_limits *l, struct viv_err *err)
{
    struct viv_front *f = viv_front_named(viv_opts_str(o, "device"), viv_opts_given(o, "id") ? viv_opts_str(o, "id") : NULL, err);
    int rc = f ? viv_limits_check(l, "block_set_io_throttle", err) : -ENODEV;

    return rc ? rc : viv_front_limit(f, group, l, err);
}

static int block_set_io_throttle(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_limits l = {.iops_size = value(o, "iops_size", "")};

    for (unsigned i = 0; i < VIV_LIMITS; i++)
        l.l[i] = (struct viv_limit){value(o, names[i], ""), value(o, names[i], "_max"), value(o, names[i], "_max_length")};
    return limit(o, viv_limits_any(&l) ? viv_opts_str(o, "group") : NULL, &l, err);
}

static int limit_for_people(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_limits l = {0};

    for (unsigned i = 0; i < VIV_LIMITS; i++)
        l.l[i].avg = value(o, names[i], "");
    return limit(o, NULL, &l, err);
}

/* ---- what there is ---- */

static void put(json_t *o, const char *name, const char *suffix, uint64_t v)
{
    g_autofree char *full = g_strconcat(name, suffix, NULL);

    if (v || !*suffix)
        json_object_set_new(o, full, json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX)));
}

/* A group that nobody named is the drive's, and goes by its name. */
void viv_mon_put_limits(json_t *info, const struct viv_blk *blk, const char *drive)
{
    struct viv_throttle *t = viv_blk_limits(blk);
    struct viv_limits l;

    if (!t)
        return;
    viv_throttle_limits(t, &l);
    for (unsigned i = 0; i < VIV_LIMITS; i++) {
        put(info, names[i], "", l.l[i].avg);
        put(info, names[i], "_max", l.l[i].max);
        if (l.l[i].max)
            put(info, names[i], "_max_length", MAX(l.l[i].length, 1));
    }
    if (l.iops_size)
        put(info, "iops_size", "", l.iops_size);
    json_object_set_new(info, "group", json_string(viv_throttle_name(t)[0] == '#' ? drive : viv_throttle_name(t)));
}

void viv_mon_show_limits(const json_t *info, GString *out)
{
    const char *group = json_string_value(json_object_get(info, "group"));
    bool any = group;

    for (unsigned i = 0; i < VIV_LIMITS; i++)
        any |= json_integer_value(json_object_get(info, names[i])) > 0;
    if (!any)
        return;
    g_string_append(out, "    I/O throttling:  ");
    for (unsigned i = 0; i < VIV_LIMITS; i++)
        g_string_append_printf(out, " %s=%lld", names[i], (long long)json_integer_value(json_object_get(info, names[i])));
    g_string_append_printf(out, "%s%s\n", group ? " group=" : "", group ? group : "");
}

const struct viv_mon_cmd viv_mon_limits[] = {
    {.qmp = "block_set_io_throttle", .help = "limit a disk's bytes and requests a second (all 0: no more)", .args = throttle_args, .fn = block_set_io_throttle},
    {.hmp = "block_set_io_throttle", .hmp_args = "device:drive bps bps_rd bps_wr iops iops_rd iops_wr", .args = people_args,
     .help = "limit a disk's bytes and requests a second (all 0: no more)", .fn = limit_for_people},
    {0},
};
