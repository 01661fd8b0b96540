/* A command's life: taken, done by the block layer, held when that fails and the VM is to stop, answered. */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static struct nvme_req *req_new(struct nvme *n, unsigned sqid, const struct nvme_cmd *cmd)
{
    struct nvme_req *r = g_new0(struct nvme_req, 1);

    r->n = n;
    r->sqid = (uint16_t)sqid;
    r->link.data = r->wait.data = r;
    r->fr.done = nvme_done;
    if (cmd) {
        r->cmd = *cmd;
        r->cid = viv_ld_le16(cmd->bytes + 2);
        n->sq[sqid].active++;
        n->cq[n->sq[sqid].cq].reserved++;
    } else {
        r->internal = true;
    }
    g_queue_push_tail_link(&n->reqs, &r->link);
    return r;
}

static void forget(struct nvme_req *r)
{
    struct nvme *n = r->n;
    unsigned sqid = r->sqid;

    nvme_unmap(r, r->fr.br.op == VIV_BLK_READ);
    g_queue_unlink(&n->reqs, &r->link);
    if (!r->internal)
        n->sq[sqid].active--;
    g_free(r->ranges);
    g_free(r);
    nvme_queue_idle(n, sqid);
    nvme_idle(n);
}

void nvme_end(struct nvme_req *r, uint16_t status, uint32_t result)
{
    struct nvme *n = r->n;

    if (r->internal) {
        if (!n->stopping)
            n->csts = (n->csts & ~(uint32_t)NVME_CSTS_SHST) | NVME_CSTS_SHUT;
    } else {
        n->cq[n->sq[r->sqid].cq].reserved--;
        /* The data is there before the guest is told of it. */
        nvme_unmap(r, r->fr.br.op == VIV_BLK_READ);
        if (!n->stopping)
            nvme_post(n, r->sqid, r->cid, status, result);
    }
    forget(r);
}

static void run(struct nvme_req *r)
{
    uint32_t result = 0;
    uint16_t status = r->sqid ? nvme_io(r) : nvme_admin(r, &result);

    if (status == NVME_PARKED)
        forget(r);
    else if (status != NVME_LATER)
        nvme_end(r, status, result);
}

void nvme_start(struct nvme *n, unsigned sqid, const struct nvme_cmd *cmd)
{
    run(req_new(n, sqid, cmd));
}

void nvme_shut_down(struct nvme *n)
{
    n->csts = (n->csts & ~(uint32_t)NVME_CSTS_SHST) | NVME_CSTS_SHUTTING;
    nvme_submit(req_new(n, 0, NULL), VIV_BLK_FLUSH, 0, 0, 0);
}

static uint16_t status_of(const struct nvme_req *r, int error)
{
    if (error == ENOMEM)
        return NVME_INTERNAL;
    if (r->fr.br.op == VIV_BLK_READ)
        return NVME_READ_ERROR;
    return error == ENOSPC ? NVME_CAPACITY : NVME_WRITE_FAULT;
}

static void count(struct nvme_req *r)
{
    if (r->fr.br.op == VIV_BLK_READ) {
        r->n->read_bytes += r->fr.br.len;
        r->n->reads++;
    } else if (r->fr.br.op == VIV_BLK_WRITE) {
        r->n->written_bytes += r->fr.br.len;
        r->n->writes++;
    }
}

/* A write that came before the cache was switched off, and that the flush which went with that may have overtaken: told now, it would be
 * taken for durable. */
static bool wants_flush(const struct nvme_req *r)
{
    bool write = r->fr.br.op == VIV_BLK_WRITE || r->fr.br.op == VIV_BLK_WRITE_ZEROES;

    return write && !(r->fr.br.flags & VIV_BLK_FUA) && !(r->n->features[NVME_F_CACHE] & 1);
}

void nvme_done(struct viv_front_req *fr, int result)
{
    struct nvme_req *r = (struct nvme_req *)fr;
    struct nvme *n = r->n;
    enum viv_front_action action = VIV_FRONT_IGNORE;

    if (n->stopping) {
        nvme_end(r, NVME_INTERNAL, 0);
        return;
    }
    if (result < 0)
        action = viv_front_failed(fr, result);
    if (action == VIV_FRONT_HOLD) {
        g_queue_push_tail_link(&n->held, &r->wait);
    } else if (action == VIV_FRONT_REPORT) {
        nvme_end(r, status_of(r, -result), 0);
    } else if (r->then) {
        r->then(r);
    } else {
        count(r);
        if (wants_flush(r))
            nvme_submit(r, VIV_BLK_FLUSH, 0, 0, 0);
        else
            nvme_end(r, NVME_OK, 0);
    }
}

/* ---- held ones ---- */

static struct nvme_req *take(GQueue *q)
{
    GList *l = q->head;

    if (l)
        g_queue_unlink(q, l);
    return l ? l->data : NULL;
}

void nvme_resend_held(struct nvme *n)
{
    for (unsigned left = n->held.length; left; left--)
        viv_front_submit(&n->front, &take(&n->held)->fr);
}

void nvme_drop_held(struct nvme *n)
{
    struct nvme_req *r;

    viv_front_drop_held(&n->front);
    while ((r = take(&n->held)) || (r = take(&n->loaded)))
        nvme_end(r, NVME_INTERNAL, 0);
}

void nvme_resume_loaded(struct nvme *n)
{
    struct nvme_req *r;

    while ((r = take(&n->loaded))) {
        if (r->internal)
            nvme_submit(r, VIV_BLK_FLUSH, 0, 0, 0);
        else
            run(r);
    }
    nvme_fetch_starved(n);
    nvme_interrupt(n);
}

/* ---- saved state: commands as they were given; they are done anew ---- */

void nvme_clear_reqs(struct nvme *n)
{
    GList *l;

    g_queue_init(&n->held);
    g_queue_init(&n->loaded);
    while ((l = g_queue_pop_head_link(&n->reqs))) {
        struct nvme_req *r = l->data;

        nvme_unmap(r, false);
        g_free(r->ranges);
        g_free(r);
    }
}

void nvme_save_reqs(struct viv_state_writer *w, const void *obj)
{
    const struct nvme *n = obj;

    viv_state_put_u32(w, n->reqs.length);
    for (GList *l = n->reqs.head; l; l = l->next) {
        const struct nvme_req *r = l->data;

        viv_state_put_u32(w, r->internal ? UINT32_MAX : r->sqid);
        viv_state_put(w, r->cmd.bytes, sizeof(r->cmd));
    }
}

int nvme_load_reqs(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct nvme *n = obj;
    struct nvme_cmd cmd;
    uint32_t many, sqid;
    bool shutting = false;
    int rc = viv_state_get_u32(r, &many, err);

    if (!rc && many > NVME_REQS_MOST + NVME_ENTRIES_ADMIN)
        rc = viv_fail(err, EINVAL, "nvme: %u commands under way", many);
    n->starved = true; /* perhaps: it only says to look */
    for (uint32_t i = 0; !rc && i < many; i++) {
        struct nvme_req *q;

        rc = viv_state_get_u32(r, &sqid, err);
        if (!rc)
            rc = viv_state_get(r, &cmd, sizeof(cmd), err);
        if (rc)
            break;
        /* No more than its completion queue could answer. */
        if (sqid != UINT32_MAX && (sqid > n->queues || !n->sq[sqid].size || !n->sq[0].size ||
                                   n->cq[n->sq[sqid].cq].reserved >= n->cq[n->sq[sqid].cq].size - 1))
            return viv_fail(err, EINVAL, "nvme: a command of queue %u makes no sense", sqid);
        if (sqid == UINT32_MAX && shutting)
            return viv_fail(err, EINVAL, "nvme: more than one shutdown");
        shutting |= sqid == UINT32_MAX;
        q = req_new(n, sqid == UINT32_MAX ? 0 : sqid, sqid == UINT32_MAX ? NULL : &cmd);
        g_queue_push_tail_link(&n->loaded, &q->wait);
    }
    return rc;
}
