/* New images, always with the magic "WithouFreSpacExt". */
#include "block/fmt/parallels/parallels_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const struct viv_opt_def prl_create_opts[] = {
    {"cluster_size", VIV_OPT_SIZE, "Parallels image cluster size", "1048576"},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    VIV_OPT_END,
};

const char *const prl_create_shown[] = {"size", "cluster_size", NULL};

/* A geometry for guests that ask for one. */
#define HEADS     16u
#define PER_TRACK 32u

static void make_header(uint64_t sectors, uint32_t tracks, uint32_t entries, uint64_t data_off,
                        uint8_t *head)
{
    memcpy(head, PRL_MAGIC_EXT, 16);
    viv_st_le32(head + PRL_H_VERSION, PRL_VERSION);
    viv_st_le32(head + PRL_H_HEADS, HEADS);
    viv_st_le32(head + PRL_H_CYLINDERS, MIN(sectors / HEADS / PER_TRACK, UINT32_MAX));
    viv_st_le32(head + PRL_H_TRACKS, tracks);
    viv_st_le32(head + PRL_H_ENTRIES, entries);
    viv_st_le64(head + PRL_H_SECTORS, sectors);
    viv_st_le32(head + PRL_H_DATA_OFF, data_off / PRL_SECTOR);
}

int prl_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    uint64_t cs = viv_opts_size(c->opts, "cluster_size"), size, entries, data_off;
    uint8_t head[PRL_H_LENGTH] = {0};
    int ret;

    if (!cs)
        return viv_fail(err, EINVAL, "Cluster size 0: 512 to %u bytes work", PRL_CLUSTER_MAX);
    if (cs > PRL_CLUSTER_MAX)
        return viv_fail(err, EINVAL, "Cluster size is too large: at most %u bytes work",
                        PRL_CLUSTER_MAX);
    cs = viv_align_down(cs + PRL_SECTOR - 1, PRL_SECTOR);
    if (!viv_align_up_checked(c->size, PRL_SECTOR, &size))
        return viv_fail(err, EFBIG, "%" PRIu64 " bytes are too large", c->size);
    entries = size / cs + (size % cs != 0);
    if (entries > PRL_ENTRIES_MAX)
        return viv_fail(err, EFBIG,
                        "Image size is too large for this cluster size: at most %" PRIu64
                        " bytes work",
                        cs * PRL_ENTRIES_MAX);
    data_off = (PRL_H_LENGTH + entries * 4 + cs - 1) / cs * cs;
    make_header(size / PRL_SECTOR, cs / PRL_SECTOR, entries, data_off, head);
    ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, data_off, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    ret = viv_node_write_zeroes(file, 0, data_off, VIV_BLK_UNMAP); /* a device holds anything */
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = viv_node_pwrite(file, 0, head, sizeof(head));
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}
