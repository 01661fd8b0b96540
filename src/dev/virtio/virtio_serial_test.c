/* virtio-serial with a console and a named port on ring-buffer back ends. */
#include "base/bytes.h"
#include "bus/virtio_driver.h"
#include "bus/vmevent.h"
#include "bus/virtio_mmio.h"
#include "dev/virtio/virtio_serial.h"
#include "host/lock.h"
#include "host/loop.h"

#include <glib.h>
#include <string.h>

#define RAM_SIZE (4u << 20)

extern const struct viv_dev_class viv_dev_virtio_serial_device, viv_dev_virtconsole, viv_dev_virtserialport;

/* --- character back ends: what the guest writes, a limit on it, and what it is sent --- */

struct viv_chr {
    const struct viv_chr_front *ops;
    void *front;
    GByteArray *out;
    size_t room;
    void (*writable)(void *opaque);
    void *writable_opaque;
    unsigned accepts;
};

static struct viv_chr chr[2];

struct viv_chr *viv_chr_find(const char *id)
{
    return id[0] == 'c' && (id[1] == '0' || id[1] == '1') ? &chr[id[1] - '0'] : NULL;
}

int viv_chr_attach(struct viv_chr *c, const struct viv_chr_front *ops, void *front, struct viv_err *err)
{
    c->ops = ops;
    c->front = front;
    ops->event(front, VIV_CHR_OPENED);
    return 0;
}

void viv_chr_detach(struct viv_chr *c, void *front)
{
    c->ops = NULL;
}

size_t viv_chr_write(struct viv_chr *c, const uint8_t *buf, size_t len)
{
    size_t n = len < c->room ? len : c->room;

    g_byte_array_append(c->out, buf, n);
    c->room -= n;
    return n;
}

void viv_chr_on_writable(struct viv_chr *c, void (*fn)(void *opaque), void *opaque)
{
    c->writable = fn;
    c->writable_opaque = opaque;
}

void viv_chr_accept_input(struct viv_chr *c)
{
    c->accepts++;
}

/* --- the machine --- */

static struct viv_board board;
static struct viv_ram *ram;

static struct viv_dev *add(const char *cls, const char *id, const char *text, const char *refusal)
{
    const struct viv_dev_class *c = viv_dev_class_find(cls);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;
    int rc = viv_opts_parse(cls, c->props, NULL, text, &opts, &err);

    if (!rc)
        rc = viv_dev_new(&board, cls, id, NULL, opts, &d, &err);
    viv_opts_free(opts);
    if (refusal) {
        g_assert_cmpint(rc, <, 0);
        if (!strstr(err.text, refusal))
            g_error("'%s' is not in: %s", refusal, err.text);
        return NULL;
    }
    if (rc)
        g_error("%s", err.text);
    return d;
}

/* Device lock held until unmake. */
static struct virtio_serial *make(void)
{
    static const struct viv_dev_class *const table[] = {&viv_dev_virtio_serial_device, &viv_dev_virtconsole,
                                                        &viv_dev_virtserialport, NULL};
    struct viv_irq irq[2] = {{NULL}, {NULL}};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_dev *d;

    viv_dev_lock();
    viv_dev_set_classes(table);
    board.mem = viv_space_new("mem", 40);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, &err), ==, 0);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.vmmio = viv_virtio_mmio_bus_new(&board, 0xfeb00000, 2, irq);
    for (int i = 0; i < 2; i++)
        chr[i] = (struct viv_chr){.out = g_byte_array_new(), .room = SIZE_MAX};
    add("virtconsole", NULL, "", "virtio-serial-pci");
    d = add("virtio-serial-device", "vs", "max_ports=4,packed=on", NULL);
    add("virtconsole", NULL, "chardev=c0", NULL);
    add("virtserialport", NULL, "chardev=c1,name=org.example.agent,bus=vs.0", NULL);
    viv_dev_set_running_all(true);
    return serial_of(d);
}

static void free_board(void)
{
    viv_virtio_mmio_bus_free(board.vmmio);
    viv_space_free(board.mem);
}

static void unmake(void)
{
    viv_dev_free_all();
    free_board();
    viv_dev_unlock();
    for (int i = 0; i < 2; i++)
        g_byte_array_unref(chr[i].out);
}

static uint64_t give(struct td *d, unsigned queue, uint32_t len)
{
    struct td_seg seg = {td_alloc(d, len), len, true};

    td_add(d, queue, &seg, 1, false);
    return seg.gpa;
}

static void put(struct td *d, unsigned queue, const void *data, uint32_t len)
{
    struct td_seg seg = {td_put(d, data, len), len, false};

    td_add(d, queue, &seg, 1, false);
    td_kick(d, queue);
}

static void say(struct td *d, uint32_t port, uint16_t event, uint16_t value)
{
    uint8_t m[8];

    viv_st_le32(m, port);
    viv_st_le16(m + 4, event);
    viv_st_le16(m + 6, value);
    put(d, SERIAL_Q_CTRL_TX, m, 8);
}

/* The next control message; its text after the 8 bytes. */
static void hear(struct td *d, uint64_t buf, uint32_t port, uint16_t event, const char *text)
{
    uint8_t m[64] = {0};
    uint16_t id;
    uint32_t used;

    g_assert_true(td_used(d, SERIAL_Q_CTRL_RX, &id, &used));
    td_read(d, buf, m, used);
    g_assert_cmpuint(viv_ld_le32(m), ==, port);
    g_assert_cmpuint(viv_ld_le16(m + 4), ==, event);
    g_assert_cmpuint(viv_ld_le16(m + 6), ==, 1);
    g_assert_cmpmem(m + 8, used - 8, text, strlen(text));
}

static void start(struct td *d, struct virtio_serial *s, uint64_t features)
{
    td_start(d, &s->v, features, 0x10000);
    for (unsigned i = 0; i < 4; i++)
        td_queue_start(d, i, 16);
    td_go(d);
}

/* The queues of port 1 are the device's 4 and 5; the driver keeps four, so they are set up by hand. */
static void move_to_port_1(struct td *d)
{
    struct viv_virtio *v = d->v;

    for (unsigned i = 0; i < 2; i++) {
        struct viv_virtq *from = &v->queues[i], *to = &v->queues[4 + i];

        td_queue_start(d, i, 16);
        to->size = from->size;
        to->desc_gpa = d->q[i].desc;
        to->avail_gpa = d->q[i].avail;
        to->used_gpa = d->q[i].used;
        viv_virtq_enable(to);
    }
}

static void test_conversation(void)
{
    struct virtio_serial *s = make();
    uint64_t buf[8];
    struct td d;

    start(&d, s, 1ull << SERIAL_F_MULTIPORT);
    say(&d, 0, SERIAL_DEVICE_READY, 1); /* before it gives buffers: the messages wait */
    g_assert_cmpuint(s->pending_len, ==, 16);
    for (unsigned i = 0; i < 8; i++)
        buf[i] = give(&d, SERIAL_Q_CTRL_RX, 64);
    td_kick(&d, SERIAL_Q_CTRL_RX);
    hear(&d, buf[0], 0, SERIAL_PORT_ADD, "");
    hear(&d, buf[1], 1, SERIAL_PORT_ADD, "");
    say(&d, 0, SERIAL_PORT_READY, 1);
    hear(&d, buf[2], 0, SERIAL_CONSOLE_PORT, "");
    hear(&d, buf[3], 0, SERIAL_PORT_OPEN, "");
    say(&d, 1, SERIAL_PORT_READY, 1);
    hear(&d, buf[4], 1, SERIAL_PORT_NAME, "org.example.agent");
    hear(&d, buf[5], 1, SERIAL_PORT_OPEN, "");
    say(&d, 77, SERIAL_PORT_OPEN, 1);
    say(&d, 1, 99, 1);
    put(&d, SERIAL_Q_CTRL_TX, "xyz", 3);
    g_assert_false(s->v.broken);
    unmake();
}

static void test_console(void)
{
    struct virtio_serial *s = make();
    const uint8_t *key = (const uint8_t *)"ls\n";
    uint8_t got[3];
    uint64_t buf;
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, s, 0); /* a driver that knows one port only */
    put(&d, 1, "hello", 5);
    g_assert_cmpmem(chr[0].out->data, chr[0].out->len, "hello", 5);
    g_assert_true(td_used(&d, 1, &id, &used));
    g_assert_cmpuint(chr[0].ops->can_read(chr[0].front), ==, 0);
    buf = give(&d, 0, 10);
    td_kick(&d, 0);
    g_assert_cmpuint(chr[0].accepts, >, 0);
    g_assert_cmpuint(chr[0].ops->can_read(chr[0].front), ==, 10);
    chr[0].ops->read(chr[0].front, key, 3);
    g_assert_true(td_used(&d, 0, &id, &used));
    g_assert_cmpuint(used, ==, 3);
    td_read(&d, buf, got, 3);
    g_assert_cmpmem(got, 3, key, 3);
    unmake();
}

/* A guest does not wait for who reads its console: Linux does so with interrupts off. */
static void test_console_slow(void)
{
    enum { SEG = 512 << 10, HELD = 1 << 20 };
    struct virtio_serial *s = make();
    g_autofree uint8_t *text = g_malloc0(SEG);
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, s, 0);
    chr[0].room = 3;
    put(&d, 1, "hello", 5);
    g_assert_true(td_used(&d, 1, &id, &used));
    chr[0].room = 1; /* what was held goes first */
    put(&d, 1, " you", 4);
    g_assert_true(td_used(&d, 1, &id, &used));
    g_assert_cmpmem(chr[0].out->data, chr[0].out->len, "hell", 4);
    chr[0].room = SIZE_MAX;
    chr[0].writable(chr[0].writable_opaque);
    g_assert_cmpmem(chr[0].out->data, chr[0].out->len, "hello you", 9);
    put(&d, 1, "!", 1);
    g_assert_true(td_used(&d, 1, &id, &used));
    g_assert_cmpmem(chr[0].out->data, chr[0].out->len, "hello you!", 10);
    chr[0].room = 0; /* more than is held is lost */
    for (int i = 0; i < 3; i++) {
        put(&d, 1, text, SEG);
        g_assert_true(td_used(&d, 1, &id, &used));
    }
    chr[0].room = SIZE_MAX;
    chr[0].writable(chr[0].writable_opaque);
    g_assert_cmpuint(chr[0].out->len, ==, 10 + HELD);
    unmake();
}

/* A slow back end: nothing is lost, doubled or out of order, over a save too. */
static void test_slow(void)
{
    struct virtio_serial *s = make();
    g_autofree uint8_t *state = NULL, *again = NULL;
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    size_t len, len2;
    uint16_t id;
    uint32_t used;
    struct td d;

    start(&d, s, 1ull << SERIAL_F_MULTIPORT);
    say(&d, 1, SERIAL_PORT_OPEN, 1);
    move_to_port_1(&d);
    chr[1].room = 7;
    struct td_seg seg[2] = {{td_put(&d, "abcde", 5), 5, false}, {td_put(&d, "fghij", 5), 5, false}};
    td_add(&d, 1, seg, 2, false);
    td_kick(&d, 5);
    g_assert_false(td_used(&d, 1, &id, &used));
    g_assert_cmpmem(chr[1].out->data, chr[1].out->len, "abcdefg", 7);
    viv_dev_set_running_all(false);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    state = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    unmake();

    s = make();
    viv_dev_set_running_all(false);
    r = viv_state_reader_new(state, len);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    again = viv_state_writer_finish(w, &len2);
    viv_state_writer_free(w);
    g_assert_cmpmem(state, len, again, len2);
    d.v = &s->v;
    d.mem = board.mem;
    chr[1].room = 1;
    viv_dev_set_running_all(true);
    g_assert_cmpmem(chr[1].out->data, chr[1].out->len, "h", 1);
    g_assert_nonnull(chr[1].writable);
    chr[1].room = SIZE_MAX;
    chr[1].writable(chr[1].writable_opaque);
    g_assert_cmpmem(chr[1].out->data, chr[1].out->len, "hij", 3);
    g_assert_true(td_used(&d, 1, &id, &used));
    unmake();
}

static void serve_loop(void)
{
    viv_dev_unlock();
    viv_loop_serve(false);
    viv_dev_lock();
}

/* A chain that names much memory goes out in parts, between which others have the device lock. */
static void test_much(void)
{
    enum { SEG = 512 << 10, SEGS = 7, PART = 1 << 20 };
    struct virtio_serial *s = make();
    g_autofree uint8_t *text = g_malloc(SEG);
    struct td_seg seg[SEGS];
    uint16_t id;
    uint32_t used;
    struct td d;

    for (unsigned i = 0; i < SEG; i++)
        text[i] = (uint8_t)(i * 7 + (i >> 8));
    start(&d, s, 0);
    seg[0] = (struct td_seg){td_put(&d, text, SEG), SEG, false};
    for (unsigned i = 1; i < SEGS; i++)
        seg[i] = seg[0];
    td_add(&d, 1, seg, SEGS, false);
    td_kick(&d, 1);
    g_assert_cmpuint(chr[0].out->len, ==, PART);
    g_assert_false(td_used(&d, 1, &id, &used));
    chr[0].room = 100;
    serve_loop();
    g_assert_cmpuint(chr[0].out->len, ==, PART + 100);
    chr[0].room = SIZE_MAX;
    chr[0].writable(chr[0].writable_opaque);
    g_assert_cmpuint(chr[0].out->len, ==, 2 * PART);
    for (unsigned i = 0; i < 10 && chr[0].out->len < SEGS * SEG; i++)
        serve_loop();
    g_assert_true(td_used(&d, 1, &id, &used));
    for (unsigned i = 0; i < SEGS; i++)
        g_assert_cmpmem(chr[0].out->data + i * SEG, SEG, text, SEG);
    g_assert_cmpuint(chr[0].out->len, ==, SEGS * SEG);
    unmake();
}

/* A port is found again by its place: others that came before it and have gone do not count. */
static void test_places(void)
{
    g_autofree uint8_t *state = NULL;
    struct viv_state_writer *w;
    struct viv_state_reader *r;
    struct viv_err err = VIV_ERR_INIT;
    struct serial_port *p;
    struct viv_dev *gone;
    size_t len;

    make();
    gone = add("virtserialport", NULL, "nr=2", NULL);
    p = (struct serial_port *)add("virtserialport", NULL, "nr=3", NULL);
    p->guest_open = true;
    viv_dev_free(gone);
    viv_dev_set_running_all(false);
    w = viv_state_writer_new();
    viv_dev_save_all(w);
    state = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    unmake();

    make();
    p = (struct serial_port *)add("virtserialport", NULL, "nr=3", NULL);
    viv_dev_set_running_all(false);
    r = viv_state_reader_new(state, len);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    g_assert_true(p->guest_open);
    unmake();
}

static GString *told;

static void on_event(const char *event, const char *data)
{
    g_string_append_printf(told, "%s %s\n", event, data);
}

/* And nothing else was told since the last time. */
static void expect_told(const char *want)
{
    serve_loop();
    g_assert_cmpstr(told->str, ==, want);
    g_string_truncate(told, 0);
}

/* Who waits for a program in the guest learns of it by an event, and may ask. */
static void test_guest_open(void)
{
    struct virtio_serial *s = make();
    struct td d;

    told = g_string_new(NULL);
    viv_vm_event_set_handler(on_event);
    viv_dev_free(&s->port[1]->dev);
    add("virtserialport", "agent", "chardev=c1,nr=1", NULL);
    start(&d, s, 1ull << SERIAL_F_MULTIPORT);
    g_assert_true(chr[0].ops->open(chr[0].front)); /* a console */
    g_assert_false(chr[1].ops->open(chr[1].front));
    expect_told("");
    say(&d, 1, SERIAL_PORT_OPEN, 1);
    say(&d, 1, SERIAL_PORT_OPEN, 1);
    g_assert_true(chr[1].ops->open(chr[1].front));
    expect_told("VSERPORT_CHANGE {\"id\": \"agent\", \"open\": true}\n");
    say(&d, 1, SERIAL_PORT_OPEN, 0);
    expect_told("VSERPORT_CHANGE {\"id\": \"agent\", \"open\": false}\n");
    say(&d, 1, SERIAL_PORT_OPEN, 1);
    viv_dev_reset_all();
    g_assert_false(chr[1].ops->open(chr[1].front));
    expect_told("VSERPORT_CHANGE {\"id\": \"agent\", \"open\": true}\nVSERPORT_CHANGE {\"id\": \"agent\", \"open\": false}\n");
    viv_vm_event_set_handler(NULL);
    g_string_free(told, TRUE);
    unmake();
}

static void test_refused(void)
{
    make();
    add("virtserialport", NULL, "bus=nope.0", "nope.0");
    add("virtserialport", NULL, "chardev=zz", "zz");
    add("virtserialport", NULL, "nr=0", "1 to 3");
    add("virtserialport", NULL, "nr=1", "taken");
    add("virtserialport", NULL, "nr=2", NULL);
    add("virtserialport", NULL, "", NULL);
    add("virtserialport", NULL, "", "all 4 ports");
    unmake();
}

/* The machine is saved with one state of the host's side and goes on with the other. */
static void test_host_side_after_load(gconstpointer opened)
{
    struct virtio_serial *s = make();
    struct viv_state_writer *w = viv_state_writer_new();
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r;
    g_autofree uint8_t *state = NULL;
    uint8_t m[8];
    uint64_t buf[8];
    uint32_t used;
    uint16_t id;
    size_t len;
    struct td d;

    start(&d, s, 1ull << SERIAL_F_MULTIPORT);
    if (opened)
        chr[1].ops->event(chr[1].front, VIV_CHR_CLOSED);
    for (unsigned i = 0; i < 8; i++)
        buf[i] = give(&d, SERIAL_Q_CTRL_RX, 64);
    say(&d, 0, SERIAL_DEVICE_READY, 1);
    say(&d, 1, SERIAL_PORT_READY, 1);
    for (unsigned i = 0; i < (opened ? 3 : 4); i++) /* ADD, ADD, NAME and perhaps OPEN */
        g_assert_true(td_used(&d, SERIAL_Q_CTRL_RX, &id, &used));
    g_assert_false(td_used(&d, SERIAL_Q_CTRL_RX, &id, &used));
    viv_dev_set_running_all(false);
    viv_dev_save_all(w);
    state = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);
    unmake();
    s = make();
    if (!opened)
        chr[1].ops->event(chr[1].front, VIV_CHR_CLOSED);
    r = viv_state_reader_new(state, len);
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_state_reader_free(r);
    d.v = &s->v;
    d.mem = board.mem;
    viv_dev_set_running_all(true);
    g_assert_true(td_used(&d, SERIAL_Q_CTRL_RX, &id, &used));
    td_read(&d, buf[opened ? 3 : 4], m, 8);
    g_assert_cmpuint(viv_ld_le32(m), ==, 1);
    g_assert_cmpuint(viv_ld_le16(m + 4), ==, SERIAL_PORT_OPEN);
    g_assert_cmpuint(viv_ld_le16(m + 6), ==, opened != NULL);
    g_assert_false(td_used(&d, SERIAL_Q_CTRL_RX, &id, &used));
    unmake();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-serial/conversation", test_conversation);
    g_test_add_func("/virtio-serial/console", test_console);
    g_test_add_func("/virtio-serial/console-slow", test_console_slow);
    g_test_add_func("/virtio-serial/slow", test_slow);
    g_test_add_func("/virtio-serial/much", test_much);
    g_test_add_func("/virtio-serial/places", test_places);
    g_test_add_data_func("/virtio-serial/load/opened", "", test_host_side_after_load);
    g_test_add_data_func("/virtio-serial/load/closed", NULL, test_host_side_after_load);
    g_test_add_func("/virtio-serial/guest-open", test_guest_open);
    g_test_add_func("/virtio-serial/refused", test_refused);
    return g_test_run();
}
