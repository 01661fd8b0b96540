/* virtio-scsi's request queues (5.6.6.1): from the ring to a target and back.
 *
 *   kick -> pop, copy and check the header -> viv_scsi_new -> viv_scsi_move with all of the guest's buffers -> done: response, push
 *
 * Data moves between image and guest RAM directly. */
#include "dev/virtio/virtio_scsi.h"

#include "base/bytes.h"
#include "bus/pci.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { HEAD = offsetof(struct virtio_scsi_cmd_req, cdb), RESP_HEAD = offsetof(struct virtio_scsi_cmd_resp, sense) };
#define RESP(field) offsetof(struct virtio_scsi_cmd_resp, field)

struct vscsi_address vscsi_address(const uint8_t lun[8])
{
    struct vscsi_address a = {.target = lun[1]};
    unsigned number = viv_ld_be16(lun + 2);

    /* One level: peripheral (00b, bus 0) or flat addressing (01b), SAM-5 4.7. The well-known unit C1h 01h is not there. */
    a.known = lun[0] == 1 && (number < 256 || number >> 14 == 1) && !viv_ld_be32(lun + 4);
    a.lun = number & 0x3fff;
    return a;
}

void vscsi_put_address(uint8_t lun[8], unsigned target, unsigned number)
{
    memset(lun, 0, 8);
    lun[0] = 1;
    lun[1] = (uint8_t)target;
    viv_st_be16(lun + 2, (uint16_t)(number | (number < 256 ? 0 : 0x4000)));
}

bool vscsi_has_target(const struct virtio_scsi *s, unsigned target)
{
    struct viv_scsi_dev *d = viv_scsi_next(s->bus, NULL);

    while (d && d->id != target)
        d = viv_scsi_next(s->bus, d);
    return d != NULL;
}

/* ---- the end ---- */

void vscsi_flush(struct virtio_scsi *s)
{
    uint64_t touched = s->touched;

    s->touched = 0;
    for (unsigned q = 0; touched && !s->v.resetting; q++, touched >>= 1) {
        if (touched & 1)
            viv_virtq_notify(&s->v, q);
    }
}

/* The response and so much of data behind it; `response` is 5.6.6.1's. */
static void answer(struct virtio_scsi *s, struct viv_virtq_elem *e, uint8_t response, const struct viv_scsi_req *r, uint64_t data_len)
{
    uint8_t resp[RESP_HEAD + 256] = {0};
    uint64_t moved = r ? r->moved : 0;
    unsigned sense = r ? MIN(r->sense_len, s->sense_size) : 0;

    viv_st_le32(resp + RESP(resid), (uint32_t)(data_len - MIN(moved, data_len)));
    resp[RESP(response)] = response;
    if (r && response == VIRTIO_SCSI_S_OK) {
        resp[RESP(status)] = r->status;
        viv_st_le32(resp + RESP(sense_len), sense);
        memcpy(resp + RESP_HEAD, r->sense, sense);
    }
    viv_iov_from_buf(e->in, (int)e->in_num, 0, resp, RESP_HEAD + s->sense_size);
    s->touched |= 1ull << e->queue;
    viv_virtq_push(e, (uint32_t)(RESP_HEAD + s->sense_size + (r && r->direction == VIV_SCSI_READ ? moved : 0)));
}

static uint64_t data_out(const struct virtio_scsi *s, const struct viv_virtq_elem *e)
{
    return e->out_len - HEAD - s->cdb_size;
}

static uint64_t data_in(const struct virtio_scsi *s, const struct viv_virtq_elem *e)
{
    return e->in_len - RESP_HEAD - s->sense_size;
}

static void forget(struct vscsi_req *q)
{
    struct virtio_scsi *s = q->s;
    struct vscsi_req **p = &s->reqs;

    while (*p != q)
        p = &(*p)->next;
    *p = q->next;
    viv_scsi_put(q->r);
    g_free(q);
    vscsi_tmf_check(s);
    if (!s->reqs)
        pthread_cond_broadcast(&s->ended);
}

static void done(struct viv_scsi_req *r)
{
    struct vscsi_req *q = r->mine;
    struct virtio_scsi *s = q->s;
    uint8_t response = !r->cancelled ? VIRTIO_SCSI_S_OK : q->by_reset ? VIRTIO_SCSI_S_RESET : VIRTIO_SCSI_S_ABORTED;

    if (s->v.resetting || s->v.broken)
        viv_virtq_drop(q->e);
    else
        answer(s, q->e, response, r, data_in(s, q->e) + data_out(s, q->e));
    forget(q);
}

/* All of it moved in one step: `done` follows by itself. */
static void moved(struct viv_scsi_req *r, size_t bytes)
{
}

static void told(struct viv_scsi_bus *b)
{
    vscsi_flush(vscsi_of(b));
}

static char *fw_path(struct viv_scsi_bus *b)
{
    struct viv_dev *d = viv_scsi_bus_adapter(b);
    g_autofree char *at = NULL;

    if (d->cls->bus != VIV_BUS_PCI)
        return NULL;
    at = viv_pci_fw_path((struct viv_pci_dev *)d, "scsi");
    return g_strconcat(at, "/channel@0", NULL);
}

const struct viv_scsi_bus_ops vscsi_bus_ops = {
    .ids = VSCSI_TARGETS,
    .luns = VSCSI_LUNS,
    .moved = moved,
    .done = done,
    .told = told,
    .fw_path = fw_path,
    .plugged = vscsi_plugged,
    .unplugged = vscsi_unplugged,
    .attention = vscsi_attention,
};

/* ---- the beginning ---- */

static struct vscsi_req *req_new(struct virtio_scsi *s, struct viv_virtq_elem *e, struct vscsi_address at, const uint8_t *header)
{
    struct vscsi_req *q = g_new0(struct vscsi_req, 1), **end = &s->reqs;

    q->s = s;
    q->e = e;
    q->target = at.target;
    q->lun = at.lun;
    q->tag = viv_ld_le64(header + offsetof(struct virtio_scsi_cmd_req, tag));
    q->number = ++s->count;
    while (*end)
        end = &(*end)->next;
    *end = q;
    return q;
}

/* The data's part of the guest's buffers. */
static void move(struct virtio_scsi *s, struct vscsi_req *q)
{
    struct viv_scsi_req *r = q->r;
    struct viv_virtq_elem *e = q->e;
    struct iovec iov[VIV_VIRTQ_MAX_SEGS];
    int n = 0;

    if (r->direction == VIV_SCSI_READ)
        n = viv_iov_cut(iov, e->in, (int)e->in_num, RESP_HEAD + s->sense_size, r->length);
    else if (r->direction == VIV_SCSI_WRITE)
        n = viv_iov_cut(iov, e->out, (int)e->out_num, HEAD + s->cdb_size, r->length);
    viv_scsi_move(r, iov, (unsigned)n);
}

static void start(struct virtio_scsi *s, struct viv_virtq_elem *e)
{
    uint8_t header[HEAD + VIV_SCSI_CDB_MOST] = {0};
    uint64_t out = data_out(s, e), in = data_in(s, e), room;
    struct vscsi_address at;
    struct vscsi_req *q;

    viv_iov_to_buf(e->out, (int)e->out_num, 0, header, HEAD + MIN(s->cdb_size, (uint32_t)VIV_SCSI_CDB_MOST));
    at = vscsi_address(header);
    if (!at.known || !vscsi_has_target(s, at.target)) {
        answer(s, e, VIRTIO_SCSI_S_BAD_TARGET, NULL, in + out);
        return;
    }
    if (in && out) { /* INOUT is not offered */
        answer(s, e, VIRTIO_SCSI_S_FAILURE, NULL, in + out);
        return;
    }
    q = req_new(s, e, at, header);
    q->r = viv_scsi_new(s->bus, at.target, at.lun, q->tag, header + HEAD, MIN(s->cdb_size, (uint32_t)VIV_SCSI_CDB_MOST), q);
    room = q->r->direction == VIV_SCSI_READ ? in : q->r->direction == VIV_SCSI_WRITE ? out : 0;
    if (q->r->length > room) { /* "the CDB requires more data than is available" */
        answer(s, e, VIRTIO_SCSI_S_OVERRUN, NULL, in + out);
        forget(q);
        return;
    }
    move(s, q);
}

static bool framed(const struct virtio_scsi *s, const struct viv_virtq_elem *e)
{
    return e->out_len >= HEAD + s->cdb_size && e->in_len >= RESP_HEAD + s->sense_size;
}

void vscsi_take_requests(struct virtio_scsi *s, unsigned queue)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&s->v, queue))) {
        if (!framed(s, e)) {
            viv_virtq_drop(e);
            viv_virtio_set_broken(&s->v, "a SCSI request without header or response");
            return;
        }
        start(s, e);
    }
    vscsi_flush(s);
}

/* ---- reset, saved state ---- */

static void drop_loaded(struct virtio_scsi *s)
{
    while (s->loaded) {
        struct viv_virtq_elem *e = s->loaded;

        s->loaded = e->next;
        viv_virtq_drop(e);
    }
}

void vscsi_give_up(struct virtio_scsi *s)
{
    struct vscsi_req *next;

    drop_loaded(s);
    for (struct vscsi_req *q = s->reqs; q; q = next) {
        next = q->next;
        viv_scsi_cancel(q->r);
    }
    while (s->reqs)
        viv_dev_wait(&s->ended);
    s->touched = 0;
}

void vscsi_resume(struct virtio_scsi *s)
{
    struct viv_virtq_elem *e = s->loaded;

    s->loaded = NULL;
    while (e) {
        struct viv_virtq_elem *next = e->next;

        e->next = NULL;
        start(s, e);
        e = next;
    }
    vscsi_flush(s);
}

void vscsi_save_reqs(struct viv_state_writer *w, const void *obj)
{
    const struct virtio_scsi *s = obj;
    uint32_t n = 0;

    for (const struct vscsi_req *q = s->reqs; q; q = q->next)
        n++;
    for (const struct viv_virtq_elem *e = s->loaded; e; e = e->next)
        n++;
    viv_state_put_u32(w, n);
    for (const struct vscsi_req *q = s->reqs; q; q = q->next)
        viv_virtq_elem_save(w, q->e);
    for (const struct viv_virtq_elem *e = s->loaded; e; e = e->next)
        viv_virtq_elem_save(w, e);
}

int vscsi_load_reqs(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct virtio_scsi *s = obj;
    struct viv_virtq_elem **end = &s->loaded;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    drop_loaded(s);
    for (uint32_t i = 0; !rc && i < n; i++) {
        struct viv_virtq_elem *e;

        rc = viv_virtq_elem_load(r, &s->v, &e, err);
        if (rc)
            break;
        e->next = NULL;
        *end = e;
        end = &e->next;
        if (e->queue < VSCSI_REQUEST || !framed(s, e))
            return viv_fail(err, EINVAL, "a held SCSI request makes no sense");
    }
    return rc;
}
