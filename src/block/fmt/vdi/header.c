/* Reading the header: nothing in it is believed. */
#include "block/fmt/vdi/vdi_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>

static int bad(struct vdi *v, struct viv_err *err, const char *what, uint64_t value, const char *works)
{
    return viv_fail(err, ENOTSUP, "'%s': unsupported VDI image (%s 0x%" PRIx64 "; %s)", v->node->filename, what, value,
                    works);
}

static int check_kind(struct vdi *v, const uint8_t *h, struct viv_err *err)
{
    uint32_t version = viv_ld_le32(h + VDI_H_VERSION);

    if (viv_ld_le32(h + VDI_H_SIGNATURE) != VDI_SIGNATURE)
        return viv_fail(err, EINVAL, "Image not in VDI format (bad signature %08x) ('%s')",
                        viv_ld_le32(h + VDI_H_SIGNATURE), v->node->filename);
    if (version != VDI_VERSION)
        return viv_fail(err, ENOTSUP, "'%s': unsupported VDI image (version %u.%u; version 1.1 works)", v->node->filename,
                        version >> 16, version & 0xffff);
    v->type = viv_ld_le32(h + VDI_H_TYPE);
    if (v->type != VDI_TYPE_DYNAMIC && v->type != VDI_TYPE_STATIC)
        return bad(v, err, v->type == 4 ? "a differencing image: type" : "type", v->type,
                   "dynamic (1) and static (2) images work");
    for (int i = 0; i < 16; i++)
        if (h[VDI_H_UUID_LINK + i] || h[VDI_H_UUID_PARENT + i])
            return viv_fail(err, ENOTSUP,
                            "'%s': unsupported VDI image (non-NULL %s UUID: it is one of a chain of VirtualBox "
                            "snapshots; 'VBoxManage clonemedium' makes one image of them)",
                            v->node->filename, h[VDI_H_UUID_LINK + i] ? "link" : "parent");
    return 0;
}

static int check_geometry(struct vdi *v, const uint8_t *h, uint32_t *map, struct viv_err *err)
{
    uint32_t block = viv_ld_le32(h + VDI_H_BLOCK), sector = viv_ld_le32(h + VDI_H_SECTOR);

    *map = viv_ld_le32(h + VDI_H_MAP);
    v->data = viv_ld_le32(h + VDI_H_DATA);
    if (sector != 512)
        return viv_fail(err, ENOTSUP, "'%s': unsupported VDI image (sector size %u is not 512)", v->node->filename, sector);
    if (block != VDI_BLOCK)
        return viv_fail(err, ENOTSUP, "'%s': unsupported VDI image (block size %u is not %u)", v->node->filename, block,
                        VDI_BLOCK);
    if (viv_ld_le32(h + VDI_H_EXTRA))
        return bad(v, err, "extra bytes per block:", viv_ld_le32(h + VDI_H_EXTRA), "only none work");
    if (*map % 512 || *map < VDI_H_LEN)
        return bad(v, err, *map % 512 ? "unaligned block map offset" : "block map inside the header: offset", *map,
                   "a multiple of 512 behind the header works");
    if (v->data % 512)
        return bad(v, err, "unaligned data offset", v->data, "a multiple of 512 works");
    return 0;
}

int vdi_read_header(struct vdi *v, struct viv_err *err)
{
    uint64_t size, need, map_end;
    uint8_t h[VDI_H_LEN];
    uint32_t map;
    int ret = viv_node_pread(v->file, 0, h, sizeof(h));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    ret = check_kind(v, h, err);
    if (!ret)
        ret = check_geometry(v, h, &map, err);
    if (ret)
        return ret;
    size = viv_ld_le64(h + VDI_H_SIZE);
    v->blocks = viv_ld_le32(h + VDI_H_BLOCKS);
    v->on_disk = viv_ld_le32(h + VDI_H_ALLOCATED);
    if (size > VDI_SIZE_MAX)
        return viv_fail(err, ENOTSUP,
                        "'%s': Unsupported VDI image size (size is 0x%" PRIx64 ", max supported is 0x%" PRIx64 ")",
                        v->node->filename, size, VDI_SIZE_MAX);
    if (v->blocks > VDI_BLOCKS_MAX)
        return viv_fail(err, ENOTSUP, "'%s': unsupported VDI image (too many blocks %u, max is %u)", v->node->filename,
                        v->blocks, VDI_BLOCKS_MAX);
    size = viv_align_down(size + 511, 512);
    need = (size + VDI_BLOCK - 1) / VDI_BLOCK;
    if (need > v->blocks)
        return viv_fail(err, EINVAL,
                        "'%s': unsupported VDI image (disk size %" PRIu64 ", image bitmap has room for %" PRIu64 ")",
                        v->node->filename, size, (uint64_t)v->blocks * VDI_BLOCK);
    map_end = map + (uint64_t)v->blocks * 4;
    if (map_end > viv_node_size(v->file))
        return viv_fail(err, EINVAL,
                        "'%s': the image is truncated: its block map ends at %" PRIu64 ", the file at %" PRIu64,
                        v->node->filename, map_end, viv_node_size(v->file));
    if (v->blocks && v->data < map_end)
        return viv_fail(err, EINVAL, "'%s': the image is corrupt: its data (offset 0x%" PRIx64 ") overlaps the block map",
                        v->node->filename, v->data);
    v->node->size = size;
    ret = viv_entries_init(&v->map, v->file, map, v->blocks, false);
    return ret ? viv_fail(err, ENOMEM, "no memory for the block map of '%s'", v->node->filename) : 0;
}
