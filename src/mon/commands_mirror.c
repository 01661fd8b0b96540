/* Mirrors: copies of a disk that follow its writes until they take its place, or are left as they are. */
#include "mon/job_args.h"
#include "mon/mon_int.h"

#include "block/job.h"
#include "block/node.h"

#include <errno.h>
#include <string.h>

const char *const viv_mon_copy_modes[] = {"background", "write-blocking", NULL};

#define MIRROR_ARGS                                                                                                         \
    VIV_MON_JOB_ARGS, {.name = "target", .type = VIV_OPT_STR, .required = true},                                            \
    {.name = "sync", .type = VIV_OPT_ENUM, .values = viv_mon_syncs, .required = true},                                      \
    {.name = "granularity", .type = VIV_OPT_INT, .min = 0, .max = UINT32_MAX},                                              \
    {.name = "copy-mode", .type = VIV_OPT_ENUM, .values = viv_mon_copy_modes, .def = "background"},                         \
    {.name = "on-source-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"},                        \
    {.name = "on-target-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"},                        \
    {.name = "buf-size", .type = VIV_OPT_REFUSED, .help = "pieces are 1 MiB; leave it out"},                                \
    {.name = "replaces", .type = VIV_OPT_REFUSED, .help = "the target takes the place of the device; leave it out"}

static const struct viv_opt_def mirror_args[] = {MIRROR_ARGS, VIV_OPT_END};
static const struct viv_opt_def drive_args[] = {
    MIRROR_ARGS,
    {.name = "format", .type = VIV_OPT_STR},
    {.name = "node-name", .type = VIV_OPT_STR},
    {.name = "mode", .type = VIV_OPT_ENUM, .values = viv_mon_new_image_modes, .def = "absolute-paths"},
    {.name = "unmap", .type = VIV_OPT_BOOL, .def = "on"},
    VIV_OPT_END,
};

/* What a mirror has beside source and target. */
static void read_mirror(struct viv_opts *o, struct viv_block_job_opts *b)
{
    b->sync = viv_mon_choice(o, "sync", viv_mon_syncs);
    b->on_source = viv_mon_on_error(o, "on-source-error");
    b->on_target = viv_mon_on_error(o, "on-target-error");
    b->granularity = (uint32_t)viv_opts_int(o, "granularity");
    b->write_blocking = viv_mon_choice(o, "copy-mode", viv_mon_copy_modes);
}

static int blockdev_mirror(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    struct viv_block_job_opts b = {0};
    int ret = viv_mon_read_copy(o, &b, err);

    read_mirror(o, &b);
    return ret ? ret : viv_job_mirror(&b, err);
}

/* A disk without a backing file has nothing but its top. */
static int check_sync(struct viv_block_job_opts *b, bool is_new, struct viv_err *err)
{
    if (b->sync == VIV_SYNC_TOP && !b->node->backing)
        b->sync = VIV_SYNC_FULL;
    if (b->sync == VIV_SYNC_NONE && is_new)
        return viv_fail(err, ENOTSUP, "sync=none copies nothing that is there already: make the target before and say mode=existing");
    b->same_backing = b->sync == VIV_SYNC_TOP && is_new;
    return 0;
}

static int drive_mirror(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    const char *name = viv_opts_str(o, "node-name");
    struct viv_node_opts how = {.unmap = viv_opts_bool(o, "unmap"), .node_name = name};
    struct viv_mon_target target = {0};
    struct viv_block_job_opts b = {0};
    int ret = viv_mon_read_job(o, &b, err);

    if (ret)
        return ret;
    read_mirror(o, &b);
    ret = check_sync(&b, strcmp(viv_opts_str(o, "mode"), "existing") != 0, err);
    if (!ret && name && viv_node_find(name))
        ret = viv_fail(err, EEXIST, "node-name=%s is already in use", name);
    if (!ret)
        ret = viv_mon_open_target(o, b.node, &how, b.same_backing ? b.node->backing : NULL, &target, err);
    b.target = target.node;
    if (!ret)
        ret = viv_job_mirror(&b, err);
    viv_mon_target_done(&target, !ret);
    return ret;
}

const struct viv_mon_cmd viv_mon_mirrors[] = {
    {.qmp = "blockdev-mirror", .help = "copy a disk and follow its writes until the copy takes its place", .args = mirror_args, .fn = blockdev_mirror},
    {.qmp = "drive-mirror", .help = "the same, into a file", .args = drive_args, .fn = drive_mirror},
    {0},
};
