/* The PCI transport as a driver meets it: configuration space, capabilities, registers, interrupts. The function
 * behind it is virtio-rng. */
#include "base/bytes.h"
#include "bus/pci.h"
#include "bus/virtio_int.h"
#include "bus/virtio_pci.h"
#include "host/lock.h"
#include "host/loop.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>

#define RAM_SIZE (1u << 20)
#define BAR4     0xfe000000u
#define BAR1     0xfe100000u
#define BAR0     0xc000u
#define DEVFN    0x18u

extern const struct viv_dev_class viv_dev_virtio_rng_pci, viv_dev_virtio_rng_pci_transitional,
    viv_dev_virtio_rng_pci_non_transitional, viv_dev_pci_bridge;

static struct viv_board board;
static struct viv_intc intc;
static struct viv_ram *ram;
static int line;
static unsigned msis;
static uint32_t msi_data;

static void set_pirq(void *o, int pirq, int level)
{
    line = level;
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    g_assert_cmphex(addr, ==, 0xfee01000);
    msis++;
    msi_data = data;
}

static uint64_t doorbell; /* where an ioeventfd is registered */
static int doorbell_fd = -1;
static bool no_doorbells;

static int ioeventfd(struct viv_intc *c, int fd, bool port, uint64_t addr, unsigned size, bool add)
{
    if (no_doorbells)
        return -ENOSPC;
    g_assert_true(!port && size == 2);
    g_assert_true(add ? !doorbell : doorbell == addr && doorbell_fd == fd);
    doorbell = add ? addr : 0;
    doorbell_fd = add ? fd : -1;
    return 0;
}

static bool with_doorbells;
static bool behind_bridge; /* at device 4 of the root bus */

static int try_make(const char *cls, const char *text, struct viv_virtio_pci **out, struct viv_err *err)
{
    static const struct viv_intc_ops ops = {.send_msi = send_msi},
                                     fast = {.send_msi = send_msi, .ioeventfd = ioeventfd};
    static const struct viv_dev_class *const table[] = {&viv_dev_virtio_rng_pci, &viv_dev_virtio_rng_pci_transitional,
                                                        &viv_dev_virtio_rng_pci_non_transitional, &viv_dev_pci_bridge, NULL};
    struct viv_opts *opts = NULL, *bridge_opts = NULL;
    struct viv_dev *d = NULL;
    int rc;

    viv_dev_set_classes(table);
    memset(&board, 0, sizeof(board));
    intc.ops = with_doorbells ? &fast : &ops;
    board.intc = &intc;
    board.mem = viv_space_new("mem", 40);
    board.io = viv_space_new("io", 16);
    if (!ram)
        g_assert_cmpint(viv_ram_new("ram", RAM_SIZE, &ram, err), ==, 0);
    memset(ram->hva, 0, RAM_SIZE);
    viv_region_map(viv_region_new(board.mem, &(struct viv_region_desc){.name = "ram",
                                                                       .kind = VIV_REGION_RAM,
                                                                       .size = RAM_SIZE,
                                                                       .ram = ram}),
                   0, 0);
    board.pci = viv_pci_bus_new(&board, "pci.0");
    viv_pci_bus_set_pirq(board.pci, set_pirq, NULL);
    viv_pci_bus_add_ports(board.pci);
    if (behind_bridge) {
        rc = viv_opts_parse("pci-bridge", viv_dev_pci_bridge.props, NULL, "addr=4,chassis_nr=1", &bridge_opts, err);
        g_assert_cmpint(rc, ==, 0);
        rc = viv_dev_new(&board, "pci-bridge", "b", NULL, bridge_opts, &d, err);
        g_assert_cmpint(rc, ==, 0);
        viv_opts_free(bridge_opts);
    }
    rc = viv_opts_parse(cls, viv_dev_virtio_rng_pci.props, NULL, text, &opts, err);
    if (!rc)
        rc = viv_dev_new(&board, cls, NULL, NULL, opts, &d, err);
    viv_opts_free(opts);
    *out = (struct viv_virtio_pci *)d;
    msis = line = 0;
    return rc;
}

static void run(bool running)
{
    viv_dev_lock();
    viv_dev_set_running_all(running);
    viv_dev_unlock();
}

static struct viv_virtio_pci *make(const char *cls, const char *text)
{
    struct viv_virtio_pci *p;
    struct viv_err err = VIV_ERR_INIT;

    if (try_make(cls, text, &p, &err))
        g_error("%s", err.text);
    run(true);
    return p;
}

static void unmake(void)
{
    viv_dev_lock();
    viv_dev_free_all();
    viv_pci_bus_free(board.pci);
    viv_space_free(board.mem);
    viv_space_free(board.io);
    viv_dev_unlock();
}

static uint32_t conf(unsigned off, unsigned size)
{
    viv_space_write(board.io, 0xcf8, 0x80000000u | (unsigned)behind_bridge << 16 | DEVFN << 8 | (off & 0xfc), 4);
    return viv_space_read(board.io, 0xcfc + (off & 3), size);
}

static void set_conf(unsigned off, uint32_t v, unsigned size)
{
    viv_space_write(board.io, 0xcf8, 0x80000000u | (unsigned)behind_bridge << 16 | DEVFN << 8 | (off & 0xfc), 4);
    viv_space_write(board.io, 0xcfc + (off & 3), v, size);
}

static void set_bridge(unsigned off, uint32_t v)
{
    viv_space_write(board.io, 0xcf8, 0x80002000u | off, 4);
    viv_space_write(board.io, 0xcfc, v, 4);
}

static uint32_t rd(unsigned off, unsigned size)
{
    return viv_space_read(board.mem, BAR4 + off, size);
}

static void wr(unsigned off, uint32_t v, unsigned size)
{
    viv_space_write(board.mem, BAR4 + off, v, size);
}

static void map_bars(void)
{
    set_conf(0x10, BAR0, 4);
    set_conf(0x14, BAR1, 4);
    set_conf(0x20, BAR4, 4);
    set_conf(0x24, 0, 4);
    set_conf(4, 7, 2);
}

/* The vendor capability of this type; 0: none. */
static uint8_t find_cap(uint8_t type)
{
    for (uint8_t at = conf(0x34, 1); at; at = conf(at + 1, 1)) {
        if (conf(at, 1) == 9 && conf(at + 3, 1) == type)
            return at;
    }
    return 0;
}

static void test_ids(void)
{
    make("virtio-rng-pci", "addr=3");
    g_assert_cmphex(conf(0, 4), ==, 0x10051af4);
    g_assert_cmphex(conf(8, 1), ==, 0);
    g_assert_cmphex(conf(0x2c, 4), ==, 0x00041af4);
    g_assert_cmphex(conf(0x3d, 1), ==, 1);
    for (uint8_t type = 1; type <= 5; type++)
        g_assert_cmpuint(find_cap(type), !=, 0);
    g_assert_cmphex(conf(find_cap(1) + 4, 1), ==, 4);
    g_assert_cmphex(conf(find_cap(2) + 8, 4), ==, 0x3000);
    g_assert_cmphex(conf(find_cap(2) + 16, 4), ==, 4);
    unmake();
    make("virtio-rng-pci-non-transitional", "addr=3");
    g_assert_cmphex(conf(0, 4), ==, 0x10441af4);
    g_assert_cmphex(conf(8, 1), ==, 1);
    g_assert_cmphex(conf(0x2e, 2), >=, 0x40);
    g_assert_cmphex(conf(0x10, 4), ==, 0);
    unmake();
    make("virtio-rng-pci", "addr=3,disable-modern=on");
    g_assert_cmphex(conf(0, 4), ==, 0x10051af4);
    g_assert_cmpuint(find_cap(1), ==, 0);
    unmake();
    make("virtio-rng-pci", "addr=3,disable-legacy=on,vectors=0");
    g_assert_cmphex(conf(0, 4), ==, 0x10441af4);
    g_assert_cmphex(conf(0x14, 4), ==, 0);
    unmake();
}

/* From reset to a queue that is set up, through the modern registers. */
static void set_up(void)
{
    wr(0x14, 0, 1);
    wr(0x14, 3, 1);
    wr(0x00, 1, 4);
    g_assert_cmphex(rd(0x04, 4) & 1, ==, 1);
    wr(0x08, 1, 4);
    wr(0x0c, 1, 4);
    wr(0x14, 11, 1);
    g_assert_cmphex(rd(0x14, 1), ==, 11);
    g_assert_cmpuint(rd(0x12, 2), ==, 1);
    wr(0x16, 1, 2);
    g_assert_cmpuint(rd(0x18, 2), ==, 0);
    wr(0x16, 0, 2);
    g_assert_cmpuint(rd(0x18, 2), ==, 8);
    wr(0x20, 0x10000, 4);
    wr(0x24, 0, 4);
    wr(0x28, 0x11000, 4);
    wr(0x30, 0x12000, 4);
    g_assert_cmphex(rd(0x28, 4), ==, 0x11000);
    g_assert_cmpuint(rd(0x1e, 2), ==, 0);
    wr(0x1c, 1, 2);
}

static void negotiate(void)
{
    set_up();
    wr(0x14, 15, 1);
}

static unsigned bytes_asked;

/* Puts one buffer into a ring whose areas are at these addresses, counting from 1. */
static void ask(unsigned n, uint32_t desc, uint32_t avail)
{
    memset(ram->hva + 0x2000, 0, 64);
    viv_st_le64(ram->hva + desc, 0x2000);
    viv_st_le32(ram->hva + desc + 8, 64);
    viv_st_le16(ram->hva + desc + 12, VIV_DESC_WRITE);
    viv_st_le16(ram->hva + avail + 2, n);
    bytes_asked = 64;
}

static void answered(unsigned n, uint32_t used)
{
    unsigned zeroes = 0;

    g_assert_cmpuint(viv_ld_le16(ram->hva + used + 2), ==, n);
    g_assert_cmpuint(viv_ld_le32(ram->hva + used + 4 + 8 * ((n - 1) % 8) + 4), ==, bytes_asked);
    for (unsigned i = 0; i < 64; i++)
        zeroes += !ram->hva[0x2000 + i];
    g_assert_cmpuint(zeroes, <, 16);
}

static void test_modern_msix(void)
{
    make("virtio-rng-pci", "addr=3");
    map_bars();
    viv_space_write(board.mem, BAR1 + 16, 0xfee01000, 4);
    viv_space_write(board.mem, BAR1 + 24, 0x4041, 4);
    viv_space_write(board.mem, BAR1 + 28, 0, 4);
    for (uint8_t at = conf(0x34, 1); at; at = conf(at + 1, 1)) {
        if (conf(at, 1) == 0x11)
            set_conf(at + 2, 0x8000, 2);
    }
    negotiate();
    wr(0x1a, 9, 2); /* there is no such vector */
    g_assert_cmphex(rd(0x1a, 2), ==, 0xffff);
    wr(0x1a, 1, 2);
    g_assert_cmphex(rd(0x1a, 2), ==, 1);
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(1, 0x12000);
    g_assert_cmpuint(msis, ==, 1);
    g_assert_cmphex(msi_data, ==, 0x4041);
    g_assert_cmpint(line, ==, 0);
    viv_st_le16(ram->hva + 0x11000, 1); /* no interrupt, please */
    ask(2, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(2, 0x12000);
    g_assert_cmpuint(msis, ==, 1);
    unmake();
}

static void test_modern_intx(void)
{
    make("virtio-rng-pci", "addr=3");
    map_bars();
    negotiate();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(1, 0x12000);
    g_assert_cmpint(line, ==, 1);
    g_assert_cmpuint(rd(0x1000, 1), ==, 1);
    g_assert_cmpint(line, ==, 0);
    g_assert_cmpuint(rd(0x1000, 1), ==, 0);
    unmake();
}

/* Everything through pci_cfg_data: a driver without BARs. */
static void test_window(void)
{
    uint8_t at;

    make("virtio-rng-pci", "addr=3");
    at = find_cap(5);
    set_conf(at + 4, 4, 1);
    set_conf(at + 8, 0x14, 4);
    set_conf(at + 12, 1, 4);
    set_conf(at + 16, 3, 1);
    g_assert_cmphex(conf(at + 16, 1), ==, 3);
    set_conf(at + 8, 0x12, 4);
    set_conf(at + 12, 2, 4);
    g_assert_cmphex(conf(at + 16, 2), ==, 1);
    set_conf(at + 8, 0xfffffffe, 4); /* nonsense does no harm */
    conf(at + 16, 4);
    set_conf(at + 16, 1, 4);
    set_conf(at + 12, 3, 4);
    conf(at + 16, 4);
    unmake();
}

static void test_legacy(void)
{
    struct viv_space *io;

    make("virtio-rng-pci-transitional", "addr=3");
    map_bars();
    io = board.io;
    viv_space_write(io, BAR0 + 18, 3, 1);
    viv_space_write(io, BAR0 + 4, viv_space_read(io, BAR0, 4) & ~(1u << VIV_VIRTIO_F_EVENT_IDX), 4);
    g_assert_cmpuint(viv_space_read(io, BAR0 + 12, 2), ==, 8);
    viv_space_write(io, BAR0 + 8, 0x10, 4);
    g_assert_cmphex(viv_space_read(io, BAR0 + 8, 4), ==, 0x10);
    viv_space_write(io, BAR0 + 18, 7, 1);
    ask(1, 0x10000, 0x10080);
    viv_space_write(io, BAR0 + 16, 0, 2);
    answered(1, 0x11000);
    g_assert_cmpint(line, ==, 1);
    g_assert_cmpuint(viv_space_read(io, BAR0 + 19, 1), ==, 1);
    g_assert_cmpint(line, ==, 0);
    viv_space_write(io, BAR0 + 18, 0, 1);
    g_assert_cmphex(viv_space_read(io, BAR0 + 8, 4), ==, 0);
    unmake();
}

static uint8_t *save(size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_dev_save_all(w);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

/* The device ends, and goes on in another machine with the same memory. */
static void move(const char *cls, const char *opts)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r;
    g_autofree uint8_t *one = NULL, *two = NULL, *guest = NULL;
    size_t len1, len2;

    one = save(&len1);
    guest = g_memdup2(ram->hva, RAM_SIZE);
    unmake();
    make(cls, opts);
    memcpy(ram->hva, guest, RAM_SIZE);
    r = viv_state_reader_new(one, len1);
    viv_dev_lock();
    if (viv_dev_load_all(r, &err) < 0)
        g_error("%s", err.text);
    viv_dev_unlock();
    viv_state_reader_free(r);
    two = save(&len2);
    g_assert_cmpmem(one, len1, two, len2);
}

static void test_state(void)
{

    make("virtio-rng-pci", "addr=3,max-bytes=1000,period=10000");
    map_bars();
    negotiate();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    move("virtio-rng-pci", "addr=3,max-bytes=1000,period=10000");
    ask(2, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(2, 0x12000);
    unmake();
}

/* A legacy driver may use the device before DRIVER_OK (3.1.2), and is no other one afterwards. */
static void test_legacy_early(void)
{
    struct viv_virtio_pci *p = make("virtio-rng-pci-transitional", "addr=3");

    map_bars();
    viv_space_write(board.io, BAR0 + 18, 3, 1);
    viv_space_write(board.io, BAR0 + 16, 0, 2); /* of a ring that is not there */
    g_assert_false(p->v->early);
    viv_space_write(board.io, BAR0 + 4, 1u << VIV_VIRTIO_F_INDIRECT, 4);
    viv_space_write(board.io, BAR0 + 8, 0x10, 4);
    ask(1, 0x10000, 0x10080);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    answered(1, 0x11000);
    g_assert_cmpint(line, ==, 1);
    viv_space_write(board.io, BAR0 + 4, 0, 4); /* too late */
    g_assert_cmphex(viv_space_read(board.io, BAR0 + 4, 4), ==, 1u << VIV_VIRTIO_F_INDIRECT);
    move("virtio-rng-pci-transitional", "addr=3");
    ask(2, 0x10000, 0x10080);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    answered(2, 0x11000);
    viv_space_write(board.io, BAR0 + 18, 7, 1);
    ask(3, 0x10000, 0x10080);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    answered(3, 0x11000);
    viv_space_write(board.io, BAR0 + 18, 0, 1);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    unmake();
}

/* One that knows FEATURES_OK is held to it: nothing before DRIVER_OK. */
static void test_modern_early(void)
{
    make("virtio-rng-pci", "addr=3");
    map_bars();
    set_up();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    g_assert_cmpuint(viv_ld_le16(ram->hva + 0x12002), ==, 0);
    wr(0x14, 15, 1);
    answered(1, 0x12000);
    unmake();
}

/* At most max-bytes in a period. */
static void test_rate(void)
{
    make("virtio-rng-pci", "addr=3,max-bytes=100,period=1000000");
    map_bars();
    negotiate();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(1, 0x12000);
    ask(2, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    g_assert_cmpuint(viv_ld_le32(ram->hva + 0x12000 + 4 + 8 + 4), ==, 36);
    ask(3, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    g_assert_cmpuint(viv_ld_le16(ram->hva + 0x12002), ==, 2);
    unmake();
}

static bool used_one(void *opaque)
{
    return viv_ld_le16(ram->hva + 0x12002) == 1;
}

/* A function that is no bus master takes nothing from its rings; when it is one again nothing is lost. A legacy driver is served
 * anyway. */
static void test_master(void)
{
    make("virtio-rng-pci", "addr=3");
    map_bars();
    negotiate();
    set_conf(4, 3, 2);
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    g_assert_false(used_one(NULL));
    set_conf(4, 7, 2);
    viv_dev_lock();
    g_assert_true(viv_loop_wait_for(used_one, NULL, 10000000000));
    viv_dev_unlock();
    answered(1, 0x12000);
    set_conf(4, 3, 2);
    wr(0x14, 0, 1);
    negotiate();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    g_assert_true(used_one(NULL)); /* of the ring before */
    g_assert_cmpuint(viv_ld_le32(ram->hva + 0x2000), ==, 0);
    unmake();
    make("virtio-rng-pci-transitional", "addr=3");
    map_bars();
    set_conf(4, 3, 2);
    viv_space_write(board.io, BAR0 + 18, 3, 1);
    viv_space_write(board.io, BAR0 + 8, 0x10, 4);
    viv_space_write(board.io, BAR0 + 18, 7, 1);
    ask(1, 0x10000, 0x10080);
    viv_space_write(board.io, BAR0 + 16, 0, 2);
    answered(1, 0x11000);
    unmake();
}

/* Doorbells exist while the driver is up, where the BAR is, and a kick through one is served by the loop. */
static void test_doorbells(void)
{
    with_doorbells = true;
    make("virtio-rng-pci", "addr=3");
    map_bars();
    g_assert_cmphex(doorbell, ==, 0);
    negotiate();
    g_assert_cmphex(doorbell, ==, BAR4 + 0x3000);
    ask(1, 0x10000, 0x11000);
    g_assert_cmpint(eventfd_write(doorbell_fd, 1), ==, 0);
    viv_loop_serve(true);
    answered(1, 0x12000);
    set_conf(4, 0, 2); /* decoding off: the BAR is nowhere */
    g_assert_cmphex(doorbell, ==, 0);
    set_conf(0x20, BAR4 + 0x10000, 4);
    set_conf(4, 7, 2);
    g_assert_cmphex(doorbell, ==, BAR4 + 0x13000);
    viv_space_write(board.mem, BAR4 + 0x10014, 0, 1);
    g_assert_cmphex(doorbell, ==, 0);
    unmake();
    make("virtio-rng-pci", "addr=3,ioeventfd=off");
    map_bars();
    negotiate();
    g_assert_cmphex(doorbell, ==, 0);
    unmake();
    no_doorbells = true; /* none to be had: writes do */
    make("virtio-rng-pci", "addr=3");
    map_bars();
    negotiate();
    ask(1, 0x10000, 0x11000);
    wr(0x3000, 0, 2);
    answered(1, 0x12000);
    unmake();
    no_doorbells = with_doorbells = false;
}

/* They go with the windows of a bridge above. */
static void test_doorbells_behind(void)
{
    with_doorbells = behind_bridge = true;
    make("virtio-rng-pci", "bus=b,addr=3");
    set_bridge(0x18, 0x00010100);
    set_bridge(0x20, 0xfe10fe00);
    set_bridge(4, 7);
    map_bars();
    negotiate();
    g_assert_cmphex(doorbell, ==, BAR4 + 0x3000);
    set_bridge(0x20, 0xf000f000);
    g_assert_cmphex(doorbell, ==, 0);
    set_bridge(0x20, 0xfe10fe00);
    g_assert_cmphex(doorbell, ==, BAR4 + 0x3000);
    set_bridge(4, 0);
    g_assert_cmphex(doorbell, ==, 0);
    unmake();
    with_doorbells = behind_bridge = false;
}

static void test_refused(void)
{
    static const struct {
        const char *cls, *opts, *word;
    } bad[] = {
        {"virtio-rng-pci", "disable-legacy=on,disable-modern=on", "nothing"},
        {"virtio-rng-pci-transitional", "disable-legacy=on", "already says"},
        {"virtio-rng-pci", "vectors=5000", "2048"},
        {"virtio-rng-pci", "addr=40", "40"},
        {"virtio-rng-pci", "iommu_platform=on", "IOMMU"},
        {"virtio-rng-pci", "max-bytes=0", "nothing"},
        {"virtio-rng-pci", "bus=pci.7", "pci.7"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct viv_virtio_pci *p;

        g_assert_cmpint(try_make(bad[i].cls, bad[i].opts, &p, &err), <, 0);
        if (!strstr(err.text, bad[i].word))
            g_error("'%s' is not in: %s", bad[i].word, err.text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-pci/ids", test_ids);
    g_test_add_func("/virtio-pci/modern-msix", test_modern_msix);
    g_test_add_func("/virtio-pci/modern-intx", test_modern_intx);
    g_test_add_func("/virtio-pci/window", test_window);
    g_test_add_func("/virtio-pci/legacy", test_legacy);
    g_test_add_func("/virtio-pci/legacy-early", test_legacy_early);
    g_test_add_func("/virtio-pci/modern-early", test_modern_early);
    g_test_add_func("/virtio-pci/state", test_state);
    g_test_add_func("/virtio-pci/rate", test_rate);
    g_test_add_func("/virtio-pci/master", test_master);
    g_test_add_func("/virtio-pci/doorbells", test_doorbells);
    g_test_add_func("/virtio-pci/doorbells-behind", test_doorbells_behind);
    g_test_add_func("/virtio-pci/refused", test_refused);
    return g_test_run();
}
