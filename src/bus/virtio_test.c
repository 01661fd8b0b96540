/* The virtio core against a driver for both ring kinds: honest, and hostile. */
#include "bus/virtio_driver.h"

#include "base/bytes.h"
#include "bus/virtio_mmio.h"
#include "host/lock.h"
#include "host/loop.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define RAM_SIZE (4u << 20)

/* A function that answers each request with its own bytes, inverted. */
struct echo {
    struct viv_virtio v;
    struct viv_virtq_elem *kept[8];
    unsigned keep, kept_count; /* hold back this many */
    unsigned kicks, resets;
    unsigned refill; /* so often another vCPU makes the same buffer available while we are at it */
    unsigned longest, answered;
};

static unsigned interrupts, config_interrupts;
static struct viv_board board;
static struct viv_ram *ram;

static void answer(struct viv_virtio *v, struct viv_virtq_elem *e)
{
    uint8_t buf[4096];
    size_t n = viv_iov_to_buf(e->out, e->out_num, 0, buf, sizeof(buf));

    for (size_t i = 0; i < n; i++)
        buf[i] = ~buf[i];
    viv_virtq_push(e, viv_iov_from_buf(e->in, e->in_num, 0, buf, n));
}

static void echo_kick(struct viv_virtio *v, unsigned queue)
{
    struct echo *x = (struct echo *)v;
    struct viv_virtq_elem *e;

    unsigned n = 0;

    x->kicks++;
    while ((e = viv_virtq_pop(v, queue))) {
        if (x->kept_count < x->keep)
            x->kept[x->kept_count++] = e;
        else
            answer(v, e);
        n++;
        if (x->refill) { /* the available ring is all zeroes: descriptor 0 */
            uint8_t *idx = ram->hva + v->queues[queue].avail_gpa + 2;

            x->refill--;
            viv_st_le16(idx, viv_ld_le16(idx) + 1);
        }
    }
    x->answered += n;
    x->longest = n > x->longest ? n : x->longest;
    viv_virtq_notify(v, queue);
}

static void echo_reset(struct viv_virtio *v)
{
    struct echo *x = (struct echo *)v;

    while (x->kept_count)
        viv_virtq_drop(x->kept[--x->kept_count]);
    x->resets++;
}

static uint64_t echo_features(struct viv_virtio *v)
{
    return 1;
}

static void echo_config(struct viv_virtio *v, uint8_t *c)
{
    memcpy(c, "config!", 7);
}

static int echo_realize(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err)
{
    viv_virtio_add_queue(v, 256);
    viv_virtio_add_queue(v, 64);
    return 0;
}

static const struct viv_field echo_fields[] = {VIV_F_STRUCT(echo, v, viv_virtio_state), VIV_F_END};
static const struct viv_state_table echo_state = {
    .name = "echo", .ctype = "echo", .version = 1, .min_version = 1, .fields = echo_fields};

static const struct viv_virtio_class echo_fn = {
    .name = "virtio-echo",
    .device_id = 63,
    .config_len = 7,
    .size = sizeof(struct echo),
    .state = &echo_state,
    .realize = echo_realize,
    .features = echo_features,
    .get_config = echo_config,
    .kick = echo_kick,
    .reset = echo_reset,
};

static const struct viv_opt_def echo_props[] = {VIV_VIRTIO_PROPS, VIV_VIRTIO_MMIO_PROPS, VIV_OPT_END};

VIV_VIRTIO_MMIO_CLASS(echo_class, echo_fn, "virtio-echo-device", "test", echo_props);

static void note_irq(void *opaque, int n, int level)
{
    interrupts += level;
}

static struct viv_virtio_mmio *make(void)
{
    static const struct viv_dev_class *const table[] = {&echo_class, NULL};
    struct viv_irq irqs[4] = {{note_irq, NULL, 0}, {note_irq, NULL, 1}, {note_irq, NULL, 2}, {note_irq, NULL, 3}};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d;

    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    board.io = viv_space_new("io", 16);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, &err), ==, 0);
    memset(ram->hva, 0, RAM_SIZE);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 4, irqs);
    g_assert_cmpint(viv_opts_parse("test", echo_props, NULL, "packed=on", &opts, &err), ==, 0);
    g_assert_cmpint(viv_dev_new(&board, "virtio-echo-device", NULL, NULL, opts, &d, &err), ==, 0);
    viv_opts_free(opts);
    if (viv_dev_locked()) {
        viv_dev_set_running_all(true);
    } else {
        viv_dev_lock();
        viv_dev_set_running_all(true);
        viv_dev_unlock();
    }
    interrupts = config_interrupts = 0;
    return (struct viv_virtio_mmio *)d;
}

static void unmake(void)
{
    viv_dev_free_all();
    viv_virtio_mmio_bus_free(board.vmmio);
    viv_space_free(board.mem);
    viv_space_free(board.io);
}

#define F(n) (1ull << (n))
#define F_INDIRECT F(VIV_VIRTIO_F_INDIRECT)
#define F_EVENT    F(VIV_VIRTIO_F_EVENT_IDX)
#define F_PACKED   F(VIV_VIRTIO_F_RING_PACKED)

/* A driver that is up, with one queue. */
static void begin(struct td *d, struct viv_virtio_mmio *m, uint64_t features, uint16_t size)
{
    td_start(d, m->v, features, 0x10000);
    g_assert_true(m->v->status & VIV_VIRTIO_S_FEATURES_OK);
    td_queue_start(d, 0, size);
    td_go(d);
}

static void request(struct td *d, unsigned len, unsigned pieces, bool indirect, uint64_t *out, uint64_t *in,
                    uint16_t *id)
{
    struct td_seg seg[32];

    g_assert_cmpuint(pieces, <=, 16);
    *out = td_alloc(d, len);
    *in = td_alloc(d, len);
    for (unsigned i = 0; i < len; i++)
        td_write(d, *out + i, &(uint8_t){i * 7 + len}, 1);
    for (unsigned i = 0; i < pieces; i++) {
        uint32_t at = len * i / pieces, end = len * (i + 1) / pieces;

        seg[i] = (struct td_seg){*out + at, end - at, false};
        seg[pieces + i] = (struct td_seg){*in + at, end - at, true};
    }
    *id = td_add(d, 0, seg, 2 * pieces, indirect);
}

static void check_answer(struct td *d, uint64_t in, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        uint8_t b;

        td_read(d, in + i, &b, 1);
        g_assert_cmpuint(b, ==, (uint8_t)~(i * 7 + len));
    }
}

/* Many requests of all shapes, so that both rings wrap many times. */
static void test_traffic(gconstpointer arg)
{
    uint64_t features = *(const uint64_t *)arg;
    struct viv_virtio_mmio *m = make();
    struct td d;
    uint64_t start;

    viv_dev_lock();
    begin(&d, m, features, 32);
    start = d.next;
    for (unsigned i = 1; i < 3000; i++) {
        unsigned len = i % 300 + 16, pieces = i % 7 + 1, n = i % 2 + 1;
        bool indirect = (features & F_INDIRECT) && i % 3;
        uint64_t out[2], in[2];
        uint16_t id[2], got;
        uint32_t used;

        d.next = start;
        for (unsigned k = 0; k < n; k++)
            request(&d, len, pieces, indirect, &out[k], &in[k], &id[k]);
        td_kick(&d, 0);
        for (unsigned k = 0; k < n; k++) {
            g_assert_true(td_used(&d, 0, &got, &used));
            g_assert_cmpuint(got, ==, id[k]);
            g_assert_cmpuint(used, ==, len);
            check_answer(&d, in[k], len);
        }
        g_assert_false(td_used(&d, 0, &got, &used));
        g_assert_false(m->v->broken);
    }
    unmake();
    viv_dev_unlock();
}

/* Interrupts come when asked for, and only then. */
static void test_interrupts(gconstpointer arg)
{
    uint64_t features = *(const uint64_t *)arg;
    struct viv_virtio_mmio *m = make();
    uint64_t out, in;
    uint16_t id;
    uint32_t len;
    struct td d;

    viv_dev_lock();
    begin(&d, m, features, 16);
    if (features & F_EVENT) {
        for (unsigned round = 0; round < 40; round++) {
            unsigned before;

            /* the very first is always told: nothing is known yet */
            td_interrupt_after(&d, 0, d.packed ? 4 : 2); /* packed: counted in ring slots, two a request */
            before = interrupts;
            for (unsigned i = 0; i < 3; i++) {
                m->isr = 0;
                request(&d, 16, 1, false, &out, &in, &id);
                td_kick(&d, 0);
                g_assert_cmpuint(interrupts - before, ==, (i == 2) + (round == 0));
            }
            while (td_used(&d, 0, &id, &len))
                ;
        }
    } else {
        td_interrupts(&d, 0, false);
        request(&d, 16, 1, false, &out, &in, &id);
        td_kick(&d, 0);
        g_assert_cmpuint(interrupts, ==, 0);
        td_interrupts(&d, 0, true);
        request(&d, 16, 1, false, &out, &in, &id);
        td_kick(&d, 0);
        g_assert_cmpuint(interrupts, ==, 1);
    }
    unmake();
    viv_dev_unlock();
}

/* Completion in another order, giving back, and the driver's limit on what may be outstanding. */
static void test_order(gconstpointer arg)
{
    struct viv_virtio_mmio *m = make();
    struct echo *x = (struct echo *)m->v;
    uint64_t out[4], in[4];
    uint16_t id[4], got;
    uint32_t len;
    struct td d;

    viv_dev_lock();
    begin(&d, m, *(const uint64_t *)arg, 16);
    for (unsigned round = 0; round < 20; round++) {
        x->keep = 3;
        for (unsigned i = 0; i < 3; i++)
            request(&d, 20 + i, 1 + i % 2, false, &out[i], &in[i], &id[i]);
        td_kick(&d, 0);
        g_assert_cmpuint(x->kept_count, ==, 3);
        g_assert_false(td_used(&d, 0, &got, &len));
        viv_virtq_unpop(x->kept[2]); /* comes again below */
        answer(m->v, x->kept[1]);
        answer(m->v, x->kept[0]);
        x->keep = x->kept_count = 0;
        td_kick(&d, 0);
        g_assert_true(td_used(&d, 0, &got, &len));
        g_assert_cmpuint(got, ==, id[1]);
        g_assert_true(td_used(&d, 0, &got, &len));
        g_assert_cmpuint(got, ==, id[0]);
        g_assert_true(td_used(&d, 0, &got, &len));
        g_assert_cmpuint(got, ==, id[2]);
        for (unsigned i = 0; i < 3; i++)
            check_answer(&d, in[i], 20 + i);
        g_assert_false(td_used(&d, 0, &got, &len));
    }
    unmake();
    viv_dev_unlock();
}

/* Saved, loaded into a fresh device, saved again: equal bytes; and the rings go on. */
static void test_state(gconstpointer arg)
{
    struct viv_virtio_mmio *m = make();
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    size_t len1, len2;
    uint8_t *one, *two, *guest;
    uint64_t out, in;
    uint16_t id;
    uint32_t len;
    struct td d;

    viv_dev_lock();
    begin(&d, m, *(const uint64_t *)arg, 16);
    for (unsigned i = 0; i < 21; i++) {
        request(&d, 24, 2, false, &out, &in, &id);
        td_kick(&d, 0);
        g_assert_true(td_used(&d, 0, &id, &len));
    }
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    one = viv_state_writer_finish(w, &len1);
    viv_state_writer_free(w);
    guest = g_memdup2(ram->hva, RAM_SIZE);
    unmake();

    m = make();
    memcpy(ram->hva, guest, RAM_SIZE);
    r = viv_state_reader_new(one, len1);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    two = viv_state_writer_finish(w, &len2);
    viv_state_writer_free(w);
    g_assert_cmpmem(one, len1, two, len2);
    d.v = m->v;
    d.mem = board.mem;
    request(&d, 24, 2, false, &out, &in, &id);
    td_kick(&d, 0);
    g_assert_true(td_used(&d, 0, &id, &len));
    check_answer(&d, in, 24);
    g_free(one);
    g_free(two);
    g_free(guest);
    unmake();
    viv_dev_unlock();
}

/* --- hostile drivers: each must leave the device broken, and a reset must mend it --- */

static void loop_chain(struct td *d)
{
    struct td_queue *q = &d->q[0];
    struct td_seg seg[2] = {{0x1000, 16, false}, {0x2000, 16, true}};
    uint16_t id = td_add(d, 0, seg, 2, false);

    if (d->packed) { /* every descriptor says NEXT: longer than the ring */
        for (unsigned i = 0; i < q->size; i++)
            td_write16(d, q->desc + 16 * i + 14, VIV_DESC_NEXT | VIV_DESC_AVAIL);
        for (unsigned i = 2; i < q->size; i++) {
            uint8_t ok[12] = {0, 0x10, 0, 0, 0, 0, 0, 0, 16};

            td_write(d, q->desc + 16 * i, ok, sizeof(ok));
        }
        td_write16(d, q->desc + 16 + 14, VIV_DESC_NEXT);
    } else {
        td_write16(d, q->desc + 16 * id + 14, id);
    }
}

static void index_jump(struct td *d)
{
    if (d->packed)
        loop_chain(d);
    else
        td_write16(d, d->q[0].avail + 2, d->q[0].size + 1);
}

static void head_out_of_range(struct td *d)
{
    if (d->packed) {
        loop_chain(d);
        return;
    }
    td_write16(d, d->q[0].avail + 4, d->q[0].size);
    td_write16(d, d->q[0].avail + 2, 1);
}

static void one_segment(struct td *d, uint64_t gpa, uint32_t len)
{
    struct td_seg seg = {gpa, len, false};

    td_add(d, 0, &seg, 1, false);
}

static void zero_length(struct td *d)
{
    one_segment(d, 0x1000, 0);
}

static void outside_ram(struct td *d)
{
    one_segment(d, RAM_SIZE - 8, 16);
}

static void wraps_around(struct td *d)
{
    one_segment(d, UINT64_MAX - 8, 16);
}

static void in_device_registers(struct td *d)
{
    one_segment(d, 0xfeb00000, 16);
}

static void read_after_write(struct td *d)
{
    struct td_seg seg[2] = {{0x1000, 16, true}, {0x2000, 16, false}};

    td_add(d, 0, seg, 2, false);
}

static void bad_table_length(struct td *d)
{
    struct td_seg seg[2] = {{0x1000, 16, false}, {0x2000, 16, true}};
    uint16_t id = td_add(d, 0, seg, 2, true);

    td_write16(d, d->q[0].desc + 16 * (d->packed ? 0 : id) + 8, 17);
}

static void nested_table(struct td *d)
{
    struct td_seg seg = {0x3000, 16, false};
    uint8_t inner[16] = {0, 0x40, 0, 0, 0, 0, 0, 0, 16};

    inner[d->packed ? 14 : 12] = VIV_DESC_INDIRECT;
    td_write(d, 0x3000, inner, 16);
    td_add(d, 0, &seg, 1, false);
    td_write16(d, d->q[0].desc + (d->packed ? 14 : 16 * 0 + 12),
               d->packed ? VIV_DESC_INDIRECT | VIV_DESC_AVAIL : VIV_DESC_INDIRECT);
}

static void table_with_next(struct td *d)
{
    struct td_seg seg[2] = {{0x1000, 16, false}, {0x2000, 16, true}};
    uint16_t id = td_add(d, 0, seg, 2, true);

    td_write16(d, d->q[0].desc + 16 * (d->packed ? 0 : id) + (d->packed ? 14 : 12),
               VIV_DESC_INDIRECT | VIV_DESC_NEXT | (d->packed ? VIV_DESC_AVAIL : 0));
}

static void too_much_outstanding(struct td *d)
{
    struct echo *x = (struct echo *)d->v;
    struct td_seg seg = {0x1000, 16, false};

    x->keep = 8;
    for (unsigned i = 0; i < d->q[0].size; i++)
        td_add(d, 0, &seg, 1, false);
    td_kick(d, 0);
    g_assert_false(d->v->broken);
    /* The device has them all; now more, though none came back. */
    d->q[0].free_count = 4;
    for (unsigned i = 0; i < 4; i++)
        td_add(d, 0, &seg, 1, false);
}

static const struct {
    const char *name;
    void (*act)(struct td *d);
} attacks[] = {
    {"loop", loop_chain},
    {"index-jump", index_jump},
    {"head-out-of-range", head_out_of_range},
    {"zero-length", zero_length},
    {"outside-ram", outside_ram},
    {"wraps-around", wraps_around},
    {"mmio-buffer", in_device_registers},
    {"read-after-write", read_after_write},
    {"bad-table-length", bad_table_length},
    {"nested-table", nested_table},
    {"table-with-next", table_with_next},
    {"outstanding", too_much_outstanding},
};

static void test_hostile(gconstpointer arg)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(attacks); i++) {
        struct viv_virtio_mmio *m = make();
        unsigned size = attacks[i].act == too_much_outstanding ? 8 : 16;
        uint64_t out, in;
        uint16_t id;
        uint32_t len;
        struct td d;

        g_test_message("%s", attacks[i].name);
        viv_dev_lock();
        begin(&d, m, *(const uint64_t *)arg | F_INDIRECT, size);
        if (attacks[i].act == nested_table && !d.packed)
            d.q[0].free[d.q[0].free_count - 1] = 0;
        attacks[i].act(&d);
        td_kick(&d, 0);
        if (!m->v->broken)
            g_error("%s: the device went on", attacks[i].name);
        g_assert_true(m->v->status & VIV_VIRTIO_S_NEEDS_RESET);
        g_assert_true(m->isr & 2);

        ((struct echo *)m->v)->keep = 0;
        begin(&d, m, *(const uint64_t *)arg, 16);
        request(&d, 24, 1, false, &out, &in, &id);
        td_kick(&d, 0);
        g_assert_true(td_used(&d, 0, &id, &len));
        check_answer(&d, in, 24);
        unmake();
        viv_dev_unlock();
    }
}

static void test_bad_setup(void)
{
    static const struct {
        uint64_t desc, avail, used;
        uint16_t size;
    } bad[] = {
        {0x10000, 0x11000, 0x12000, 0},   {0x10000, 0x11000, 0x12000, 24},
        {0x10000, 0x11000, 0x12000, 512}, {0x10008, 0x11000, 0x12000, 16},
        {0x10000, 0x11001, 0x12000, 16},  {0x10000, 0x11000, 0x12002, 16},
        {RAM_SIZE, 0x11000, 0x12000, 16}, {0x10000, 0x11000, RAM_SIZE - 16, 16},
        {UINT64_MAX & ~15ull, 0x11000, 0x12000, 16},
    };
    struct viv_virtio_mmio *m = make();
    struct td d;

    viv_dev_lock();
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_virtq *q = &m->v->queues[0];

        td_start(&d, m->v, 0, 0x10000);
        q->size = bad[i].size;
        q->desc_gpa = bad[i].desc;
        q->avail_gpa = bad[i].avail;
        q->used_gpa = bad[i].used;
        viv_virtq_enable(q);
        g_assert_true(m->v->broken);
        td_go(&d);
        td_kick(&d, 0);
        td_kick(&d, 77);
    }
    /* Features that were not offered, or not VERSION_1. */
    td_start(&d, m->v, F(5), 0x10000);
    g_assert_false(m->v->status & VIV_VIRTIO_S_FEATURES_OK);
    unmake();
    viv_dev_unlock();
}

static void enable(struct viv_virtq *q, uint16_t size, uint64_t avail, uint64_t used)
{
    q->size = size;
    q->desc_gpa = 0x10000;
    q->avail_gpa = avail;
    q->used_gpa = used;
    viv_virtq_enable(q);
}

/* The features say how large a ring's areas are: what was mapped before they are settled is not used after. */
static void test_late_features(void)
{
    struct viv_virtio_mmio *m = make();
    struct viv_virtq *q = &m->v->queues[0];
    uint8_t begun = VIV_VIRTIO_S_ACKNOWLEDGE | VIV_VIRTIO_S_DRIVER;

    viv_dev_lock();
    viv_virtio_set_status(m->v, begun);
    viv_virtio_set_guest_features(m->v, F(VIV_VIRTIO_F_VERSION_1) | F_PACKED);
    enable(q, 256, RAM_SIZE - 4, 0x20000); /* enough for a packed ring's event structure */
    g_assert_false(m->v->broken);
    viv_virtio_set_guest_features(m->v, F(VIV_VIRTIO_F_VERSION_1)); /* not for 256 entries of a split one */
    viv_virtio_set_status(m->v, begun | VIV_VIRTIO_S_FEATURES_OK);
    g_assert_true(m->v->status & VIV_VIRTIO_S_FEATURES_OK);
    g_assert_true(m->v->broken);
    viv_virtio_set_status(m->v, 0);
    g_assert_false(m->v->broken);
    viv_virtio_set_status(m->v, begun);
    viv_virtio_set_guest_features(m->v, F(VIV_VIRTIO_F_VERSION_1));
    viv_virtio_set_status(m->v, begun | VIV_VIRTIO_S_FEATURES_OK);
    viv_virtio_set_status(m->v, begun); /* 2.1.1: a driver does not clear bits */
    g_assert_cmphex(m->v->status, ==, begun | VIV_VIRTIO_S_FEATURES_OK);
    unmake();
    viv_dev_unlock();
}

/* The places of a split ring run on and on; a packed one has so many and no more. */
static void test_late_packed(void)
{
    struct viv_virtio_mmio *m = make();
    struct viv_virtq *q = &m->v->queues[0];
    uint8_t begun = VIV_VIRTIO_S_ACKNOWLEDGE | VIV_VIRTIO_S_DRIVER;

    viv_dev_lock();
    viv_virtio_set_status(m->v, begun);
    enable(q, 256, 0x20000, 0x30000);
    q->last_avail = 256; /* as from a saved state */
    viv_virtio_set_guest_features(m->v, F(VIV_VIRTIO_F_VERSION_1) | F_PACKED);
    viv_virtio_set_status(m->v, begun | VIV_VIRTIO_S_FEATURES_OK);
    g_assert_true(m->v->broken);
    unmake();
    viv_dev_unlock();
}

/* Held requests of a saved state: no more than there can be, and of no ring that is enabled after. */
static void test_held(void)
{
    struct viv_virtio_mmio *m = make();
    struct viv_virtq *q = &m->v->queues[0];
    struct viv_virtq_elem *e, *all = NULL;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r;
    uint8_t one[5 * 4 + 12] = {0};
    unsigned n = 0;

    viv_dev_lock();
    one[8] = one[12] = 1; /* one descriptor, one buffer to read, of 16 bytes */
    one[21] = 0x10;
    one[28] = 16;
    for (;; n++) {
        r = viv_state_reader_new(one, sizeof(one));
        int rc = viv_virtq_elem_load(r, m->v, &e, &err);

        viv_state_reader_free(r);
        if (rc < 0)
            break;
        e->next = all;
        all = e;
    }
    g_assert_cmpuint(n, ==, 2 * q->max_size);
    enable(q, 16, 0x20000, 0x30000);
    while ((e = all)) {
        all = e->next;
        viv_virtq_push(e, 0);
    }
    g_assert_cmpuint(q->used_idx, ==, 0);
    unmake();
    viv_dev_unlock();
}

/* A ring that something else was mapped over is lost when the machine is saved, not when it is loaded. */
static void test_covered(void)
{
    struct viv_virtio_mmio *m = make();
    struct viv_region_desc over = {.name = "over", .kind = VIV_REGION_IO, .size = 0x1000};
    static const struct viv_region_ops none = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    g_autofree uint8_t *data = NULL;
    size_t len;
    struct td d;

    viv_dev_lock();
    begin(&d, m, F(VIV_VIRTIO_F_VERSION_1), 16);
    g_assert_false(m->v->broken);
    over.ops = &none;
    viv_region_map(viv_region_new(board.mem, &over), m->v->queues[0].desc_gpa & ~0xfffull, 1);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    g_assert_true(m->v->broken);
    r = viv_state_reader_new(data, len);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    g_assert_true(m->v->broken);
    unmake();
    viv_dev_unlock();
}

/* --- a ring that is filled as fast as it is emptied --- */

static bool all_answered(void *opaque)
{
    struct echo *x = opaque;

    return x->answered == 10001;
}

static bool never(void *opaque)
{
    return false;
}

static void test_endless(void)
{
    struct viv_virtio_mmio *m = make();
    struct echo *x = (struct echo *)m->v;
    uint64_t out, in;
    uint16_t id;
    struct td d;

    viv_dev_lock();
    begin(&d, m, 0, 32);
    request(&d, 16, 1, false, &out, &in, &id);
    g_assert_cmpuint(id, ==, 0);
    x->refill = 10000;
    td_kick(&d, 0);
    g_assert_cmpuint(x->answered, <, 1000);
    g_assert_true(viv_loop_wait_for(all_answered, x, 10000000000));
    g_assert_cmpuint(x->longest, <, 1000);
    /* A device that goes while the loop still has to come back. */
    x->refill = 10000;
    viv_st_le16(ram->hva + m->v->queues[0].avail_gpa + 2,
                viv_ld_le16(ram->hva + m->v->queues[0].avail_gpa + 2) + 1);
    td_kick(&d, 0);
    unmake();
    viv_loop_wait_for(never, NULL, 1000000);
    viv_dev_unlock();
}

/* --- the MMIO registers, as a guest sees them --- */

static uint32_t reg(struct viv_virtio_mmio *m, unsigned off)
{
    return viv_space_read(board.mem, viv_virtio_mmio_addr(board.vmmio, m->slot) + off, 4);
}

static void set_reg(struct viv_virtio_mmio *m, unsigned off, uint32_t v)
{
    viv_space_write(board.mem, viv_virtio_mmio_addr(board.vmmio, m->slot) + off, v, 4);
}

static void test_mmio(void)
{
    struct viv_virtio_mmio *m = make();

    g_assert_cmphex(reg(m, 0), ==, 0x74726976);
    g_assert_cmpuint(reg(m, 4), ==, 2);
    g_assert_cmpuint(reg(m, 8), ==, 63);
    g_assert_cmpuint(viv_space_read(board.mem, 0xfeb00200 + 8, 4), ==, 0); /* an empty window */
    set_reg(m, 0x70, 3);
    set_reg(m, 0x14, 1);
    g_assert_cmphex(reg(m, 0x10) & 1, ==, 1); /* VERSION_1 */
    set_reg(m, 0x24, 1);
    set_reg(m, 0x20, 1);
    set_reg(m, 0x70, 11);
    g_assert_cmphex(reg(m, 0x70), ==, 11);
    set_reg(m, 0x30, 1);
    g_assert_cmpuint(reg(m, 0x34), ==, 64);
    set_reg(m, 0x30, 2);
    g_assert_cmpuint(reg(m, 0x34), ==, 0);
    set_reg(m, 0x30, 0);
    set_reg(m, 0x38, 8);
    set_reg(m, 0x80, 0x10000);
    set_reg(m, 0x90, 0x11000);
    set_reg(m, 0xa0, 0x12000);
    set_reg(m, 0x44, 1);
    g_assert_cmpuint(reg(m, 0x44), ==, 1);
    set_reg(m, 0x70, 15);
    /* one request: 4 bytes out, 4 in */
    memcpy(ram->hva + 0x2000, "\1\2\3\4", 4);
    viv_st_le64(ram->hva + 0x10000, 0x2000);
    viv_st_le32(ram->hva + 0x10008, 4);
    viv_st_le16(ram->hva + 0x1000c, VIV_DESC_NEXT);
    viv_st_le16(ram->hva + 0x1000e, 1);
    viv_st_le64(ram->hva + 0x10010, 0x3000);
    viv_st_le32(ram->hva + 0x10018, 4);
    viv_st_le16(ram->hva + 0x1001c, VIV_DESC_WRITE);
    viv_st_le16(ram->hva + 0x11002, 1);
    set_reg(m, 0x50, 0);
    g_assert_cmpuint(reg(m, 0x60), ==, 1);
    g_assert_cmpuint(interrupts, ==, 1);
    set_reg(m, 0x64, 1);
    g_assert_cmpuint(reg(m, 0x60), ==, 0);
    g_assert_cmpmem(ram->hva + 0x3000, 4, "\xfe\xfd\xfc\xfb", 4);
    g_assert_cmpuint(viv_ld_le16(ram->hva + 0x12002), ==, 1);
    g_assert_cmphex(viv_space_read(board.mem, 0xfeb00100, 4), ==, 0x666e6f63);
    g_assert_cmphex(viv_space_read(board.mem, 0xfeb00104, 1), ==, 'i');
    g_assert_cmphex(viv_space_read(board.mem, 0xfeb00107, 1), ==, 0); /* beyond */
    set_reg(m, 0x70, 0);
    g_assert_cmpuint(reg(m, 0x44), ==, 0);
    viv_dev_lock();
    unmake();
    viv_dev_unlock();
}

static void stop_queue(struct viv_virtio_mmio *m)
{
    viv_dev_unlock();
    set_reg(m, 0x30, 0);
    g_assert_cmpuint(reg(m, 0x44), ==, 1);
    set_reg(m, 0x44, 0);
    g_assert_cmpuint(reg(m, 0x44), ==, 0);
    viv_dev_lock();
}

/* A driver stops a queue that is at work and starts it anew: what ends of the old one is not for the new ring. */
static void test_stopped(void)
{
    struct viv_virtio_mmio *m = make();
    struct echo *x = (struct echo *)m->v;
    uint64_t out, in;
    uint16_t id, used;
    uint32_t len;
    struct td d;

    viv_dev_lock();
    begin(&d, m, 0, 8);
    x->keep = 8;
    for (unsigned i = 0; i < 4; i++)
        request(&d, 16, 1, false, &out, &in, &id);
    td_kick(&d, 0);
    stop_queue(m);
    td_queue_start(&d, 0, 8);
    for (unsigned i = 0; i < 4; i++)
        request(&d, 16, 1, false, &out, &in, &id);
    td_kick(&d, 0);
    g_assert_cmpuint(x->kept_count, ==, 8);
    answer(m->v, x->kept[0]);
    viv_virtq_unpop(x->kept[1]);
    g_assert_false(td_used(&d, 0, &used, &len));
    answer(m->v, x->kept[7]);
    g_assert_true(td_used(&d, 0, &used, &len));
    g_assert_cmpuint(used, ==, id);
    check_answer(&d, in, 16);
    g_assert_false(td_used(&d, 0, &used, &len));
    request(&d, 16, 1, false, &out, &in, &id);
    td_kick(&d, 0);
    g_assert_true(td_used(&d, 0, &used, &len));
    g_assert_false(m->v->broken);

    x->kept[0] = x->kept[6];
    x->kept[1] = x->kept[5];
    x->kept_count = 5;
    unmake();
    viv_dev_unlock();
}

int main(int argc, char **argv)
{
    static const uint64_t kinds[] = {0, F_INDIRECT | F_EVENT, F_PACKED, F_PACKED | F_INDIRECT | F_EVENT};
    static const char *const names[] = {"split", "split-event", "packed", "packed-event"};

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        static const struct {
            const char *name;
            GTestDataFunc fn;
        } each[] = {{"traffic", test_traffic},
                    {"interrupts", test_interrupts},
                    {"order", test_order},
                    {"state", test_state},
                    {"hostile", test_hostile}};

        for (unsigned k = 0; k < G_N_ELEMENTS(each); k++) {
            g_autofree char *path = g_strdup_printf("/virtio/%s/%s", names[i], each[k].name);

            g_test_add_data_func(path, &kinds[i], each[k].fn);
        }
    }
    g_test_add_func("/virtio/setup", test_bad_setup);
    g_test_add_func("/virtio/late-features", test_late_features);
    g_test_add_func("/virtio/late-packed", test_late_packed);
    g_test_add_func("/virtio/held", test_held);
    g_test_add_func("/virtio/covered", test_covered);
    g_test_add_func("/virtio/endless", test_endless);
    g_test_add_func("/virtio/mmio", test_mmio);
    g_test_add_func("/virtio/stopped", test_stopped);
    return g_test_run();
}
