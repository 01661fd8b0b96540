/* Saved state of virtio-gpu. Pictures are saved as they are: what of its memory the guest has transferred, and when, nobody
 * knows any more. */
#include "dev/virtio/virtio_gpu.h"

#include "dev/display/vga.h"

#include <errno.h>

/* ---- heads ---- */

#define HEAD_DERIVED(m) VIV_F_DERIVED(gpu_head, m, "the next refresh shows everything")

static const struct viv_state_table rect_state = {
    .name = "gpu-rect",
    .ctype = "gpu_rect",
    .version = 1,
    .min_version = 1,
    .fields = (const struct viv_field[]){VIV_F_INT(gpu_rect, x), VIV_F_INT(gpu_rect, y), VIV_F_INT(gpu_rect, width),
                                         VIV_F_INT(gpu_rect, height), VIV_F_END},
};

const struct viv_state_table gpu_head_state = {
    .name = "gpu-head",
    .ctype = "gpu_head",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(gpu_head, connected),
            VIV_F_INT(gpu_head, width),
            VIV_F_INT(gpu_head, height),
            VIV_F_INT(gpu_head, resource),
            VIV_F_STRUCT(gpu_head, rect, rect_state),
            VIV_F_INT(gpu_head, has_cursor),
            VIV_F_INT(gpu_head, hot_x),
            VIV_F_INT(gpu_head, hot_y),
            VIV_F_INT(gpu_head, cursor_x),
            VIV_F_INT(gpu_head, cursor_y),
            VIV_F_INTS(gpu_head, cursor),
            VIV_F_CONFIG(gpu_head, gpu),
            VIV_F_CONFIG(gpu_head, console),
            HEAD_DERIVED(show),
            HEAD_DERIVED(cursor_new),
            HEAD_DERIVED(cursor_moved),
            HEAD_DERIVED(changed),
            VIV_F_END,
        },
};

/* ---- resources ---- */

static void save_one(struct viv_state_writer *w, const struct gpu_resource *r)
{
    viv_state_put_u32(w, r->id);
    viv_state_put_u32(w, r->format);
    viv_state_put_u32(w, r->picture->width);
    viv_state_put_u32(w, r->picture->height);
    viv_state_put(w, r->picture->pixels, r->picture->stride * r->picture->height);
    viv_state_put_u32(w, r->pieces);
    for (uint32_t i = 0; i < r->pieces; i++) {
        viv_state_put_u64(w, r->backing[i].gpa);
        viv_state_put_u32(w, r->backing[i].len);
    }
}

static gint by_id(gconstpointer a, gconstpointer b)
{
    return GPOINTER_TO_UINT(a) < GPOINTER_TO_UINT(b) ? -1 : 1;
}

static void save_resources(struct viv_state_writer *w, const void *obj)
{
    const struct virtio_gpu *g = obj;
    GList *ids = g_list_sort(g_hash_table_get_keys(g->resources), by_id);

    viv_state_put_u32(w, g_hash_table_size(g->resources));
    for (GList *l = ids; l; l = l->next)
        save_one(w, gpu_find(g, GPOINTER_TO_UINT(l->data)));
    g_list_free(ids);
}

static int load_pieces(struct viv_state_reader *r, struct virtio_gpu *g, struct gpu_resource *res, struct viv_err *err)
{
    g_autofree struct gpu_piece *p = NULL;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    if (rc || !n)
        return rc;
    if (n > (g->max_hostmem - g->hostmem) / sizeof(*p) || !(p = g_try_new(struct gpu_piece, n)))
        return viv_fail(err, EINVAL, "virtio-gpu: a picture in %u pieces", n);
    for (uint32_t i = 0; !rc && i < n; i++) {
        rc = viv_state_get_u64(r, &p[i].gpa, err);
        if (!rc)
            rc = viv_state_get_u32(r, &p[i].len, err);
    }
    if (!rc && gpu_attach(g, res, g_steal_pointer(&p), n) != VIRTIO_GPU_RESP_OK_NODATA)
        rc = viv_fail(err, EINVAL, "virtio-gpu: a picture whose memory wraps, or in pieces of nothing");
    return rc;
}

static int load_one(struct viv_state_reader *r, struct virtio_gpu *g, struct viv_err *err)
{
    uint32_t id[4] = {0}; /* and format, width, height */
    struct gpu_resource *res;
    int rc = 0;

    for (unsigned i = 0; !rc && i < 4; i++)
        rc = viv_state_get_u32(r, &id[i], err);
    if (rc)
        return rc;
    if (gpu_create(g, id[0], id[1], id[2], id[3]) != VIRTIO_GPU_RESP_OK_NODATA)
        return viv_fail(err, EINVAL, "virtio-gpu: picture %u of %ux%u, format %u: not possible, or beyond max_hostmem", id[0], id[2], id[3],
                        id[1]);
    res = gpu_find(g, id[0]);
    rc = viv_state_get(r, res->picture->pixels, res->picture->stride * res->picture->height, err);
    return rc ? rc : load_pieces(r, g, res, err);
}

static int load_resources(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct virtio_gpu *g = obj;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    gpu_unref_all(g);
    for (; !rc && n; n--)
        rc = load_one(r, g, err);
    return rc;
}

static void save_heads(struct viv_state_writer *w, const void *obj)
{
    const struct virtio_gpu *g = obj;

    viv_state_put_u32(w, g->heads);
    for (unsigned i = 0; i < g->heads; i++)
        viv_state_save(w, "head", &gpu_head_state, (void *)&g->head[i]);
}

static int load_heads(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct virtio_gpu *g = obj;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    if (!rc && n != g->heads)
        return viv_fail(err, EINVAL, "virtio-gpu: %u heads in the saved state, %u here (max_outputs)", n, g->heads);
    for (unsigned i = 0; !rc && i < g->heads; i++)
        rc = viv_state_load(r, "head", &gpu_head_state, &g->head[i], err);
    return rc;
}

/* ---- all ---- */

static int check_head(const struct virtio_gpu *g, const struct gpu_head *h, struct viv_err *err)
{
    const struct gpu_resource *r = h->resource ? gpu_find(g, h->resource) : NULL;

    if (h->resource && (!r || !h->rect.width || !h->rect.height || !gpu_inside(r, &h->rect)))
        return viv_fail(err, EINVAL, "virtio-gpu: a head shows what is not in picture %u", h->resource);
    if (h->hot_x >= GPU_CURSOR || h->hot_y >= GPU_CURSOR || !h->width || !h->height || h->width > VIV_SURFACE_MOST ||
        h->height > VIV_SURFACE_MOST)
        return viv_fail(err, EINVAL, "virtio-gpu: a monitor of %ux%u, hot spot at %u,%u", h->width, h->height, h->hot_x, h->hot_y);
    return 0;
}

static int post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_gpu *g = obj;
    int rc = 0;

    for (unsigned i = 0; !rc && i < g->heads; i++)
        rc = check_head(g, &g->head[i], err);
    if (rc)
        gpu_heads_reset(g);
    g->native |= !g->vga;
    for (unsigned i = 0; i < g->heads; i++)
        g->head[i].show = g->head[i].cursor_new = g->head[i].cursor_moved = true;
    if (g->vga)
        vga_show_again(g->vga);
    return rc;
}

const struct viv_state_table gpu_state = {
    .name = "virtio-gpu",
    .ctype = "virtio_gpu",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(virtio_gpu, v, viv_virtio_state),
            VIV_F_CONFIG(virtio_gpu, heads),
            VIV_F_CONFIG(virtio_gpu, max_hostmem),
            VIV_F_DERIVED(virtio_gpu, hostmem, "counted as resources are loaded"),
            VIV_F_CONFIG(virtio_gpu, edid),
            VIV_F_CONFIG(virtio_gpu, width),
            VIV_F_CONFIG(virtio_gpu, height),
            VIV_F_INT(virtio_gpu, events),
            VIV_F_CUSTOM(virtio_gpu, resources, save_resources, load_resources),
            VIV_F_INT(virtio_gpu, native),
            VIV_F_CONFIG(virtio_gpu, vga),
            VIV_F_DERIVED(virtio_gpu, moved, "of one kick"),
            VIV_F_CUSTOM(virtio_gpu, head, save_heads, load_heads),
            VIV_F_END,
        },
    .post_load = post_load,
};
