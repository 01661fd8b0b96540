/* HMP's commands about disks' images that QMP has in other words, and commit. */
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "base/units.h"
#include "block/blk.h"
#include "block/options.h"
#include "block/registry.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)
#define DEVICE        {.name = "device", .type = VIV_OPT_STR, .required = true}

/* Those of the arguments that were given, as they are. */
static struct viv_raw_opts *with_args(const char *what, struct viv_opts *o, const char *const *names)
{
    struct viv_raw_opts *raw = viv_raw_new(what);

    for (; *names; names++)
        if (viv_opts_str(o, *names))
            viv_raw_set(raw, *names, viv_opts_str(o, *names));
    return raw;
}

/* Of a new image. */
static const char *mode_of(struct viv_opts *o)
{
    return viv_opts_bool(o, "no-create") ? "existing" : "absolute-paths";
}

/* --- commit --- */

static const struct viv_opt_def device_args[] = {DEVICE, VIV_OPT_END};

static int commit_one(const struct viv_drive *d, struct viv_err *err)
{
    int ret = viv_block_commit(viv_blk_node(d->blk), err);

    if (ret)
        viv_err_prefix(err, "'commit' error for '%s'", d->id);
    return ret;
}

static bool has_backing(const struct viv_drive *d)
{
    const struct viv_node *n = d->blk ? viv_blk_node(d->blk) : NULL;

    while (n && n->drv->filter && n->file)
        n = n->file;
    return n && n->backing;
}

int viv_mon_commit_all(struct viv_err *err)
{
    int ret = viv_mon_check_quiet(err);

    for (struct viv_drive *d = viv_drive_next(NULL); d && !ret; d = viv_drive_next(d))
        ret = has_backing(d) ? commit_one(d, err) : 0;
    return ret;
}

COMMAND(commit)
{
    const char *device = viv_opts_str(o, "device");
    const struct viv_drive *d = viv_drive_find(device);
    int ret;

    if (!strcmp(device, "all"))
        return viv_mon_commit_all(err);
    ret = viv_mon_check_quiet(err);
    if (ret)
        return ret;
    if (!d)
        return viv_fail(err, ENOENT, "Device '%s' not found", device);
    return d->blk ? commit_one(d, err) : viv_fail(err, ENOMEDIUM, "Device '%s' has no medium", device);
}

/* --- jobs --- */

static const struct viv_opt_def speed_args[] = {
    DEVICE,
    {.name = "speed", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};
static const struct viv_opt_def stream_args[] = {
    DEVICE,
    {.name = "speed", .type = VIV_OPT_STR},
    {.name = "base", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

/* A speed in MiB, or with a suffix, to that of QMP. */
static int set_speed(struct viv_raw_opts *raw, const char *text, struct viv_err *err)
{
    g_autofree char *bytes = NULL;
    uint64_t speed = 0;
    int ret = text ? viv_parse_size(text, VIV_MIB, &speed, err) : 0;

    if (ret)
        return ret;
    if (speed > INT64_MAX)
        return viv_fail(err, ERANGE, "Parameter 'speed' is too large");
    bytes = g_strdup_printf("%llu", (unsigned long long)speed);
    viv_raw_set(raw, "speed", bytes);
    return 0;
}

/* "device", and the speed if there is one: what both have. */
static int job_raw(const char *what, struct viv_opts *o, struct viv_raw_opts **out, struct viv_err *err)
{
    int ret;

    *out = with_args(what, o, (const char *const[]){"device", NULL});
    ret = set_speed(*out, viv_opts_str(o, "speed"), err);
    if (ret)
        viv_raw_free(*out);
    return ret;
}

COMMAND(block_job_set_speed)
{
    struct viv_raw_opts *raw;
    int ret = job_raw("block_job_set_speed", o, &raw, err);

    return ret ? ret : viv_mon_run("block-job-set-speed", raw, err);
}

COMMAND(block_stream)
{
    struct viv_raw_opts *raw;
    int ret = job_raw("block_stream", o, &raw, err);

    if (ret)
        return ret;
    if (viv_opts_str(o, "base"))
        viv_raw_set(raw, "base", viv_opts_str(o, "base"));
    return viv_mon_run("block-stream", raw, err);
}

/* --- copies into files --- */

#define COPY_ARGS                                                                                              \
    {.name = "no-create", .type = VIV_OPT_BOOL}, {.name = "full", .type = VIV_OPT_BOOL}, DEVICE,       \
    {.name = "target", .type = VIV_OPT_STR, .required = true}, {.name = "format", .type = VIV_OPT_STR}

static const struct viv_opt_def mirror_args[] = {COPY_ARGS, VIV_OPT_END};
static const struct viv_opt_def backup_args[] = {COPY_ARGS, {.name = "compress", .type = VIV_OPT_BOOL}, VIV_OPT_END};

static struct viv_raw_opts *copy_raw(const char *what, struct viv_opts *o)
{
    struct viv_raw_opts *raw = with_args(what, o, (const char *const[]){"device", "target", "format", NULL});

    viv_raw_set(raw, "sync", viv_opts_bool(o, "full") ? "full" : "top");
    viv_raw_set(raw, "mode", mode_of(o));
    return raw;
}

COMMAND(drive_mirror)
{
    return viv_mon_run("drive-mirror", copy_raw("drive_mirror", o), err);
}

COMMAND(drive_backup)
{
    struct viv_raw_opts *raw = copy_raw("drive_backup", o);

    viv_raw_set(raw, "compress", viv_opts_bool(o, "compress") ? "on" : "off");
    return viv_mon_run("drive-backup", raw, err);
}

/* --- snapshots of one disk --- */

static const struct viv_opt_def snapshot_args[] = {
    {.name = "no-create", .type = VIV_OPT_BOOL},
    DEVICE,
    {.name = "snapshot-file", .type = VIV_OPT_STR, .required = true},
    {.name = "format", .type = VIV_OPT_STR},
    VIV_OPT_END,
};
static const struct viv_opt_def internal_args[] = {
    DEVICE,
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};
static const struct viv_opt_def delete_args[] = {
    DEVICE,
    {.name = "name", .type = VIV_OPT_STR, .required = true},
    {.name = "id", .type = VIV_OPT_STR},
    VIV_OPT_END,
};

COMMAND(snapshot_blkdev)
{
    struct viv_raw_opts *raw = with_args("snapshot_blkdev", o, (const char *const[]){"device", "snapshot-file", "format", NULL});

    viv_raw_set(raw, "mode", mode_of(o));
    return viv_mon_run("blockdev-snapshot-sync", raw, err);
}

COMMAND(snapshot_internal)
{
    return viv_mon_run("blockdev-snapshot-internal-sync", with_args("snapshot_blkdev_internal", o, (const char *const[]){"device", "name", NULL}), err);
}

COMMAND(delete_internal)
{
    return viv_mon_run("blockdev-snapshot-delete-internal-sync",
                       with_args("snapshot_delete_blkdev_internal", o, (const char *const[]){"device", "name", "id", NULL}), err);
}

#define COPY_FORM "[-n] [-f] device:drive target:file [format]"

const struct viv_mon_cmd viv_mon_people_block[] = {
    {.hmp = "commit", .hmp_args = "device:drive", .args = device_args, .fn = commit,
     .help = "write what a disk's image (or, with 'all', each one, as with -snapshot) holds into its backing file"},
    {.hmp = "block_job_set_speed", .hmp_args = "device:job speed", .args = speed_args, .fn = block_job_set_speed,
     .help = "set how much a block job may move a second (in MiB, or with a suffix); 0: any amount"},
    {.hmp = "block_stream", .hmp_args = "device:drive [speed [base]]", .args = stream_args, .fn = block_stream,
     .help = "copy what the backing chain (above base) holds up into a disk's image"},
    {.hmp = "drive_mirror", .hmp_args = COPY_FORM, .args = mirror_args, .fn = drive_mirror,
     .help = "copy a disk into a file and follow its writes, until block_job_complete; -n: the file is there, -f: with what the backing files hold"},
    {.hmp = "drive_backup", .hmp_args = "[-c] " COPY_FORM, .args = backup_args, .fn = drive_backup,
     .help = "copy a disk as it is now into a file; -n: the file is there, -f: with what the backing files hold, -c: compressed"},
    {.hmp = "snapshot_blkdev", .hmp_args = "[-n] device:drive snapshot-file:file [format]", .args = snapshot_args, .fn = snapshot_blkdev,
     .help = "put a new overlay on top of a disk; -n: the file is there"},
    {.hmp = "snapshot_blkdev_internal", .hmp_args = "device:drive name", .args = internal_args, .fn = snapshot_internal,
     .help = "keep a disk as it is now inside its image"},
    {.hmp = "snapshot_delete_blkdev_internal", .hmp_args = "device:drive name [id]", .args = delete_args, .fn = delete_internal,
     .help = "delete a snapshot inside a disk's image"},
    {0},
};
