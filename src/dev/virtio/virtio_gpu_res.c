/* Resources of virtio-gpu (5.7.6.8): pictures that the guest's drawings are copied into.
 *
 * Memory: pixels and lists of pieces count, and each resource PLACE bytes more, so that max_hostmem also bounds how many there
 * are. The list is the guest's: it is copied once, and the memory it names is looked up at each transfer. */
#include "dev/virtio/virtio_gpu.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"

#include <string.h>

#define PLACE 1024
#define VISIT 256 /* bytes that could be moved while a piece is looked up */

/* Where colours are in a word that is read little-endian, and whether the fourth byte is alpha. */
static const struct format {
    uint32_t id;
    uint8_t red, green, blue, alpha;
    bool has_alpha;
} formats[] = {
    {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 16, 8, 0, 24, true}, {VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 8, 0, 24, false},
    {VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 8, 16, 24, 0, true}, {VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 8, 16, 24, 0, false},
    {VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 0, 8, 16, 24, true}, {VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 0, 8, 16, 24, false},
    {VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 24, 16, 8, 0, true}, {VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 24, 16, 8, 0, false},
};

static const struct format *format_of(uint32_t id)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (formats[i].id == id)
            return &formats[i];
    }
    return NULL;
}

bool gpu_has_alpha(const struct gpu_resource *r)
{
    return format_of(r->format)->has_alpha;
}

/* ---- which there are ---- */

struct gpu_resource *gpu_find(const struct virtio_gpu *g, uint32_t id)
{
    return g_hash_table_lookup(g->resources, GUINT_TO_POINTER(id));
}

static uint64_t cost(const struct gpu_resource *r)
{
    return (uint64_t)r->picture->stride * r->picture->height + PLACE;
}

uint32_t gpu_create(struct virtio_gpu *g, uint32_t id, uint32_t format, uint32_t width, uint32_t height)
{
    uint64_t bytes = (uint64_t)width * height * 4 + PLACE;
    struct viv_surface *s;
    struct gpu_resource *r;

    if (!id || gpu_find(g, id))
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!format_of(format) || !width || !height || width > VIV_SURFACE_MOST || height > VIV_SURFACE_MOST)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    if (bytes > g->max_hostmem - g->hostmem || !(s = viv_surface_new(width, height))) {
        viv_guest_error(viv_virtio_name(&g->v), "no memory for a picture of %ux%u: %llu of %llu bytes are taken (max_hostmem)", width,
                        height, (unsigned long long)g->hostmem, (unsigned long long)g->max_hostmem);
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    }
    r = g_new0(struct gpu_resource, 1);
    *r = (struct gpu_resource){.id = id, .format = format, .picture = s};
    g->hostmem += bytes;
    g_hash_table_insert(g->resources, GUINT_TO_POINTER(id), r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

void gpu_unref(struct virtio_gpu *g, struct gpu_resource *r)
{
    gpu_detach(g, r);
    for (unsigned i = 0; i < g->heads; i++) {
        if (g->head[i].resource == r->id)
            gpu_set_scanout(g, i, 0, &(struct gpu_rect){0});
    }
    g->hostmem -= cost(r);
    g_hash_table_remove(g->resources, GUINT_TO_POINTER(r->id));
    viv_surface_put(&r->picture); /* a viewer may still look at it */
    g_free(r);
}

void gpu_unref_all(struct virtio_gpu *g)
{
    GHashTableIter it;
    gpointer r;

    for (;;) { /* each one takes itself out */
        g_hash_table_iter_init(&it, g->resources);
        if (!g_hash_table_iter_next(&it, NULL, &r))
            return;
        gpu_unref(g, r);
    }
}

/* ---- their backing ---- */

uint32_t gpu_attach(struct virtio_gpu *g, struct gpu_resource *r, struct gpu_piece *pieces, uint32_t n)
{
    uint64_t bytes = (uint64_t)n * sizeof(*pieces), len = 0, end;
    uint32_t answer = VIRTIO_GPU_RESP_OK_NODATA;

    if (r->backing)
        answer = VIRTIO_GPU_RESP_ERR_UNSPEC;
    else if (bytes > g->max_hostmem - g->hostmem)
        answer = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < n && answer == VIRTIO_GPU_RESP_OK_NODATA; i++) {
        pieces[i].start = len;
        len += pieces[i].len; /* 2^32 pieces of 2^32 bytes: fits */
        if (!pieces[i].len || __builtin_add_overflow(pieces[i].gpa, pieces[i].len, &end))
            answer = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    }
    if (answer != VIRTIO_GPU_RESP_OK_NODATA) {
        g_free(pieces);
        return answer;
    }
    r->backing = pieces;
    r->pieces = n;
    r->backing_len = len;
    g->hostmem += bytes;
    return answer;
}

void gpu_detach(struct virtio_gpu *g, struct gpu_resource *r)
{
    g->hostmem -= (uint64_t)r->pieces * sizeof(*r->backing);
    g_clear_pointer(&r->backing, g_free);
    r->pieces = 0;
    r->backing_len = 0;
}

/* The piece that holds byte `at`, which is below backing_len. */
static uint32_t piece_at(const struct gpu_resource *r, uint64_t at)
{
    uint32_t low = 0, high = r->pieces;

    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;

        if (r->backing[mid].start <= at)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* at + len is at most backing_len. */
static bool read_backing(struct virtio_gpu *g, const struct gpu_resource *r, uint64_t at, uint8_t *to, uint64_t len)
{
    for (uint32_t i = len ? piece_at(r, at) : 0; len; i++) {
        const struct gpu_piece *p = &r->backing[i];
        uint64_t skip = at - p->start, n = MIN(len, p->len - skip);

        g->moved += VISIT;
        if (viv_dma_read(g->v.board->mem, p->gpa + skip, to, n) < 0)
            return false;
        at += n;
        to += n;
        len -= n;
    }
    return true;
}

/* ---- transfers ---- */

static void convert(const struct format *f, uint8_t *row, uint32_t width)
{
    for (uint32_t x = 0; x < width; x++) {
        uint32_t p = viv_ld_le32(row + 4 * x);

        viv_st_le32(row + 4 * x, (p >> f->alpha & 0xff) << 24 | (p >> f->red & 0xff) << 16 | (p >> f->green & 0xff) << 8 |
                                     (p >> f->blue & 0xff));
    }
}

/* `offset` is of the first pixel; lines are as far apart as in the picture (5.7.6.8, TRANSFER_TO_HOST_2D). */
uint32_t gpu_transfer(struct virtio_gpu *g, struct gpu_resource *r, const struct gpu_rect *at, uint64_t offset)
{
    const struct format *f = format_of(r->format);
    struct viv_surface *s = r->picture;
    uint64_t line = (uint64_t)at->width * 4, last = at->height ? (uint64_t)(at->height - 1) * s->stride + line : 0;

    if (!gpu_inside(r, at))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    if (!r->backing)
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    if (last > r->backing_len || offset > r->backing_len - last)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    g->moved += line * at->height;
    for (uint32_t y = 0; line && y < at->height; y++) {
        uint8_t *row = s->pixels + (at->y + y) * s->stride + (size_t)at->x * 4;

        if (!read_backing(g, r, offset + y * s->stride, row, line)) {
            viv_guest_error(viv_virtio_name(&g->v), "resource %u is backed by what is not memory", r->id);
            return VIRTIO_GPU_RESP_ERR_UNSPEC;
        }
        if (f->red != 16)
            convert(f, row, at->width);
    }
    return VIRTIO_GPU_RESP_OK_NODATA;
}
