/* The admin commands (NVMe 1.4, 5): queues, features, events. */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"
#include "base/checked.h"

enum {
    DELETE_SQ = 0x00,
    CREATE_SQ = 0x01,
    GET_LOG_PAGE = 0x02,
    DELETE_CQ = 0x04,
    CREATE_CQ = 0x05,
    IDENTIFY = 0x06,
    ABORT = 0x08,
    SET_FEATURES = 0x09,
    GET_FEATURES = 0x0a,
    EVENT_REQUEST = 0x0c,
};

static uint32_t dw(const struct nvme_req *r, unsigned n)
{
    return viv_ld_le32(r->cmd.bytes + 4 * n);
}

/* ---- queues ---- */

/* What both kinds have in common: number, size, place; a status. */
static uint16_t check_new(const struct nvme_req *r, uint32_t have, unsigned entry_shift, unsigned entry_wish, uint64_t *gpa, uint32_t *size)
{
    uint32_t id = dw(r, 10) & 0xffff;
    uint64_t end;

    *gpa = viv_ld_le64(r->cmd.bytes + 24);
    *size = (dw(r, 10) >> 16) + 1;
    if (!id || id > r->n->queues || have)
        return NVME_INVALID_QID;
    if (*size < 2 || *size > NVME_ENTRIES_MOST)
        return NVME_QUEUE_SIZE;
    if (!(dw(r, 11) & 1) || (r->n->cc >> entry_shift & 15) != entry_wish) /* CAP.CQR: in one piece; 16 and 64 bytes an entry */
        return NVME_INVALID_FIELD;
    if (*gpa & (nvme_page_size(r->n) - 1) || !viv_add_u64(*gpa, 64ull * *size, &end))
        return NVME_PRP_OFFSET;
    return NVME_OK;
}

static uint16_t create_cq(struct nvme_req *r)
{
    uint32_t id = dw(r, 10) & 0xffff, vector = dw(r, 11) >> 16, size;
    uint64_t gpa;
    uint16_t status = check_new(r, id <= r->n->queues ? r->n->cq[id].size : 0, 20, 4, &gpa, &size);

    if (status)
        return status;
    if (vector >= r->n->vectors || (vector && !viv_msix_enabled(&r->n->pci)))
        return NVME_INVALID_VECTOR;
    r->n->cq[id] = (struct nvme_cq){
        .gpa = gpa, .size = size, .vector = (uint16_t)vector, .interrupts = dw(r, 11) & 2, .phase = true};
    return NVME_OK;
}

static uint16_t create_sq(struct nvme_req *r)
{
    uint32_t id = dw(r, 10) & 0xffff, cq = dw(r, 11) >> 16, size;
    uint64_t gpa;
    uint16_t status = check_new(r, id <= r->n->queues ? r->n->sq[id].size : 0, 16, 6, &gpa, &size);

    if (status)
        return status;
    if (!cq || cq > r->n->queues)
        return NVME_INVALID_QID;
    if (!r->n->cq[cq].size)
        return NVME_INVALID_CQ;
    r->n->sq[id] = (struct nvme_sq){.gpa = gpa, .size = size, .cq = (uint16_t)cq};
    return NVME_OK;
}

/* Answered when the queue's commands have ended. */
static uint16_t delete_sq(struct nvme_req *r)
{
    uint32_t id = dw(r, 10) & 0xffff;
    struct nvme_sq *sq = &r->n->sq[id <= r->n->queues ? id : 0];

    if (!id || id > r->n->queues || !sq->size || sq->deleting)
        return NVME_INVALID_QID;
    if (!sq->active) {
        *sq = (struct nvme_sq){0};
        return NVME_OK;
    }
    sq->deleting = true;
    sq->delete_cid = r->cid;
    viv_front_hurry(&r->n->front);
    return NVME_PARKED;
}

static uint16_t delete_cq(struct nvme_req *r)
{
    uint32_t id = dw(r, 10) & 0xffff;

    if (!id || id > r->n->queues || !r->n->cq[id].size)
        return NVME_INVALID_QID;
    for (unsigned i = 1; i <= r->n->queues; i++) {
        if (r->n->sq[i].size && r->n->sq[i].cq == id)
            return NVME_QUEUE_DELETION;
    }
    r->n->cq[id] = (struct nvme_cq){0};
    return NVME_OK;
}

static bool any_io_queue(const struct nvme *n)
{
    for (unsigned i = 1; i <= n->queues; i++) {
        if (n->sq[i].size || n->cq[i].size)
            return true;
    }
    return false;
}

/* ---- features ---- */

static uint16_t get_features(struct nvme_req *r, uint32_t *result)
{
    struct nvme *n = r->n;
    uint32_t id = dw(r, 10) & 0xff;

    if (dw(r, 10) >> 8 & 7) /* ONCS: no defaults and saved values to choose from */
        return NVME_INVALID_FIELD;
    switch (id) {
    case NVME_F_VECTOR:
        if ((dw(r, 11) & 0xffff) >= n->vectors)
            return NVME_INVALID_FIELD;
        *result = dw(r, 11) & 0xffff;
        return NVME_OK;
    case NVME_F_TEMPERATURE: /* one sensor; there is no threshold below */
        *result = dw(r, 11) >> 16 & 0x3f ? 0 : n->features[id];
        return NVME_OK;
    case NVME_F_ARBITRATION:
    case NVME_F_POWER:
    case NVME_F_RECOVERY:
    case NVME_F_CACHE:
    case NVME_F_QUEUES:
    case NVME_F_COALESCING:
    case NVME_F_ATOMICITY:
    case NVME_F_EVENTS:
        *result = n->features[id];
        return NVME_OK;
    default:
        return NVME_INVALID_FIELD;
    }
}

static uint16_t set_queues(struct nvme_req *r, uint32_t *result)
{
    uint32_t value = dw(r, 11);

    if ((value & 0xffff) == 0xffff || value >> 16 == 0xffff)
        return NVME_INVALID_FIELD;
    if (any_io_queue(r->n))
        return NVME_SEQUENCE;
    *result = r->n->features[NVME_F_QUEUES]; /* what there is, whatever was asked for */
    return NVME_OK;
}

static uint16_t set_features(struct nvme_req *r, uint32_t *result)
{
    struct nvme *n = r->n;
    uint32_t id = dw(r, 10) & 0xff, value = dw(r, 11);

    if (dw(r, 10) >> 31)
        return NVME_NOT_SAVEABLE;
    switch (id) {
    case NVME_F_QUEUES:
        return set_queues(r, result);
    case NVME_F_VECTOR:
        return (value & 0xffff) < n->vectors ? NVME_OK : NVME_INVALID_FIELD;
    case NVME_F_POWER: /* one state */
        return value & 0x1f ? NVME_INVALID_FIELD : NVME_OK;
    case NVME_F_TEMPERATURE:
        if (!(value >> 16 & 0x3f))
            n->features[id] = value & 0xffff;
        return NVME_OK;
    case NVME_F_CACHE:
        n->features[id] = value & 1;
        if (value & 1)
            return NVME_OK;
        nvme_submit(r, VIV_BLK_FLUSH, 0, 0, 0); /* what was written so far: nobody will flush it any more */
        return NVME_LATER;
    case NVME_F_ARBITRATION:
    case NVME_F_RECOVERY:
    case NVME_F_COALESCING:
    case NVME_F_ATOMICITY:
    case NVME_F_EVENTS:
        n->features[id] = value;
        return NVME_OK;
    default:
        return NVME_INVALID_FIELD;
    }
}

/* ---- events ---- */

/* Waits for an event; its entry in the completion queue is not kept for it. */
static uint16_t event_request(struct nvme_req *r)
{
    struct nvme *n = r->n;

    if (n->aers == NVME_AERS)
        return NVME_AER_LIMIT;
    n->aer[n->aers++] = r->cid;
    n->cq[0].reserved--;
    nvme_tell_events(n);
    return NVME_PARKED;
}

uint16_t nvme_admin(struct nvme_req *r, uint32_t *result)
{
    if (r->cmd.bytes[1] & 0xc3)
        return NVME_INVALID_FIELD;
    switch (r->cmd.bytes[0]) {
    case DELETE_SQ:
        return delete_sq(r);
    case CREATE_SQ:
        return create_sq(r);
    case GET_LOG_PAGE:
        return nvme_log_page(r);
    case DELETE_CQ:
        return delete_cq(r);
    case CREATE_CQ:
        return create_cq(r);
    case IDENTIFY:
        return nvme_identify(r);
    case ABORT: /* nothing can be: the command ends by itself */
        *result = 1;
        return NVME_OK;
    case SET_FEATURES:
        return set_features(r, result);
    case GET_FEATURES:
        return get_features(r, result);
    case EVENT_REQUEST:
        return event_request(r);
    default:
        return NVME_INVALID_OPCODE;
    }
}
