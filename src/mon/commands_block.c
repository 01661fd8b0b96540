/* The commands about drives and their media. */
#include "mon/command.h"
#include "mon/mon_int.h"

#include "block/options.h"
#include "block/stats.h"
#include "dev/storage/front.h"
#include "host/lock.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- what there is --- */

static const struct viv_front *front_of(const struct viv_drive *d)
{
    for (struct viv_front *f = viv_front_next(NULL); f; f = viv_front_next(f)) {
        if (f->drive == d)
            return f;
    }
    return NULL;
}

struct viv_drive *viv_mon_drive_of(const char *id, struct viv_err *err)
{
    const struct viv_front *f = viv_front_named(NULL, id, err);

    if (!f)
        viv_mon_error_class("DeviceNotFound");
    return f ? f->drive : NULL;
}

bool viv_mon_drive_is_node(const struct viv_drive *d)
{
    const struct viv_front *f = front_of(d);

    return f && f->of_node;
}

static const char *name_of(const struct viv_drive *d, const struct viv_front *f)
{
    return f ? viv_front_drive_name(f) : d->id;
}

static void put_device(json_t *row, const struct viv_front *f)
{
    g_autofree char *name = f ? viv_front_device_name(f) : NULL;

    if (name)
        json_object_set_new(row, "qdev", json_string(name));
}

/* "info block" and query-block. */
int viv_mon_query_block(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    *result = json_array();
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        const struct viv_front *f = front_of(d);
        json_t *row = json_pack("{s:s, s:s, s:b, s:b}", "device", name_of(d, f), "type", "unknown", "locked",
                                f && f->tray_locked, "removable", f && f->removable);

        put_device(row, f);
        if (f && viv_front_io_status(f))
            json_object_set_new(row, "io-status", json_string(viv_front_io_status(f)));
        if (f && f->ops->eject_asked)
            json_object_set_new(row, "tray_open", json_boolean(f->tray_open));
        if (d->blk) {
            json_t *in = viv_mon_blk_json(d->blk);

            viv_mon_put_limits(in, d->blk, d->id);
            json_object_set_new(row, "inserted", in);
        }
        json_array_append_new(*result, row);
    }
    return 0;
}

/* --- figures --- */

static json_int_t load(const atomic_uint_least64_t *v)
{
    return (json_int_t)atomic_load_explicit(v, memory_order_relaxed);
}

static const char *const kinds[VIV_STATS] = {"rd", "wr", "flush", "unmap"};

/* Nothing is merged. */
json_t *viv_mon_stats_json(const struct viv_blk_counters *c)
{
    static const struct viv_blk_counters none = {.skip_invalid = true, .skip_failed = true};
    const struct viv_blk_counters *given = c;
    json_t *o;
    int64_t last;

    c = c ? c : &none;
    o = json_pack("{s:i, s:i, s:i, s:b, s:b}", "rd_merged", 0, "wr_merged", 0, "unmap_merged", 0, "account_invalid", !c->skip_invalid,
                  "account_failed", !c->skip_failed);
    for (unsigned k = 0; k < VIV_STATS; k++) {
        const struct { const char *form; const atomic_uint_least64_t *v; } members[] = {
            {"%s_operations", &c->ops[k]}, {"%s_total_time_ns", &c->ns[k]}, {"failed_%s_operations", &c->failed[k]},
            {"invalid_%s_operations", &c->invalid[k]}, {"%s_bytes", &c->bytes[k]}};

        for (unsigned i = 0; i < (k == VIV_STAT_FLUSH ? 4u : 5u); i++) {
            GString *name = g_string_new(members[i].form);

            g_string_replace(name, "%s", kinds[k], 0);
            json_object_set_new(o, name->str, json_integer(load(members[i].v)));
            g_string_free(name, TRUE);
        }
    }
    json_object_set_new(o, "wr_highest_offset", json_integer(load(&c->written_end)));
    last = atomic_load_explicit(&c->last, memory_order_relaxed);
    if (last)
        json_object_set_new(o, "idle_time_ns", json_integer(viv_blk_stats_clock() - last));
    viv_mon_put_latency(o, given ? given->latency : NULL);
    return o;
}

static const struct viv_opt_def blockstats_args[] = {
    {.name = "query-nodes", .type = VIV_OPT_BOOL, .help = "of each named node, in place of the drives"},
    VIV_OPT_END,
};

COMMAND(query_blockstats)
{
    if (viv_opts_bool(o, "query-nodes")) {
        *result = viv_mon_node_stats();
        return 0;
    }
    *result = json_array();
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d)) {
        const struct viv_front *f = front_of(d);
        json_t *row = json_pack("{s:s, s:o}", "device", name_of(d, f), "stats", viv_mon_stats_json(d->counters));

        put_device(row, f);
        if (d->blk) {
            json_object_set_new(row, "node-name", json_string(viv_mon_name_blk(d->blk)));
            viv_mon_put_stats_below(row, d->blk);
        }
        json_array_append_new(*result, row);
    }
    return 0;
}

static void show_blockstats(const json_t *r, GString *out)
{
    static const char *const shown[] = {"rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "wr_total_time_ns",
                                        "rd_total_time_ns", "flush_total_time_ns", "rd_merged", "wr_merged", "idle_time_ns"};
    size_t i;
    json_t *d;

    json_array_foreach((json_t *)r, i, d) {
        const json_t *stats = json_object_get(d, "stats");

        const char *name = json_string_value(json_object_get(d, "device")), *node = json_string_value(json_object_get(d, "node-name"));

        g_string_append_printf(out, "%s:", !*name && node ? node : name);
        for (unsigned k = 0; k < G_N_ELEMENTS(shown); k++)
            if (json_object_get(stats, shown[k]))
                g_string_append_printf(out, " %s=%lld", shown[k], (long long)json_integer_value(json_object_get(stats, shown[k])));
        g_string_append_c(out, '\n');
    }
}

/* --- trays --- */

#define WHICH                                                                        \
    {.name = "device", .type = VIV_OPT_STR, .help = "the drive"},                    \
    {                                                                                \
        .name = "id", .type = VIV_OPT_STR, .help = "the device that has the drive"   \
    }

static struct viv_front *which(struct viv_opts *o, struct viv_err *err)
{
    return viv_front_removable(viv_opts_str(o, "device"), viv_opts_str(o, "id"), err);
}

static const struct viv_opt_def force_args[] = {
    WHICH,
    {.name = "force", .type = VIV_OPT_BOOL, .help = "although the guest has locked it"},
    VIV_OPT_END,
};
static const struct viv_opt_def which_args[] = {WHICH, VIV_OPT_END};

COMMAND(do_eject)
{
    struct viv_front *f = which(o, err);

    return f ? viv_front_eject(f, viv_opts_bool(o, "force"), err) : -ENODEV;
}

COMMAND(open_tray)
{
    struct viv_front *f = which(o, err);

    return f ? viv_front_open_tray(f, viv_opts_bool(o, "force"), err) : -ENODEV;
}

COMMAND(close_tray)
{
    struct viv_front *f = which(o, err);

    return f ? viv_front_close_tray(f, err) : -ENODEV;
}

COMMAND(remove_medium)
{
    struct viv_front *f = which(o, err);

    return f ? viv_front_remove(f, err) : -ENODEV;
}

/* --- media --- */

static unsigned perms_of(const struct viv_front *f)
{
    return VIV_PERM_READ | (f->read_only_media ? 0 : VIV_PERM_WRITE);
}

static unsigned shared_by(const struct viv_front *f)
{
    return VIV_PERM_READ | (f->share ? VIV_PERM_WRITE : 0);
}

static const struct viv_opt_def insert_args[] = {
    WHICH,
    {.name = "node-name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(insert_medium)
{
    struct viv_front *f = which(o, err);
    g_autofree char *user = f ? g_strdup_printf("drive '%s'", f->drive->id) : NULL;
    struct viv_blk *blk;
    int rc;

    if (!f)
        return -ENODEV;
    rc = viv_blockdev_attach(viv_opts_str(o, "node-name"), perms_of(f), shared_by(f), user, &blk, err);
    if (rc < 0)
        return rc;
    rc = viv_front_insert(f, blk, err);
    if (rc < 0)
        viv_blk_close(blk, NULL);
    return rc;
}

static const char *const modes[] = {"retain", "read-only", "read-write", NULL};

static const struct viv_opt_def change_args[] = {
    {.name = "device", .type = VIV_OPT_STR},
    {.name = "filename", .type = VIV_OPT_STR, .required = true},
    {.name = "format", .type = VIV_OPT_STR},
    {.name = "read-only-mode", .type = VIV_OPT_ENUM, .values = modes, .def = "retain"},
    {.name = "id", .type = VIV_OPT_STR},
    {.name = "force", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};

static int open_medium(const struct viv_front *f, struct viv_opts *o, struct viv_blk **out, struct viv_err *err)
{
    g_autofree char *user = g_strdup_printf("drive '%s'", f->drive->id);
    const char *mode = viv_opts_str(o, "read-only-mode");
    bool had = f->drive->blk && viv_blk_writable(f->drive->blk);
    bool write = !strcmp(mode, "read-write") || (!strcmp(mode, "retain") && (had || !f->drive->blk));
    int rc;

    if (f->read_only_media && !strcmp(mode, "read-write"))
        return viv_fail(err, EINVAL, "drive '%s' reads only; leave read-only-mode out", f->drive->id);
    viv_dev_unlock(); /* a file that is far away is no reason for the guest to stand still */
    rc = viv_blk_open_path(viv_opts_str(o, "filename"), viv_opts_str(o, "format"),
                           VIV_PERM_READ | (write && !f->read_only_media ? VIV_PERM_WRITE : 0), shared_by(f), user, out, err);
    viv_dev_lock();
    return rc;
}

/* The new image is opened before anything moves: a wrong name leaves the old medium in. */
COMMAND(change_medium)
{
    const char *device = viv_opts_str(o, "device");
    struct viv_front *f;
    struct viv_blk *blk;
    int rc;

    if (device && !strcmp(device, "vnc"))
        return viv_mon_change_vnc(viv_opts_str(o, "filename"), viv_opts_str(o, "format"), err);
    f = which(o, err);
    rc = f ? open_medium(f, o, &blk, err) : -ENODEV;
    if (rc < 0)
        return rc;
    rc = viv_front_eject(f, viv_opts_bool(o, "force"), err);
    if (!rc)
        rc = viv_front_insert(f, blk, err);
    if (rc < 0) {
        viv_blk_close(blk, NULL);
        return rc;
    }
    return viv_front_close_tray(f, err);
}

static const struct viv_opt_def info_block_args[] = {
    {.name = "verbose", .type = VIV_OPT_BOOL},
    {.name = "nodes", .type = VIV_OPT_BOOL},
    {.name = "device", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

const struct viv_mon_cmd viv_mon_media[] = {
    {"info block", NULL, "[-v] [-n] [device:drive]", info_block_args, "show the disks, or one; -n: the named nodes instead, -v: with their images", viv_mon_info_block},
    {NULL, "query-block", NULL, NULL, "the disks", viv_mon_query_block, .returns = "[BlockInfo]"},
    {"info blockstats", "query-blockstats", NULL, blockstats_args, "show what the disks have read and written", query_blockstats, show_blockstats,
     .returns = "[BlockStats]"},
    {.qmp = "block-latency-histogram-set", .help = "count how long a disk's requests take, from empty bins; without boundaries no more",
     .takes = "BlockLatencyHistogramArguments", .raw = viv_mon_set_histograms},
    {"eject", "eject", "[-f] device:drive", force_args, "take the medium out of a drive", do_eject},
    {"change", "blockdev-change-medium", "[-f] device:drive filename:file [format [read-only-mode]]", change_args, "put another medium into a drive; change vnc password [SECRET]",
     change_medium},
    {NULL, "blockdev-open-tray", NULL, force_args, "open a drive's tray", open_tray},
    {NULL, "blockdev-close-tray", NULL, which_args, "close a drive's tray", close_tray},
    {NULL, "blockdev-insert-medium", NULL, insert_args, "put a node into a drive with an open tray", insert_medium},
    {NULL, "blockdev-remove-medium", NULL, which_args, "take the medium out of a drive with an open tray", remove_medium},
    {0},
};
