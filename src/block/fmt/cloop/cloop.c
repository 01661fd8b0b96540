/* cloop version 2, as create_compressed_fs writes it: 128 bytes that are a shell script, block size and number of blocks (32 bits,
 * big-endian), where each block and the end of the last begins (64 bits), the blocks as zlib streams. Read only.
 *
 * Nothing of the table of offsets is kept: two entries are read with each block. The disk has whole blocks. */
#include "block/fmt/cloop/cloop.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "block/chunks.h"
#include "block/fmt/deflate/deflate.h"
#include "block/image.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { H_BLOCK_SIZE = 128, H_BLOCKS = 132, H_OFFSETS = 136 };

#define BLOCK_MAX (64u << 20)
#define GRANULE   65536u

/* Programs tell it by its first line; what follows differs between versions of create_compressed_fs. */
static const char magic[] = "#!/bin/sh\n#V2.0 Format\n";

struct cloop {
    struct viv_node *node, *file; /* borrowed */
    uint32_t block_size, blocks;
    struct viv_chunks chunks;
};

static int probe(const uint8_t *head, size_t len)
{
    return len >= H_OFFSETS && memcmp(head, magic, strlen(magic)) == 0 ? 100 : 0;
}

/* Where a block's stream lies. */
static int find_block(struct cloop *c, uint64_t index, uint64_t *at, size_t *len)
{
    uint8_t be[16];
    uint64_t end;
    int ret = viv_node_pread(c->file, H_OFFSETS + index * 8, be, sizeof(be));

    if (ret)
        return ret;
    *at = viv_ld_be64(be);
    end = viv_ld_be64(be + 8);
    if (*at < H_OFFSETS || end <= *at || end > viv_node_size(c->file) || end - *at > 2 * (uint64_t)c->block_size + 1024)
        return -EIO;
    *len = end - *at;
    return 0;
}

static int load(void *opaque, uint64_t index, uint8_t *out, size_t len)
{
    struct cloop *c = opaque;
    uint8_t *in = NULL;
    uint64_t at;
    size_t bytes = 0;
    int ret = find_block(c, index, &at, &bytes);

    if (!ret && !(in = g_try_malloc(bytes)))
        ret = -ENOMEM;
    if (!ret)
        ret = viv_node_pread(c->file, at, in, bytes);
    if (!ret)
        ret = viv_inflate(in, bytes, out, len, 15);
    g_free(in);
    return ret;
}

static int map(struct viv_node *n, uint64_t offset, uint64_t len, struct viv_extent *out)
{
    *out = (struct viv_extent){.kind = VIV_MAP_COMPRESSED, .len = len, .allocated = true};
    return 0;
}

/* A granule is not a block: those may have any size. */
static int read_granule(struct viv_node *n, uint64_t offset, uint8_t *buf)
{
    struct cloop *c = n->state;
    uint64_t size = viv_node_size(n), want = MIN(GRANULE, size - offset);
    int ret = 0;

    memset(buf + want, 0, GRANULE - want);
    while (want && !ret) {
        uint64_t index = offset / c->block_size, skip = offset % c->block_size, step = MIN(want, c->block_size - skip), at;
        size_t packed = 0;

        ret = find_block(c, index, &at, &packed);
        if (!ret)
            ret = viv_chunks_read(&c->chunks, index, c->block_size, packed, skip, buf, step);
        buf += step;
        offset += step;
        want -= step;
    }
    return ret;
}

static int read_header(struct cloop *c, struct viv_err *err)
{
    uint64_t file = viv_node_size(c->file);
    uint8_t head[H_OFFSETS];
    int ret = viv_node_pread(c->file, 0, head, sizeof(head));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", c->node->filename);
    c->block_size = viv_ld_be32(head + H_BLOCK_SIZE);
    c->blocks = viv_ld_be32(head + H_BLOCKS);
    if (!c->block_size || c->block_size % 512)
        return viv_fail(err, EINVAL, "'%s': block_size %u must be a multiple of 512 (is it a cloop image?)", c->node->filename,
                        (unsigned)c->block_size);
    if (c->block_size > BLOCK_MAX)
        return viv_fail(err, EINVAL, "'%s': block_size %u must be %u MB or less", c->node->filename, (unsigned)c->block_size,
                        BLOCK_MAX >> 20);
    if (c->blocks && !viv_range_inside(H_OFFSETS, ((uint64_t)c->blocks + 1) * 8, file))
        return viv_fail(err, EINVAL, "'%s': the image is truncated: its table of %u offsets passes the end of the file",
                        c->node->filename, (unsigned)c->blocks);
    c->node->size = (uint64_t)c->block_size * c->blocks;
    return 0;
}

static int close_image(struct viv_node *n)
{
    struct cloop *c = n->state;

    viv_chunks_fini(&c->chunks);
    g_free(c);
    n->state = NULL;
    return 0;
}

static int open_image(struct viv_node *n, const struct viv_node_opts *o, struct viv_err *err)
{
    struct cloop *c;
    int ret;

    if (!n->read_only)
        return viv_fail(err, EROFS, "'%s': cloop images can only be read (read-only=on)", n->filename);
    c = g_new0(struct cloop, 1);
    c->node = n;
    c->file = n->file;
    n->state = c;
    n->granule = GRANULE;
    viv_chunks_init(&c->chunks, load, c);
    ret = read_header(c, err);
    if (ret)
        close_image(n);
    return ret;
}

static void info(struct viv_node *n, struct viv_img_info *i)
{
}

const struct viv_blk_driver viv_blk_cloop = {
    .name = "cloop",
    .probe = probe,
    .open = open_image,
    .close = close_image,
    .map = map,
    .read_special = read_granule,
    .info = info,
};
