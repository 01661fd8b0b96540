/* Submission and completion queues, doorbells, interrupts and events (NVMe 1.4: 3.1.24, 4.1, 4.6, 7.5).
 *
 * A command is taken only when its completion queue has an entry for it, so what is under way is bounded by the queues' sizes. */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"

#include <errno.h>

static void fatal(struct nvme *n, const char *what)
{
    viv_guest_error("nvme", "%s; the controller stops until it is reset", what);
    n->csts |= NVME_CSTS_CFS;
}

static bool works(const struct nvme *n)
{
    return (n->csts & (NVME_CSTS_RDY | NVME_CSTS_CFS)) == NVME_CSTS_RDY && !n->stopping && viv_pci_bus_master(&n->pci);
}

static uint32_t room(const struct nvme_cq *cq)
{
    uint32_t used = (cq->tail + cq->size - cq->head) % cq->size + cq->reserved;

    return used < cq->size - 1 ? cq->size - 1 - used : 0;
}

/* ---- completions ---- */

void nvme_post(struct nvme *n, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result)
{
    struct nvme_sq *sq = &n->sq[sqid];
    struct nvme_cq *cq = &n->cq[sq->cq];
    struct viv_space *mem = n->pci.dev.board->mem;
    bool again = status == NVME_OK || status == NVME_INTERNAL || status >> 8 == 2;
    uint8_t e[16] = {0};

    viv_st_le32(e, result);
    viv_st_le16(e + 8, (uint16_t)sq->head);
    viv_st_le16(e + 10, (uint16_t)sqid);
    viv_st_le16(e + 12, cid);
    viv_st_le16(e + 14, (uint16_t)(status << 1 | cq->phase | (again ? 0 : 0x8000))); /* 8000h: do not retry */
    /* The phase tag last: another vCPU may be polling for it. */
    if (viv_dma_write(mem, cq->gpa + 16ull * cq->tail, e, 12) < 0 || viv_dma_write(mem, cq->gpa + 16ull * cq->tail + 12, e + 12, 4) < 0) {
        fatal(n, "a completion queue is not in RAM");
        return;
    }
    if (++cq->tail == cq->size) {
        cq->tail = 0;
        cq->phase = !cq->phase;
    }
    cq->touched = true;
}

/* Without MSI-X the line shows whether any unmasked queue has entries (7.5.1). */
void nvme_update_line(struct nvme *n)
{
    bool level = false;

    for (unsigned i = 0; i <= n->queues && !viv_msix_enabled(&n->pci); i++) {
        const struct nvme_cq *cq = &n->cq[i];

        level |= cq->size && cq->interrupts && cq->head != cq->tail && cq->vector < 32 && !(n->intm >> cq->vector & 1);
    }
    viv_pci_set_intx(&n->pci, level);
}

void nvme_interrupt(struct nvme *n)
{
    for (unsigned i = 0; i <= n->queues; i++) {
        struct nvme_cq *cq = &n->cq[i];

        if (cq->touched && cq->interrupts)
            viv_msix_notify(&n->pci, cq->vector);
        cq->touched = false;
    }
    nvme_update_line(n);
}

/* ---- events ---- */

static bool can_tell(const struct nvme *n)
{
    return n->aers && works(n) && room(&n->cq[0]);
}

void nvme_tell_events(struct nvme *n)
{
    uint8_t error = n->error;

    if (error && !n->error_masked && can_tell(n)) {
        n->error = 0;
        n->error_masked = true;
        /* 5.2.1: type 0, an error; which; where to read more: the error log */
        nvme_post(n, 0, n->aer[--n->aers], NVME_OK, (uint32_t)(error - 1) << 8 | 1 << 16);
    }
    if (n->changed && !n->change_masked && n->features[NVME_F_EVENTS] & NVME_EVENT_NAMESPACE && can_tell(n)) {
        n->change_masked = true;
        /* type 2, a notice; 0, the namespace's attributes; the list of changed namespaces */
        nvme_post(n, 0, n->aer[--n->aers], NVME_OK, 2 | 4 << 16);
    }
}

void nvme_tell_resized(struct nvme *n)
{
    if (!works(n)) /* who starts it reads its size */
        return;
    n->changed = true;
    nvme_tell_events(n);
    nvme_interrupt(n);
}

void nvme_tell_error(struct nvme *n, uint8_t what)
{
    viv_guest_error("nvme", "%s", what ? "a doorbell's value is beyond its queue" : "a doorbell of a queue that is not there");
    n->error = what + 1;
    nvme_tell_events(n);
}

/* ---- submissions ---- */

void nvme_fetch(struct nvme *n, unsigned sqid)
{
    struct nvme_sq *sq = &n->sq[sqid];

    while (sq->size && sq->head != sq->tail && !sq->deleting && works(n) && room(&n->cq[sq->cq])) {
        struct nvme_cmd cmd;

        if (sqid && n->reqs.length >= NVME_REQS_MOST) {
            n->starved = true;
            return;
        }
        if (viv_dma_read(n->pci.dev.board->mem, sq->gpa + 64ull * sq->head, &cmd, sizeof(cmd)) < 0) {
            fatal(n, "a submission queue is not in RAM");
            return;
        }
        sq->head = (sq->head + 1) % sq->size;
        nvme_start(n, sqid, &cmd);
    }
}

/* The queue that comes first is another one each time. */
void nvme_fetch_starved(struct nvme *n)
{
    if (!n->starved || n->reqs.length > NVME_REQS_MOST / 2)
        return;
    n->starved = false;
    n->turn++;
    for (unsigned i = 0; i < n->queues; i++)
        nvme_fetch(n, 1 + (n->turn + i) % n->queues);
}

void nvme_queue_idle(struct nvme *n, unsigned sqid)
{
    struct nvme_sq *sq = &n->sq[sqid];

    if (!sq->deleting || sq->active)
        return;
    n->cq[0].reserved--;
    if (!n->stopping)
        nvme_post(n, 0, sq->delete_cid, NVME_OK, 0);
    *sq = (struct nvme_sq){0};
}

void nvme_doorbell(struct nvme *n, uint64_t off, uint32_t value)
{
    unsigned which = (unsigned)(off - NVME_DOORBELLS) / 4, id = which / 2;
    bool completions = which & 1;
    uint32_t size;

    if (!works(n))
        return;
    size = id > n->queues ? 0 : completions ? n->cq[id].size : n->sq[id].size;
    if (!size || value >= size) {
        nvme_tell_error(n, size != 0);
    } else if (completions) {
        n->cq[id].head = value;
        for (unsigned i = 0; i <= n->queues; i++) { /* there is room for more */
            if (n->sq[i].cq == id)
                nvme_fetch(n, i);
        }
        nvme_tell_events(n);
    } else {
        n->sq[id].tail = value;
        nvme_fetch(n, id);
    }
    nvme_interrupt(n);
}

/* ---- saved state ---- */

const struct viv_state_table viv_nvme_sq_state = {
    .name = "nvme-sq",
    .ctype = "nvme_sq",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(nvme_sq, gpa),
            VIV_F_INT(nvme_sq, size),
            VIV_F_INT(nvme_sq, head),
            VIV_F_INT(nvme_sq, tail),
            VIV_F_INT(nvme_sq, cq),
            VIV_F_INT(nvme_sq, deleting),
            VIV_F_INT(nvme_sq, delete_cid),
            VIV_F_DERIVED(nvme_sq, active, "counted from the commands"),
            VIV_F_END,
        },
};

const struct viv_state_table viv_nvme_cq_state = {
    .name = "nvme-cq",
    .ctype = "nvme_cq",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(nvme_cq, gpa),
            VIV_F_INT(nvme_cq, size),
            VIV_F_INT(nvme_cq, head),
            VIV_F_INT(nvme_cq, tail),
            VIV_F_INT(nvme_cq, vector),
            VIV_F_INT(nvme_cq, interrupts),
            VIV_F_INT(nvme_cq, phase),
            VIV_F_DERIVED(nvme_cq, reserved, "counted from the commands"),
            VIV_F_DERIVED(nvme_cq, touched, "false outside of calls"),
            VIV_F_END,
        },
};

void nvme_save_queues(struct viv_state_writer *w, const void *obj)
{
    const struct nvme *n = obj;

    for (unsigned i = 0; i <= n->queues; i++) {
        viv_state_save(w, "sq", &viv_nvme_sq_state, &n->sq[i]);
        viv_state_save(w, "cq", &viv_nvme_cq_state, &n->cq[i]);
    }
}

static bool sane(const struct nvme *n, unsigned i)
{
    const struct nvme_sq *sq = &n->sq[i];
    const struct nvme_cq *cq = &n->cq[i];
    bool sq_ok = !sq->size || (sq->size >= 2 && sq->size <= NVME_ENTRIES_ADMIN && sq->head < sq->size && sq->tail < sq->size && sq->cq <= n->queues &&
                               !sq->cq == !i && n->cq[sq->cq].size && !(sq->deleting && !i));
    bool cq_ok = !cq->size || (cq->size >= 2 && cq->size <= NVME_ENTRIES_ADMIN && cq->head < cq->size && cq->tail < cq->size && cq->vector < n->vectors);

    /* Who asked for a queue to be deleted waits at the admin queue. */
    return sq_ok && cq_ok && sq->cq <= n->queues && (!sq->deleting || (sq->size && n->sq[0].size));
}

int nvme_load_queues(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct nvme *n = obj;
    int rc = 0;

    nvme_clear_reqs(n); /* they count in the queues */
    for (unsigned i = 0; i <= n->queues && !rc; i++) {
        n->sq[i] = (struct nvme_sq){0};
        n->cq[i] = (struct nvme_cq){0};
        rc = viv_state_load(r, "sq", &viv_nvme_sq_state, &n->sq[i], err);
        if (!rc)
            rc = viv_state_load(r, "cq", &viv_nvme_cq_state, &n->cq[i], err);
    }
    for (unsigned i = 0; i <= n->queues && !rc; i++) {
        if (!sane(n, i))
            return viv_fail(err, EINVAL, "nvme: queue %u is none that could be", i);
        n->cq[0].reserved += n->sq[i].deleting;
    }
    return rc;
}
