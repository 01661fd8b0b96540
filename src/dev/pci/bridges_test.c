#include "base/units.h"
#include "bus/pci.h"
#include "dev/test_rig.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

/* A function with BARs of each kind, MSI and power management; a root complex or a conventional bus above. */
struct toy {
    struct viv_pci_dev pci;
    uint8_t reg;
};

static uint64_t toy_read(void *o, uint64_t off, unsigned size)
{
    return ((struct toy *)o)->reg;
}

static void toy_write(void *o, uint64_t off, uint64_t v, unsigned size)
{
    ((struct toy *)o)->reg = (uint8_t)v;
}

static int toy_realize(struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x1234, 0x5678, 9, 0x010203, 0x1af4, 0x1100};
    static const struct viv_region_ops ops = {toy_read, toy_write, 1, 1, false, false};
    struct toy *t = (struct toy *)dev;
    struct viv_region_desc desc = {.name = "toy", .kind = VIV_REGION_IO, .size = 0x1000, .ops = &ops, .opaque = t};
    int r = viv_pci_dev_init(&t->pci, &ids, opts, err);

    if (r < 0)
        return r;
    t->pci.config[0x3d] = 2;
    viv_pci_add_bar(&t->pci, 0, viv_region_new(dev->board->mem, &desc), 0x1000, false, false, false);
    viv_pci_add_bar(&t->pci, 2, viv_region_new(dev->board->mem, &desc), 0x1000, false, true, true);
    desc.size = 0x40;
    viv_pci_add_bar(&t->pci, 1, viv_region_new(dev->board->io, &desc), 0x40, true, false, false);
    if (viv_pci_bus_kind(t->pci.bus) == VIV_PCIE_LINK)
        r = viv_pcie_init(&t->pci, VIV_PCIE_ENDPOINT, 0, err);
    if (!r)
        r = viv_pci_pm_init(&t->pci, err);
    return r ? r : viv_msi_init(&t->pci, 4, err);
}

static void toy_reset(struct viv_dev *dev)
{
    ((struct toy *)dev)->reg = 0;
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
    .fields = (const struct viv_field[]){VIV_F_STRUCT(toy, pci, viv_pci_dev_state), VIV_F_INT(toy, reg), VIV_F_END},
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
extern const struct viv_dev_class viv_dev_pcie_root_port, viv_dev_pcie_pci_bridge, viv_dev_pci_bridge;
const struct viv_dev_class *const rig_classes[] = {&toy_class, &viv_dev_pcie_root_port, &viv_dev_pcie_pci_bridge,
                                                   &viv_dev_pci_bridge, NULL};

static int lines[VIV_PCI_PIRQS];

static void set_pirq(void *o, int pirq, int level)
{
    lines[pirq] = level;
}

static unsigned route(unsigned slot, unsigned pin)
{
    return 4 + ((slot + pin) & 3);
}

static void begin(bool express)
{
    rig_init();
    memset(lines, 0, sizeof(lines));
    rig.board.pci = express ? viv_pcie_bus_new(&rig.board, "pcie.0") : viv_pci_bus_new(&rig.board, "pci.0");
    viv_pci_bus_set_pirq(rig.board.pci, set_pirq, NULL);
    if (express)
        viv_pci_bus_set_route(rig.board.pci, route);
    viv_pci_bus_add_ports(rig.board.pci);
}

static void end(void)
{
    viv_dev_lock();
    viv_dev_free_all();
    viv_dev_unlock();
    viv_pci_bus_free(rig.board.pci);
    rig_fini();
}

static struct toy *add(const char *cls, const char *id, const char *text)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_opts *opts = NULL;
    struct viv_dev *d = NULL;

    if (viv_opts_parse("-device", viv_dev_class_find(cls)->props, NULL, text, &opts, &err) < 0 ||
        viv_dev_new(&rig.board, cls, id, NULL, opts, &d, &err) < 0)
        g_error("%s", err.text);
    viv_opts_free(opts);
    return (struct toy *)d;
}

static uint32_t rd(unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
    out32(0xcf8, 0x80000000u | bus << 16 | devfn << 8 | (reg & 0xfc));
    return (uint32_t)viv_space_read(rig.board.io, 0xcfc + (reg & 3), size);
}

static void wr(unsigned bus, unsigned devfn, unsigned reg, uint32_t v, unsigned size)
{
    out32(0xcf8, 0x80000000u | bus << 16 | devfn << 8 | (reg & 0xfc));
    viv_space_write(rig.board.io, 0xcfc + (reg & 3), v, size);
}

/* A bridge at slot 4 of bus 0, one at slot 2 below it, toys below both: buses 1 and 2. */
static void two_levels(struct toy **a, struct toy **b)
{
    begin(false);
    add("pci-bridge", "outer", "addr=4,chassis_nr=1");
    add("pci-bridge", "inner", "bus=outer,addr=2,chassis_nr=2");
    *a = add("toy", NULL, "bus=outer,addr=3");
    *b = add("toy", NULL, "bus=inner,addr=5");
    wr(0, 0x20, 0x18, 0x00020100, 4);
    wr(1, 0x10, 0x18, 0x00020201, 4);
}

static void test_numbers(void)
{
    struct toy *a, *b;

    two_levels(&a, &b);
    g_assert_cmphex(rd(0, 0x20, 0, 4), ==, 0x00011b36);
    g_assert_cmphex(rd(0, 0x20, 0x0e, 1), ==, 1);
    g_assert_cmphex(rd(1, 0x10, 0, 4), ==, 0x00011b36);
    g_assert_cmphex(rd(1, 0x18, 0, 4), ==, 0x56781234);
    g_assert_cmphex(rd(2, 0x28, 0, 4), ==, 0x56781234);
    g_assert_cmphex(rd(3, 0x28, 0, 4), ==, UINT32_MAX);
    wr(1, 0x10, 0x18, 0x00090501, 4); /* renumbered: but the outer bridge stops at 2 */
    g_assert_cmphex(rd(5, 0x28, 0, 4), ==, UINT32_MAX);
    wr(0, 0x20, 0x18, 0x00090100, 4);
    g_assert_cmphex(rd(5, 0x28, 0, 4), ==, 0x56781234);
    g_assert_cmphex(rd(2, 0x28, 0, 4), ==, UINT32_MAX);
    g_assert_cmpstr(b->pci.dev.path, ==, "inner/05.0/toy");
    {
        g_autofree char *path = viv_pci_fw_path(&b->pci, "scsi");

        g_assert_cmpstr(path, ==, "/pci@i0cf8/pci-bridge@4/pci-bridge@2/scsi@5");
    }
    end();
}

/* A BAR answers when the function, both bridges and their windows let it. */
static void test_windows(void)
{
    struct toy *a, *b;

    two_levels(&a, &b);
    b->reg = 0x77;
    wr(2, 0x28, 0x10, 0xe0101000, 4);
    wr(2, 0x28, 0x14, 0xd040, 4);
    wr(2, 0x28, 0x18, 0x00300000, 4);
    wr(2, 0x28, 0x1c, 0x12, 4);
    wr(2, 0x28, 4, 7, 2);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0xff);
    wr(1, 0x10, 0x20, 0xe010e010, 4);
    wr(1, 0x10, 4, 7, 2);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0xff); /* the outer one is closed */
    wr(0, 0x20, 0x20, 0xe010e000, 4);
    wr(0, 0x20, 4, 2, 2);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0x77);
    g_assert_true(viv_pci_bus_master(&b->pci)); /* SeaBIOS and iPXE leave the bridges' bit off */
    wr(2, 0x28, 4, 3, 2);
    g_assert_false(viv_pci_bus_master(&b->pci));
    wr(2, 0x28, 4, 7, 2);
    wr(0, 0x20, 4, 7, 2);
    g_assert_cmphex(in8(0xd040), ==, 0xff);
    wr(0, 0x20, 0x1c, 0xd0c0, 2); /* C000h-DFFFh */
    wr(1, 0x10, 0x1c, 0xd0d0, 2);
    g_assert_cmphex(in8(0xd040), ==, 0x77);
    for (unsigned i = 0; i < 2; i++) { /* 12_00300000h */
        unsigned bus = i, devfn = i ? 0x10 : 0x20;

        g_assert_cmphex(viv_space_read(rig.board.mem, 0x1200300000, 1), ==, 0xff);
        wr(bus, devfn, 0x24, 0x00310021, 4);
        wr(bus, devfn, 0x28, 0x12, 4);
        wr(bus, devfn, 0x2c, 0x12, 4);
    }
    g_assert_cmphex(viv_space_read(rig.board.mem, 0x1200300000, 1), ==, 0x77);
    g_assert_cmphex(rd(0, 0x20, 0x24, 4), ==, 0x00310021);
    wr(0, 0x20, 0x20, 0xe000e000, 4); /* the BAR is no longer inside */
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0xff);
    wr(0, 0x20, 0x20, 0xe010e000, 4);
    wr(0, 0x20, rd(0, 0x20, 0x34, 1) + 4, 3, 1); /* the bridge sleeps */
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0xff);
    wr(0, 0x20, rd(0, 0x20, 0x34, 1) + 4, 0, 1);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0x77);
    wr(2, 0x28, rd(2, 0x28, 0x34, 1) + 4, 3, 1); /* the function does */
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0xff);
    wr(2, 0x28, rd(2, 0x28, 0x34, 1) + 4, 0, 1);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0x77);

    wr(0, 0x20, 0x3e, 0x40, 2); /* secondary bus reset, once for each rise */
    g_assert_cmphex(b->reg, ==, 0);
    g_assert_cmphex(rd(2, 0x28, 4, 2), ==, UINT16_MAX); /* the inner bridge has no number */
    b->reg = 0x78;
    wr(0, 0x20, 0x3e, 0x41, 2);
    g_assert_cmphex(b->reg, ==, 0x78);
    end();
}

/* Pin B of slot 5 is pin C at slot 2 of the outer bus, A at slot 4 of bus 0: PIRQ (4 + 0 - 1) mod 4. */
static void test_swizzle(void)
{
    struct toy *a, *b, *c;

    two_levels(&a, &b);
    viv_pci_set_intx(&b->pci, 1);
    g_assert_cmpint(lines[3], ==, 1);
    c = add("toy", NULL, "addr=3"); /* pin B of slot 3: the same PIRQ, from the root bus */
    viv_pci_set_intx(&c->pci, 1);
    viv_pci_set_intx(&b->pci, 0);
    g_assert_cmpint(lines[3], ==, 1);
    viv_pci_set_intx(&c->pci, 0);
    g_assert_cmpint(lines[3], ==, 0);
    end();

    begin(true);
    add("pcie-root-port", "rp", "addr=6,slot=5");
    a = add("toy", NULL, "bus=rp");
    viv_pci_set_intx(&a->pci, 1); /* pin B, slot 0: unchanged by the link; slot 6: 4 + (6 + 1) mod 4 */
    g_assert_cmpint(lines[7], ==, 1);
    end();
}

static void test_msi(void)
{
    struct toy *a, *b;
    unsigned cap;

    two_levels(&a, &b);
    cap = rd(1, 0x18, rd(1, 0x18, 0x34, 1) + 1, 1);
    g_assert_cmphex(rd(1, 0x18, cap, 4), ==, 0x00840005);
    viv_msi_notify(&a->pci, 0);
    g_assert_cmpuint(rig.msis, ==, 0);
    wr(1, 0x18, cap + 4, 0xfee00003, 4);
    wr(1, 0x18, cap + 8, 1, 4);
    wr(1, 0x18, cap + 12, 0x4143, 2);
    wr(1, 0x18, cap + 2, 0x0011, 2); /* two of four */
    viv_msi_notify(&a->pci, 2);
    g_assert_cmpuint(rig.msis, ==, 0); /* it is no bus master */
    wr(1, 0x18, 4, 4, 2);
    viv_msi_notify(&a->pci, 2);
    g_assert_cmphex(rig.msi_addr, ==, 0x1fee00000);
    g_assert_cmphex(rig.msi_data, ==, 0x4142);
    wr(1, 0x18, cap + 2, 0x0071, 2); /* more than there are */
    viv_msi_notify(&a->pci, 7);
    g_assert_cmphex(rig.msi_data, ==, 0x4143);
    g_assert_cmpuint(rig.msis, ==, 2);
    end();
}

static void test_express(void)
{
    struct viv_pci_bus *root, *link;
    struct toy *t;
    unsigned cap, port;

    begin(true);
    root = rig.board.pci;
    add("pcie-root-port", "rp0", "addr=2.0,multifunction=on,chassis=1,slot=3,hotplug=off");
    add("pcie-root-port", "rp1", "addr=2.1,chassis=1,slot=4,port=0x21,hotplug=off");
    rig_refused("pcie-root-port", "addr=2.2,chassis=1,slot=4", "chassis=1,slot=4 is taken");
    rig_refused("pcie-root-port", "bus=rp0", "'rp0' is not that of a PCI Express root complex");
    rig_refused("pci-bridge", "addr=5", "chassis_nr");
    rig_refused("toy", "bus=rp9", "'pcie.0', 'rp0', 'rp1'");
    rig_refused("toy", "bus=rp0,addr=1", "one slot");
    port = rd(0, 0x10, 0x34, 1);
    g_assert_cmphex(rd(0, 0x10, port, 1), ==, 0x10);
    g_assert_cmphex(rd(0, 0x10, port + 2, 2), ==, 0x0142); /* version 2, root port, slot */
    g_assert_cmphex(rd(0, 0x10, port + 0x14, 4), ==, 3 << 19);
    g_assert_cmphex(rd(0, 0x11, port + 0x0f, 1), ==, 0x21);
    g_assert_cmphex(rd(0, 0x10, port + 0x1a, 2), ==, 0);
    t = add("toy", NULL, "bus=rp0");
    rig_refused("toy", "bus=rp0", "taken by 'toy'");
    g_assert_cmphex(rd(0, 0x10, port + 0x1a, 2), ==, 0x40); /* present, link up */
    g_assert_cmphex(rd(0, 0x10, port + 0x12, 2), ==, 0x2011);
    wr(0, 0x10, 0x18, 0x00010100, 4);
    cap = rd(1, 0, 0x34, 1);
    g_assert_cmphex(rd(1, 0, cap, 4) & 0xffff00ff, ==, 0x00020010);
    g_assert_cmphex(rd(1, 0, cap + 8, 2), ==, 0x2810);
    wr(1, 0, cap + 8, 0, 2);
    link = viv_pci_bus_at(root, 1);
    g_assert_cmphex(viv_pci_config_read(link, 0, 0x100, 4), ==, 0); /* no extended capability */
    g_assert_cmphex(viv_pci_config_read(root, 0x10, 0x100, 4), ==, 0x0001000d);
    viv_pci_config_write(root, 0x10, 0x106, 0xffff, 2);
    g_assert_cmphex(viv_pci_config_read(root, 0x10, 0x104, 4), ==, 0x001d001d);
    g_assert_cmphex(viv_pcie_add_cap(&t->pci, 3, 1, 12), ==, 0x100);
    g_assert_cmphex(viv_pcie_add_cap(&t->pci, 0xb, 1, 4), ==, 0x10c);
    g_assert_cmphex(viv_pci_config_read(link, 0, 0x100, 4), ==, 0x10c10003);
    g_assert_cmphex(viv_pcie_add_cap(&t->pci, 0xb, 1, 4000), ==, 0);
    viv_dev_reset_all();
    g_assert_cmphex(viv_pci_config_read(root, 0x10, 0x106, 2), ==, 0);
    g_assert_cmphex(viv_pci_config_read(viv_pci_bus_at(root, 1), 0, 0, 4), ==, UINT32_MAX);
    wr(0, 0x10, 0x18, 0x00010100, 4);
    g_assert_cmphex(rd(1, 0, cap + 8, 2), ==, 0x2810);
    add("toy", NULL, "addr=9"); /* conventional on the root bus: nothing behind byte 255 */
    g_assert_cmphex(viv_pci_config_read(root, 0x48, 0x100, 4), ==, UINT32_MAX);
    add("pcie-pci-bridge", "pb", "bus=rp1");
    add("toy", NULL, "bus=pb,addr=7");
    end();
    begin(false);
    rig_refused("pcie-root-port", "", "use machine q35");
    rig_refused("pcie-pci-bridge", "", "use pci-bridge");
    end();
}

static void test_state(void)
{
    struct toy *a, *b;
    size_t len, len2;
    uint8_t *data, *again;

    two_levels(&a, &b);
    b->reg = 0x55;
    wr(2, 0x28, 0x10, 0xe0101000, 4);
    wr(2, 0x28, 4, 6, 2);
    wr(1, 0x10, 0x20, 0xe010e010, 4);
    wr(1, 0x10, 4, 6, 2);
    wr(0, 0x20, 0x20, 0xe010e000, 4);
    wr(0, 0x20, 4, 6, 2);
    viv_pci_set_intx(&b->pci, 1);
    data = rig_save(&len);
    end();
    two_levels(&a, &b);
    rig_load(data, len);
    again = rig_save(&len2);
    g_assert_cmpmem(data, len, again, len2);
    g_assert_cmphex(mem32(0xe0101000) & 0xff, ==, 0x55);
    viv_pci_set_intx(&b->pci, 0);
    g_assert_cmpint(lines[3], ==, 0);
    end();
    g_free(data);
    g_free(again);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci-bridge/numbers", test_numbers);
    g_test_add_func("/pci-bridge/windows", test_windows);
    g_test_add_func("/pci-bridge/swizzle", test_swizzle);
    g_test_add_func("/pci-bridge/state", test_state);
    g_test_add_func("/pci/msi", test_msi);
    g_test_add_func("/pcie", test_express);
    return g_test_run();
}
