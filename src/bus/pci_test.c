#include "bus/pci.h"

#include "base/units.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

/* A function with a memory BAR, a 64-bit one, ports and four vectors. */
struct toy {
    struct viv_pci_dev pci;
    uint8_t regs[16];
};

static uint64_t toy_read(void *o, uint64_t off, unsigned size)
{
    return ((struct toy *)o)->regs[off & 15];
}

static void toy_write(void *o, uint64_t off, uint64_t v, unsigned size)
{
    ((struct toy *)o)->regs[off & 15] = (uint8_t)v;
}

static int toy_realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x1234, 0x5678, 9, 0x010203, 0x1af4, 0x1100};
    static const struct viv_region_ops ops = {toy_read, toy_write, 1, 1, false, false};
    struct toy *t = (struct toy *)dev;
    struct viv_region_desc desc = {.name = "toy", .kind = VIV_REGION_IO, .ops = &ops, .opaque = t};
    int r = viv_pci_dev_init(&t->pci, &ids, opts, err);

    if (r < 0)
        return r;
    t->pci.config[0x3d] = 1;
    desc.size = 0x1000;
    viv_pci_add_bar(&t->pci, 0, viv_region_new(dev->board->mem, &desc), 0x1000, false, false,
                    false);
    desc.size = 0x40;
    viv_pci_add_bar(&t->pci, 1, viv_region_new(dev->board->io, &desc), 0x40, true, false, false);
    desc.size = 4 * VIV_GIB;
    viv_pci_add_bar(&t->pci, 2, viv_region_new(dev->board->mem, &desc), 4 * VIV_GIB, false, true,
                    true);
    return viv_msix_init(&t->pci, 4, 4, err);
}

static void toy_reset(struct viv_dev *dev)
{
    viv_pci_dev_reset((struct viv_pci_dev *)dev);
}

static void toy_unrealize(struct viv_dev *dev)
{
    viv_pci_dev_fini((struct viv_pci_dev *)dev);
}

static const struct viv_state_table toy_state = {
    .name = "toy",
    .ctype = "toy",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(toy, pci, viv_pci_dev_state),
            VIV_F_BYTES(toy, regs),
            VIV_F_END,
        },
};

static const struct viv_opt_def toy_props[] = {VIV_PCI_PROPS, VIV_OPT_END};
static const struct viv_dev_class toy_class = {.name = "toy",
                                               .desc = "test",
                                               .bus = VIV_BUS_PCI,
                                               .size = sizeof(struct toy),
                                               .props = toy_props,
                                               .state = &toy_state,
                                               .realize = toy_realize,
                                               .reset = toy_reset,
                                               .unrealize = toy_unrealize};
static const struct viv_dev_class hidden_class = {.name = "toyhidden",
                                                  .desc = "test",
                                                  .internal = true,
                                                  .size = sizeof(struct toy),
                                                  .props = toy_props,
                                                  .state = &toy_state,
                                                  .realize = toy_realize,
                                                  .reset = toy_reset,
                                                  .unrealize = toy_unrealize};
static const struct viv_dev_class *const table[] = {&toy_class, &hidden_class, NULL};

struct rig {
    struct viv_board board;
    struct viv_intc intc;
    int line[4];
    unsigned line_calls, msis;
    uint64_t addr;
    uint32_t data;
};

static void set_pirq(void *o, int pirq, int level)
{
    struct rig *r = o;

    r->line[pirq] = level;
    r->line_calls++;
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    struct rig *r = c->opaque;

    r->msis++;
    r->addr = addr;
    r->data = data;
}

static void rig_init(struct rig *r)
{
    static const struct viv_intc_ops ops = {.send_msi = send_msi};

    memset(r, 0, sizeof(*r));
    r->intc = (struct viv_intc){.ops = &ops, .opaque = r};
    r->board.mem = viv_space_new("mem", 64);
    r->board.io = viv_space_new("io", 16);
    r->board.intc = &r->intc;
    r->board.pci = viv_pci_bus_new(&r->board, "pci.0");
    viv_pci_bus_set_pirq(r->board.pci, set_pirq, r);
    viv_pci_bus_add_ports(r->board.pci);
    viv_dev_set_classes(table);
}

static void rig_fini(struct rig *r)
{
    viv_dev_free_all();
    viv_pci_bus_free(r->board.pci);
    viv_space_free(r->board.mem);
    viv_space_free(r->board.io);
}

static struct toy *add(struct rig *r, const char *opts_text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;

    g_assert_cmpint(viv_opts_parse("-device toy", toy_props, NULL, opts_text, &opts, &err), ==, 0);
    if (viv_dev_new(&r->board, "toy", NULL, NULL, opts, &d, &err) < 0)
        g_error("%s", err.text);
    viv_opts_free(opts);
    return (struct toy *)d;
}

static void refused(struct rig *r, const char *opts_text, const char *word)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;

    g_assert_cmpint(viv_opts_parse("-device toy", toy_props, NULL, opts_text, &opts, &err), ==, 0);
    g_assert_cmpint(viv_dev_new(&r->board, "toy", NULL, NULL, opts, &d, &err), <, 0);
    g_assert_nonnull(strstr(err.text, word));
    g_assert_null(d);
    viv_opts_free(opts);
}

static void select_reg(struct rig *r, unsigned devfn, unsigned reg)
{
    viv_space_write(r->board.io, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc), 4);
}

static uint32_t rd(struct rig *r, unsigned devfn, unsigned reg, unsigned size)
{
    select_reg(r, devfn, reg);
    return (uint32_t)viv_space_read(r->board.io, 0xcfc + (reg & 3), size);
}

static void wr(struct rig *r, unsigned devfn, unsigned reg, uint32_t v, unsigned size)
{
    select_reg(r, devfn, reg);
    viv_space_write(r->board.io, 0xcfc + (reg & 3), v, size);
}

static void test_config(void)
{
    struct rig r;

    rig_init(&r);
    add(&r, "addr=3");
    g_assert_cmphex(rd(&r, 0x18, 0, 4), ==, 0x56781234);
    g_assert_cmphex(rd(&r, 0x18, 2, 2), ==, 0x5678);
    g_assert_cmphex(rd(&r, 0x18, 0x0b, 1), ==, 0x01);
    g_assert_cmphex(rd(&r, 0x18, 0x08, 4), ==, 0x01020309);
    g_assert_cmphex(rd(&r, 0x18, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(rd(&r, 0x20, 0, 4), ==, UINT32_MAX);
    g_assert_cmphex(rd(&r, 0x20, 0, 2), ==, 0xffff);
    wr(&r, 0x18, 0, 0, 4); /* ids are read only */
    wr(&r, 0x18, 0x3c, 0x0b, 1);
    g_assert_cmphex(rd(&r, 0x18, 0, 4), ==, 0x56781234);
    g_assert_cmphex(rd(&r, 0x18, 0x3c, 4), ==, 0x0000010b);
    wr(&r, 0x18, 4, 0xffff, 2);
    g_assert_cmphex(rd(&r, 0x18, 4, 2), ==, 0x0547);

    /* Not enabled, and another bus: nobody. */
    viv_space_write(r.board.io, 0xcf8, 0x1800, 4);
    g_assert_cmphex(viv_space_read(r.board.io, 0xcfc, 4), ==, UINT32_MAX);
    viv_space_write(r.board.io, 0xcf8, 0x80011800, 4);
    g_assert_cmphex(viv_space_read(r.board.io, 0xcfc, 4), ==, UINT32_MAX);
    /* Narrow accesses at CF8h are not the address register. */
    viv_space_write(r.board.io, 0xcf8, 0x80001800, 4);
    viv_space_write(r.board.io, 0xcf8, 0, 1);
    viv_space_write(r.board.io, 0xcfa, 0, 2);
    g_assert_cmphex(viv_space_read(r.board.io, 0xcf8, 4), ==, 0x80001800);
    rig_fini(&r);
}

static void test_bars(void)
{
    struct rig r;
    struct toy *t;
    struct viv_space_range f;

    rig_init(&r);
    t = add(&r, "addr=3");
    wr(&r, 0x18, 0x10, UINT32_MAX, 4);
    wr(&r, 0x18, 0x14, UINT32_MAX, 4);
    wr(&r, 0x18, 0x18, UINT32_MAX, 4);
    wr(&r, 0x18, 0x1c, UINT32_MAX, 4);
    wr(&r, 0x18, 4, 3, 2);
    g_assert_cmphex(rd(&r, 0x18, 0x10, 4), ==, 0xfffff000);
    g_assert_cmphex(rd(&r, 0x18, 0x14, 4), ==, 0xffffffc1);
    g_assert_cmphex(rd(&r, 0x18, 0x18, 4), ==, 0x0000000c);
    g_assert_cmphex(rd(&r, 0x18, 0x1c, 4), ==, 0xffffffff);
    /* A size probe with decoding on maps nothing. */
    g_assert_false(viv_space_find(r.board.mem, 0xfffff000, &f));

    wr(&r, 0x18, 0x10, 0xe0000000, 4);
    wr(&r, 0x18, 0x14, 0xc000, 4);
    wr(&r, 0x18, 0x18, 0, 4);
    wr(&r, 0x18, 0x1c, 0x40, 4);
    t->regs[5] = 0x77;
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000005, 1), ==, 0x77);
    g_assert_cmphex(viv_space_read(r.board.io, 0xc005, 1), ==, 0x77);
    g_assert_cmphex(viv_space_read(r.board.mem, 0x4000000005, 1), ==, 0x77);
    wr(&r, 0x18, 4, 1, 2);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000005, 1), ==, 0xff);
    g_assert_cmphex(viv_space_read(r.board.io, 0xc005, 1), ==, 0x77);
    /* Byte by byte, as old BIOSes do. */
    wr(&r, 0x18, 4, 2, 2);
    wr(&r, 0x18, 0x11, 0x20, 1);
    wr(&r, 0x18, 0x12, 0x34, 1);
    wr(&r, 0x18, 0x13, 0xf1, 1);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xf1342005, 1), ==, 0x77);
    viv_dev_lock();
    viv_dev_reset_all();
    viv_dev_unlock();
    g_assert_false(viv_space_find(r.board.mem, 0xf1342005, &f));
    g_assert_cmphex(rd(&r, 0x18, 0x10, 4), ==, 0);
    rig_fini(&r);
}

static void test_intx(void)
{
    struct rig r;
    struct toy *a, *b;

    rig_init(&r);
    a = add(&r, "addr=1"); /* pin A of slot 1: PIRQ 0 */
    b = add(&r, "addr=5"); /* the same line */
    viv_pci_set_intx(&a->pci, 1);
    g_assert_cmpint(r.line[0], ==, 1);
    viv_pci_set_intx(&b->pci, 1);
    viv_pci_set_intx(&a->pci, 0);
    g_assert_cmpint(r.line[0], ==, 1);
    g_assert_cmphex(rd(&r, 0x28, 6, 2) & 8, ==, 8);
    g_assert_cmphex(rd(&r, 0x28, 4, 4) >> 16 & 8, ==, 8);
    wr(&r, 0x28, 4, 0x400, 2); /* interrupt disable */
    g_assert_cmpint(r.line[0], ==, 0);
    g_assert_cmphex(rd(&r, 0x28, 6, 2) & 8, ==, 8);
    wr(&r, 0x28, 4, 0, 2);
    g_assert_cmpint(r.line[0], ==, 1);
    add(&r, "addr=2"); /* elsewhere */
    viv_dev_reset_all();
    g_assert_cmpint(r.line[0], ==, 0);
    rig_fini(&r);
}

static void test_msix(void)
{
    struct rig r;
    struct toy *t;
    unsigned cap;

    rig_init(&r);
    t = add(&r, "addr=3");
    cap = rd(&r, 0x18, 0x34, 1);
    g_assert_cmphex(rd(&r, 0x18, cap, 1), ==, 0x11);
    g_assert_cmphex(rd(&r, 0x18, cap + 2, 2), ==, 3);
    g_assert_cmphex(rd(&r, 0x18, cap + 4, 4), ==, 4);
    g_assert_cmphex(rd(&r, 0x18, cap + 8, 4), ==, 0x44);
    wr(&r, 0x18, 0x20, 0xe0000000, 4);
    wr(&r, 0x18, 4, 6, 2);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe000001c, 4), ==, 1); /* masked after reset */
    viv_space_write(r.board.mem, 0xe0000010, 0xfee0300400000000ull >> 32, 4);
    viv_space_write(r.board.mem, 0xe0000014, 1, 4);
    viv_space_write(r.board.mem, 0xe0000018, 0x41, 4);

    viv_msix_notify(&t->pci, 1); /* off: lost */
    wr(&r, 0x18, cap + 2, 0x8000, 2);
    g_assert_cmpuint(r.msis, ==, 0);
    viv_msix_notify(&t->pci, 1); /* masked: pending */
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000040, 8), ==, 2);
    g_assert_cmpuint(r.msis, ==, 0);
    viv_space_write(r.board.mem, 0xe000001c, 0, 4);
    g_assert_cmpuint(r.msis, ==, 1);
    g_assert_cmphex(r.addr, ==, 0x1fee03004);
    g_assert_cmphex(r.data, ==, 0x41);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000040, 8), ==, 0);
    wr(&r, 0x18, cap + 2, 0xc000, 2); /* function mask */
    viv_msix_notify(&t->pci, 1);
    viv_msix_notify(&t->pci, 1);
    g_assert_cmpuint(r.msis, ==, 1);
    wr(&r, 0x18, cap + 2, 0x8000, 2);
    g_assert_cmpuint(r.msis, ==, 2);
    wr(&r, 0x18, 4, 2, 2); /* not a bus master */
    viv_msix_notify(&t->pci, 1);
    g_assert_cmpuint(r.msis, ==, 2);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000040, 8), ==, 2);
    wr(&r, 0x18, 4, 6, 2);
    g_assert_cmpuint(r.msis, ==, 3);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000040, 8), ==, 0);
    viv_msix_notify(&t->pci, 4); /* no such vector */
    viv_space_write(r.board.mem, 0xe0000040, 0xff, 4);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000040, 4), ==, 0);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000800, 4), ==, 0);

    /* The pin rests while messages are on, whenever it was pulled. */
    viv_pci_set_intx(&t->pci, 1);
    g_assert_cmpint(r.line[2], ==, 0);
    wr(&r, 0x18, cap + 2, 0, 2);
    g_assert_cmpint(r.line[2], ==, 1);
    wr(&r, 0x18, cap + 2, 0x8000, 2);
    g_assert_cmpint(r.line[2], ==, 0);
    rig_fini(&r);
}

static void test_placing(void)
{
    struct rig r;
    struct toy *t;
    struct viv_err err = VIV_ERR_INIT;

    rig_init(&r);
    add(&r, "addr=2.0,multifunction=on");
    t = add(&r, "addr=0x2.3");
    g_assert_cmphex(t->pci.devfn, ==, 0x13);
    g_assert_cmpstr(t->pci.dev.path, ==, "pci.0/02.3/toy");
    g_assert_cmphex(rd(&r, 0x10, 0x0e, 1), ==, 0x80);
    add(&r, "addr=4");
    refused(&r, "addr=4", "taken by 'toy'");
    refused(&r, "addr=4.1", "multifunction=on at function 0");
    add(&r, "addr=6.1");
    refused(&r, "addr=6", "needs multifunction=on");
    refused(&r, "addr=20", "is not a PCI address");
    refused(&r, "addr=-1", "is not a PCI address");
    refused(&r, "addr=1.8", "is not a PCI address");
    refused(&r, "addr=zz", "is not a PCI address");
    refused(&r, "bus=pci.1", "there is no bus 'pci.1'");
    refused(&r, "romfile=x.rom", "there is no file 'x.rom'");
    refused(&r, "romfile=/dev/null", "not a regular file");
    refused(&r, "romfile=pxe-none.rom", "package ipxe-qemu");
    refused(&r, "romfile=x,rombar=0", "leave one out");
    for (int i = 0; i < 29; i++)
        add(&r, "romfile=");
    refused(&r, "romfile=", "all 32 slots");
    g_assert_cmpint(viv_dev_new(&r.board, "toi", NULL, NULL, NULL, NULL, &err), ==, -ENODEV);
    g_assert_nonnull(strstr(err.text, "did you mean 'toy'"));
    rig_fini(&r);
}

/* 2560 bytes are a BAR of 4 KiB, zeros behind them; it can be seen only with both enable bits, and cannot be written. */
static void test_rom(void)
{
    struct rig r;
    uint8_t image[2560];
    g_autofree char *path = NULL, *opts = NULL;
    int fd = g_file_open_tmp("viv-rom-XXXXXX", &path, NULL);

    for (size_t i = 0; i < sizeof(image); i++)
        image[i] = (uint8_t)(i * 7 + 1);
    g_assert_cmpint(write(fd, image, sizeof(image)), ==, sizeof(image));
    close(fd);
    rig_init(&r);
    opts = g_strdup_printf("addr=3,romfile=%s", path);
    add(&r, opts);
    add(&r, "addr=4,rombar=0");
    wr(&r, 0x18, 0x30, 0xfffff800, 4);
    g_assert_cmphex(rd(&r, 0x18, 0x30, 4), ==, 0xfffff000);
    wr(&r, 0x18, 0x30, 0xe0000000, 4);
    wr(&r, 0x18, 4, 2, 2);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000000, 4), ==, 0xffffffff); /* not enabled */
    wr(&r, 0x18, 0x30, 0xe0000001, 4);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000001, 1), ==, image[1]);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe00009ff, 1), ==, image[2559]);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000a00, 4), ==, 0);
    viv_space_write(r.board.mem, 0xe0000001, 0, 1);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000001, 1), ==, image[1]);
    wr(&r, 0x18, 0x30, 0xffffffff, 4);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xfffff000, 1), ==, 0xff);
    wr(&r, 0x18, 0x30, 0xd0000001, 4);
    wr(&r, 0x18, 4, 0, 2);
    g_assert_cmphex(viv_space_read(r.board.mem, 0xd0000001, 1), ==, 0xff);
    wr(&r, 0x20, 0x30, 0xffffffff, 4);
    g_assert_cmphex(rd(&r, 0x20, 0x30, 4), ==, 0);
    rig_fini(&r);
    unlink(path);
}

/* The header's device id becomes the function's if the vendor is the same, and the image still sums to 0. */
static void test_rom_ids(void)
{
    for (int same = 0; same < 2; same++) {
        uint8_t image[512] = {0x55, 0xaa, 1, 0xcb, [0x18] = 0x1c, [0x1c] = 'P', 'C', 'I', 'R', [0x20] = 0x34,
                              [0x21] = same ? 0x12 : 0x80, [0x22] = 0xff, [0x23] = 0x10};
        g_autofree char *path = NULL, *opts = NULL;
        int fd = g_file_open_tmp("viv-rom-XXXXXX", &path, NULL);
        uint8_t sum = 0;
        struct rig r;

        for (size_t i = 0; i < sizeof(image); i++)
            sum += image[i];
        image[511] = (uint8_t)-sum;
        g_assert_cmpint(write(fd, image, sizeof(image)), ==, sizeof(image));
        close(fd);
        rig_init(&r);
        opts = g_strdup_printf("addr=3,romfile=%s", path);
        add(&r, opts);
        wr(&r, 0x18, 0x30, 0xe0000001, 4);
        wr(&r, 0x18, 4, 2, 2);
        g_assert_cmphex(viv_space_read(r.board.mem, 0xe0000022, 2), ==, same ? 0x5678 : 0x10ff);
        sum = 0;
        for (unsigned i = 0; i < sizeof(image); i++)
            sum += (uint8_t)viv_space_read(r.board.mem, 0xe0000000 + i, 1);
        g_assert_cmphex(sum, ==, 0);
        rig_fini(&r);
        unlink(path);
    }
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

static void test_state(void)
{
    struct rig a, b;
    struct viv_state_reader *rd_state;
    struct viv_err err = VIV_ERR_INIT;
    size_t len, len2;
    uint8_t *data, *again;
    struct toy *t, *u; /* one has messages, the other its pin */

    rig_init(&a);
    t = add(&a, "addr=1");
    u = add(&a, "addr=5");
    wr(&a, 0x08, 0x20, 0xe0000000, 4);
    wr(&a, 0x08, 4, 6, 2);
    wr(&a, 0x08, rd(&a, 0x08, 0x34, 1) + 2, 0x8000, 2);
    viv_space_write(a.board.mem, 0xe0000010, 0xfee01000, 4);
    viv_msix_notify(&t->pci, 1);
    viv_pci_set_intx(&u->pci, 1);
    data = save(&len);
    rig_fini(&a);

    rig_init(&b);
    add(&b, "addr=1");
    u = add(&b, "addr=5");
    rd_state = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_dev_load_all(rd_state, &err), ==, 0);
    viv_state_reader_free(rd_state);
    g_assert_cmpuint(b.line_calls, ==, 0); /* load drives no line */
    again = save(&len2);
    g_assert_cmpmem(data, len, again, len2);
    g_assert_cmphex(viv_space_read(b.board.mem, 0xe0000010, 4), ==, 0xfee01000);
    viv_space_write(b.board.mem, 0xe000001c, 0, 4);
    g_assert_cmpuint(b.msis, ==, 1);
    viv_pci_set_intx(&u->pci, 0);
    g_assert_cmpuint(b.line_calls, ==, 1); /* but the fall arrives */
    rig_fini(&b);

    rig_init(&b);
    add(&b, "addr=1");
    rd_state = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_dev_load_all(rd_state, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "saved machine has a device 'pci.0/"));
    viv_state_reader_free(rd_state);
    rig_fini(&b);
    g_free(data);
    g_free(again);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/config", test_config);
    g_test_add_func("/pci/bars", test_bars);
    g_test_add_func("/pci/intx", test_intx);
    g_test_add_func("/pci/msix", test_msix);
    g_test_add_func("/pci/placing", test_placing);
    g_test_add_func("/pci/rom", test_rom);
    g_test_add_func("/pci/rom-ids", test_rom_ids);
    g_test_add_func("/pci/state", test_state);
    return g_test_run();
}
