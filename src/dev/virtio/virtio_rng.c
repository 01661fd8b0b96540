/* virtio-rng (virtio 1.2, 5.4): the host kernel's random numbers, or those of a host device, at a limited rate where
 * asked. */
#include "bus/virtio.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "base/log.h"
#include "base/units.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/random.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum { CHUNK = 4096 }; /* most that one request gets: a driver asks again for more */

struct virtio_rng {
    struct viv_virtio v;
    uint64_t max_bytes; /* per period */
    uint64_t period_ns;
    uint64_t left;      /* in this period */
    struct viv_timer *refill;
    struct viv_random *source; /* rng=; NULL: getrandom */
    struct viv_watch *more;    /* while the source has nothing */
    bool dry;                  /* it has come to its end */
};

static void rng_kick(struct viv_virtio *v, unsigned queue);

static void on_more(void *opaque, int fd, short revents)
{
    struct virtio_rng *r = opaque;

    viv_watch_free(r->more);
    r->more = NULL;
    if (viv_virtio_live(&r->v))
        rng_kick(&r->v, 0);
}

/* The request stays in the ring until there is something. */
static void nothing_now(struct virtio_rng *r, int rc)
{
    if (rc == -EAGAIN) {
        r->more = viv_watch_new(viv_random_fd(r->source), POLLIN, on_more, r);
        return;
    }
    r->dry = true;
    viv_error("%s: %s: %s; the guest gets no more random numbers", viv_virtio_name(&r->v),
              viv_random_name(r->source), rc == -ENODATA ? "is at its end" : strerror(-rc));
}

static void rng_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_rng *r = (struct virtio_rng *)v;
    struct viv_virtq_elem *e;
    uint8_t buf[CHUNK];

    while (r->left && !r->more && !r->dry && (e = viv_virtq_pop(v, queue))) {
        uint64_t len = e->in_len;
        ssize_t n = 0;

        if (len > sizeof(buf))
            len = sizeof(buf);
        if (len > r->left)
            len = r->left;
        if (len)
            n = viv_random_read(r->source, buf, len);
        if (n < 0) {
            viv_virtq_unpop(e);
            nothing_now(r, (int)n);
            break;
        }
        if (r->max_bytes) {
            if (r->left == r->max_bytes)
                viv_timer_set(r->refill, viv_clock_ns(VIV_CLOCK_GUEST) + r->period_ns);
            r->left -= n;
        }
        viv_virtq_push(e, viv_iov_from_buf(e->in, e->in_num, 0, buf, n));
    }
    viv_virtq_notify(v, queue);
}

static void refill(void *opaque)
{
    struct virtio_rng *r = opaque;

    r->left = r->max_bytes;
    if (viv_virtio_live(&r->v))
        rng_kick(&r->v, 0);
}

static uint64_t rng_features(struct viv_virtio *v)
{
    return 0;
}

static void rng_reset(struct viv_virtio *v)
{
    /* The rate holds over a reset: it protects the host. */
}

static int rng_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_rng *r = (struct virtio_rng *)v;

    const char *rng = viv_opts_str(opts, "rng");

    r->max_bytes = viv_opts_int(opts, "max-bytes");
    r->period_ns = viv_opts_int(opts, "period") * VIV_NS_PER_MS;
    if (viv_opts_given(opts, "max-bytes") && !r->max_bytes)
        return viv_fail(err, EINVAL, "%s: max-bytes=0 would give nothing", viv_opts_what(opts));
    if (rng && !(r->source = viv_random_get(rng)))
        return viv_fail(err, ENOENT, "%s: rng=%.60s: there is no -object rng-random or rng-builtin with that id",
                        viv_opts_what(opts), rng);
    r->left = r->max_bytes ? r->max_bytes : UINT64_MAX;
    r->refill = viv_timer_new(VIV_CLOCK_GUEST, refill, r);
    viv_virtio_add_queue(v, 8);
    return 0;
}

static void rng_unrealize(struct viv_virtio *v)
{
    struct virtio_rng *r = (struct virtio_rng *)v;

    viv_timer_free(r->refill);
    viv_watch_free(r->more);
    viv_random_put(&r->source);
}

static int rng_post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_rng *r = obj;

    if (r->max_bytes ? r->left > r->max_bytes : r->left != UINT64_MAX)
        return viv_fail(err, EINVAL, "virtio-rng: saved with another max-bytes");
    if (!r->max_bytes && viv_timer_expiry_ns(r->refill) != INT64_MAX)
        return viv_fail(err, EINVAL, "virtio-rng: there is no max-bytes, and a time at which it begins anew");
    return 0;
}

static const struct viv_field rng_fields[] = {
    VIV_F_STRUCT(virtio_rng, v, viv_virtio_state),
    VIV_F_CONFIG(virtio_rng, max_bytes),
    VIV_F_CONFIG(virtio_rng, period_ns),
    VIV_F_INT(virtio_rng, left),
    VIV_F_TIMER(virtio_rng, refill),
    VIV_F_CONFIG(virtio_rng, source),
    VIV_F_DERIVED(virtio_rng, more, "the request it is for is still in the ring: the kick after a load makes it again"),
    VIV_F_DERIVED(virtio_rng, dry, "of the host's source; found again at the next read"),
    VIV_F_END,
};

static const struct viv_state_table rng_state = {
    .name = "virtio-rng",
    .ctype = "virtio_rng",
    .version = 1,
    .min_version = 1,
    .fields = rng_fields,
    .post_load = rng_post_load,
};

static const struct viv_virtio_class rng_fn = {
    .name = "virtio-rng",
    .device_id = VIV_VIRTIO_ID_RNG,
    .pci_legacy_id = 0x1005,
    .pci_class = 0x00ff00,
    .size = sizeof(struct virtio_rng),
    .state = &rng_state,
    .realize = rng_realize,
    .unrealize = rng_unrealize,
    .features = rng_features,
    .kick = rng_kick,
    .reset = rng_reset,
};

#define RNG_PROPS                                                                                  \
    {.name = "max-bytes", .type = VIV_OPT_INT, .min = 0, .max = INT64_MAX,                         \
     .help = "most bytes per period (default: no limit)"},                                         \
    {.name = "period", .type = VIV_OPT_INT, .def = "65536", .min = 1, .max = INT32_MAX,            \
     .help = "the period, in ms"},                                                                 \
    {.name = "rng", .type = VIV_OPT_STR,                                                           \
     .help = "id of an -object rng-random or rng-builtin (default: the host kernel's)"},           \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def rng_mmio_props[] = {RNG_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def rng_pci_props[] = {RNG_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_rng_device, rng_fn, "virtio-rng-device",
                      "virtio random numbers, over MMIO", rng_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_rng_pci, rng_fn, "virtio-rng-pci", "virtio random numbers",
                       rng_pci_props);
