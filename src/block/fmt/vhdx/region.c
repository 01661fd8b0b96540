/* Region table and metadata ([MS-VHDX] 2.2.3, 2.6): where things lie and what the disk is. Nothing in them is believed. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ENTRY_LEN 32u /* of both tables */

/* --- regions --- */

bool vhdx_on_area(const struct vhdx *v, uint64_t at, uint64_t len)
{
    for (guint i = 0; i < v->areas->len; i++) {
        const struct vhdx_area *a = &g_array_index(v->areas, struct vhdx_area, i);

        if (at < a->at + a->len && a->at < at + len)
            return true;
    }
    return false;
}

/* Two copies; the second is for when the first is damaged. */
static int read_table(struct vhdx *v, uint8_t *t, struct viv_err *err)
{
    for (unsigned i = 0; i < 2; i++) {
        int ret = viv_node_pread(v->file, VHDX_TABLE_AT + i * VHDX_TABLE_LEN, t, VHDX_TABLE_LEN);

        if (ret)
            return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
        if (memcmp(t, "regi", 4) == 0 && viv_ld_le32(t + 8) <= VHDX_TABLE_MAX && vhdx_sealed(t, VHDX_TABLE_LEN))
            return 0;
    }
    return vhdx_corrupt(v, err, "neither region table has a right signature and checksum");
}

static int take_region(struct vhdx *v, const uint8_t *e, struct viv_err *err)
{
    struct vhdx_area a = {viv_ld_le64(e + 16), viv_ld_le32(e + 24)};
    struct vhdx_area *known = memcmp(e, vhdx_guid_bat, 16) == 0        ? &v->bat_area
                              : memcmp(e, vhdx_guid_metadata, 16) == 0 ? &v->meta
                                                                       : NULL;
    bool required = viv_ld_le32(e + 28) & 1;

    if (!known && required) {
        g_autofree char *guid = vhdx_guid_text(e);

        return viv_fail(err, ENOTSUP, "'%s': the image needs a region that is not known (%s)", v->node->filename, guid);
    }
    if (a.at < VIV_MIB || a.at % VIV_MIB || !a.len || a.len % VIV_MIB || a.at > INT64_MAX)
        return vhdx_corrupt(v, err, "a region has %" PRIu64 " bytes at offset %" PRIu64
                            ": both must be whole MiB, behind the first", a.len, a.at);
    if (vhdx_on_area(v, a.at, a.len))
        return vhdx_corrupt(v, err, "the region at offset %" PRIu64 " lies on another one or on the log", a.at);
    if (known && !viv_range_inside(a.at, a.len, viv_node_size(v->file)))
        return vhdx_corrupt(v, err, "the region at offset %" PRIu64 " lies outside of the file", a.at);
    if (known && known->len)
        return vhdx_corrupt(v, err, "a region is in the table twice");
    if (known)
        *known = a;
    g_array_append_val(v->areas, a);
    return 0;
}

int vhdx_read_regions(struct vhdx *v, struct viv_err *err)
{
    g_autofree uint8_t *t = g_malloc(VHDX_TABLE_LEN);
    int ret = read_table(v, t, err);

    for (uint32_t i = 0; !ret && i < viv_ld_le32(t + 8); i++)
        ret = take_region(v, t + 16 + i * ENTRY_LEN, err);
    if (!ret && (!v->bat_area.len || !v->meta.len))
        ret = vhdx_corrupt(v, err, "the region table has no %s", v->meta.len ? "block allocation table" : "metadata");
    return ret;
}

/* --- metadata --- */

enum { PARAMETERS, SIZE, LOGICAL, PHYSICAL, DISK_ID, PARENT, ITEMS };

static const struct {
    const uint8_t *guid;
    uint32_t len; /* 0: any */
    const char *name;
} items[ITEMS] = {
    [PARAMETERS] = {vhdx_guid_parameters, 8, "file parameters"},
    [SIZE] = {vhdx_guid_size, 8, "virtual disk size"},
    [LOGICAL] = {vhdx_guid_logical, 4, "logical sector size"},
    [PHYSICAL] = {vhdx_guid_physical, 4, "physical sector size"},
    [DISK_ID] = {vhdx_guid_disk_id, 16, "virtual disk id"},
    [PARENT] = {vhdx_guid_parent, 0, "parent locator"},
};

static int item_of(const uint8_t *guid)
{
    int i = 0;

    while (i < ITEMS && memcmp(guid, items[i].guid, 16) != 0)
        i++;
    return i;
}

/* 2.6.1.2; `at`: byte of the region for each item, 0 for one that is not there. */
static int take_item(struct vhdx *v, const uint8_t *e, uint32_t *at, struct viv_err *err)
{
    uint32_t offset = viv_ld_le32(e + 16), len = viv_ld_le32(e + 20), flags = viv_ld_le32(e + 24);
    bool user = flags & 1, required = flags & 4;
    int i = user ? ITEMS : item_of(e);

    if (i == ITEMS && required) {
        g_autofree char *guid = vhdx_guid_text(e);

        return viv_fail(err, ENOTSUP, "'%s': the image needs metadata that is not known (%s)", v->node->filename, guid);
    }
    if (i == ITEMS)
        return 0;
    if (offset < VHDX_TABLE_LEN || !viv_range_inside(offset, len, v->meta.len) || (items[i].len && len != items[i].len))
        return vhdx_corrupt(v, err, "the metadata item '%s' has %u bytes at offset %u", items[i].name, len, offset);
    if (at[i])
        return vhdx_corrupt(v, err, "the metadata item '%s' is there twice", items[i].name);
    at[i] = offset;
    return 0;
}

static int find_items(struct vhdx *v, uint32_t *at, struct viv_err *err)
{
    g_autofree uint8_t *t = g_malloc(VHDX_TABLE_LEN);
    int ret = viv_node_pread(v->file, v->meta.at, t, VHDX_TABLE_LEN);

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    if (memcmp(t, "metadata", 8) != 0 || viv_ld_le16(t + 10) > VHDX_TABLE_MAX)
        return vhdx_corrupt(v, err, "the metadata region does not begin with a metadata table");
    for (unsigned i = 0; !ret && i < viv_ld_le16(t + 10); i++)
        ret = take_item(v, t + ENTRY_LEN * (i + 1), at, err);
    for (int i = 0; !ret && i <= LOGICAL; i++)
        if (!at[i])
            ret = vhdx_corrupt(v, err, "the metadata item '%s' is missing", items[i].name);
    return ret;
}

static int check_values(struct vhdx *v, struct viv_err *err)
{
    uint64_t size = v->node->size;

    if (v->flags & VHDX_HAS_PARENT)
        return viv_fail(err, ENOTSUP, "'%s': differencing images (with a parent) are not implemented; dynamic and fixed ones work. "
                        "Merging it into its parent where it was made, or converting it there, gives one", v->node->filename);
    if (v->block < VIV_MIB || v->block > VHDX_BLOCK_MAX || v->block & (v->block - 1))
        return vhdx_corrupt(v, err, "the block size is %u; powers of two from 1 MiB to 256 MiB are valid", v->block);
    if (v->sector != 512 && v->sector != 4096)
        return vhdx_corrupt(v, err, "the logical sector size is %u; 512 and 4096 are valid", v->sector);
    if (size > VHDX_SIZE_MAX || size % v->sector)
        return vhdx_corrupt(v, err, "the disk has %" PRIu64 " bytes; whole sectors up to 64 TiB are valid", size);
    return 0;
}

int vhdx_read_metadata(struct vhdx *v, struct viv_err *err)
{
    uint8_t parameters[8], size[8], logical[4];
    uint32_t at[ITEMS] = {0};
    uint64_t entries;
    int ret = find_items(v, at, err);

    if (ret)
        return ret;
    ret = viv_node_pread(v->file, v->meta.at + at[PARAMETERS], parameters, sizeof(parameters));
    if (!ret)
        ret = viv_node_pread(v->file, v->size_at = v->meta.at + at[SIZE], size, sizeof(size));
    if (!ret)
        ret = viv_node_pread(v->file, v->meta.at + at[LOGICAL], logical, sizeof(logical));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", v->node->filename);
    v->block = viv_ld_le32(parameters);
    v->flags = viv_ld_le32(parameters + 4);
    v->node->size = viv_ld_le64(size);
    v->sector = viv_ld_le32(logical);
    ret = check_values(v, err);
    if (ret)
        return ret;
    v->ratio = (1ull << 23) * v->sector / v->block;
    v->blocks = (v->node->size + v->block - 1) / v->block;
    entries = v->blocks ? vhdx_entry(v, v->blocks - 1) + 1 : 0;
    if (entries * 8 > v->bat_area.len)
        return vhdx_corrupt(v, err, "the block allocation table is too short for a disk of %" PRIu64 " bytes", v->node->size);
    /* Whole sectors of the log; what follows the last entry is still the region's. */
    entries = (entries + 511) / 512 * 512;
    ret = viv_entries_init64(&v->bat, v->file, v->bat_area.at, entries);
    return ret ? viv_fail(err, ENOMEM, "no memory for the block allocation table of '%s'", v->node->filename) : 0;
}
