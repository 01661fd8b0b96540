/* virtio-balloon (virtio 1.2, 5.5): the guest gives memory back and takes it again. Pages that it gives are dropped on the host and read
 * as zeroes if the guest takes them in spite of that. Statistics, deflate-on-oom, free page reporting. Left out: hinting of free
 * pages (it is for migration between hosts) and telling the value of poisoned pages: a driver that poisons does without reporting. */
#include "dev/virtio/virtio_balloon.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/virtio.h"
#include "bus/virtio_mmio.h"
#include "bus/virtio_pci.h"
#include "bus/vmevent.h"
#include "host/clock.h"
#include "mem/discard.h"
#include "mem/dma.h"
#include "mem/ram.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>

enum { F_MUST_TELL_HOST, F_STATS_VQ, F_DEFLATE_ON_OOM, F_FREE_PAGE_HINT, F_PAGE_POISON, F_REPORTING };
/* Queues that are not there take no number: the fourth is that of reporting, as there is none for hints. */
enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_REPORTING, QUEUE_SIZE = 128 };
enum { CFG_NUM_PAGES = 0, CFG_ACTUAL = 4, CFG_LEN = 8, ID_BALLOON = 5, PFN_SHIFT = 12, STAT_SIZE = 10, PFNS_AT_ONCE = 256 };
/* Linux names 256 pages in a request. A kick drops so many pages, each perhaps by a call of its own; what is reported comes in large
 * pieces, which are faster. */
enum { LIST_MOST = 64 << 10, KICK_WORK = 4096, REPORT_SHIFT = 16 };

struct virtio_balloon {
    struct viv_virtio v;
    uint32_t target, actual; /* pages in the balloon: wanted, told by the driver */
    bool deflate_on_oom, reporting;
    bool told; /* that memory cannot be dropped */
    int64_t poll_s;
    struct viv_timer *poll;
    struct viv_balloon_stats stats;
    struct virtio_balloon *next;
};

const char *const viv_balloon_stat_names[VIRTIO_BALLOON_STATS] = {
    "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

static struct virtio_balloon *balloons; /* one VM a process; in creation order: the first is the one that `balloon` speaks to */

/* ---- memory ---- */

/* One block on every board (machine/board.c). */
static uint64_t main_memory(void)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        if (!strcmp(r->name, "pc.ram"))
            return r->size;
    }
    return 0;
}

static void discard(struct virtio_balloon *b, void *hva, uint64_t len)
{
    int rc = viv_ram_discard(hva, len);

    if (rc < 0 && !b->told)
        viv_warn("%s: memory that the guest gives back stays with this process: %s", viv_virtio_name(&b->v), strerror(-rc));
    b->told |= rc < 0;
}

static void drop(struct virtio_balloon *b, uint64_t first, uint64_t pages)
{
    uint64_t gpa = first << PFN_SHIFT, left = pages << PFN_SHIFT;

    while (left) {
        uint64_t len = left;
        void *p = viv_dma_map(b->v.board->mem, gpa, &len, true);

        if (!p) {
            viv_guest_error(viv_virtio_name(&b->v), "page %#lx given is no memory", (unsigned long)gpa);
            return;
        }
        discard(b, p, len);
        viv_dma_unmap(p, len, 0);
        gpa += len;
        left -= len;
    }
}

/* Neighbours together, upwards or downwards: Linux gives them in either order. */
static void drop_list(struct virtio_balloon *b, const uint8_t *pfns, size_t count)
{
    uint64_t first = 0, pages = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t pfn = viv_ld_le32(pfns + 4 * i);

        if (pages && pfn == first + pages) {
            pages++;
        } else if (pages && pfn + 1 == first) {
            first = pfn;
            pages++;
        } else {
            if (pages)
                drop(b, first, pages);
            first = pfn;
            pages = 1;
        }
    }
    if (pages)
        drop(b, first, pages);
}

/* This and report(): how much work it was, see KICK_WORK. */
static uint64_t inflate(struct virtio_balloon *b, struct viv_virtq_elem *e)
{
    uint8_t pfns[4 * PFNS_AT_ONCE];
    size_t n;

    if (e->out_len > LIST_MOST) {
        viv_virtio_set_broken(&b->v, "a list of %llu bytes of pages, at most %d may be", (unsigned long long)e->out_len, LIST_MOST);
        return 0;
    }
    for (uint64_t off = 0; (n = viv_iov_to_buf(e->out, (int)e->out_num, off, pfns, sizeof(pfns))) >= 4; off += n)
        drop_list(b, pfns, n / 4);
    return e->out_len / 4;
}

/* Free pages as the buffers themselves (5.5.6.7). */
static uint64_t report(struct virtio_balloon *b, struct viv_virtq_elem *e)
{
    for (unsigned i = 0; i < e->in_num; i++)
        discard(b, e->in[i].iov_base, e->in[i].iov_len);
    return e->in_num + (e->in_len >> REPORT_SHIFT);
}

/* ---- statistics (5.5.6.3) ---- */

static void take_stats(struct virtio_balloon *b, struct viv_virtq_elem *e)
{
    uint8_t s[STAT_SIZE];

    for (size_t off = 0; off < 64 * STAT_SIZE && viv_iov_to_buf(e->out, (int)e->out_num, off, s, sizeof(s)) == sizeof(s); off += STAT_SIZE) {
        uint16_t tag = viv_ld_le16(s);

        if (tag < VIRTIO_BALLOON_STATS)
            b->stats.value[tag] = viv_ld_le64(s + 2);
    }
    b->stats.when = g_get_real_time() / G_USEC_PER_SEC;
}

/* The driver's buffer is read and stays in the ring: giving it back is the request for the next report. */
static void stats_kick(struct virtio_balloon *b)
{
    struct viv_virtq_elem *e = viv_virtq_pop(&b->v, Q_STATS);

    if (!e)
        return;
    take_stats(b, e);
    viv_virtq_unpop(e);
}

static void arm(struct virtio_balloon *b)
{
    if (b->poll_s)
        viv_timer_set(b->poll, viv_clock_ns(VIV_CLOCK_GUEST) + b->poll_s * (int64_t)VIV_NS_PER_SEC);
    else
        viv_timer_cancel(b->poll);
}

static void on_poll(void *opaque)
{
    struct virtio_balloon *b = opaque;
    struct viv_virtq_elem *e;

    if (viv_virtio_live(&b->v) && (e = viv_virtq_pop(&b->v, Q_STATS))) {
        viv_virtq_push(e, 0);
        stats_kick(b); /* nothing yet: that asks the driver for a kick */
        viv_virtq_notify(&b->v, Q_STATS);
    }
    arm(b);
}

/* ---- queues and configuration ---- */

static void balloon_kick(struct viv_virtio *v, unsigned queue)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v;
    struct viv_virtq_elem *e;
    uint64_t work = 0;

    if (queue == Q_STATS) {
        stats_kick(b);
        return;
    }
    while ((e = viv_virtq_pop(v, queue))) {
        if (queue == Q_INFLATE)
            work += inflate(b, e);
        else if (queue == Q_REPORTING)
            work += report(b, e);
        viv_virtq_push(e, 0);
        if (work >= KICK_WORK)
            viv_virtq_yield(v, queue);
    }
    viv_virtq_notify(v, queue);
}

static uint64_t balloon_features(struct viv_virtio *v)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v;

    return 1ull << F_STATS_VQ | (uint64_t)b->deflate_on_oom << F_DEFLATE_ON_OOM | (uint64_t)b->reporting << F_REPORTING;
}

static void balloon_get_config(struct viv_virtio *v, uint8_t *c)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v;

    viv_st_le32(c + CFG_NUM_PAGES, b->target);
    viv_st_le32(c + CFG_ACTUAL, b->actual);
}

static void balloon_set_config(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v;
    uint32_t old = b->actual;
    uint8_t word[4];

    if (off < CFG_ACTUAL || off + len > CFG_ACTUAL + 4) {
        viv_guest_error(viv_virtio_name(v), "write of %u bytes at %u of the configuration", len, off);
        return;
    }
    viv_st_le32(word, b->actual);
    memcpy(word + (off - CFG_ACTUAL), val, len);
    b->actual = viv_ld_le32(word);
    if (b->actual != old)
        viv_vm_event_json("BALLOON_CHANGE", json_pack("{s:I}", "actual", (json_int_t)viv_balloon_actual(b)));
}

static void forget_stats(struct virtio_balloon *b)
{
    memset(b->stats.value, 0xff, sizeof(b->stats.value));
    b->stats.when = 0;
}

/* All memory is the guest's again; what it is asked for stays. */
static void balloon_reset(struct viv_virtio *v)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v;

    b->actual = 0;
    forget_stats(b);
}

/* ---- for the monitor ---- */

struct virtio_balloon *viv_balloon(const struct viv_dev *d)
{
    struct virtio_balloon *b = balloons;

    while (b && (d ? b->v.dev != d : b->v.dev->life == VIV_DEV_LEAVING))
        b = b->next;
    return b;
}

uint64_t viv_balloon_actual(const struct virtio_balloon *b)
{
    uint64_t all = main_memory(), out = (uint64_t)b->actual << PFN_SHIFT;

    return out < all ? all - out : 0;
}

int viv_balloon_set(struct virtio_balloon *b, uint64_t bytes, struct viv_err *err)
{
    uint64_t all = main_memory();

    if (!bytes)
        return viv_fail(err, EINVAL, "a guest cannot be left without memory: name its new size in bytes, up to %lu", (unsigned long)all);
    b->target = bytes < all ? (uint32_t)((all - bytes) >> PFN_SHIFT) : 0;
    viv_virtio_config_changed(&b->v);
    return 0;
}

int viv_balloon_poll(struct virtio_balloon *b, int64_t seconds, struct viv_err *err)
{
    if (seconds < 0 || seconds > UINT32_MAX)
        return viv_fail(err, EINVAL, "guest-stats-polling-interval is in seconds, from 0 (never) to %u", UINT32_MAX);
    if (seconds && !viv_virtio_has(&b->v, F_STATS_VQ))
        return viv_fail(err, ENOTSUP, "the guest's balloon driver gives no statistics, or is not loaded yet");
    b->poll_s = seconds;
    arm(b);
    return 0;
}

int64_t viv_balloon_polling(const struct virtio_balloon *b)
{
    return b->poll_s;
}

const struct viv_balloon_stats *viv_balloon_stats(const struct virtio_balloon *b)
{
    return &b->stats;
}

/* ---- life ---- */

static int balloon_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v, **end = &balloons;

    b->deflate_on_oom = viv_opts_bool(opts, "deflate-on-oom");
    b->reporting = viv_opts_bool(opts, "free-page-reporting");
    if (viv_opts_bool(opts, "free-page-hint"))
        return viv_fail(err, ENOTSUP, "%s: free-page-hint=on is not there: it is for live migration; free-page-reporting=on gives free pages "
                        "back all the time", viv_opts_what(opts));
    b->poll = viv_timer_new(VIV_CLOCK_GUEST, on_poll, b);
    forget_stats(b);
    for (unsigned i = 0; i < Q_REPORTING + (b->reporting ? 1u : 0u); i++)
        viv_virtio_add_queue(v, QUEUE_SIZE);
    while (*end)
        end = &(*end)->next;
    *end = b;
    return 0;
}

static void balloon_unrealize(struct viv_virtio *v)
{
    struct virtio_balloon *b = (struct virtio_balloon *)v, **p = &balloons;

    viv_timer_free(b->poll);
    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
}

static int balloon_post_load(void *obj, int version, struct viv_err *err)
{
    struct virtio_balloon *b = obj;

    if (b->poll_s < 0 || b->poll_s > UINT32_MAX || b->stats.when < 0)
        return viv_fail(err, EINVAL, "virtio-balloon: its clock is out of range");
    return 0;
}

static const struct viv_field stats_fields[] = {
    VIV_F_INTS(viv_balloon_stats, value),
    VIV_F_INT(viv_balloon_stats, when),
    VIV_F_END,
};

static const struct viv_state_table stats_state = {
    .name = "balloon-stats", .ctype = "viv_balloon_stats", .version = 1, .min_version = 1, .fields = stats_fields};

static const struct viv_field balloon_fields[] = {
    VIV_F_STRUCT(virtio_balloon, v, viv_virtio_state),
    VIV_F_INT(virtio_balloon, target),
    VIV_F_INT(virtio_balloon, actual),
    VIV_F_CONFIG(virtio_balloon, deflate_on_oom),
    VIV_F_CONFIG(virtio_balloon, reporting),
    VIV_F_DERIVED(virtio_balloon, told, "a warning of this process"),
    VIV_F_INT(virtio_balloon, poll_s),
    VIV_F_TIMER(virtio_balloon, poll),
    VIV_F_STRUCT(virtio_balloon, stats, stats_state),
    VIV_F_CONFIG(virtio_balloon, next),
    VIV_F_END,
};

static const struct viv_state_table balloon_state = {
    .name = "virtio-balloon",
    .ctype = "virtio_balloon",
    .version = 1,
    .min_version = 1,
    .fields = balloon_fields,
    .post_load = balloon_post_load,
};

static const struct viv_virtio_class balloon_fn = {
    .name = "virtio-balloon",
    .device_id = ID_BALLOON,
    .pci_legacy_id = 0x1002,
    .pci_class = 0x00ff00,
    .config_len = CFG_LEN,
    .size = sizeof(struct virtio_balloon),
    .state = &balloon_state,
    .realize = balloon_realize,
    .unrealize = balloon_unrealize,
    .features = balloon_features,
    .get_config = balloon_get_config,
    .set_config = balloon_set_config,
    .kick = balloon_kick,
    .reset = balloon_reset,
};

#define BALLOON_PROPS                                                                              \
    {.name = "deflate-on-oom", .type = VIV_OPT_BOOL, .def = "off",                                 \
     .help = "the guest may take memory back before it runs out"},                                 \
    {.name = "free-page-reporting", .type = VIV_OPT_BOOL, .def = "off",                            \
     .help = "the guest tells which pages are free, and they are given back to the host"},         \
    {.name = "free-page-hint", .type = VIV_OPT_BOOL, .def = "off", .help = "is not there"},        \
    {.name = "page-poison", .type = VIV_OPT_REFUSED,                                               \
     .help = "a guest that poisons its free pages does not report them; leave it out"},            \
    {.name = "iothread", .type = VIV_OPT_REFUSED, .help = "it is for free-page-hint; leave it out"}, \
    VIV_VIRTIO_PROPS

static const struct viv_opt_def balloon_mmio_props[] = {BALLOON_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};
static const struct viv_opt_def balloon_pci_props[] = {BALLOON_PROPS, VIV_VIRTIO_PCI_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(viv_dev_virtio_balloon_device, balloon_fn, "virtio-balloon-device", "memory balloon, over MMIO",
                      balloon_mmio_props);
VIV_VIRTIO_PCI_CLASSES(viv_dev_virtio_balloon_pci, balloon_fn, "virtio-balloon-pci", "memory balloon", balloon_pci_props);
