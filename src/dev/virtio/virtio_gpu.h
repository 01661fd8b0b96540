/* virtio-gpu's pieces (virtio 1.2, 5.7), among its files and for virtio-vga. Device lock held for all calls.
 *
 * virtio_gpu.c       the function: configuration, queues, properties, classes
 * virtio_gpu_cmd.c   commands of the control and the cursor queue
 * virtio_gpu_res.c   resources: pictures of the host's, their backing in guest memory, transfers
 * virtio_gpu_head.c  heads: scanouts, cursors, what viewers see
 * virtio_gpu_state.c saved state
 *
 * A picture is kept as a8r8g8b8 whatever its format; scanouts are surfaces over parts of it. Commands come on whatever thread
 * kicks, and viewers are told at the next refresh on the loop's. */
#ifndef VIV_DEV_VIRTIO_GPU_H
#define VIV_DEV_VIRTIO_GPU_H

#include "bus/virtio.h"
#include "ui/console.h"

#include <glib.h>
#include <linux/virtio_gpu.h>

#define GPU_HEADS  VIRTIO_GPU_MAX_SCANOUTS
#define GPU_CURSOR 64 /* pixels each way (5.7.6.10) */

enum { GPU_CONTROL, GPU_CURSORS }; /* queues */
enum { GPU_EVENT_DISPLAY = 1 };

struct vga;

struct gpu_rect {
    uint32_t x, y, width, height;
};

/* A piece of guest memory behind a picture. */
struct gpu_piece {
    uint64_t start; /* bytes before it */
    uint64_t gpa;
    uint32_t len;
};

struct gpu_resource {
    uint32_t id, format;
    struct viv_surface *picture;
    struct gpu_piece *backing; /* NULL: none */
    uint32_t pieces;
    uint64_t backing_len;
};

struct gpu_head {
    /* What the driver is told: a monitor of this size. */
    bool connected;
    uint32_t width, height;

    /* Scanout; 0: off. */
    uint32_t resource;
    struct gpu_rect rect;

    bool has_cursor;
    uint32_t hot_x, hot_y;
    int32_t cursor_x, cursor_y;
    uint32_t cursor[GPU_CURSOR * GPU_CURSOR]; /* a8r8g8b8 */

    struct virtio_gpu *gpu;
    struct viv_console *console;
    bool show, cursor_new, cursor_moved; /* viewers do not know yet */
    struct gpu_rect changed;             /* nor this; width 0: nothing */
};

struct virtio_gpu {
    struct viv_virtio v;
    uint32_t heads;
    uint64_t max_hostmem, hostmem; /* bytes that pictures may take, and do */
    bool edid;
    uint32_t width, height; /* of head 0's monitor, until a viewer says more */
    uint32_t events;        /* events_read */
    GHashTable *resources;  /* by id */
    bool native;            /* else the VGA is seen on head 0 */
    struct vga *vga;        /* NULL: none */
    uint64_t moved;         /* bytes of pictures in this kick, and what else takes time */
    struct gpu_head head[GPU_HEADS];
};

/* Properties of all forms. */
#define GPU_PROPS                                                                                                                  \
    {.name = "max_outputs", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = GPU_HEADS, .help = "heads"},                         \
        {.name = "xres", .type = VIV_OPT_INT, .def = "1280", .min = 64, .max = VIV_SURFACE_MOST, .help = "width of the first"},    \
        {.name = "yres", .type = VIV_OPT_INT, .def = "800", .min = 64, .max = VIV_SURFACE_MOST, .help = "its height"},             \
        {.name = "edid", .type = VIV_OPT_BOOL, .def = "on", .help = "describes monitors"},                                         \
        {.name = "max_hostmem", .type = VIV_OPT_SIZE, .def = "256M", .min = 1 << 20, .max = 1ll << 40,                             \
         .help = "most memory that the guest's pictures take here"},                                                               \
        {.name = "blob", .type = VIV_OPT_REFUSED, .help = "pictures are copied here; leave it out"},                               \
        {.name = "hostmem", .type = VIV_OPT_REFUSED, .help = "there is no memory shared with the host's; leave it out"},           \
        VIV_VIRTIO_PROPS

extern const struct viv_virtio_class gpu_fn, gpu_vga_fn;
/* Head 0 shows the VGA until a driver sets a scanout, and after a reset. NULL: not any more. */
void gpu_set_vga(struct virtio_gpu *g, struct vga *vga);

/* virtio_gpu_cmd.c */
void gpu_kick(struct viv_virtio *v, unsigned queue);

/* virtio_gpu_res.c: answers are VIRTIO_GPU_RESP_*. */
struct gpu_resource *gpu_find(const struct virtio_gpu *g, uint32_t id); /* NULL: no such */
uint32_t gpu_create(struct virtio_gpu *g, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
void gpu_unref(struct virtio_gpu *g, struct gpu_resource *r);
void gpu_unref_all(struct virtio_gpu *g);
/* `pieces`: g_malloc'ed, taken. */
uint32_t gpu_attach(struct virtio_gpu *g, struct gpu_resource *r, struct gpu_piece *pieces, uint32_t n);
void gpu_detach(struct virtio_gpu *g, struct gpu_resource *r);
uint32_t gpu_transfer(struct virtio_gpu *g, struct gpu_resource *r, const struct gpu_rect *at, uint64_t offset);
bool gpu_has_alpha(const struct gpu_resource *r);
static inline bool gpu_inside(const struct gpu_resource *r, const struct gpu_rect *at)
{
    return at->x <= r->picture->width && at->width <= r->picture->width - at->x && at->y <= r->picture->height &&
           at->height <= r->picture->height - at->y;
}

/* virtio_gpu_head.c */
void gpu_heads_init(struct virtio_gpu *g);
void gpu_heads_fini(struct virtio_gpu *g);
void gpu_heads_reset(struct virtio_gpu *g);
uint32_t gpu_set_scanout(struct virtio_gpu *g, unsigned head, uint32_t resource, const struct gpu_rect *at);
void gpu_flush(struct virtio_gpu *g, const struct gpu_resource *r, const struct gpu_rect *at);
void gpu_update_cursor(struct virtio_gpu *g, unsigned head, uint32_t resource, uint32_t hot_x, uint32_t hot_y);
void gpu_move_cursor(struct virtio_gpu *g, unsigned head, int32_t x, int32_t y);

/* virtio_gpu_state.c */
extern const struct viv_state_table gpu_state, gpu_head_state;

#endif
