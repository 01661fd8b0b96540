#include "export/vhost/session.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROTOCOL_FEATURES (VHOST_PROTOCOL_MQ | VHOST_PROTOCOL_REPLY_ACK | VHOST_PROTOCOL_BACKEND_REQ | VHOST_PROTOCOL_CONFIG | VHOST_PROTOCOL_INFLIGHT)
#define RING_EVENT_IDX    (1ull << 29)

struct queue {
    struct viv_vhost_ring ring;
    int kick, call, failed;
    bool enabled;
    struct viv_vhost_queue *q; /* while it runs */
};

struct viv_vhost_session {
    struct viv_vhost_disk *disk;
    struct viv_vhost_mem mem;
    struct viv_vhost_inflight inflight;
    uint64_t features, protocol;
    pthread_mutex_t backend_lock;
    int backend; /* the socket for what we ask of the front end; -1: none */
    struct queue queue[VIV_VHOST_QUEUES_MAX];
};

struct viv_vhost_session *viv_vhost_session_new(struct viv_vhost_disk *d)
{
    struct viv_vhost_session *s = g_new0(struct viv_vhost_session, 1);

    s->disk = d;
    s->backend = -1;
    pthread_mutex_init(&s->backend_lock, NULL);
    for (unsigned i = 0; i < VIV_VHOST_QUEUES_MAX; i++) {
        s->queue[i].kick = s->queue[i].call = s->queue[i].failed = -1;
        pthread_mutex_init(&s->queue[i].ring.lock, NULL);
    }
    return s;
}

static void stop_all(struct viv_vhost_session *s)
{
    for (unsigned i = 0; i < s->disk->queues; i++)
        viv_vhost_queue_stop(&s->queue[i].q);
}

static void replace_fd(int *fd, int with)
{
    if (*fd >= 0)
        close(*fd);
    *fd = with;
}

void viv_vhost_session_free(struct viv_vhost_session *s)
{
    stop_all(s);
    for (unsigned i = 0; i < VIV_VHOST_QUEUES_MAX; i++) {
        replace_fd(&s->queue[i].kick, -1);
        replace_fd(&s->queue[i].call, -1);
        replace_fd(&s->queue[i].failed, -1);
        pthread_mutex_destroy(&s->queue[i].ring.lock);
    }
    replace_fd(&s->backend, -1);
    pthread_mutex_destroy(&s->backend_lock);
    viv_vhost_mem_clear(&s->mem);
    viv_vhost_inflight_clear(&s->inflight);
    g_free(s);
}

/* Starts the queue when it has all it needs: "the ring is started upon receiving a kick". */
static int start(struct viv_vhost_session *s, struct queue *q, struct viv_err *err)
{
    unsigned i = (unsigned)(q - s->queue);

    if (q->q || !q->enabled || q->kick < 0)
        return 0;
    if (viv_vhost_ring_start(&q->ring, &s->mem, s->features & RING_EVENT_IDX))
        return viv_fail(err, EINVAL, "vhost-user: the ring of queue %u does not lie in memory", i);
    viv_vhost_ring_resume(&q->ring, viv_vhost_inflight_log(&s->inflight, i, q->ring.num));
    return viv_vhost_queue_start(s->disk, &q->ring, s->features, q->kick, q->call, q->failed, &q->q, err);
}

static int start_all(struct viv_vhost_session *s, struct viv_err *err)
{
    int ret = 0;

    for (unsigned i = 0; i < s->disk->queues && !ret; i++)
        ret = start(s, &s->queue[i], err);
    return ret;
}

/* --- messages --- */

static int find_queue(struct viv_vhost_session *s, uint32_t index, struct queue **out, struct viv_err *err)
{
    if (index >= s->disk->queues)
        return viv_fail(err, EINVAL, "vhost-user: there is no queue %u, only %u", index, s->disk->queues);
    *out = &s->queue[index];
    return 0;
}

static int answer_u64(struct vhost_msg *m, uint64_t v)
{
    m->p.u64 = v;
    m->h.size = sizeof(v);
    return 1;
}

static int set_features(struct viv_vhost_session *s, uint64_t features, struct viv_err *err)
{
    uint64_t known = viv_vhost_disk_features(s->disk) | VHOST_F_PROTOCOL_FEATURES;

    if (features & ~known)
        return viv_fail(err, EINVAL, "vhost-user: features 0x%llx were not offered", (unsigned long long)(features & ~known));
    stop_all(s); /* they are looked at when a queue starts */
    s->features = features;
    if (!(features & VHOST_F_PROTOCOL_FEATURES)) /* "the ring is enabled" from the start */
        for (unsigned i = 0; i < s->disk->queues; i++)
            s->queue[i].enabled = true;
    return start_all(s, err);
}

static int set_protocol(struct viv_vhost_session *s, uint64_t features, struct viv_err *err)
{
    if (features & ~PROTOCOL_FEATURES)
        return viv_fail(err, EINVAL, "vhost-user: protocol features 0x%llx were not offered",
                        (unsigned long long)(features & ~PROTOCOL_FEATURES));
    s->protocol = features;
    return 0;
}

static int set_memory(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    int ret;

    if (m->p.mem.count <= VHOST_REGIONS_MAX && m->h.size < 8 + m->p.mem.count * sizeof(struct vhost_region))
        return viv_fail(err, EINVAL, "vhost-user: a memory table is cut short");
    stop_all(s);
    ret = viv_vhost_mem_set(&s->mem, &m->p.mem, m->fds, m->fd_count, err);
    return ret ? ret : start_all(s, err);
}

static int set_num(struct viv_vhost_session *s, const struct vhost_vring_state *v, struct viv_err *err)
{
    struct queue *q = NULL;
    int ret = find_queue(s, v->index, &q, err);

    if (ret)
        return ret;
    if (!v->num || v->num > VIV_VHOST_RING_MAX || (v->num & (v->num - 1)))
        return viv_fail(err, EINVAL, "vhost-user: a queue of %u entries; a power of two up to %u works", v->num,
                        VIV_VHOST_RING_MAX);
    viv_vhost_queue_stop(&q->q);
    q->ring.num = v->num;
    return 0;
}

static int set_addr(struct viv_vhost_session *s, const struct vhost_vring_addr *a, struct viv_err *err)
{
    struct queue *q = NULL;
    int ret = find_queue(s, a->index, &q, err);

    if (ret)
        return ret;
    if (a->flags)
        return viv_fail(err, ENOTSUP, "vhost-user: logging of writes was not offered");
    viv_vhost_queue_stop(&q->q);
    q->ring.addr = *a;
    q->ring.has_addr = true;
    return start(s, q, err);
}

static int set_base(struct viv_vhost_session *s, const struct vhost_vring_state *v, struct viv_err *err)
{
    struct queue *q = NULL;
    int ret = find_queue(s, v->index, &q, err);

    if (ret)
        return ret;
    viv_vhost_queue_stop(&q->q);
    q->ring.next_avail = v->num;
    return 0;
}

static int get_base(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    struct queue *q = NULL;
    int ret = find_queue(s, m->p.state.index, &q, err);
    bool ran;

    if (ret)
        return ret;
    ran = q->q;
    viv_vhost_queue_stop(&q->q);
    if (ran && q->ring.log) /* a request that broke the ring is still marked: it is not one of the next ring's */
        viv_vhost_log_forget(q->ring.log, q->ring.num);
    replace_fd(&q->kick, -1); /* "the ring is stopped" until another kick */
    m->p.state.num = q->ring.next_avail;
    m->h.size = sizeof(m->p.state);
    return 1;
}

static int set_enabled(struct viv_vhost_session *s, const struct vhost_vring_state *v, struct viv_err *err)
{
    struct queue *q = NULL;
    int ret = find_queue(s, v->index, &q, err);

    if (ret)
        return ret;
    q->enabled = v->num != 0;
    if (!q->enabled)
        viv_vhost_queue_stop(&q->q);
    return start(s, q, err);
}

/* KICK, CALL and ERR: which of the queue's descriptors. */
static int set_fd(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    bool none = m->p.u64 & VHOST_VRING_NO_FD;
    int *fd, with = -1, ret;
    struct queue *q = NULL;

    ret = find_queue(s, m->p.u64 & VHOST_VRING_INDEX, &q, err);
    if (ret)
        return ret;
    if (none ? m->fd_count != 0 : m->fd_count != 1)
        return viv_fail(err, EINVAL, "vhost-user: a message with %u descriptors", m->fd_count);
    if (none && m->h.request == VHOST_SET_VRING_KICK)
        return viv_fail(err, ENOTSUP, "vhost-user: a queue without a kick would have to be polled, and is not");
    if (!none) {
        with = m->fds[0];
        m->fds[0] = -1;
        fcntl(with, F_SETFL, fcntl(with, F_GETFL) | O_NONBLOCK); /* a full or empty one holds nobody up */
    }
    viv_vhost_queue_stop(&q->q);
    fd = m->h.request == VHOST_SET_VRING_KICK ? &q->kick : m->h.request == VHOST_SET_VRING_CALL ? &q->call : &q->failed;
    replace_fd(fd, with);
    return start(s, q, err);
}

static int set_backend(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    if (m->fd_count != 1)
        return viv_fail(err, EINVAL, "vhost-user: a socket for our requests with %u descriptors", m->fd_count);
    pthread_mutex_lock(&s->backend_lock);
    replace_fd(&s->backend, m->fds[0]);
    pthread_mutex_unlock(&s->backend_lock);
    m->fds[0] = -1;
    return 0;
}

bool viv_vhost_session_tell_config(struct viv_vhost_session *s)
{
    const struct vhost_header h = {VHOST_BACKEND_CONFIG_CHANGE, VHOST_VERSION, 0};
    bool told;

    pthread_mutex_lock(&s->backend_lock);
    told = s->backend >= 0 && send(s->backend, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(h);
    pthread_mutex_unlock(&s->backend_lock);
    return told;
}

/* An area for so many queues: the front end keeps it, and says with SET that it is to be used. The answer is as long as the question: some
 * send the structure with 4 bytes of padding at its end, some without, and all want to get back what they know. */
static int get_inflight(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    struct vhost_inflight *p = &m->p.inflight;
    uint64_t bytes = 0;
    int ret;

    if (!p->queues || p->queues > s->disk->queues || !p->num || p->num > VIV_VHOST_RING_MAX)
        return viv_fail(err, EINVAL, "vhost-user: an area for requests under way in %u queues of %u", p->queues, p->num);
    ret = viv_vhost_inflight_new(p->queues, p->num, &m->answer_fd, &bytes, err);
    p->size = bytes;
    p->offset = 0;
    return ret ? ret : 1;
}

static int set_inflight(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    struct vhost_inflight p = m->p.inflight;
    int ret;

    if (m->fd_count != 1 || !p.queues || p.queues > s->disk->queues || !p.num || p.num > VIV_VHOST_RING_MAX)
        return viv_fail(err, EINVAL, "vhost-user: an area of requests under way in %u queues of %u, with %u files", p.queues, p.num, m->fd_count);
    stop_all(s);
    ret = viv_vhost_inflight_set(&s->inflight, m->fds[0], p.size, p.offset, p.queues, p.num, err);
    return ret ? ret : start_all(s, err);
}

static int get_config(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    uint8_t config[VHOST_CONFIG_MAX];
    uint32_t offset = m->p.config.offset, size = m->p.config.size;

    if (size > VHOST_CONFIG_MAX || offset > VHOST_CONFIG_MAX - size || m->h.size != 12 + size)
        return viv_fail(err, EINVAL, "vhost-user: %u bytes of the configuration at %u", size, offset);
    viv_vhost_disk_config(s->disk, config);
    memcpy(m->p.config.data, config + offset, size);
    return 1;
}

/* --- all of them --- */

/* How long a payload must be at least. */
static uint32_t least(uint32_t request)
{
    switch (request) {
    case VHOST_SET_FEATURES:
    case VHOST_SET_PROTOCOL_FEATURES:
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
    case VHOST_SET_MEM_TABLE:
    case VHOST_SET_VRING_NUM:
    case VHOST_SET_VRING_BASE:
    case VHOST_GET_VRING_BASE:
    case VHOST_SET_VRING_ENABLE:
        return 8;
    case VHOST_SET_VRING_ADDR:
        return sizeof(struct vhost_vring_addr);
    case VHOST_GET_CONFIG:
    case VHOST_SET_CONFIG:
        return 12;
    case VHOST_GET_INFLIGHT_FD:
    case VHOST_SET_INFLIGHT_FD:
        return sizeof(struct vhost_inflight);
    }
    return 0;
}

static int dispatch(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    switch (m->h.request) {
    case VHOST_GET_FEATURES:
        return answer_u64(m, viv_vhost_disk_features(s->disk) | VHOST_F_PROTOCOL_FEATURES);
    case VHOST_SET_FEATURES:
        return set_features(s, m->p.u64, err);
    case VHOST_GET_PROTOCOL_FEATURES:
        return answer_u64(m, PROTOCOL_FEATURES);
    case VHOST_SET_PROTOCOL_FEATURES:
        return set_protocol(s, m->p.u64, err);
    case VHOST_GET_QUEUE_NUM:
        return answer_u64(m, s->disk->queues);
    case VHOST_SET_OWNER:
        return 0;
    case VHOST_RESET_OWNER:
        stop_all(s);
        return 0;
    case VHOST_SET_MEM_TABLE:
        return set_memory(s, m, err);
    case VHOST_SET_VRING_NUM:
        return set_num(s, &m->p.state, err);
    case VHOST_SET_VRING_ADDR:
        return set_addr(s, &m->p.addr, err);
    case VHOST_SET_VRING_BASE:
        return set_base(s, &m->p.state, err);
    case VHOST_GET_VRING_BASE:
        return get_base(s, m, err);
    case VHOST_SET_VRING_KICK:
    case VHOST_SET_VRING_CALL:
    case VHOST_SET_VRING_ERR:
        return set_fd(s, m, err);
    case VHOST_SET_VRING_ENABLE:
        return set_enabled(s, &m->p.state, err);
    case VHOST_SET_BACKEND_REQ_FD:
        return set_backend(s, m, err);
    case VHOST_GET_CONFIG:
        return get_config(s, m, err);
    case VHOST_GET_INFLIGHT_FD:
        return get_inflight(s, m, err);
    case VHOST_SET_INFLIGHT_FD:
        return set_inflight(s, m, err);
    case VHOST_SET_CONFIG:
        return viv_fail(err, EACCES, "vhost-user: nothing in the configuration can be written");
    }
    return viv_fail(err, ENOTSUP, "vhost-user: request %u is not known here", m->h.request);
}

int viv_vhost_session_do(struct viv_vhost_session *s, struct vhost_msg *m, struct viv_err *err)
{
    bool wants_answer = m->h.flags & VHOST_FLAG_NEED;
    int ret;

    m->answer_fd = -1;
    if ((m->h.flags & VHOST_VERSION_MASK) != VHOST_VERSION || (m->h.flags & VHOST_FLAG_REPLY))
        return viv_fail(err, EPROTO, "vhost-user: a message with flags 0x%x", m->h.flags);
    if (m->h.size < least(m->h.request))
        return viv_fail(err, EPROTO, "vhost-user: request %u with %u bytes", m->h.request, m->h.size);
    ret = dispatch(s, m, err);
    if (ret || !wants_answer || !(s->protocol & VHOST_PROTOCOL_REPLY_ACK))
        return ret;
    return answer_u64(m, 0);
}
