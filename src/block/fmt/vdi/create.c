/* A new image: map first, then the header behind a barrier: until then it is no VDI image. */
#include "block/fmt/vdi/vdi_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char *const prealloc_values[] = {"off", "falloc", "full", NULL};
static const char *const off_values[] = {"off", NULL};

const struct viv_opt_def vdi_create_opts[] = {
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode of a static image's file", NULL, prealloc_values},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"static", VIV_OPT_BOOL, "VDI static (pre-allocated) image", "off"},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", NULL, off_values},
    VIV_OPT_END,
};

const char *const vdi_create_shown[] = {"size", "static", "preallocation", NULL};

static int set_uuid(uint8_t *at)
{
    if (getentropy(at, 16) < 0)
        return -errno;
    at[7] = (at[7] & 0x0f) | 0x40; /* version 4; the first three fields are little-endian here */
    at[8] = (at[8] & 0x3f) | 0x80;
    return 0;
}

static int make_header(uint8_t *h, uint64_t size, uint32_t blocks, uint64_t data, bool is_static)
{
    static const char text[] = "<<< Vivarium Virtual Disk Image >>>\n";
    int ret;

    memset(h, 0, VDI_H_LEN);
    memcpy(h + VDI_H_TEXT, text, sizeof(text));
    viv_st_le32(h + VDI_H_SIGNATURE, VDI_SIGNATURE);
    viv_st_le32(h + VDI_H_VERSION, VDI_VERSION);
    viv_st_le32(h + VDI_H_HEADER_SIZE, 0x180);
    viv_st_le32(h + VDI_H_TYPE, is_static ? VDI_TYPE_STATIC : VDI_TYPE_DYNAMIC);
    viv_st_le32(h + VDI_H_MAP, VDI_H_LEN);
    viv_st_le32(h + VDI_H_DATA, (uint32_t)data);
    viv_st_le32(h + VDI_H_SECTOR, 512);
    viv_st_le64(h + VDI_H_SIZE, size);
    viv_st_le32(h + VDI_H_BLOCK, VDI_BLOCK);
    viv_st_le32(h + VDI_H_BLOCKS, blocks);
    viv_st_le32(h + VDI_H_ALLOCATED, is_static ? blocks : 0);
    ret = set_uuid(h + VDI_H_UUID);
    return ret ? ret : set_uuid(h + VDI_H_UUID_SNAPSHOT);
}

/* A static image's blocks: zeroes, in real room when asked for. */
static int make_blocks(const struct viv_create *c, struct viv_node *file, uint64_t data, uint64_t bytes)
{
    int ret = file->zero_init ? 0 : viv_node_write_zeroes(file, data, bytes, 0);

    if (!ret && c->prealloc != VIV_PREALLOC_OFF && bytes && file->drv->preallocate)
        ret = file->drv->preallocate(file, data, bytes, c->prealloc);
    return ret;
}

int vdi_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    bool is_static = viv_opts_bool(c->opts, "static");
    uint64_t data, blocks = c->size / VDI_BLOCK + (c->size % VDI_BLOCK != 0);
    uint8_t h[VDI_H_LEN];
    int ret;

    if (c->size > VDI_SIZE_MAX)
        return viv_fail(err, ENOTSUP, "Unsupported VDI image size (size is 0x%" PRIx64 ", max supported is 0x%" PRIx64 ")",
                        c->size, VDI_SIZE_MAX);
    if (c->prealloc != VIV_PREALLOC_OFF && !is_static)
        return viv_fail(err, EINVAL, "preallocation of a dynamic VDI image has no blocks to allocate; static=on has");
    data = VDI_H_LEN + (blocks * 4 + 511) / 512 * 512;
    ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, data + (is_static ? blocks * VDI_BLOCK : 0), VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    memset(h, 0, sizeof(h));
    ret = viv_node_pwrite(file, 0, h, sizeof(h)); /* a device may hold an old header */
    if (!ret)
        ret = viv_entries_create(file, VDI_H_LEN, (uint32_t)blocks, is_static ? 0 : VDI_UNALLOCATED, is_static, false, 0);
    if (!ret && is_static)
        ret = make_blocks(c, file, data, blocks * VDI_BLOCK);
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = make_header(h, c->size, (uint32_t)blocks, data, is_static);
    if (!ret)
        ret = viv_node_pwrite(file, 0, h, sizeof(h));
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}
