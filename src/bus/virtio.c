/* The device half of the core: status, features, config space, reset, run state. */
#include "bus/virtio_int.h"

#include "base/log.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "host/iothread.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <string.h>

const char *viv_virtio_name(const struct viv_virtio *v)
{
    return v->dev && v->dev->id ? v->dev->id : v->cls->name;
}

struct viv_virtio *viv_virtio_of(struct viv_dev *d)
{
    if (d->cls->idle == viv_virtio_pci_idle) /* virtio-vga realizes more than that */
        return ((struct viv_virtio_pci *)d)->v;
    if (d->cls->realize == viv_virtio_mmio_realize)
        return ((struct viv_virtio_mmio *)d)->v;
    return NULL;
}

static uint64_t offered(struct viv_virtio *v, struct viv_opts *opts)
{
    uint64_t f = v->cls->features(v) | 1ull << VIV_VIRTIO_F_VERSION_1;

    if (viv_opts_bool(opts, "indirect_desc"))
        f |= 1ull << VIV_VIRTIO_F_INDIRECT;
    if (viv_opts_bool(opts, "event_idx"))
        f |= 1ull << VIV_VIRTIO_F_EVENT_IDX;
    if (viv_opts_bool(opts, "any_layout"))
        f |= 1ull << VIV_VIRTIO_F_ANY_LAYOUT;
    if (viv_opts_bool(opts, "packed"))
        f |= 1ull << VIV_VIRTIO_F_RING_PACKED;
    return f;
}

static int find_iothread(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    const char *id = v->cls->iothread ? viv_opts_str(opts, "iothread") : NULL;

    if (!id)
        return 0;
    v->iothread = viv_iothread_get(id, err);
    if (v->iothread)
        return 0;
    viv_err_prefix(err, "%s", viv_opts_what(opts));
    return -ENOENT;
}

static void serve_job(void *opaque);

static int make_jobs(struct viv_virtio *v, struct viv_err *err)
{
    for (unsigned i = 0; v->iothread && i < v->queue_count; i++) {
        v->queues[i].job = viv_iojob_new(v->iothread, serve_job, &v->queues[i], err);
        if (!v->queues[i].job)
            return -EMFILE;
    }
    return 0;
}

static void free_jobs(struct viv_virtio *v)
{
    for (unsigned i = 0; i < v->queue_count; i++) {
        viv_iojob_free(v->queues[i].job);
        v->queues[i].job = NULL;
    }
    viv_iothread_put(&v->iothread);
}

int viv_virtio_new(const struct viv_virtio_class *cls, struct viv_dev *dev,
                   const struct viv_virtio_transport *transport, struct viv_opts *opts,
                   struct viv_virtio **out, struct viv_err *err)
{
    struct viv_virtio *v = g_malloc0(cls->size);
    int rc;

    v->cls = cls;
    v->board = dev->board;
    v->dev = dev;
    v->transport = *transport;
    rc = find_iothread(v, opts, err);
    if (!rc)
        rc = cls->realize(v, opts, err);
    if (rc < 0) {
        viv_iothread_put(&v->iothread);
        g_free(v->queues);
        g_free(v);
        return rc;
    }
    rc = make_jobs(v, err);
    if (rc < 0) {
        viv_virtio_free(v);
        return rc;
    }
    v->host_features = offered(v, opts);
    *out = v;
    return 0;
}

void viv_virtio_free(struct viv_virtio *v)
{
    if (!v)
        return;
    viv_virtio_reset(v);
    free_jobs(v);
    if (v->cls->unrealize)
        v->cls->unrealize(v);
    g_free(v->queues);
    if (v->rekick_queued)
        v->gone = true; /* rekick frees it */
    else
        g_free(v);
}

unsigned viv_virtio_add_queue(struct viv_virtio *v, unsigned max_size)
{
    struct viv_virtq *q;

    v->queues = g_renew(struct viv_virtq, v->queues, v->queue_count + 1);
    q = &v->queues[v->queue_count];
    memset(q, 0, sizeof(*q));
    q->v = v;
    q->index = v->queue_count;
    q->max_size = q->size = max_size;
    q->vector = VIV_VIRTIO_NO_VECTOR;
    return v->queue_count++;
}

void viv_virtio_config_changed(struct viv_virtio *v)
{
    VIV_ASSERT_DEV_LOCKED();
    v->config_generation++;
    if (viv_virtio_driven(v))
        v->transport.notify_config(v->transport.opaque);
}

void viv_virtio_set_broken(struct viv_virtio *v, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    VIV_ASSERT_DEV_LOCKED();
    if (v->broken)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    viv_guest_error(viv_virtio_name(v), "%s; the device stops until it is reset", text);
    v->broken = true;
    /* 2.1.2: NEEDS_RESET, and a configuration change notification if the driver is up. Legacy drivers
     * do not know the bit. */
    if (!viv_virtio_has(v, VIV_VIRTIO_F_VERSION_1))
        return;
    v->status |= VIV_VIRTIO_S_NEEDS_RESET;
    if (v->status & VIV_VIRTIO_S_DRIVER_OK)
        v->transport.notify_config(v->transport.opaque);
}

/* 3.1.1: from FEATURES_OK on. Legacy drivers, which never set it, stop when they are up. */
static bool features_settled(const struct viv_virtio *v)
{
    return (v->status & VIV_VIRTIO_S_FEATURES_OK) || viv_virtio_driven(v);
}

void viv_virtio_set_guest_features(struct viv_virtio *v, uint64_t features)
{
    if (features_settled(v)) {
        viv_guest_error(viv_virtio_name(v), "features written after they were settled");
        return;
    }
    v->guest_features = features;
}

static void settle_features(struct viv_virtio *v)
{
    viv_log(VIV_LOG_VIRTIO, "%s: driver took features 0x%llx of 0x%llx", viv_virtio_name(v),
            (unsigned long long)v->guest_features, (unsigned long long)v->host_features);
    if (v->cls->set_features)
        v->cls->set_features(v, v->guest_features);
    for (unsigned i = 0; i < v->queue_count; i++)
        viv_virtq_remap(&v->queues[i]);
}

static void settle_legacy(struct viv_virtio *v)
{
    v->guest_features &= v->host_features & UINT32_MAX; /* bits 0-31 */
    settle_features(v);
}

static bool features_acceptable(struct viv_virtio *v)
{
    uint64_t bad = v->guest_features & ~v->host_features;

    if (bad || !viv_virtio_has(v, VIV_VIRTIO_F_VERSION_1)) {
        viv_guest_error(viv_virtio_name(v), "features 0x%llx refused: 0x%llx were not offered%s",
                        (unsigned long long)v->guest_features, (unsigned long long)bad,
                        viv_virtio_has(v, VIV_VIRTIO_F_VERSION_1) ? "" : ", VERSION_1 is missing");
        return false;
    }
    return true;
}

static void kick_all(struct viv_virtio *v)
{
    for (unsigned i = 0; i < v->queue_count; i++)
        viv_virtio_kick(v, i);
}

void viv_virtio_set_status(struct viv_virtio *v, uint8_t status)
{
    uint8_t old = v->status;

    VIV_ASSERT_DEV_LOCKED();
    if (v->resetting)
        return;
    if (!status) {
        viv_virtio_reset(v);
        return;
    }
    status |= old & ~VIV_VIRTIO_S_NEEDS_RESET; /* 2.1.1: only a reset takes bits back */
    if ((status & ~old & VIV_VIRTIO_S_FEATURES_OK)) {
        if (features_acceptable(v))
            settle_features(v);
        else
            status &= ~VIV_VIRTIO_S_FEATURES_OK;
    }
    if ((status & ~old & VIV_VIRTIO_S_DRIVER_OK) && !(status & VIV_VIRTIO_S_FEATURES_OK) && !v->early)
        settle_legacy(v);
    v->status = status | (v->status & VIV_VIRTIO_S_NEEDS_RESET);
    if (((status ^ old) & VIV_VIRTIO_S_DRIVER_OK) && v->cls->status)
        v->cls->status(v, v->status);
    if (status & ~old & VIV_VIRTIO_S_DRIVER_OK)
        kick_all(v); /* queues may be filled before */
}

/* Device lock held, or before threads start (when devices are made). */
void viv_virtio_reset(struct viv_virtio *v)
{
    if (v->resetting)
        return; /* another vCPU's reset waits for requests; one is enough */
    v->resetting = true;
    v->dev->refs++; /* the reset may wait without the device lock */
    v->cls->reset(v);
    v->dev->refs--;
    for (unsigned i = 0; i < v->queue_count; i++) {
        struct viv_virtq *q = &v->queues[i];

        viv_virtq_disable(q);
        q->size = q->max_size;
        q->vector = VIV_VIRTIO_NO_VECTOR;
        q->desc_gpa = q->avail_gpa = q->used_gpa = 0;
        q->last_avail = q->used_idx = q->signalled = 0;
        q->pending = 0;
        q->signalled_valid = q->kicks = q->avail_wrap = q->used_wrap = false;
    }
    v->guest_features = 0;
    v->status = 0;
    v->early = v->broken = false;
    v->resetting = false;
}

/* A driver that behaves has at most `size` requests outstanding; while we serve them it may give more. */
#define KICK_ROUNDS 4
#define KICK_LEAST  256

static void rekick(void *opaque)
{
    struct viv_virtio *v = opaque;

    v->rekick_queued = false;
    if (v->gone) {
        g_free(v);
        return;
    }
    for (unsigned i = 0; i < v->queue_count; i++) {
        if (v->queues[i].again)
            viv_virtio_kick(v, i);
    }
}

static void queue_rekick(struct viv_virtio *v)
{
    if (v->rekick_queued)
        return;
    v->rekick_queued = true;
    viv_loop_call(rekick, v);
}

void viv_virtio_queue_changed(struct viv_virtio *v)
{
    if (viv_virtio_driven(v) && v->cls->status && !v->resetting)
        v->cls->status(v, v->status);
}

void viv_virtio_bar(struct viv_virtio *v, bool barred)
{
    bool again = v->barred && !barred;

    if (v->barred == barred)
        return;
    v->barred = barred;
    viv_virtio_queue_changed(v);
    for (unsigned i = 0; again && i < v->queue_count; i++)
        v->queues[i].again = true;
    if (again)
        queue_rekick(v);
}

static void serve(struct viv_virtio *v, struct viv_virtq *q)
{
    q->again = false;
    q->left = KICK_ROUNDS * q->size > KICK_LEAST ? KICK_ROUNDS * q->size : KICK_LEAST;
    q->in_kick = true;
    v->cls->kick(v, q->index);
    q->in_kick = false;
    if (q->again && q->job)
        viv_iojob_ring(q->job);
    else if (q->again)
        queue_rekick(v);
}

static void serve_job(void *opaque)
{
    struct viv_virtq *q = opaque;

    if (viv_virtio_live(q->v) && q->ready)
        serve(q->v, q);
}

void viv_virtio_kick(struct viv_virtio *v, unsigned queue)
{
    VIV_ASSERT_DEV_LOCKED();
    if (queue >= v->queue_count) {
        viv_guest_error(viv_virtio_name(v), "kick of queue %u, there are %u", queue, v->queue_count);
        return;
    }
    if (!viv_virtio_live(v) || !v->queues[queue].ready)
        return;
    if (v->queues[queue].job)
        viv_iojob_ring(v->queues[queue].job);
    else
        serve(v, &v->queues[queue]);
}

/* Linux before 3.18 reads partition tables before it sets DRIVER_OK. Features are written, and this queue is set up, by then. */
void viv_virtio_kick_legacy(struct viv_virtio *v, unsigned queue)
{
    const struct viv_virtq *q = viv_virtio_queue(v, queue);

    if (q && q->ready && !v->resetting && !features_settled(v)) {
        v->early = true;
        settle_legacy(v);
        viv_virtio_queue_changed(v);
    }
    viv_virtio_kick(v, queue);
}

void viv_virtio_vm_running(struct viv_virtio *v, bool running)
{
    VIV_ASSERT_DEV_LOCKED();
    v->running = running;
    if (v->cls->vm_running)
        v->cls->vm_running(v, running);
    if (running)
        kick_all(v);
}

bool viv_virtio_idle(struct viv_virtio *v)
{
    return !v->cls->idle || v->cls->idle(v);
}

int viv_virtio_can_save(struct viv_virtio *v, struct viv_err *err)
{
    return v->cls->can_save ? v->cls->can_save(v, err) : 0;
}

#define CONFIG_MAX 256

static void whole_config(struct viv_virtio *v, uint8_t config[CONFIG_MAX])
{
    memset(config, 0, CONFIG_MAX);
    if (v->cls->get_config)
        v->cls->get_config(v, config);
}

void viv_virtio_config_read(struct viv_virtio *v, unsigned off, void *buf, unsigned len)
{
    uint8_t config[CONFIG_MAX];

    memset(buf, 0, len);
    if (off >= v->cls->config_len)
        return;
    if (len > v->cls->config_len - off)
        len = v->cls->config_len - off;
    whole_config(v, config);
    memcpy(buf, config + off, len);
}

void viv_virtio_config_write(struct viv_virtio *v, unsigned off, const void *buf, unsigned len)
{
    if (off >= v->cls->config_len || len > v->cls->config_len - off || !v->cls->set_config) {
        viv_guest_error(viv_virtio_name(v), "write of %u bytes at %u of the configuration", len,
                        off);
        return;
    }
    v->cls->set_config(v, off, len, buf);
}

/* --- saved state --- */

static void save_queues(struct viv_state_writer *w, const void *obj)
{
    const struct viv_virtio *v = obj;

    viv_state_put_u32(w, v->queue_count);
    for (unsigned i = 0; i < v->queue_count; i++)
        viv_state_save(w, "q", &viv_virtq_state, &v->queues[i]);
}

static int load_queues(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    struct viv_virtio *v = obj;
    uint32_t n;
    int rc = viv_state_get_u32(r, &n, err);

    if (!rc && n != v->queue_count)
        rc = viv_fail(err, EINVAL, "%s: %u queues in the saved state, %u here", v->cls->name, n,
                      v->queue_count);
    /* Before they are settled the driver may have written any. */
    if (!rc && features_settled(v) && (v->guest_features & ~v->host_features))
        rc = viv_fail(err, EINVAL, "%s: the guest uses features 0x%llx that this device lacks",
                      v->cls->name, (unsigned long long)(v->guest_features & ~v->host_features));
    for (unsigned i = 0; !rc && i < n; i++) {
        viv_virtq_disable(&v->queues[i]);
        rc = viv_state_load(r, "q", &viv_virtq_state, &v->queues[i], err);
    }
    if (!rc && v->cls->set_features && features_settled(v))
        v->cls->set_features(v, v->guest_features);
    return rc;
}

/* A running queue keeps what its ring was mapped to. Where that is no more in the guest's memory map (a BAR over it), a queue that is
 * loaded would find none: then the device is broken from here on. */
static void pre_save(void *obj)
{
    struct viv_virtio *v = obj;

    for (unsigned i = 0; i < v->queue_count && !v->broken; i++)
        viv_virtq_remap(&v->queues[i]);
}

static const struct viv_field virtio_fields[] = {
    VIV_F_CONFIG(viv_virtio, cls),
    VIV_F_CONFIG(viv_virtio, board),
    VIV_F_CONFIG(viv_virtio, dev),
    VIV_F_CONFIG(viv_virtio, transport),
    VIV_F_CONFIG(viv_virtio, host_features),
    VIV_F_INT(viv_virtio, guest_features),
    VIV_F_INT(viv_virtio, status),
    VIV_F_INT(viv_virtio, config_generation),
    {.name = "early", .kind = VIV_FIELD_BOOL, .offset = offsetof(struct viv_virtio, early), .size = 1, .count = 1, .since = 2},
    VIV_F_INT(viv_virtio, broken),
    VIV_F_DERIVED(viv_virtio, running, "the run state, told again by vm_running"),
    VIV_F_DERIVED(viv_virtio, resetting, "false whenever the VM is stopped and idle"),
    VIV_F_DERIVED(viv_virtio, barred, "the transport's registers"),
    VIV_F_CONFIG(viv_virtio, queue_count),
    VIV_F_CUSTOM(viv_virtio, queues, save_queues, load_queues),
    VIV_F_CONFIG(viv_virtio, iothread),
    VIV_F_DERIVED(viv_virtio, rekick_queued, "queues are kicked when the VM goes on"),
    VIV_F_DERIVED(viv_virtio, gone, "false: it lives"),
    VIV_F_END,
};

const struct viv_state_table viv_virtio_state = {
    .name = "virtio",
    .ctype = "viv_virtio",
    .version = 2, /* 2: early */
    .min_version = 1,
    .fields = virtio_fields,
    .pre_save = pre_save,
};
