/* Heads of virtio-gpu: what each shows, its cursor, and what the driver hears of the viewers' sizes (5.7.6.1, 5.7.6.8).
 *
 * Head 0 always has a monitor. Another one gets it when a viewer looks at it or says how much room it has, and loses it when
 * the viewer has none any more. */
#include "dev/virtio/virtio_gpu.h"

#include "dev/display/vga.h"

#include <string.h>

static bool shows_vga(const struct gpu_head *h)
{
    return h->gpu->vga && !h->gpu->native && h == &h->gpu->head[0];
}

/* ---- scanouts ---- */

/* The VGA and the heads take turns on the console of head 0. */
static void set_native(struct virtio_gpu *g, bool native)
{
    if (!g->vga || g->native == native)
        return;
    g->native = native;
    if (!native)
        vga_show_again(g->vga);
    g->head[0].show = true;
}

void gpu_set_vga(struct virtio_gpu *g, struct vga *vga)
{
    g->vga = vga;
    g->native = !vga;
}

uint32_t gpu_set_scanout(struct virtio_gpu *g, unsigned head, uint32_t resource, const struct gpu_rect *at)
{
    const struct gpu_resource *r = resource ? gpu_find(g, resource) : NULL;
    struct gpu_head *h;

    if (head >= g->heads)
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    if (resource && !r)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (resource && (!at->width || !at->height || !gpu_inside(r, at)))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    h = &g->head[head];
    h->resource = resource;
    h->rect = resource ? *at : (struct gpu_rect){0};
    h->show = true;
    if (resource)
        set_native(g, true);
    viv_console_awake(h->console);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* What of `at`, in the picture, is on the head: added to its box of changes. */
static void add_change(struct gpu_head *h, const struct gpu_rect *at)
{
    const struct gpu_rect *s = &h->rect;
    struct gpu_rect *c = &h->changed;
    uint32_t x0 = MAX(at->x, s->x), y0 = MAX(at->y, s->y);
    uint32_t x1 = MIN(at->x + at->width, s->x + s->width), y1 = MIN(at->y + at->height, s->y + s->height);

    if (x0 >= x1 || y0 >= y1)
        return;
    x0 -= s->x, x1 -= s->x, y0 -= s->y, y1 -= s->y;
    if (c->width) {
        x1 = MAX(x1, c->x + c->width);
        y1 = MAX(y1, c->y + c->height);
        x0 = MIN(x0, c->x);
        y0 = MIN(y0, c->y);
    }
    *c = (struct gpu_rect){x0, y0, x1 - x0, y1 - y0};
    viv_console_awake(h->console);
}

/* `at` is inside the picture. */
void gpu_flush(struct virtio_gpu *g, const struct gpu_resource *r, const struct gpu_rect *at)
{
    for (unsigned i = 0; i < g->heads; i++) {
        if (g->head[i].resource == r->id)
            add_change(&g->head[i], at);
    }
}

/* ---- cursors ---- */

void gpu_move_cursor(struct virtio_gpu *g, unsigned head, int32_t x, int32_t y)
{
    struct gpu_head *h = &g->head[head];

    h->cursor_moved |= h->cursor_x != x || h->cursor_y != y;
    h->cursor_x = x;
    h->cursor_y = y;
    if (h->cursor_moved)
        viv_console_awake(h->console);
}

/* Resource 0: no cursor. Another size than 64 by 64 is a driver's mistake: what there was stays (5.7.6.10). */
void gpu_update_cursor(struct virtio_gpu *g, unsigned head, uint32_t resource, uint32_t hot_x, uint32_t hot_y)
{
    const struct gpu_resource *r = resource ? gpu_find(g, resource) : NULL;
    struct gpu_head *h = &g->head[head];

    if (resource && (!r || r->picture->width != GPU_CURSOR || r->picture->height != GPU_CURSOR))
        return;
    h->has_cursor = r != NULL;
    h->cursor_new = h->cursor_moved = true;
    h->hot_x = MIN(hot_x, GPU_CURSOR - 1);
    h->hot_y = MIN(hot_y, GPU_CURSOR - 1);
    viv_console_awake(h->console);
    if (!r)
        return;
    memcpy(h->cursor, r->picture->pixels, sizeof(h->cursor));
    for (unsigned i = 0; i < G_N_ELEMENTS(h->cursor) && !gpu_has_alpha(r); i++)
        h->cursor[i] |= 0xff000000;
}

static void show_cursor(struct gpu_head *h)
{
    g_autofree struct viv_cursor *c = NULL;

    if (!h->has_cursor || shows_vga(h)) {
        viv_console_set_cursor(h->console, NULL);
        return;
    }
    c = g_malloc(sizeof(*c) + sizeof(h->cursor));
    *c = (struct viv_cursor){.width = GPU_CURSOR, .height = GPU_CURSOR, .hot_x = h->hot_x, .hot_y = h->hot_y};
    memcpy(c->pixels, h->cursor, sizeof(h->cursor));
    viv_console_set_cursor(h->console, c);
}

/* ---- viewers ---- */

static void show(struct gpu_head *h)
{
    const struct gpu_resource *r = h->resource ? gpu_find(h->gpu, h->resource) : NULL;
    struct viv_surface *s = NULL;

    if (r)
        s = viv_surface_part(r->picture, h->rect.x, h->rect.y, h->rect.width, h->rect.height);
    viv_console_show(h->console, s);
}

static void refresh(void *opaque)
{
    struct gpu_head *h = opaque;
    struct gpu_rect c = h->changed;

    if (shows_vga(h))
        vga_console_ops.refresh(h->gpu->vga);
    else if (h->show)
        show(h);
    else if (c.width)
        viv_console_changed(h->console, c.x, c.y, c.width, c.height);
    if (h->cursor_new || h->show)
        show_cursor(h);
    if (h->cursor_moved)
        viv_console_move_cursor(h->console, h->cursor_x, h->cursor_y, h->has_cursor);
    h->changed.width = 0;
    h->show = h->cursor_new = h->cursor_moved = false;
}

static struct viv_text *text(void *opaque)
{
    struct gpu_head *h = opaque;

    return shows_vga(h) ? vga_console_ops.text(h->gpu->vga) : NULL;
}

static void tell(struct virtio_gpu *g)
{
    g->events |= GPU_EVENT_DISPLAY;
    viv_virtio_config_changed(&g->v);
}

static void room(void *opaque, unsigned width, unsigned height)
{
    struct gpu_head *h = opaque;
    bool connected = (width && height) || h == &h->gpu->head[0];

    if (!width || !height) {
        width = h->width;
        height = h->height;
    }
    width = MIN(width, VIV_SURFACE_MOST);
    height = MIN(height, VIV_SURFACE_MOST);
    if (connected == h->connected && width == h->width && height == h->height)
        return;
    h->connected = connected;
    h->width = width;
    h->height = height;
    tell(h->gpu);
}

static void watched(void *opaque, bool on)
{
    struct gpu_head *h = opaque;

    if (h->gpu->vga && h == &h->gpu->head[0])
        vga_console_ops.watched(h->gpu->vga, on);
    if (on && !h->connected)
        room(h, h->width, h->height);
}

/* ---- life ---- */

static const struct viv_console_ops console_ops = {.refresh = refresh, .text = text, .watched = watched, .room = room};

void gpu_heads_init(struct virtio_gpu *g)
{
    const struct viv_dev *d = g->v.dev;

    for (unsigned i = 0; i < g->heads; i++) {
        struct gpu_head *h = &g->head[i];

        h->gpu = g;
        h->connected = i == 0;
        h->width = g->width;
        h->height = g->height;
        h->console = viv_console_new(d->id ? d->id : d->cls->name, i, &console_ops, h);
    }
}

void gpu_heads_fini(struct virtio_gpu *g)
{
    for (unsigned i = 0; i < g->heads; i++)
        viv_console_free(g->head[i].console);
    g->heads = 0;
}

/* Sizes are the viewers': they stay. */
void gpu_heads_reset(struct virtio_gpu *g)
{
    for (unsigned i = 0; i < g->heads; i++) {
        gpu_set_scanout(g, i, 0, &(struct gpu_rect){0});
        gpu_update_cursor(g, i, 0, 0, 0);
        gpu_move_cursor(g, i, 0, 0);
    }
    set_native(g, false);
}
