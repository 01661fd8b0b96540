/* virtio-9p: a shared folder, as a transport for 9P messages (share/p9.h). Not in virtio 1.2's text beyond its number (9); feature
 * and configuration are Linux's include/uapi/linux/virtio_9p.h.
 *
 * One queue; a chain is a message (device reads) and room for its answer (device writes). The vCPU that kicks only takes elements;
 * they are served on worker threads, which take the device lock to give them back. At most IN_FLIGHT at a time: the rest
 * waits in the ring. */
#include "dev/virtio/virtio_9p.h"

#include "base/bytes.h"
#include "bus/virtio.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "host/lock.h"
#include "share/p9.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { F_MOUNT_TAG = 0, TAG_MAX = 32, QUEUE_SIZE = 128, IN_FLIGHT = 64 };

struct virtio_9p {
    struct viv_virtio v;
    struct viv_fsdev *dev;
    struct viv_p9 *p9;
    struct virtio_9p_pool *pool;
    char tag[TAG_MAX + 1];
    unsigned in_flight;
    pthread_cond_t idle; /* in_flight is 0 */
};

/* ---- requests ---- */

static void p9_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_9p *d = (struct virtio_9p *)v;
    struct viv_virtq_elem *e;

    while (d->in_flight < IN_FLIGHT && (e = viv_virtq_pop(v, queue))) {
        struct virtio_9p_job *job = g_new0(struct virtio_9p_job, 1);

        job->elem = e;
        viv_p9_announce(d->p9, &job->ticket, e->out, (int)e->out_num);
        d->in_flight++;
        virtio_9p_pool_add(d->pool, job);
    }
}

/* Worker thread. */
static void serve(void *opaque, struct virtio_9p_job *job)
{
    struct virtio_9p *d = opaque;
    struct viv_virtq_elem *e = job->elem;
    size_t n = viv_p9_serve(d->p9, &job->ticket, e->out, (int)e->out_num, e->out_len, e->in, (int)e->in_num, e->in_len);

    viv_dev_lock();
    if (!n && !d->v.resetting)
        viv_virtio_set_broken(&d->v, "9P message of %lu bytes with room for %lu cannot be answered", (unsigned long)e->out_len,
                              (unsigned long)e->in_len);
    if (d->v.broken || d->v.resetting) {
        viv_virtq_drop(e);
    } else {
        viv_virtq_push(e, (uint32_t)n);
        viv_virtq_notify(&d->v, 0);
    }
    viv_p9_done(d->p9, &job->ticket); /* flush(5): no sooner does the client get Rflush */
    g_free(job);
    if (!--d->in_flight)
        pthread_cond_broadcast(&d->idle);
    if (viv_virtio_live(&d->v))
        p9_kick(&d->v, 0);
    viv_dev_unlock();
}

static void p9_reset(struct viv_virtio *v)
{
    struct virtio_9p *d = (struct virtio_9p *)v;

    while (d->in_flight)
        viv_dev_wait(&d->idle);
    viv_p9_reset(d->p9);
}

static bool p9_idle(struct viv_virtio *v)
{
    return !((struct virtio_9p *)v)->in_flight;
}

static int p9_can_save(struct viv_virtio *v, struct viv_err *err)
{
    struct virtio_9p *d = (struct virtio_9p *)v;

    if (!viv_p9_mounted(d->p9))
        return 0;
    return viv_fail(err, EBUSY, "the guest has folder '%.200s' mounted (mount tag '%s'): its open files cannot be saved; unmount it in "
                    "the guest first", d->dev->path, d->tag);
}

/* ---- life ---- */

static uint64_t p9_features(struct viv_virtio *v)
{
    return 1ull << F_MOUNT_TAG;
}

static void p9_get_config(struct viv_virtio *v, uint8_t *c)
{
    struct virtio_9p *d = (struct virtio_9p *)v;

    viv_st_le16(c, (uint16_t)strlen(d->tag));
    memcpy(c + 2, d->tag, strlen(d->tag));
}

static int take_options(struct virtio_9p *d, struct viv_opts *opts, struct viv_err *err)
{
    const char *id = viv_opts_str(opts, "fsdev"), *tag = viv_opts_str(opts, "mount_tag");

    d->dev = viv_fsdev_find(id);
    if (!d->dev)
        return viv_fail(err, ENOENT, "%s: fsdev=%.60s: there is no -fsdev with that id", viv_opts_what(opts), id);
    if (d->dev->user)
        return viv_fail(err, EBUSY, "%s: fsdev '%.60s' has a device already; one -fsdev is for one device", viv_opts_what(opts), id);
    if (!*tag || strlen(tag) > TAG_MAX)
        return viv_fail(err, EINVAL, "%s: mount_tag=%.60s: it has 1 to %d bytes", viv_opts_what(opts), tag, TAG_MAX);
    g_strlcpy(d->tag, tag, sizeof(d->tag));
    return 0;
}

static int p9_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_9p *d = (struct virtio_9p *)v;
    int rc = take_options(d, opts, err);

    if (rc < 0)
        return rc;
    rc = viv_p9_new(d->dev, &d->p9, err);
    if (rc < 0) {
        viv_err_prefix(err, "%s", viv_opts_what(opts));
        return rc;
    }
    d->pool = virtio_9p_pool_new(serve, d, err);
    if (!d->pool) {
        viv_p9_free(d->p9);
        return -EAGAIN;
    }
    d->dev->user = d;
    pthread_cond_init(&d->idle, NULL);
    viv_virtio_add_queue(v, QUEUE_SIZE);
    return 0;
}

static void p9_unrealize(struct viv_virtio *v)
{
    struct virtio_9p *d = (struct virtio_9p *)v;

    while (d->in_flight)
        viv_dev_wait(&d->idle);
    virtio_9p_pool_free(d->pool);
    viv_p9_free(d->p9);
    pthread_cond_destroy(&d->idle);
    d->dev->user = NULL;
}

static const struct viv_field p9_fields[] = {
    VIV_F_STRUCT(virtio_9p, v, viv_virtio_state),
    VIV_F_CONFIG(virtio_9p, dev),
    VIV_F_DERIVED(virtio_9p, p9, "saved only while nobody has attached: then there are no fids, and each mount begins with Tversion"),
    VIV_F_CONFIG(virtio_9p, pool),
    VIV_F_CONFIG(virtio_9p, tag),
    VIV_F_DERIVED(virtio_9p, in_flight, "0: the device is idle when it is saved"),
    VIV_F_CONFIG(virtio_9p, idle),
    VIV_F_END,
};

static const struct viv_state_table p9_state = {
    .name = "virtio-9p",
    .ctype = "virtio_9p",
    .version = 1,
    .min_version = 1,
    .fields = p9_fields,
};

static const struct viv_virtio_class p9_fn = {
    .name = "virtio-9p",
    .device_id = VIV_VIRTIO_ID_9P,
    .pci_legacy_id = 0x1009,
    .pci_class = 0x000200,
    .config_len = 2 + TAG_MAX,
    .size = sizeof(struct virtio_9p),
    .state = &p9_state,
    .realize = p9_realize,
    .unrealize = p9_unrealize,
    .features = p9_features,
    .get_config = p9_get_config,
    .kick = p9_kick,
    .reset = p9_reset,
    .idle = p9_idle,
    .can_save = p9_can_save,
};

#define P9_PROPS                                                                                   \
    {.name = "fsdev", .type = VIV_OPT_STR, .required = true, .help = "id of an -fsdev"},           \
    {.name = "mount_tag", .type = VIV_OPT_STR, .required = true,                                   \
     .help = "the name by which the guest mounts it"},                                             \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def p9_mmio_props[] = {P9_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def p9_pci_props[] = {P9_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_9p_device, p9_fn, "virtio-9p-device", "shared folder, over MMIO", p9_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_9p_pci, p9_fn, "virtio-9p-pci", "shared folder", p9_pci_props);
