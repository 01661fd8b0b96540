/* A new image: everything, a barrier, then the first footer (fixed: the only one): until then it is no VHD. */
#include "block/fmt/vpc/vpc_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EPOCH_2000 946684800 /* seconds of 2000-01-01 00:00 UTC */
#define BAT_AT     (VPC_FOOTER_LEN + VPC_DYN_LEN)

static const char *const prealloc_values[] = {"off", "falloc", "full", NULL};
static const char *const off_values[] = {"off", NULL};
static const char *const subformats[] = {"dynamic", "fixed", NULL};

const struct viv_opt_def vpc_create_opts[] = {
    {"force_size", VIV_OPT_BOOL,
     "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation"},
    {"preallocation", VIV_OPT_ENUM, "Preallocation mode of a fixed image's file", NULL, prealloc_values},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"subformat", VIV_OPT_ENUM, "Type of virtual hard disk format", NULL, subformats},
    {"nocow", VIV_OPT_ENUM, "Turning off copy-on-write of the file is not implemented yet", NULL, off_values},
    VIV_OPT_END,
};

const char *const vpc_create_shown[] = {"size", "subformat", "force_size", "preallocation", NULL};

struct plan {
    uint64_t size;
    uint16_t cylinders;
    uint8_t heads, per_track;
    bool fixed, exact; /* exact: the size field counts, not the geometry */
};

/* The smallest geometry that holds the disk; the disk becomes as large as it, unless that is forbidden or cannot be said. */
static int plan_size(const struct viv_create *c, struct plan *p, struct viv_err *err)
{
    uint64_t want = c->size / 512, try = want;

    if (want > VPC_SECTORS_MAX)
        return viv_fail(err, EFBIG, "The image size is too large for file format 'vpc': at most %" PRIu64 " bytes (2040 GiB)",
                        VPC_SECTORS_MAX * 512);
    p->size = c->size;
    p->cylinders = 65535;
    p->heads = 16;
    p->per_track = 255;
    if (p->exact || want > VPC_CHS_MAX)
        return 0;
    /* A step of one geometry is a cylinder, at most 16 * 255 sectors. */
    do {
        vpc_geometry(try++, &p->cylinders, &p->heads, &p->per_track);
        p->size = (uint64_t)p->cylinders * p->heads * p->per_track * 512;
    } while (p->size < c->size);
    return 0;
}

static int make_footer(uint8_t *f, const struct plan *p)
{
    memset(f, 0, VPC_FOOTER_LEN);
    memcpy(f + VPC_F_COOKIE, "conectix", 8);
    viv_st_be32(f + VPC_F_FEATURES, 2); /* reserved, always set */
    viv_st_be32(f + VPC_F_VERSION, 0x00010000);
    viv_st_be64(f + VPC_F_DATA, p->fixed ? UINT64_MAX : VPC_FOOTER_LEN);
    viv_st_be32(f + VPC_F_TIME, (uint32_t)(time(NULL) - EPOCH_2000));
    /* Readers go by the creator's name whether the size or the geometry counts: these are the names that they know. */
    memcpy(f + VPC_F_CREATOR, p->exact ? "qem2" : "qemu", 4);
    viv_st_be32(f + VPC_F_CREATOR_VERSION, 0x00050003);
    memcpy(f + VPC_F_CREATOR_HOST, "Wi2k", 4);
    viv_st_be64(f + VPC_F_ORIGINAL_SIZE, p->size);
    viv_st_be64(f + VPC_F_SIZE, p->size);
    viv_st_be16(f + VPC_F_CYLINDERS, p->cylinders);
    f[VPC_F_HEADS] = p->heads;
    f[VPC_F_SECTORS] = p->per_track;
    viv_st_be32(f + VPC_F_TYPE, p->fixed ? VPC_TYPE_FIXED : VPC_TYPE_DYNAMIC);
    if (getentropy(f + VPC_F_UUID, 16) < 0)
        return -errno;
    f[VPC_F_UUID + 6] = (f[VPC_F_UUID + 6] & 0x0f) | 0x40;
    f[VPC_F_UUID + 8] = (f[VPC_F_UUID + 8] & 0x3f) | 0x80;
    viv_st_be32(f + VPC_F_SUM, vpc_sum(f, VPC_FOOTER_LEN, VPC_F_SUM));
    return 0;
}

static int make_fixed(const struct viv_create *c, const struct plan *p, struct viv_node *file, const uint8_t *footer)
{
    int ret = file->zero_init ? 0 : viv_node_write_zeroes(file, 0, p->size, 0);

    if (!ret && c->prealloc != VIV_PREALLOC_OFF && p->size && file->drv->preallocate)
        ret = file->drv->preallocate(file, 0, p->size, c->prealloc);
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? ret : viv_node_pwrite(file, p->size, footer, VPC_FOOTER_LEN);
}

static int make_dynamic(const struct plan *p, struct viv_node *file, const uint8_t *footer)
{
    uint32_t entries = (p->size + VPC_BLOCK - 1) / VPC_BLOCK;
    uint64_t bat_bytes = (entries * 4ull + 511) / 512 * 512;
    uint8_t d[VPC_DYN_LEN] = "cxsparse";
    int ret;

    viv_st_be64(d + VPC_D_DATA, UINT64_MAX); /* "currently unused" */
    viv_st_be64(d + VPC_D_BAT, BAT_AT);
    viv_st_be32(d + VPC_D_VERSION, 0x00010000);
    viv_st_be32(d + VPC_D_ENTRIES, entries);
    viv_st_be32(d + VPC_D_BLOCK, VPC_BLOCK);
    viv_st_be32(d + VPC_D_SUM, vpc_sum(d, sizeof(d), VPC_D_SUM));
    ret = viv_node_pwrite(file, VPC_FOOTER_LEN, d, sizeof(d));
    if (!ret)
        ret = viv_entries_create(file, BAT_AT, entries, VPC_UNALLOCATED, false, true, 0xff);
    if (!ret)
        ret = viv_node_pwrite(file, BAT_AT + bat_bytes, footer, VPC_FOOTER_LEN);
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? ret : viv_node_pwrite(file, 0, footer, VPC_FOOTER_LEN);
}

int vpc_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    const char *sub = viv_opts_str(c->opts, "subformat");
    struct plan p = {.fixed = sub && strcmp(sub, "fixed") == 0, .exact = viv_opts_bool(c->opts, "force_size")};
    uint8_t footer[VPC_FOOTER_LEN] = {0};
    int ret = plan_size(c, &p, err);

    if (ret)
        return ret;
    if (c->prealloc != VIV_PREALLOC_OFF && !p.fixed)
        return viv_fail(err, EINVAL, "preallocation of a dynamic VHD has no blocks to allocate; subformat=fixed has");
    ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, p.fixed ? p.size + VPC_FOOTER_LEN : BAT_AT, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    ret = viv_node_pwrite(file, 0, footer, sizeof(footer)); /* a device may hold an old one */
    if (!ret)
        ret = make_footer(footer, &p);
    if (!ret)
        ret = p.fixed ? make_fixed(c, &p, file, footer) : make_dynamic(&p, file, footer);
    if (!ret)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}
