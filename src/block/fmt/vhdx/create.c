/* A new image: log, table and metadata, a barrier, region tables and headers, a barrier, and last the file identifier: until then it is
 * no VHDX. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const subformats[] = {"dynamic", "fixed", NULL};

const struct viv_opt_def vhdx_create_opts[] = {
    {"block_size", VIV_OPT_SIZE, "Block size, a power of two; at least 1M, at most 256M; 0: by the size of the disk", "0"},
    {"block_state_zero", VIV_OPT_BOOL, "Blocks of a dynamic image are in the state 'zero' (default on); 'not present' ones may be read as anything by others: "
     "leave it on for 'convert'"},
    {"log_size", VIV_OPT_SIZE, "Log size; at least 1M", "1048576"},
    {"size", VIV_OPT_SIZE, "Virtual disk size, at most 64T"},
    {"subformat", VIV_OPT_ENUM, "Type of the image, dynamic if not given", NULL, subformats},
    VIV_OPT_END,
};

const char *const vhdx_create_shown[] = {"size", "log_size", "block_size", "subformat", "block_state_zero", NULL};

#define GAP (4 * VIV_MIB) /* between metadata and blocks: as other programs leave it */

struct plan {
    uint64_t size;
    uint32_t block, blocks, ratio;
    uint64_t log_len, bat_at, bat_len, meta_at, data_at, end;
    bool fixed, zero;
};

static uint32_t default_block(uint64_t size)
{
    return size > 32 * VIV_TIB ? 64 * VIV_MIB : size > 100 * VIV_GIB ? 32 * VIV_MIB : size > VIV_GIB ? 16 * VIV_MIB : 8 * VIV_MIB;
}

static int plan_block(struct viv_opts *o, struct plan *p, struct viv_err *err)
{
    uint64_t asked = viv_opts_size(o, "block_size");

    if (asked > VHDX_BLOCK_MAX)
        return viv_fail(err, EINVAL, "Block size %" PRIu64 " is too large: at most 256M works", asked);
    p->block = asked ? vhdx_mib_up(asked) : default_block(p->size);
    if (p->block & (p->block - 1))
        return viv_fail(err, EINVAL, "Block size must be a power of two: %" PRIu64 " is not", asked);
    return 0;
}

static int plan_image(const struct viv_create *c, struct plan *p, struct viv_err *err)
{
    uint64_t log = viv_opts_size(c->opts, "log_size"), entries;
    const char *sub = viv_opts_str(c->opts, "subformat");
    int ret;

    if (c->size > VHDX_SIZE_MAX)
        return viv_fail(err, EINVAL, "Image size too large; max of 64TB");
    if (!log)
        return viv_fail(err, EINVAL, "Log size must be a multiple of 1 MB: at least 1M");
    if (log > UINT32_MAX - VIV_MIB + 1)
        return viv_fail(err, EINVAL, "Log size must be smaller than 4 GB");
    p->size = (c->size + 511) / 512 * 512;
    p->fixed = sub && strcmp(sub, "fixed") == 0;
    p->zero = viv_opts_given(c->opts, "block_state_zero") ? viv_opts_bool(c->opts, "block_state_zero") : !p->fixed;
    if (p->fixed && p->zero)
        return viv_fail(err, EINVAL, "a fixed image has all its blocks: block_state_zero=on is for subformat=dynamic");
    ret = plan_block(c->opts, p, err);
    if (ret)
        return ret;
    p->ratio = (1ull << 23) * 512 / p->block;
    p->blocks = (p->size + p->block - 1) / p->block;
    entries = p->blocks ? (uint64_t)p->blocks + (p->blocks - 1) / p->ratio : 0;
    p->log_len = vhdx_mib_up(log);
    p->bat_at = VIV_MIB + p->log_len;
    p->bat_len = MAX(vhdx_mib_up(entries * 8), VIV_MIB);
    p->meta_at = p->bat_at + p->bat_len;
    p->data_at = p->meta_at + VIV_MIB + GAP;
    p->end = p->data_at + (p->fixed ? p->size : 0);
    return 0;
}

/* The table, by the MiB; what is behind it is zero already. */
static int write_bat(const struct plan *p, struct viv_node *file)
{
    uint8_t *buf = g_try_malloc(VIV_MIB);
    uint32_t block = 0, entry = 0, i;
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t at = 0; block < p->blocks && !ret; at += VIV_MIB) {
        memset(buf, 0, VIV_MIB);
        for (i = 0; i < VIV_MIB / 8 && block < p->blocks; i++, entry++) {
            if (entry % (p->ratio + 1) == p->ratio)
                continue; /* a sector bitmap's */
            viv_st_le64(buf + i * 8, p->fixed  ? (p->data_at + (uint64_t)block * p->block) | VHDX_PRESENT
                                     : p->zero ? VHDX_ZERO
                                               : VHDX_NOT_PRESENT);
            block++;
        }
        ret = viv_node_pwrite(file, p->bat_at + at, buf, i * 8);
    }
    g_free(buf);
    return ret;
}

struct item {
    const uint8_t *guid;
    uint32_t len, flags; /* 2: of the disk, 4: required */
    uint8_t value[16];
};

static int write_metadata(const struct plan *p, struct viv_node *file)
{
    struct item items[] = {
        {vhdx_guid_parameters, 8, 4, {0}}, {vhdx_guid_size, 8, 6, {0}},     {vhdx_guid_disk_id, 16, 6, {0}},
        {vhdx_guid_logical, 4, 6, {0}},    {vhdx_guid_physical, 4, 6, {0}},
    };
    g_autofree uint8_t *t = g_malloc0(VHDX_TABLE_LEN + 4096);
    uint32_t at = VHDX_TABLE_LEN;
    int ret = vhdx_guid_new(items[2].value);

    viv_st_le32(items[0].value, p->block);
    viv_st_le32(items[0].value + 4, p->fixed ? VHDX_FIXED : 0);
    viv_st_le64(items[1].value, p->size);
    viv_st_le32(items[3].value, 512);
    viv_st_le32(items[4].value, 512);
    memcpy(t, "metadata", 8);
    viv_st_le16(t + 10, G_N_ELEMENTS(items));
    for (unsigned i = 0; i < G_N_ELEMENTS(items); i++) {
        uint8_t *e = t + 32 * (i + 1);

        memcpy(e, items[i].guid, 16);
        viv_st_le32(e + 16, at);
        viv_st_le32(e + 20, items[i].len);
        viv_st_le32(e + 24, items[i].flags);
        memcpy(t + at, items[i].value, items[i].len);
        at += items[i].len;
    }
    return ret ? ret : viv_node_pwrite(file, p->meta_at, t, at);
}

static void put_region(uint8_t *e, const uint8_t *guid, uint64_t at, uint64_t len)
{
    memcpy(e, guid, 16);
    viv_st_le64(e + 16, at);
    viv_st_le32(e + 24, (uint32_t)len);
    viv_st_le32(e + 28, 1); /* required */
}

static int write_regions(const struct plan *p, struct viv_node *file)
{
    g_autofree uint8_t *t = g_malloc0(VHDX_TABLE_LEN);
    int ret;

    memcpy(t, "regi", 4);
    viv_st_le32(t + 8, 2);
    put_region(t + 16, vhdx_guid_bat, p->bat_at, p->bat_len);
    put_region(t + 48, vhdx_guid_metadata, p->meta_at, VIV_MIB);
    vhdx_seal(t, VHDX_TABLE_LEN);
    ret = viv_node_pwrite(file, VHDX_TABLE_AT, t, VHDX_TABLE_LEN);
    return ret ? ret : viv_node_pwrite(file, VHDX_TABLE_AT + VHDX_TABLE_LEN, t, VHDX_TABLE_LEN);
}

static int write_headers(const struct plan *p, struct viv_node *file)
{
    uint8_t h[VHDX_HEADER_LEN] = "head";
    int ret = vhdx_guid_new(h + VHDX_H_FILE_GUID);

    if (!ret)
        ret = vhdx_guid_new(h + VHDX_H_DATA_GUID);
    viv_st_le16(h + VHDX_H_VERSION, 1);
    viv_st_le32(h + VHDX_H_LOG_LEN, (uint32_t)p->log_len);
    viv_st_le64(h + VHDX_H_LOG_AT, VIV_MIB);
    for (unsigned i = 1; i <= 2 && !ret; i++) {
        viv_st_le64(h + VHDX_H_SEQUENCE, i);
        vhdx_seal(h, sizeof(h));
        ret = viv_node_pwrite(file, VHDX_HEADER_AT * i, h, sizeof(h));
    }
    return ret;
}

static int write_identifier(struct viv_node *file)
{
    static const char creator[] = "Vivarium";
    uint8_t id[520] = VHDX_SIGNATURE; /* and up to 256 UTF-16 characters of who made it */

    for (unsigned i = 0; creator[i]; i++)
        viv_st_le16(id + 8 + 2 * i, creator[i]);
    return viv_node_pwrite(file, 0, id, sizeof(id));
}

static int write_image(const struct plan *p, struct viv_node *file)
{
    int ret = file->zero_init ? 0 : viv_node_write_zeroes(file, 0, p->end, 0); /* a device holds anything */

    if (!ret)
        ret = write_bat(p, file);
    if (!ret)
        ret = write_metadata(p, file);
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = write_regions(p, file);
    if (!ret)
        ret = write_headers(p, file);
    if (!ret)
        ret = viv_node_flush(file);
    if (!ret)
        ret = write_identifier(file);
    return ret ? ret : viv_node_flush(file);
}

int vhdx_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    struct plan p = {0};
    int ret = plan_image(c, &p, err);

    if (!ret)
        ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(file, p.end, VIV_PREALLOC_OFF, err);
    if (ret)
        return ret;
    ret = write_image(&p, file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}
