/* Commands of virtio-gpu (5.7.6.7 to 5.7.6.10): one request, one answer, in order and at once. So a fence is signalled by the answer
 * itself.
 *
 * A command is copied before it is looked at. A kick that has moved more than MOVED bytes of pictures, or has worked as long, goes on
 * from the loop, so that others get the device lock. */
#include "dev/virtio/virtio_gpu.h"

#include "base/log.h"
#include "dev/display/edid.h"

#include <endian.h>
#include <string.h>

#define MOVED      (64u << 20)
#define COMMAND    4096 /* bytes that could be moved in the time of a command */
#define MOST_PIECES (1u << 20) /* in one list: 4 GiB of pages */

union request {
    struct virtio_gpu_ctrl_hdr hdr;
    struct virtio_gpu_resource_create_2d create;
    struct virtio_gpu_resource_unref unref; /* also detach: the same layout */
    struct virtio_gpu_set_scanout scanout;
    struct virtio_gpu_resource_flush flush;
    struct virtio_gpu_transfer_to_host_2d transfer;
    struct virtio_gpu_resource_attach_backing attach;
    struct virtio_gpu_cmd_get_edid edid;
};

union response {
    struct virtio_gpu_ctrl_hdr hdr;
    struct virtio_gpu_resp_display_info display;
    struct virtio_gpu_resp_edid edid;
};

static struct gpu_rect rect_of(const struct virtio_gpu_rect *r)
{
    return (struct gpu_rect){le32toh(r->x), le32toh(r->y), le32toh(r->width), le32toh(r->height)};
}

/* ---- what is there ---- */

static size_t display_info(struct virtio_gpu *g, union response *a)
{
    uint32_t x = 0;

    for (unsigned i = 0; i < g->heads; i++) {
        const struct gpu_head *h = &g->head[i];

        if (!h->connected)
            continue;
        a->display.pmodes[i].enabled = htole32(1);
        a->display.pmodes[i].r.x = htole32(x); /* side by side */
        a->display.pmodes[i].r.width = htole32(h->width);
        a->display.pmodes[i].r.height = htole32(h->height);
        x += h->width;
    }
    a->hdr.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
    return sizeof(a->display);
}

static size_t edid(struct virtio_gpu *g, const union request *q, union response *a)
{
    uint32_t n = le32toh(q->edid.scanout);

    if (!viv_virtio_has(&g->v, VIRTIO_GPU_F_EDID)) {
        a->hdr.type = VIRTIO_GPU_RESP_ERR_UNSPEC;
        return sizeof(a->hdr);
    }
    if (n >= g->heads) {
        a->hdr.type = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
        return sizeof(a->hdr);
    }
    a->hdr.type = VIRTIO_GPU_RESP_OK_EDID;
    a->edid.size = htole32(VIV_EDID_SIZE);
    /* A detailed timing has 12 bits for each. */
    viv_edid_fill(a->edid.edid, "Vivarium", MIN(g->head[n].width, 4095), MIN(g->head[n].height, 4095));
    return sizeof(a->edid);
}

/* ---- resources ---- */

static uint32_t attach(struct virtio_gpu *g, const struct viv_virtq_elem *e, const union request *q)
{
    struct gpu_resource *r = gpu_find(g, le32toh(q->attach.resource_id));
    uint32_t n = le32toh(q->attach.nr_entries);
    uint64_t need = sizeof(q->attach) + (uint64_t)n * sizeof(struct virtio_gpu_mem_entry);
    struct virtio_gpu_mem_entry m[256];
    struct gpu_piece *pieces;

    if (!r)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!n || need > e->out_len)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    if (n > MOST_PIECES || !(pieces = g_try_new(struct gpu_piece, n)))
        return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        if (i % G_N_ELEMENTS(m) == 0)
            viv_iov_to_buf(e->out, (int)e->out_num, sizeof(q->attach) + (size_t)i * sizeof(m[0]), m, sizeof(m));
        pieces[i] = (struct gpu_piece){.gpa = le64toh(m[i % G_N_ELEMENTS(m)].addr), .len = le32toh(m[i % G_N_ELEMENTS(m)].length)};
    }
    g->moved += need;
    return gpu_attach(g, r, pieces, n);
}

static uint32_t transfer(struct virtio_gpu *g, const union request *q)
{
    struct gpu_resource *r = gpu_find(g, le32toh(q->transfer.resource_id));
    struct gpu_rect at = rect_of(&q->transfer.r);

    return r ? gpu_transfer(g, r, &at, le64toh(q->transfer.offset)) : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

static uint32_t flush(struct virtio_gpu *g, const union request *q)
{
    const struct gpu_resource *r = gpu_find(g, le32toh(q->flush.resource_id));
    struct gpu_rect at = rect_of(&q->flush.r);

    if (!r)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!gpu_inside(r, &at))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    gpu_flush(g, r, &at);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t let_go(struct virtio_gpu *g, const union request *q, bool unref)
{
    struct gpu_resource *r = gpu_find(g, le32toh(q->unref.resource_id));

    if (!r)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!unref && !r->backing)
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    (unref ? gpu_unref : gpu_detach)(g, r);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- the control queue ---- */

static const uint8_t lengths[] = {
#define LEN(cmd, member) [VIRTIO_GPU_CMD_##cmd & 0xff] = sizeof(((union request *)0)->member)
    LEN(GET_DISPLAY_INFO, hdr), LEN(RESOURCE_CREATE_2D, create), LEN(RESOURCE_UNREF, unref), LEN(SET_SCANOUT, scanout),
    LEN(RESOURCE_FLUSH, flush), LEN(TRANSFER_TO_HOST_2D, transfer), LEN(RESOURCE_ATTACH_BACKING, attach),
    LEN(RESOURCE_DETACH_BACKING, unref), LEN(GET_EDID, edid),
};

static uint32_t without_data(struct virtio_gpu *g, const struct viv_virtq_elem *e, const union request *q)
{
    struct gpu_rect r;

    switch (le32toh(q->hdr.type)) {
    case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
        return gpu_create(g, le32toh(q->create.resource_id), le32toh(q->create.format), le32toh(q->create.width),
                          le32toh(q->create.height));
    case VIRTIO_GPU_CMD_RESOURCE_UNREF:
        return let_go(g, q, true);
    case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING:
        return let_go(g, q, false);
    case VIRTIO_GPU_CMD_SET_SCANOUT:
        r = rect_of(&q->scanout.r);
        return gpu_set_scanout(g, le32toh(q->scanout.scanout_id), le32toh(q->scanout.resource_id), &r);
    case VIRTIO_GPU_CMD_RESOURCE_FLUSH:
        return flush(g, q);
    case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
        return transfer(g, q);
    case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
        return attach(g, e, q);
    default:
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    }
}

/* Fills the answer; returns its length. */
static size_t answer(struct virtio_gpu *g, const struct viv_virtq_elem *e, union response *a)
{
    union request q = {0};
    size_t len = viv_iov_to_buf(e->out, (int)e->out_num, 0, &q, sizeof(q)), out = sizeof(a->hdr);
    uint32_t type = le32toh(q.hdr.type), n = type - VIRTIO_GPU_CMD_GET_DISPLAY_INFO;

    memset(a, 0, sizeof(*a));
    if (n >= G_N_ELEMENTS(lengths) || !lengths[n]) {
        viv_guest_error(viv_virtio_name(&g->v), "command 0x%x is not known", type);
        a->hdr.type = VIRTIO_GPU_RESP_ERR_UNSPEC;
    } else if (len < lengths[n]) {
        viv_guest_error(viv_virtio_name(&g->v), "command 0x%x with %zu bytes, it has %u", type, len, lengths[n]);
        a->hdr.type = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    } else if (type == VIRTIO_GPU_CMD_GET_DISPLAY_INFO) {
        out = display_info(g, a);
    } else if (type == VIRTIO_GPU_CMD_GET_EDID) {
        out = edid(g, &q, a);
    } else {
        a->hdr.type = without_data(g, e, &q);
    }
    a->hdr.type = htole32(a->hdr.type);
    if (le32toh(q.hdr.flags) & VIRTIO_GPU_FLAG_FENCE) {
        a->hdr.flags = htole32(VIRTIO_GPU_FLAG_FENCE);
        a->hdr.fence_id = q.hdr.fence_id;
        a->hdr.ctx_id = q.hdr.ctx_id;
    }
    return out;
}

static void control(struct virtio_gpu *g, unsigned queue)
{
    struct viv_virtq_elem *e;
    union response a;

    g->moved = 0;
    while ((e = viv_virtq_pop(&g->v, queue))) {
        size_t len = answer(g, e, &a);

        viv_virtq_push(e, (uint32_t)viv_iov_from_buf(e->in, (int)e->in_num, 0, &a, len));
        g->moved += COMMAND;
        if (g->moved > MOVED)
            viv_virtq_yield(&g->v, queue);
    }
    viv_virtq_notify(&g->v, queue);
}

/* ---- the cursor queue ---- */

static uint32_t cursor_command(struct virtio_gpu *g, const struct virtio_gpu_update_cursor *c)
{
    uint32_t head = le32toh(c->pos.scanout_id), type = le32toh(c->hdr.type);

    if (type != VIRTIO_GPU_CMD_UPDATE_CURSOR && type != VIRTIO_GPU_CMD_MOVE_CURSOR)
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    if (head >= g->heads)
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    if (type == VIRTIO_GPU_CMD_UPDATE_CURSOR)
        gpu_update_cursor(g, head, le32toh(c->resource_id), le32toh(c->hot_x), le32toh(c->hot_y));
    gpu_move_cursor(g, head, (int32_t)le32toh(c->pos.x), (int32_t)le32toh(c->pos.y)); /* left of the screen: negative */
    return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Drivers leave no room for an answer. */
static void cursors(struct virtio_gpu *g, unsigned queue)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&g->v, queue))) {
        struct virtio_gpu_update_cursor c = {0};
        struct virtio_gpu_ctrl_hdr a = {0};
        uint32_t type = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        if (viv_iov_to_buf(e->out, (int)e->out_num, 0, &c, sizeof(c)) == sizeof(c))
            type = cursor_command(g, &c);
        a.type = htole32(type);
        viv_virtq_push(e, (uint32_t)viv_iov_from_buf(e->in, (int)e->in_num, 0, &a, sizeof(a)));
    }
    viv_virtq_notify(&g->v, queue);
}

void gpu_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_gpu *g = (struct virtio_gpu *)v;

    (queue == GPU_CONTROL ? control : cursors)(g, queue);
}
