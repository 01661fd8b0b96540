/* virtio-scsi's control queue (5.6.6.2), task management, and its events (5.6.6.3).
 *
 * A task management function is answered when the requests that it names have ended: a back end may still move data of theirs. */
#include "dev/virtio/virtio_scsi.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { TMF_LEN = sizeof(struct virtio_scsi_ctrl_tmf_req), AN_LEN = sizeof(struct virtio_scsi_ctrl_an_req) };
#define ASC_BUS_DEVICE_RESET 0x2903

struct vscsi_tmf {
    struct viv_virtq_elem *e;
    uint32_t subtype;
    struct vscsi_address at;
    uint64_t tag, before; /* requests up to this number */
    struct vscsi_tmf *next;
};

/* ---- task management ---- */

static void respond(struct virtio_scsi *s, struct viv_virtq_elem *e, uint8_t response)
{
    viv_iov_from_buf(e->in, (int)e->in_num, 0, &response, 1);
    s->touched |= 1ull << e->queue;
    viv_virtq_push(e, 1);
}

static bool names(const struct vscsi_tmf *t, const struct vscsi_req *q)
{
    bool task = t->subtype == VIRTIO_SCSI_T_TMF_ABORT_TASK || t->subtype == VIRTIO_SCSI_T_TMF_QUERY_TASK;

    return q->number <= t->before && q->target == t->at.target &&
           (t->subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET || q->lun == t->at.lun) && (!task || q->tag == t->tag);
}

static bool any_named(const struct virtio_scsi *s, const struct vscsi_tmf *t)
{
    const struct vscsi_req *q = s->reqs;

    while (q && !names(t, q))
        q = q->next;
    return q != NULL;
}

static bool is_reset(const struct vscsi_tmf *t)
{
    return t->subtype == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET || t->subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET;
}

static void reset_units(struct virtio_scsi *s, const struct vscsi_tmf *t)
{
    for (struct viv_scsi_dev *d = viv_scsi_next(s->bus, NULL); d; d = viv_scsi_next(s->bus, d)) {
        if (d->id != t->at.target || (t->subtype == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET && d->lun != t->at.lun))
            continue;
        d->ops->reset(d);
        d->attention = ASC_BUS_DEVICE_RESET; /* SPC-4 5.14: told by the next command, no event of its own */
    }
}

void vscsi_tmf_check(struct virtio_scsi *s)
{
    struct vscsi_tmf **p = &s->tmfs;

    while (*p) {
        struct vscsi_tmf *t = *p;

        if (any_named(s, t)) {
            p = &t->next;
            continue;
        }
        *p = t->next;
        if (is_reset(t))
            reset_units(s, t);
        if (s->v.resetting || s->v.broken)
            viv_virtq_drop(t->e);
        else
            respond(s, t->e, VIRTIO_SCSI_S_OK);
        g_free(t);
    }
}

/* Ends what the function names; the answer follows the last of them. */
static void abort_named(struct virtio_scsi *s, const struct vscsi_tmf *like)
{
    struct vscsi_tmf *t = g_memdup2(like, sizeof(*like)), **end = &s->tmfs;
    struct vscsi_req *next;

    while (*end)
        end = &(*end)->next;
    *end = t;
    for (struct vscsi_req *q = s->reqs; q; q = next) {
        next = q->next;
        if (!names(like, q))
            continue;
        q->by_reset |= is_reset(like);
        viv_scsi_cancel(q->r);
    }
    vscsi_tmf_check(s);
}

static void task_management(struct virtio_scsi *s, struct viv_virtq_elem *e, const uint8_t *req)
{
    struct vscsi_tmf t = {
        .e = e,
        .subtype = viv_ld_le32(req + offsetof(struct virtio_scsi_ctrl_tmf_req, subtype)),
        .at = vscsi_address(req + offsetof(struct virtio_scsi_ctrl_tmf_req, lun)),
        .tag = viv_ld_le64(req + offsetof(struct virtio_scsi_ctrl_tmf_req, tag)),
        .before = s->count,
    };

    if (!t.at.known || !vscsi_has_target(s, t.at.target)) {
        respond(s, e, VIRTIO_SCSI_S_BAD_TARGET);
        return;
    }
    if (t.subtype != VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET && !viv_scsi_at(s->bus, t.at.target, t.at.lun)) {
        respond(s, e, VIRTIO_SCSI_S_INCORRECT_LUN);
        return;
    }
    switch (t.subtype) {
    case VIRTIO_SCSI_T_TMF_ABORT_TASK:
    case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
    case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
    case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
    case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
        abort_named(s, &t);
        break;
    case VIRTIO_SCSI_T_TMF_QUERY_TASK:
    case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
        respond(s, e, any_named(s, &t) ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_OK);
        break;
    default: /* CLEAR ACA: NACA is not supported */
        respond(s, e, VIRTIO_SCSI_S_FUNCTION_REJECTED);
    }
}

/* Asynchronous notification: targets here have no events that MMC or SPC would name. */
static void no_events(struct virtio_scsi *s, struct viv_virtq_elem *e)
{
    uint8_t resp[sizeof(struct virtio_scsi_ctrl_an_resp)] = {0};

    resp[offsetof(struct virtio_scsi_ctrl_an_resp, response)] = VIRTIO_SCSI_S_OK;
    viv_iov_from_buf(e->in, (int)e->in_num, 0, resp, sizeof(resp));
    s->touched |= 1ull << e->queue;
    viv_virtq_push(e, sizeof(resp));
}

static bool one_control(struct virtio_scsi *s, struct viv_virtq_elem *e)
{
    uint8_t req[TMF_LEN] = {0};
    uint32_t type;

    viv_iov_to_buf(e->out, (int)e->out_num, 0, req, sizeof(req));
    type = viv_ld_le32(req);
    if (type == VIRTIO_SCSI_T_TMF && e->out_len >= TMF_LEN && e->in_len >= 1)
        task_management(s, e, req);
    else if ((type == VIRTIO_SCSI_T_AN_QUERY || type == VIRTIO_SCSI_T_AN_SUBSCRIBE) && e->out_len >= AN_LEN &&
             e->in_len >= sizeof(struct virtio_scsi_ctrl_an_resp))
        no_events(s, e);
    else
        return false;
    return true;
}

void vscsi_take_controls(struct virtio_scsi *s)
{
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(&s->v, VSCSI_CONTROL))) {
        if (!one_control(s, e)) {
            viv_virtq_drop(e);
            viv_virtio_set_broken(&s->v, "a control request that is none");
            return;
        }
    }
    vscsi_flush(s);
}

/* ---- events ---- */

static void put_event(struct virtio_scsi *s, struct viv_virtq_elem *e, uint32_t event, const struct viv_scsi_dev *d, uint32_t reason)
{
    uint8_t ev[sizeof(struct virtio_scsi_event)] = {0};

    if (s->events_missed)
        event |= VIRTIO_SCSI_T_EVENTS_MISSED;
    s->events_missed = false;
    viv_st_le32(ev, event);
    if (d)
        vscsi_put_address(ev + offsetof(struct virtio_scsi_event, lun), d->id, d->lun);
    viv_st_le32(ev + offsetof(struct virtio_scsi_event, reason), reason);
    viv_iov_from_buf(e->in, (int)e->in_num, 0, ev, sizeof(ev));
    viv_virtq_push(e, sizeof(ev));
    viv_virtq_notify(&s->v, VSCSI_EVENT);
}

static struct viv_virtq_elem *pop_event(struct virtio_scsi *s)
{
    struct viv_virtq_elem *e = viv_virtq_pop(&s->v, VSCSI_EVENT);

    if (e && e->in_len < sizeof(struct virtio_scsi_event)) {
        viv_virtq_drop(e);
        viv_virtio_set_broken(&s->v, "a buffer too small for an event");
        return NULL;
    }
    return e;
}

static void send_event(struct virtio_scsi *s, uint32_t event, const struct viv_scsi_dev *d, uint32_t reason)
{
    struct viv_virtq_elem *e;

    if (!viv_virtio_driven(&s->v) || s->v.broken || s->v.resetting)
        return;
    e = viv_virtio_live(&s->v) ? pop_event(s) : NULL;
    if (e)
        put_event(s, e, event, d, reason);
    else
        s->events_missed = true;
}

void vscsi_take_events(struct virtio_scsi *s)
{
    struct viv_virtq_elem *e = s->events_missed ? pop_event(s) : NULL;

    if (e)
        put_event(s, e, VIRTIO_SCSI_T_NO_EVENT, NULL, 0);
}

void vscsi_plugged(struct viv_scsi_bus *b, struct viv_scsi_dev *d)
{
    struct virtio_scsi *s = vscsi_of(b);

    if (viv_virtio_has(&s->v, VIRTIO_SCSI_F_HOTPLUG))
        send_event(s, VIRTIO_SCSI_T_TRANSPORT_RESET, d, VIRTIO_SCSI_EVT_RESET_RESCAN);
}

/* Its commands end: those in a back end when its front closes, which waits for them. */
void vscsi_unplugged(struct viv_scsi_bus *b, struct viv_scsi_dev *d)
{
    struct virtio_scsi *s = vscsi_of(b);
    struct vscsi_req *next;

    if (viv_virtio_has(&s->v, VIRTIO_SCSI_F_HOTPLUG))
        send_event(s, VIRTIO_SCSI_T_TRANSPORT_RESET, d, VIRTIO_SCSI_EVT_RESET_REMOVED);
    for (struct vscsi_req *q = s->reqs; q; q = next) {
        next = q->next;
        if (q->r->dev == d)
            viv_scsi_cancel(q->r);
    }
    vscsi_flush(s);
}

void vscsi_attention(struct viv_scsi_bus *b, struct viv_scsi_dev *d, uint16_t asc)
{
    struct virtio_scsi *s = vscsi_of(b);

    /* 5.6.6.3: code and qualifier, the code in the low byte */
    if (viv_virtio_has(&s->v, VIRTIO_SCSI_F_CHANGE) && (asc == VIV_SCSI_ASC_SIZE_CHANGED || asc == VIV_SCSI_ASC_MEDIUM_CHANGED))
        send_event(s, VIRTIO_SCSI_T_PARAM_CHANGE, d, (uint32_t)(asc >> 8 | (asc & 0xff) << 8));
}
