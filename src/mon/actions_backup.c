/* Backups: alone, or several of one moment in a transaction. */
#include "mon/job_args.h"
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "block/graph.h"
#include "block/image.h"

#include <errno.h>
#include <string.h>

static const char *const bitmap_modes[] = {"on-success", "never", "always", NULL}; /* enum viv_job_bitmap_mode */

#define BACKUP_ARGS                                                                                             \
    VIV_MON_JOB_ARGS, {.name = "target", .type = VIV_OPT_STR, .required = true},                                \
    {.name = "sync", .type = VIV_OPT_ENUM, .values = viv_mon_syncs, .required = true},                          \
    {.name = "bitmap", .type = VIV_OPT_STR},                                                                    \
    {.name = "bitmap-mode", .type = VIV_OPT_ENUM, .values = bitmap_modes},                                      \
    {.name = "compress", .type = VIV_OPT_BOOL},                                                                 \
    {.name = "on-source-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"},            \
    {.name = "on-target-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"}

static const struct viv_opt_def backup_args[] = {BACKUP_ARGS, VIV_OPT_END};
static const struct viv_opt_def drive_args[] = {
    BACKUP_ARGS,
    {.name = "format", .type = VIV_OPT_STR},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = viv_mon_new_image_modes, .def = "absolute-paths"},
    VIV_OPT_END,
};

/* What a backup has beside source and target. */
static int read_backup(struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err)
{
    b->sync = viv_mon_choice(o, "sync", viv_mon_syncs);
    b->on_source = viv_mon_on_error(o, "on-source-error");
    b->on_target = viv_mon_on_error(o, "on-target-error");
    b->bitmap = viv_opts_str(o, "bitmap");
    b->bitmap_mode = viv_mon_choice(o, "bitmap-mode", bitmap_modes);
    b->compress = viv_opts_bool(o, "compress");
    if (b->sync == VIV_SYNC_INCREMENTAL && b->bitmap_mode != VIV_BITMAP_ON_SUCCESS)
        return viv_fail(err, EINVAL, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
    if (b->sync == VIV_SYNC_BITMAP && b->bitmap && !viv_opts_given(o, "bitmap-mode"))
        return viv_fail(err, EINVAL, "Bitmap sync mode must be given when providing a bitmap");
    return 0;
}

/* --- as actions --- */

struct backup {
    struct viv_job *job;
    struct viv_mon_target target; /* of a drive-backup */
};

static int change(struct viv_mon_action *a, struct viv_err *err)
{
    return viv_job_prepare(((struct backup *)a->state)->job, err);
}

static void undo(struct viv_mon_action *a)
{
    viv_job_unprepare(((struct backup *)a->state)->job);
}

static int end(struct viv_mon_action *a, bool done, struct viv_err *err)
{
    struct backup *b = a->state;
    int ret = 0;

    if (b->job && done)
        ret = viv_job_go(b->job, err);
    else if (b->job)
        viv_job_drop(b->job);
    viv_mon_target_done(&b->target, done);
    return ret;
}

static int start(struct viv_mon_action *a, struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err)
{
    struct backup *mine = a->state;
    int ret = read_backup(o, b, err);

    if (!ret)
        mine->job = viv_job_backup_new(b, a->group, err);
    return ret ? ret : mine->job ? 0 : -EINVAL;
}

static int begin_backup(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_block_job_opts b = {0};
    struct viv_opts *o;
    int ret = viv_mon_take_opts(a->type->name, backup_args, raw, &o, err);

    if (!ret)
        ret = viv_mon_read_copy(o, &b, err);
    if (!ret)
        ret = start(a, o, &b, err);
    viv_opts_free(o);
    return ret;
}

const struct viv_mon_action_type viv_mon_action_backup = {
    .name = "blockdev-backup",
    .size = sizeof(struct backup),
    .grouped = true,
    .begin = begin_backup,
    .change = change,
    .undo = undo,
    .end = end,
};

/* --- drive-backup: into a file by its name --- */

/* What the target's header is to name. */
static const struct viv_node *below_target(const struct viv_block_job_opts *b)
{
    return b->sync == VIV_SYNC_TOP ? b->node->backing : b->sync == VIV_SYNC_NONE ? b->node : NULL;
}

static int open_target(struct viv_mon_action *a, struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err)
{
    const struct viv_node_opts how = {.no_backing = true, .unmap = true};
    struct backup *mine = a->state;
    int ret = viv_mon_open_target(o, b->node, &how, below_target(b), &mine->target, err);

    b->target = mine->target.node;
    return ret;
}

static int begin_drive(struct viv_mon_action *a, struct viv_raw_opts *raw, struct viv_err *err)
{
    struct viv_block_job_opts b = {0};
    struct viv_opts *o;
    int ret = viv_mon_take_opts(a->type->name, drive_args, raw, &o, err);

    if (!ret)
        ret = viv_mon_read_job(o, &b, err);
    if (!ret)
        ret = read_backup(o, &b, err);
    if (!ret)
        ret = open_target(a, o, &b, err);
    if (!ret)
        ret = start(a, o, &b, err);
    viv_opts_free(o);
    return ret;
}

const struct viv_mon_action_type viv_mon_action_drive_backup = {
    .name = "drive-backup",
    .size = sizeof(struct backup),
    .grouped = true,
    .begin = begin_drive,
    .change = change,
    .undo = undo,
    .end = end,
};

/* --- the commands --- */

static int blockdev_backup(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_block_job_opts b = {0};
    int ret = viv_mon_read_copy(o, &b, err);

    if (!ret)
        ret = read_backup(o, &b, err);
    return ret ? ret : viv_job_backup(&b, err);
}

static int drive_backup(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    return viv_mon_act(&viv_mon_action_drive_backup, raw, err);
}

const struct viv_mon_cmd viv_mon_backups[] = {
    {.qmp = "blockdev-backup", .help = "copy a disk as it is now, while it is being used", .args = backup_args, .fn = blockdev_backup},
    {.qmp = "drive-backup", .help = "the same, into a file", .takes = "DriveBackup", .raw = drive_backup},
    {0},
};
