/* Changes of nodes in use: blockdev-reopen, block_resize, change-backing-file. */
#include "mon/mon_int.h"
#include "mon/transaction.h"

#include "base/units.h"
#include "block/graph.h"
#include "block/job.h"
#include "block/node.h"
#include "block/options.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static int blockdev_reopen(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)
{
    struct viv_raw_opts *list = viv_raw_take_below(raw, "options", "blockdev-reopen");
    const char *key = "options", *value;
    int ret = viv_mon_check_quiet(err);

    if (viv_raw_count(raw))
        viv_raw_at(raw, 0, &key, &value);
    if (ret)
        ;
    else if (viv_raw_count(raw) || !list)
        ret = viv_fail(err, EINVAL, "Parameter '%s' is %s", key, viv_raw_count(raw) ? "unexpected" : "missing");
    else
        ret = viv_blockdev_reopen(list, err);
    viv_raw_free(list);
    return ret;
}

/* --- block_resize --- */

static const struct viv_opt_def resize_args[] = {
    {.name = "device", .type = VIV_OPT_STR},
    {.name = "node-name", .type = VIV_OPT_STR},
    {.name = "size", .type = VIV_OPT_INT, .required = true},
    VIV_OPT_END,
};

COMMAND(resize)
{
    const char *device = viv_opts_str(o, "device"), *name = viv_opts_str(o, "node-name");
    int64_t size = viv_opts_int(o, "size");
    struct viv_node *n, *other;
    int ret = viv_mon_check_quiet(err);

    if (!ret)
        ret = viv_mon_take_node(device, name, &n, err);
    if (!ret && device && *device && name && *name && !viv_mon_take_node(device, NULL, &other, NULL) && other != n)
        ret = viv_fail(err, EINVAL, "device='%s' and node-name='%s' name two disks", device, name);
    if (ret)
        return ret;
    return size < 0 ? viv_fail(err, EINVAL, "Parameter 'size' expects a >0 size") : viv_block_resize(n, (uint64_t)size, err);
}

static const struct viv_opt_def people_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "size", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

COMMAND(resize_for_people)
{
    const char *device = viv_opts_str(o, "device");
    struct viv_node *n = viv_mon_find_node(device);
    uint64_t size;
    int ret = viv_mon_check_quiet(err);

    if (!ret)
        ret = viv_parse_size(viv_opts_str(o, "size"), VIV_MIB, &size, err);
    if (!ret && !n)
        ret = viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", device, device);
    return ret ? ret : viv_block_resize(n, size, err);
}

/* --- change-backing-file: what an image's header says --- */

static const struct viv_opt_def backing_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "image-node-name", .type = VIV_OPT_STR, .required = true},
    {.name = "backing-file", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};

struct new_backing {
    struct viv_node *n;
    const char *name;
};

static int write_backing(void *opaque, struct viv_err *err)
{
    const struct new_backing *b = opaque;

    return b->n->backing ? viv_node_write_backing(b->n, b->name, b->n->backing->drv->name, err)
                         : viv_fail(err, EBUSY, "'%s' has no backing file any more", b->n->filename);
}

static int check_backing(const char *device, struct viv_node *disk, const struct viv_node *n, struct viv_err *err)
{
    const char *job;

    if (!n->backing)
        return viv_fail(err, EINVAL, "not allowing backing file change on an image without a backing file");
    while (disk && disk != n)
        disk = disk->drv->filter ? disk->file : disk->backing;
    if (!disk)
        return viv_fail(err, EINVAL, "'%s' and image file are not in the same chain", device);
    return viv_job_has(n, &job) ? viv_fail(err, EBUSY, "Node '%s' is busy: block device is in use by block job '%s'", n->name, job) : 0;
}

COMMAND(change_backing_file)
{
    const char *device = viv_opts_str(o, "device");
    struct new_backing b = {.name = viv_opts_str(o, "backing-file")};
    struct viv_node *disk = viv_mon_find_node(device);
    int ret = viv_mon_check_quiet(err);

    if (!ret && !disk)
        ret = viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", device, device);
    if (!ret)
        ret = viv_mon_take_node(NULL, viv_opts_str(o, "image-node-name"), &b.n, err);
    if (!ret)
        ret = check_backing(device, disk, b.n, err);
    if (ret)
        return ret;
    viv_node_get(b.n);
    ret = viv_graph_run(write_backing, &b, err);
    viv_node_put(&b.n);
    return ret;
}

const struct viv_mon_cmd viv_mon_graph[] = {
    {.qmp = "change-backing-file", .help = "write another backing file into an image's header; what is open stays", .args = backing_args, .fn = change_backing_file},
    {.qmp = "blockdev-reopen", .help = "open nodes again with other options", .raw = blockdev_reopen, .takes = "BlockdevReopenArguments"},
    {.qmp = "block_resize", .help = "give a disk another size; its guest is told", .args = resize_args, .fn = resize},
    {.hmp = "block_resize", .hmp_args = "device:drive size", .args = people_args, .help = "give a disk another size (in MiB, or with a suffix); its guest is told", .fn = resize_for_people},
    {0},
};
