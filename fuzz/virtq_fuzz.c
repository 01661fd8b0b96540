/* A hostile driver against the virtio core: the input is a script that scribbles over the rings, kicks, completes out of
 * order, gives back, saves and loads, and resets.
 *
 * What must hold: no crash, no access outside guest RAM (the sanitizers see to that), every element that was taken
 * comes back, and a reset always gives a working device again. */
#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "bus/virtio_int.h"
#include "bus/virtio_mmio.h"
#include "host/lock.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RAM_SIZE = 1 << 16, DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, TABLE = 0x4000, KEEP = 6 };

struct victim {
    struct viv_virtio v;
    struct viv_virtq_elem *kept[KEEP];
    unsigned kept_count;
    bool keep;
};

static struct viv_board board;
static struct viv_ram *ram;
static struct viv_virtio_mmio *dev;
static unsigned long popped, broke; /* does a campaign reach anything? VIV_FUZZ_STATS=1 prints them */

static void answer(struct viv_virtq_elem *e)
{
    uint8_t buf[256];
    size_t n = viv_iov_to_buf(e->out, e->out_num, 0, buf, sizeof(buf));

    viv_virtq_push(e, viv_iov_from_buf(e->in, e->in_num, 0, buf, n) + (e->id & 1) * 1000);
}

static void victim_kick(struct viv_virtio *v, unsigned queue)
{
    struct victim *x = (struct victim *)v;
    struct viv_virtq_elem *e;

    while ((e = viv_virtq_pop(v, queue))) {
        uint64_t total = 0;

        popped++;
        for (unsigned i = 0; i < e->out_num + e->in_num; i++) {
            const uint8_t *p = e->out[i].iov_base;

            g_assert(p >= ram->hva && p + e->out[i].iov_len <= ram->hva + RAM_SIZE);
            total += e->out[i].iov_len;
        }
        g_assert(total == e->out_len + e->in_len && total);
        if (x->keep && x->kept_count < KEEP)
            x->kept[x->kept_count++] = e;
        else
            answer(e);
    }
    viv_virtq_notify(v, queue);
}

static void victim_reset(struct viv_virtio *v)
{
    struct victim *x = (struct victim *)v;

    while (x->kept_count)
        viv_virtq_drop(x->kept[--x->kept_count]);
    for (unsigned i = 0; i < v->queue_count; i++)
        g_assert(v->queues[i].in_flight == 0);
}

static uint64_t victim_features(struct viv_virtio *v)
{
    return 0;
}

static int victim_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    viv_virtio_add_queue(v, 64);
    return 0;
}

static const struct viv_field victim_fields[] = {VIV_F_STRUCT(victim, v, viv_virtio_state), VIV_F_END};
static const struct viv_state_table victim_state = {
    .name = "victim", .ctype = "victim", .version = 1, .min_version = 1, .fields = victim_fields};

static const struct viv_virtio_class victim_fn = {
    .name = "virtio-victim",
    .device_id = 63,
    .size = sizeof(struct victim),
    .state = &victim_state,
    .realize = victim_realize,
    .features = victim_features,
    .kick = victim_kick,
    .reset = victim_reset,
};

static const struct viv_opt_def victim_props[] = {VIV_VIRTIO_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(victim_class, victim_fn, "virtio-victim-device", "fuzz", victim_props);

static void print_stats(void)
{
    fprintf(stderr, "%lu elements taken, %lu runs ended broken\n", popped, broke);
}

static void set_up(void)
{
    static const struct viv_dev_class *const table[] = {&victim_class, NULL};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_irq irq = {NULL};

    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    g_assert(!viv_ram_new("ram", RAM_SIZE, &ram, &err));
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 1, &irq);
    g_assert(!viv_opts_parse("fuzz", victim_props, NULL, "packed=on", &opts, &err));
    g_assert(!viv_dev_new(&board, "virtio-victim-device", NULL, NULL, opts, (struct viv_dev **)&dev, &err));
    viv_opts_free(opts);
    viv_dev_set_running_all(true);
    if (g_getenv("VIV_FUZZ_STATS"))
        atexit(print_stats);
}

static void start(uint8_t kind, uint8_t size)
{
    struct viv_virtio *v = dev->v;
    struct viv_virtq *q = &v->queues[0];
    uint64_t features = 1ull << VIV_VIRTIO_F_VERSION_1;

    if (kind & 1)
        features |= 1ull << VIV_VIRTIO_F_RING_PACKED;
    if (kind & 2)
        features |= 1ull << VIV_VIRTIO_F_EVENT_IDX;
    if (kind & 4 || size & 0x80)
        features |= 1ull << VIV_VIRTIO_F_INDIRECT;
    viv_virtio_set_status(v, 0);
    g_assert(!v->broken && !q->ready);
    viv_virtio_set_status(v, 3);
    viv_virtio_set_guest_features(v, features);
    viv_virtio_set_status(v, 11);
    q->size = (kind & 0x38) == 8 ? size : 1u << size % 7;
    q->desc_gpa = DESC;
    q->avail_gpa = AVAIL;
    q->used_gpa = (kind & 0xf0) == 0x10 ? RAM_SIZE - 4 : USED; /* sometimes it does not fit */
    viv_virtq_enable(q);
    viv_virtio_set_status(v, 15);
}

/* A descriptor that is likely to mean something: small numbers, edges of RAM. */
static void write_desc(const uint8_t *a, bool packed)
{
    static const uint64_t good[] = {0x8000, 0x9000, 0, TABLE}, edge[] = {RAM_SIZE - 8, DESC, UINT64_MAX - 3, 0xfeb00000};
    uint64_t addr = (a[1] & 7) == 7 ? edge[a[1] >> 3 & 3] : good[a[1] & 3];
    uint8_t *d = ram->hva + (a[0] & 1 ? TABLE : DESC) + 16 * (a[0] >> 1 & 63);
    uint16_t flags = a[3] & (a[3] & 0x60 ? 3 : 7), next = a[4] & 63;

    if (a[3] & 8)
        flags |= VIV_DESC_AVAIL;
    if (a[3] & 16)
        flags |= VIV_DESC_USED;
    viv_st_le64(d, addr + (a[1] >> 5));
    viv_st_le32(d + 8, a[2] & 0x80 ? 16u * (a[2] & 0x7f) : a[2]);
    viv_st_le16(d + (packed ? 14 : 12), flags);
    viv_st_le16(d + (packed ? 12 : 14), next);
}

/* A request as an honest driver makes it, of one to three descriptors, perhaps in a table. What the other steps
 * have scribbled stays in between. */
static void honest(const uint8_t *a)
{
    const struct viv_virtq *q = &dev->v->queues[0];
    bool packed = viv_virtio_has(dev->v, VIV_VIRTIO_F_RING_PACKED), table = a[1] & 0x80;
    unsigned n = a[1] % 3 + 1, slot = packed ? q->last_avail : a[2] % q->size, avail;
    uint16_t first = packed ? (q->avail_wrap ? VIV_DESC_AVAIL : VIV_DESC_USED) : 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned at = table ? i : (slot + i) % q->size;
        uint8_t *d = ram->hva + (table ? TABLE : DESC) + 16 * at;
        uint16_t flags = (i + 1 < n && !(table && packed) ? VIV_DESC_NEXT : 0) | (i ? VIV_DESC_WRITE : 0);
        uint16_t next = table ? i + 1 : (at + 1) % q->size;

        viv_st_le64(d, 0x8000 + 0x100 * i + a[3]);
        viv_st_le32(d + 8, a[4] % 64 + 1);
        viv_st_le16(d + (packed ? 14 : 12), flags | (table ? 0 : first));
        viv_st_le16(d + (packed ? 12 : 14), packed ? a[2] : next);
    }
    if (table) {
        viv_st_le64(ram->hva + DESC + 16 * slot, TABLE);
        viv_st_le32(ram->hva + DESC + 16 * slot + 8, 16 * n);
        viv_st_le16(ram->hva + DESC + 16 * slot + (packed ? 14 : 12), VIV_DESC_INDIRECT | first);
    }
    if (packed)
        return;
    avail = viv_ld_le16(ram->hva + AVAIL + 2);
    viv_st_le16(ram->hva + AVAIL + 4 + 2 * (avail % q->size), slot);
    viv_st_le16(ram->hva + AVAIL + 2, avail + 1);
}

static void round_trip(void)
{
    struct victim *x = (struct victim *)dev->v;
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *data;
    size_t len;

    while (x->kept_count)
        viv_virtq_unpop(x->kept[--x->kept_count]);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    r = viv_state_reader_new(data, len);
    viv_dev_load_all(r, &err); /* may refuse a ring that is not in RAM */
    viv_state_reader_free(r);
    g_free(data);
}

static void step(const uint8_t *a)
{
    struct victim *x = (struct victim *)dev->v;
    bool packed = viv_virtio_has(dev->v, VIV_VIRTIO_F_RING_PACKED);
    unsigned at = AVAIL + 2;

    if (a[0] >= 96 && dev->v->queues[0].ready && dev->v->queues[0].size) {
        honest(a);
        if (a[0] & 1)
            viv_virtio_kick(dev->v, 0);
        return;
    }
    switch (a[0] % 10) {
    case 0:
        ram->hva[DESC + (viv_ld_le16(a + 1) & 0x3fff)] = a[3];
        return;
    case 1:
    case 2:
        write_desc(a + 1, packed);
        return;
    case 3: /* one more is available */
        viv_st_le16(ram->hva + AVAIL + 4 + 2 * (viv_ld_le16(ram->hva + at) % 64), a[1] & 63);
        viv_st_le16(ram->hva + at, viv_ld_le16(ram->hva + at) + (a[2] & 3));
        return;
    case 4:
    case 5:
        viv_virtio_kick(dev->v, a[1] & 3 ? 0 : a[2]);
        return;
    case 6:
        x->keep = a[1] & 1;
        return;
    case 7: /* complete one of those kept */
        if (x->kept_count) {
            unsigned i = a[1] % x->kept_count;
            struct viv_virtq_elem *e = x->kept[i];

            x->kept[i] = x->kept[--x->kept_count];
            answer(e);
            viv_virtq_notify(dev->v, 0);
        }
        return;
    case 8:
        viv_virtq_set_kick(dev->v, 0, a[1] & 1);
        return;
    default:
        if (dev->v->broken || a[1] < 8)
            start(a[2], a[3]);
        else if (a[1] < 32)
            round_trip();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    viv_dev_lock();
    if (!ram)
        set_up();
    memset(ram->hva, 0, RAM_SIZE);
    start(data[0], data[1]);
    for (size_t at = 2; at + 6 <= size; at += 6)
        step(data + at);
    broke += dev->v->broken;
    viv_virtio_set_status(dev->v, 0);
    g_assert(!dev->v->broken && !dev->v->status);
    viv_dev_unlock();
    return 0;
}
