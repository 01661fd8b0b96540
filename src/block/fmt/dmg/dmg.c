/* The driver: open, map, read. */
#include "block/fmt/dmg/dmg_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "block/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- opening --- */

static int bad(struct dmg *d, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid dmg image: %s", d->node->filename, what);
}

/* Bytes of the file in memory, checked to be in it. */
static int read_fork(struct dmg *d, uint64_t at, uint64_t len, uint8_t **out, struct viv_err *err)
{
    int ret;

    if (!viv_range_inside(at, len, viv_node_size(d->file)))
        return bad(d, err, "its table of contents lies beyond the end of the file");
    if (len > DMG_FORK_MAX)
        return viv_fail(err, EFBIG, "'%s': its table of contents has %" PRIu64 " bytes; at most %u work", d->node->filename, len,
                        DMG_FORK_MAX);
    *out = g_try_malloc(len);
    if (!*out)
        return viv_fail(err, ENOMEM, "no memory for the table of contents of '%s'", d->node->filename);
    ret = viv_node_pread(d->file, at, *out, len);
    return ret ? viv_fail_os(err, -ret, "Could not read '%s'", d->node->filename) : 0;
}

static int read_tables(struct dmg *d, const uint8_t *koly, struct viv_err *err)
{
    uint64_t rsrc = viv_ld_be64(koly + DMG_K_RSRC_LENGTH), xml = viv_ld_be64(koly + DMG_K_XML_LENGTH);
    uint8_t *fork = NULL;
    int ret;

    if (rsrc) {
        ret = read_fork(d, viv_ld_be64(koly + DMG_K_RSRC_OFFSET), rsrc, &fork, err);
        if (!ret)
            ret = dmg_read_rsrc(d, fork, rsrc, err);
    } else if (xml) {
        ret = read_fork(d, viv_ld_be64(koly + DMG_K_XML_OFFSET), xml, &fork, err);
        if (!ret)
            ret = dmg_read_xml(d, (char *)fork, xml, err);
    } else {
        ret = bad(d, err, "it has neither a property list nor a resource fork");
    }
    g_free(fork);
    return ret ? ret : dmg_sort_chunks(d, err);
}

static int read_image(struct dmg *d, struct viv_err *err)
{
    uint64_t file = viv_node_size(d->file), sectors;
    uint8_t koly[DMG_K_LENGTH];
    int ret;

    if (file < DMG_K_LENGTH)
        return viv_fail(err, EINVAL, "Could not locate UDIF trailer in dmg file '%s'", d->node->filename);
    ret = viv_node_pread(d->file, file - DMG_K_LENGTH, koly, sizeof(koly));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", d->node->filename);
    if (viv_ld_be32(koly) != DMG_MAGIC)
        return viv_fail(err, EINVAL, "Could not locate UDIF trailer in dmg file '%s'", d->node->filename);
    sectors = viv_ld_be64(koly + DMG_K_SECTORS);
    if (sectors > INT64_MAX / 512)
        return bad(d, err, "the disk is larger than any");
    d->node->size = sectors * 512;
    d->data_offset = viv_ld_be64(koly + DMG_K_DATA_OFFSET);
    d->data_length = viv_ld_be64(koly + DMG_K_DATA_LENGTH);
    if (!viv_range_inside(d->data_offset, d->data_length, file))
        return bad(d, err, "its data fork passes the end of the file");
    return read_tables(d, koly, err);
}

static int close_image(struct viv_node *n)
{
    struct dmg *d = n->state;

    viv_chunks_fini(&d->cache);
    g_array_free(d->chunk, TRUE);
    g_free(d);
    n->state = NULL;
    return 0;
}

static int load(void *opaque, uint64_t index, uint8_t *out, size_t len);

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct dmg *d;
    int ret;

    if (!n->read_only)
        return viv_fail(err, EROFS, "'%s': dmg images can only be read (read-only=on)", n->filename);
    d = g_new0(struct dmg, 1);
    d->node = n;
    d->file = n->file;
    d->chunk = g_array_new(FALSE, FALSE, sizeof(struct dmg_chunk));
    viv_chunks_init(&d->cache, load, d);
    n->state = d;
    n->granule = DMG_GRANULE;
    ret = read_image(d, err);
    if (ret)
        close_image(n);
    return ret;
}

/* --- reading --- */

static int load(void *opaque, uint64_t index, uint8_t *out, size_t len)
{
    struct dmg *d = opaque;
    const struct dmg_chunk *c = &g_array_index(d->chunk, struct dmg_chunk, index);
    uint8_t *in = g_try_malloc(MAX(c->bytes, 1));
    int ret = in ? viv_node_pread(d->file, c->at, in, c->bytes) : -ENOMEM;

    if (!ret)
        ret = dmg_unpack(c->type, in, c->bytes, out, len);
    g_free(in);
    return ret;
}

/* The chunk with this sector; NULL: none describes it. */
static const struct dmg_chunk *find(struct dmg *d, uint64_t sector, guint *index)
{
    guint low = 0, high = d->chunk->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;
        const struct dmg_chunk *c = &g_array_index(d->chunk, struct dmg_chunk, mid);

        if (sector < c->sector) {
            high = mid;
        } else if (sector - c->sector >= c->count) {
            low = mid + 1;
        } else {
            *index = mid;
            return c;
        }
    }
    return NULL;
}

static int map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    struct dmg *d = n->state;
    guint index;
    const struct dmg_chunk *c = find(d, offset / 512, &index);
    uint64_t in;

    if (!c)
        return -EIO;
    in = offset - c->sector * 512;
    *out = (struct viv_extent){.kind = VIV_MAP_COMPRESSED, .len = MIN(len, c->count * 512 - in), .allocated = true};
    if (c->type == DMG_ZERO || c->type == DMG_IGNORE) {
        out->kind = VIV_MAP_ZERO;
        out->allocated = false;
    } else if (c->type == DMG_RAW) {
        out->kind = VIV_MAP_DATA;
        out->host = c->at + in;
    }
    return 0;
}

static int read_chunk(struct dmg *d, const struct dmg_chunk *c, guint index, uint64_t skip, uint8_t *buf, size_t len)
{
    if (c->type == DMG_ZERO || c->type == DMG_IGNORE) {
        memset(buf, 0, len);
        return 0;
    }
    if (c->type == DMG_RAW)
        return viv_node_pread(d->file, c->at + skip, buf, len);
    return viv_chunks_read(&d->cache, index, c->count * 512, c->bytes, skip, buf, len);
}

/* A granule is not a chunk: those have any size. What no chunk describes is not asked for: map() fails there. */
static int read_granule(struct viv_node *n, uint64_t offset, uint8_t *buf)
{
    struct dmg *d = n->state;
    uint64_t left = DMG_GRANULE;
    int ret = 0;

    memset(buf, 0, DMG_GRANULE);
    while (left && !ret) {
        guint index;
        const struct dmg_chunk *c = find(d, offset / 512, &index);
        uint64_t step = 512;

        if (c) {
            uint64_t skip = offset - c->sector * 512;

            step = MIN(left, c->count * 512 - skip);
            ret = read_chunk(d, c, index, skip, buf, step);
        }
        offset += step;
        buf += step;
        left -= step;
    }
    return ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
}

const struct viv_blk_driver viv_blk_dmg = {
    .name = "dmg",
    .open = open_image,
    .close = close_image,
    .map = map,
    .read_special = read_granule,
    .info = info,
};
