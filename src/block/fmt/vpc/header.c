/* Reading footer and dynamic header: nothing in them is believed. */
#include "block/fmt/vpc/vpc_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

/* Specification, appendix "CHS Calculation". */
void vpc_geometry(uint64_t sectors, uint16_t *cylinders, uint8_t *heads, uint8_t *per_track)
{
    uint64_t tracks; /* cylinders times heads */

    sectors = MIN(sectors, VPC_CHS_MAX);
    if (sectors >= 65535ull * 16 * 63) {
        *per_track = 255;
        *heads = 16;
        tracks = sectors / 255;
    } else {
        *per_track = 17;
        tracks = sectors / 17;
        *heads = MAX((tracks + 1023) / 1024, 4);
        if (tracks >= *heads * 1024ull || (tracks + 1023) / 1024 > 16) {
            *per_track = 31;
            *heads = 16;
            tracks = sectors / 31;
        }
        if (tracks >= *heads * 1024ull) {
            *per_track = 63;
            *heads = 16;
            tracks = sectors / 63;
        }
    }
    *cylinders = tracks / *heads;
}

/* "A one's complement of the sum of all the bytes [...] without the checksum field." */
uint32_t vpc_sum(const uint8_t *data, size_t len, size_t sum_at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        if (i < sum_at || i >= sum_at + 4)
            sum += data[i];
    return ~sum;
}

static bool is_footer(const uint8_t *f)
{
    return memcmp(f, "conectix", 8) == 0 && vpc_sum(f, VPC_FOOTER_LEN, VPC_F_SUM) == viv_ld_be32(f + VPC_F_SUM);
}

/* The footer at the end rules for a fixed disk, whose first sector is its guest's. A dynamic one is read by the copy at the
 * start: the one at the end moves and a power cut may lose it. */
static int find_footer(struct vpc *v, struct viv_err *err)
{
    uint64_t end = viv_node_size(v->file);
    uint8_t tail[VPC_FOOTER_LEN];
    bool at_end = false;
    int ret = 0;

    v->footer_at = UINT64_MAX;
    if (end >= VPC_FOOTER_LEN) {
        ret = viv_node_pread(v->file, end - VPC_FOOTER_LEN, tail, sizeof(tail));
        at_end = !ret && is_footer(tail);
    }
    if (!ret)
        ret = viv_node_pread(v->file, 0, v->footer, sizeof(v->footer));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    if (at_end && viv_ld_be32(tail + VPC_F_TYPE) == VPC_TYPE_FIXED) {
        memcpy(v->footer, tail, sizeof(tail));
        return 0;
    }
    if (memcmp(v->footer, "conectix", 8) != 0)
        return viv_fail(err, EINVAL, "'%s': invalid VPC image (no footer with a right checksum at its end, no copy of it at its start)",
                        v->node->filename);
    if (!is_footer(v->footer))
        return viv_fail(err, EINVAL, "'%s': Incorrect header checksum", v->node->filename);
    if (at_end && memcmp(tail, v->footer, sizeof(tail)) == 0)
        v->footer_at = end - VPC_FOOTER_LEN;
    return 0;
}

/* Programs disagree: some mean the geometry, some the size field. */
static uint64_t disk_size(const uint8_t *f)
{
    static const char exact[][5] = {"qem2", "d2v ", "tap\0", "win ", "CTXS"};
    uint64_t chs = (uint64_t)viv_ld_be16(f + VPC_F_CYLINDERS) * f[VPC_F_HEADS] * f[VPC_F_SECTORS];
    uint64_t size = viv_ld_be64(f + VPC_F_SIZE) / 512 * 512;

    if (chs == VPC_CHS_MAX)
        return size;
    for (unsigned i = 0; i < G_N_ELEMENTS(exact); i++)
        if (memcmp(f + VPC_F_CREATOR, exact[i], 4) == 0)
            return size;
    return chs * 512;
}

static int check_fixed(struct vpc *v, struct viv_err *err)
{
    uint64_t there = viv_node_size(v->file) - VPC_FOOTER_LEN, size = viv_ld_be64(v->footer + VPC_F_SIZE) / 512 * 512;

    if (v->node->size > there && size <= there) /* a geometry rounded up */
        v->node->size = size;
    if (v->node->size > there)
        return viv_fail(err, EINVAL, "'%s': the image is truncated: a disk of %" PRIu64 " bytes in a file of %" PRIu64,
                        v->node->filename, v->node->size, there + VPC_FOOTER_LEN);
    return 0;
}

static int corrupt(struct vpc *v, struct viv_err *err, const char *what, uint64_t value)
{
    return viv_fail(err, EINVAL, "'%s': the image is corrupt: %s (%" PRIu64 ")", v->node->filename, what, value);
}

static int read_dynamic(struct vpc *v, struct viv_err *err)
{
    uint64_t at = viv_ld_be64(v->footer + VPC_F_DATA), end = viv_node_size(v->file), bat, bat_end;
    uint8_t d[VPC_DYN_LEN];
    uint32_t entries;
    int ret;

    if (at < VPC_FOOTER_LEN || !viv_range_inside(at, VPC_DYN_LEN, end))
        return corrupt(v, err, "the dynamic header lies outside of the file", at);
    ret = viv_node_pread(v->file, at, d, sizeof(d));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    if (memcmp(d, "cxsparse", 8) != 0)
        return corrupt(v, err, "Invalid header magic at the dynamic header's offset", at);
    if (vpc_sum(d, sizeof(d), VPC_D_SUM) != viv_ld_be32(d + VPC_D_SUM))
        return corrupt(v, err, "the dynamic header has another checksum than", viv_ld_be32(d + VPC_D_SUM));
    bat = viv_ld_be64(d + VPC_D_BAT);
    entries = viv_ld_be32(d + VPC_D_ENTRIES);
    v->block = viv_ld_be32(d + VPC_D_BLOCK);
    if (v->block < 512 || v->block > VPC_BLOCK_MAX || (v->block & (v->block - 1)))
        return corrupt(v, err, "Invalid block size: a power of two from 512 to 67108864 works", v->block);
    if (entries < (v->node->size + v->block - 1) / v->block)
        return corrupt(v, err, "Page table too small: entries", entries);
    if (bat % 512 || bat < VPC_FOOTER_LEN || (bat < at + VPC_DYN_LEN && bat + entries * 4ull > at))
        return corrupt(v, err, "the block allocation table lies on the headers: offset", bat);
    if (!viv_range_inside(bat, entries * 4ull, end))
        return corrupt(v, err, "the image has been truncated: the block allocation table lies outside of the file: entries", entries);
    bat_end = (bat + entries * 4ull + 511) / 512 * 512;
    v->tables_end = MAX(bat_end, (at + VPC_DYN_LEN + 511) / 512 * 512);
    v->bitmap = (v->block / 512 / 8 + 511) / 512 * 512;
    v->bitmap = MAX(v->bitmap, 512);
    /* Entries behind the end of the disk are nobody's. */
    entries = (v->node->size + v->block - 1) / v->block;
    ret = viv_entries_init(&v->bat, v->file, bat, entries, true);
    return ret ? viv_fail(err, ENOMEM, "no memory for the block allocation table of '%s'", v->node->filename) : 0;
}

int vpc_read_headers(struct vpc *v, struct viv_err *err)
{
    int ret = find_footer(v, err);
    uint32_t type;

    if (ret)
        return ret;
    type = viv_ld_be32(v->footer + VPC_F_TYPE);
    v->fixed = type == VPC_TYPE_FIXED;
    if (type != VPC_TYPE_FIXED && type != VPC_TYPE_DYNAMIC)
        return viv_fail(err, ENOTSUP, "'%s': VHD type %u%s is not implemented; fixed (2) and dynamic (3) disks work",
                        v->node->filename, type, type == VPC_TYPE_DIFF ? " (differencing: needs its parent)" : "");
    if (viv_ld_be32(v->footer + VPC_F_VERSION) >> 16 != 1)
        return viv_fail(err, ENOTSUP, "'%s': VHD format version %u is not known; version 1 works", v->node->filename,
                        viv_ld_be32(v->footer + VPC_F_VERSION) >> 16);
    v->node->size = disk_size(v->footer);
    if (v->node->size > VPC_SECTORS_MAX * 512 && !v->fixed)
        return viv_fail(err, EFBIG, "'%s': a disk of %" PRIu64 " bytes is too large for a VHD: at most %" PRIu64,
                        v->node->filename, v->node->size, VPC_SECTORS_MAX * 512);
    return v->fixed ? check_fixed(v, err) : read_dynamic(v, err);
}
