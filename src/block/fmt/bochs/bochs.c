/* Bochs' growing disks ("Redolog", "Growing", versions 1 and 2), read only. Format: the Bochs developers' manual, "Disk image modes";
 * little-endian.
 *
 * A header, a catalog of 32-bit numbers, extents in the order in which they were first written. An extent is a bitmap, a bit a
 * sector, and its sectors; a clear bit is a sector of zeroes. Bitmaps are read when they are needed, a sector of one at a time. */
#include "block/fmt/bochs/bochs.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "block/image.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

enum {
    H_MAGIC = 0,
    H_TYPE = 32,
    H_SUBTYPE = 48,
    H_VERSION = 64,
    H_HEADER = 68,
    H_CATALOG = 72, /* entries */
    H_BITMAP = 76,  /* bytes */
    H_EXTENT = 80,  /* bytes */
    H_DISK_V1 = 84,
    H_DISK_V2 = 88,
    H_LENGTH = 96,
};

#define VERSION_1 0x00010000u
#define VERSION_2 0x00020000u

#define NOTHING     UINT32_MAX /* catalog entry */
#define CATALOG_MAX (1u << 20)
#define EXTENT_MAX  (8u << 20)
#define BITMAP_STEP 64u /* bytes of a bitmap looked at by one map() */

struct bochs {
    struct viv_node *node, *file; /* borrowed */
    uint32_t extent, catalog_entries;
    uint64_t bitmap_bytes; /* whole sectors */
    uint64_t first;        /* where extent 0 lies */
    uint32_t *catalog;
};

static bool has_text(const uint8_t *head, unsigned at, const char *text)
{
    return memcmp(head + at, text, strlen(text) + 1) == 0;
}

static int probe(const uint8_t *head, size_t len)
{
    return len >= H_LENGTH && has_text(head, H_MAGIC, "Bochs Virtual HD Image") && has_text(head, H_TYPE, "Redolog") &&
                   has_text(head, H_SUBTYPE, "Growing")
               ? 100
               : 0;
}

/* Everything else is computed from it. */
static int read_geometry(struct bochs *b, const uint8_t *head, struct viv_err *err)
{
    uint32_t version = viv_ld_le32(head + H_VERSION), header = viv_ld_le32(head + H_HEADER), bitmap = viv_ld_le32(head + H_BITMAP);
    uint64_t disk = viv_ld_le64(head + (version == VERSION_1 ? H_DISK_V1 : H_DISK_V2)), need;
    const char *name = b->node->filename;

    b->extent = viv_ld_le32(head + H_EXTENT);
    b->catalog_entries = viv_ld_le32(head + H_CATALOG);
    if (version != VERSION_1 && version != VERSION_2)
        return viv_fail(err, ENOTSUP, "'%s': bochs image of version 0x%x; versions 0x10000 and 0x20000 work", name, version);
    if (b->catalog_entries > CATALOG_MAX)
        return viv_fail(err, EFBIG, "'%s': Catalog size is too large (%u; at most %u)", name, b->catalog_entries, CATALOG_MAX);
    if (b->extent < 512)
        return viv_fail(err, EINVAL, "'%s': Extent size must be at least 512", name);
    if (b->extent & (b->extent - 1))
        return viv_fail(err, EINVAL, "'%s': Extent size %u is not a power of two", name, b->extent);
    if (b->extent > EXTENT_MAX)
        return viv_fail(err, EINVAL, "'%s': Extent size %u is too large", name, b->extent);
    if (disk > INT64_MAX || disk / b->extent + (disk % b->extent != 0) > b->catalog_entries)
        return viv_fail(err, EINVAL, "'%s': Catalog size is too small for this disk size", name);
    need = (b->extent / 512 + 7) / 8;
    if (bitmap < need)
        return viv_fail(err, EINVAL, "'%s': bitmaps of %u bytes have no bit for each sector of an extent (%u bytes)", name, bitmap,
                        b->extent);
    b->bitmap_bytes = ((uint64_t)bitmap + 511) & ~511ull;
    b->first = (uint64_t)header + b->catalog_entries * 4ull;
    if (header < H_LENGTH || b->first > viv_node_size(b->file))
        return viv_fail(err, EINVAL, "'%s': the catalog does not lie in the file, behind the header", name);
    b->node->size = disk & ~511ull;
    return 0;
}

static int read_catalog(struct bochs *b, struct viv_err *err)
{
    size_t bytes = b->catalog_entries * 4ull;
    int ret;

    b->catalog = g_try_malloc(MAX(bytes, 1));
    if (!b->catalog)
        return viv_fail(err, ENOMEM, "no memory for the catalog of '%s'", b->node->filename);
    ret = viv_node_pread(b->file, b->first - bytes, b->catalog, bytes);
    return ret ? viv_fail_os(err, -ret, "Could not read the catalog of '%s'", b->node->filename) : 0;
}

static int close_image(struct viv_node *n)
{
    struct bochs *b = n->state;

    g_free(b->catalog);
    g_free(b);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    uint8_t head[H_LENGTH];
    struct bochs *b;
    int ret;

    if (!n->read_only)
        return viv_fail(err, EROFS, "'%s': bochs images can only be read (read-only=on)", n->filename);
    ret = viv_node_pread(n->file, 0, head, sizeof(head));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", n->filename);
    if (!probe(head, sizeof(head)))
        return viv_fail(err, EINVAL, "Image not in Bochs format ('%s'; only 'Redolog', 'Growing' works)", n->filename);
    b = g_new0(struct bochs, 1);
    b->node = n;
    b->file = n->file;
    n->state = b;
    ret = read_geometry(b, head, err);
    if (!ret)
        ret = read_catalog(b, err);
    if (ret) {
        close_image(n);
        return ret;
    }
    n->granule = b->extent;
    return 0;
}

/* As many sectors as have the same bit as the first. */
static int map_extent(struct bochs *b, uint64_t place, uint32_t in, struct viv_extent *e)
{
    uint64_t bitmap = b->first + place * (b->bitmap_bytes + b->extent);
    uint32_t sector = in / 512, from = sector / 8, bytes = MIN(BITMAP_STEP, (b->extent / 512 + 7) / 8 - from), count = 1;
    uint8_t bits[BITMAP_STEP];
    bool set;
    int ret;

    if (!viv_range_inside(bitmap, b->bitmap_bytes, viv_node_size(b->file)))
        return -EIO; /* cut off, or a wrong entry */
    ret = viv_node_pread(b->file, bitmap + from, bits, bytes);
    if (ret)
        return ret;
    set = bits[0] >> (sector % 8) & 1;
    while (sector + count < (from + bytes) * 8 && (bits[(sector + count) / 8 - from] >> ((sector + count) % 8) & 1) == set)
        count++;
    e->len = MIN(e->len, count * 512ull - in % 512);
    e->kind = set ? VIV_MAP_DATA : VIV_MAP_ZERO;
    e->allocated = set;
    e->host = set ? bitmap + b->bitmap_bytes + in : 0;
    return set && e->host >= viv_node_size(b->file) ? -EIO : 0;
}

static int map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct bochs *b = n->state;
    uint32_t in = offset & (b->extent - 1), place = GUINT32_FROM_LE(b->catalog[offset / b->extent]);

    *out = (struct viv_extent){.kind = VIV_MAP_ZERO, .len = MIN(len, b->extent - in)};
    return place == NOTHING ? 0 : map_extent(b, place, in, out);
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
}

const struct viv_blk_driver viv_blk_bochs = {
    .name = "bochs",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = map,
    .info = info,
};
