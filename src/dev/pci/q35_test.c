#include "base/units.h"
#include "bus/pci.h"
#include "dev/pci/ich9_lpc.h"
#include "dev/pci/mch.h"
#include "dev/test_rig.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_mch, viv_dev_ich9_lpc, viv_dev_ich9_smbus, viv_dev_pci_testdev, viv_dev_pcie_root_port;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_mch, &viv_dev_ich9_lpc, &viv_dev_ich9_smbus, &viv_dev_pci_testdev,
                                                   &viv_dev_pcie_root_port, NULL};

enum { LPC = 0xf8, SMB = 0xfb };

static struct viv_ram *ram, *bios;
static struct viv_dev *mch, *lpc;

static void map(const char *name, enum viv_region_kind kind, struct viv_ram *r, uint64_t at, uint64_t size)
{
    struct viv_region_desc desc = {.name = name, .kind = kind, .size = size, .ram = r, .ram_offset = kind == VIV_REGION_RAM ? at : 0};

    viv_region_map(viv_region_new(rig.board.mem, &desc), at, kind == VIV_REGION_ROM);
}

static void begin(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (!ram) {
        g_assert_cmpint(viv_ram_new("pc.ram", 16 * VIV_MIB, &ram, &err), ==, 0);
        g_assert_cmpint(viv_ram_new("pc.bios", 0x20000, &bios, &err), ==, 0);
    }
    memset(bios->hva, 0xb1, bios->size);
    rig_init();
    map("low", VIV_REGION_RAM, ram, 0, 0xa0000);
    map("high", VIV_REGION_RAM, ram, VIV_MIB, 15 * VIV_MIB);
    map("bios", VIV_REGION_ROM, bios, 0xe0000, 0x20000);
    mch = rig_add("mch", "addr=0");
    lpc = rig_add("ICH9-LPC", "addr=1f.0,multifunction=on");
    rig_add("ICH9-SMB", "addr=1f.3");
}

static uint32_t cfg(unsigned devfn, unsigned reg, unsigned len)
{
    return viv_pci_config_read(rig.board.pci, devfn, reg, len);
}

static void set_cfg(unsigned devfn, unsigned reg, uint32_t v, unsigned len)
{
    viv_pci_config_write(rig.board.pci, devfn, reg, v, len);
}

static void test_ecam(void)
{
    begin();
    rig_add("pcie-root-port", "addr=2");
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, UINT32_MAX);
    set_cfg(0, 0x64, 0, 4);
    set_cfg(0, 0x60, VIV_MCH_ECAM | 1, 4);
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, 0x29c08086);
    g_assert_cmphex(mem32(VIV_MCH_ECAM + 8), ==, 0x06000000);
    g_assert_cmphex(mem32(VIV_MCH_ECAM + (LPC << 12)), ==, 0x29188086);
    g_assert_cmphex(mem32(VIV_MCH_ECAM + (0x10 << 12) + 0x100), ==, 0x0001000d); /* extended */
    g_assert_cmphex(mem32(VIV_MCH_ECAM + (1 << 20)), ==, UINT32_MAX);             /* bus 1 is nowhere yet */
    set_mem32(VIV_MCH_ECAM + (LPC << 12) + 0x60, 0x0b0a0b0a);
    g_assert_cmphex(cfg(LPC, 0x60, 4), ==, 0x0b0a0b0a);
    g_assert_cmphex(viv_space_read(rig.board.mem, VIV_MCH_ECAM + (LPC << 12) + 0x61, 1), ==, 0x0b);
    set_cfg(0, 0x60, 0xe4000005, 4); /* 64 MiB elsewhere */
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, UINT32_MAX);
    g_assert_cmphex(mem32(0xe4000000), ==, 0x29c08086);
    g_assert_cmphex(mem32(0xe8000000), ==, UINT32_MAX);
    set_cfg(0, 0x60, 0xe4000007, 4); /* a reserved length */
    g_assert_cmphex(mem32(0xe4000000), ==, UINT32_MAX);
    viv_mch_setup(mch);
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, 0x29c08086);
    viv_dev_reset_all();
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, UINT32_MAX);
    g_assert_cmphex(cfg(0, 0x60, 4), ==, 0xe0000000);
    rig_fini();
}

static void test_memory(void)
{
    begin();
    g_assert_cmphex(mem32(0xf0000), ==, 0xb1b1b1b1);
    set_cfg(0, 0x90, 0x30, 1);
    set_mem32(0xf0000, 0x12345678);
    g_assert_cmphex(mem32(0xf0000), ==, 0x12345678);
    set_cfg(0, 0x91, 0x02, 1); /* C0000h-C3FFFh: writes to RAM, reads from PCI */
    set_mem32(0xc0000, 5);
    g_assert_cmphex(mem32(0xc0000), ==, UINT32_MAX);
    set_cfg(0, 0x91, 0x01, 1);
    g_assert_cmphex(mem32(0xc0000), ==, 5);
    set_cfg(0, 0x9d, 0x4a, 1);
    set_mem32(0xa0000, 7);
    g_assert_cmphex(mem32(0xa0000), ==, 7);
    g_assert_cmphex(cfg(0, 0xb0, 2), ==, 0x0100); /* TOLUD: 16 MiB */
    set_mem32(14 * VIV_MIB, 9);
    set_cfg(0, 0x9e, 0x03, 1); /* TSEG of 2 MiB */
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, UINT32_MAX);
    g_assert_cmphex(mem32(14 * VIV_MIB - 4), ==, 0);
    set_cfg(0, 0x9e, 0x00, 1);
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9);
    set_cfg(0, 0x9d, 0x1a, 1); /* lock */
    set_cfg(0, 0x9e, 0x03, 1);
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9);
    g_assert_cmphex(mem32(0xa0000), ==, UINT32_MAX);
    viv_dev_reset_all();
    set_cfg(0, 0x9e, 0x01, 1);
    g_assert_cmphex(mem32(15 * VIV_MIB), ==, UINT32_MAX);
    rig_fini();
}

static void test_routing(void)
{
    struct viv_pci_dev *a, *b;

    begin();
    a = (struct viv_pci_dev *)rig_add("pci-testdev", "addr=3");  /* pin A: PIRQ H */
    b = (struct viv_pci_dev *)rig_add("pci-testdev", "addr=1a"); /* pin A: PIRQ A */
    a->config[0x3d] = b->config[0x3d] = 1;
    viv_pci_set_intx(a, 1);
    g_assert_cmpint(rig.line[23], ==, 1);
    for (unsigned i = 0; i < 23; i++)
        g_assert_cmpint(rig.line[i], ==, 0);
    set_cfg(LPC, 0x6b, 11, 1);
    g_assert_cmpint(rig.line[11], ==, 1);
    viv_pci_set_intx(b, 1);
    g_assert_cmpint(rig.line[16], ==, 1);
    set_cfg(LPC, 0x60, 11, 1);
    viv_pci_set_intx(a, 0);
    g_assert_cmpint(rig.line[11], ==, 1); /* shared */
    g_assert_cmpint(rig.line[23], ==, 0);
    set_cfg(LPC, 0x60, 0x8b, 1);
    g_assert_cmpint(rig.line[11], ==, 0);
    g_assert_cmpint(rig.line[16], ==, 1);
    rig_fini();
}

static void test_pm(void)
{
    begin();
    g_assert_cmphex(in16(0x604), ==, UINT16_MAX);
    set_cfg(LPC, 0x40, 0x601, 2);
    g_assert_cmphex(in16(0x604), ==, UINT16_MAX);
    set_cfg(LPC, 0x44, 0x80, 1);
    g_assert_cmphex(in16(0x604), ==, 0);
    g_assert_cmphex(in32(0x630) & 0x20, ==, 0x20); /* SMIs are "in use" */
    out32(0x630, 0);
    g_assert_cmphex(in32(0x630), ==, 0x20);
    out16(0x602, 0x100);
    viv_ich9_power_button(lpc);
    g_assert_cmpint(rig.line[9], ==, 0);
    out8(0xb2, 0xf1);
    g_assert_cmpint(rig.line[9], ==, 1);
    set_cfg(LPC, 0x44, 0x84, 1); /* SCI on pin 20 */
    g_assert_cmpint(rig.line[9], ==, 0);
    g_assert_cmpint(rig.line[20], ==, 1);
    out16(0x600, 0x100);
    g_assert_cmpint(rig.line[20], ==, 0);
    out32(0x628, 0xffffffff); /* GPE enables: nothing has happened */
    g_assert_cmphex(in32(0x628), ==, 0xffffffff);
    g_assert_cmpint(rig.line[20], ==, 0);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(in32(0x608), ==, 3579545);
    out16(0x604, 1 << 13);
    g_assert_cmpint(rig.request, ==, VIV_VM_SHUTDOWN);
    out8(0xcf9, 6);
    g_assert_cmpint(rig.request, ==, VIV_VM_RESET);
    rig_fini();
}

static void test_rcba(void)
{
    begin();
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3410), ==, UINT32_MAX);
    set_cfg(LPC, 0xf0, VIV_ICH9_RCBA | 1, 4);
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3410), ==, 0x20);
    set_mem32(VIV_ICH9_RCBA + 0x3410, 0); /* the strap stays */
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3410), ==, 0x20);
    set_mem32(VIV_ICH9_RCBA + 0x3404, 0x80);
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3404), ==, 0x80);
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3140), ==, 0x32103210);
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3ffc), ==, 0);
    rig_fini();
}

static void test_smbus(void)
{
    begin();
    set_cfg(SMB, 0x20, 0x700, 4);
    set_cfg(SMB, 4, 1, 2);
    set_cfg(SMB, 0x40, 1, 1);
    out8(0x704, 0xa1);
    out8(0x702, 0x49); /* byte data, interrupt wanted */
    g_assert_cmphex(in8(0x700), ==, 4);
    g_assert_cmphex(in8(0x702), ==, 0x09);
    g_assert_cmpint(rig.line[16], ==, 1);
    out8(0x700, 4);
    g_assert_cmphex(in8(0x700), ==, 0);
    g_assert_cmpint(rig.line[16], ==, 0);
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;
    static const uint8_t lines[VIV_PCI_PIRQS] = {10, 10, 11, 11, 10, 10, 11, 11};

    begin();
    viv_mch_setup(mch);
    viv_ich9_setup(lpc, lines);
    out16(0x602, 0x101);
    viv_ich9_power_button(lpc);
    set_mem32(VIV_ICH9_RCBA + 0x3404, 0x80);
    set_cfg(0, 0x9e, 0x01, 1);
    out32(0xcf8, 0x80000840);
    a = rig_save(&len);
    rig_fini();
    begin();
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmphex(in32(0xcf8), ==, 0x80000840);
    g_assert_cmphex(mem32(VIV_MCH_ECAM), ==, 0x29c08086);
    g_assert_cmphex(mem32(15 * VIV_MIB), ==, UINT32_MAX);
    g_assert_cmphex(mem32(VIV_ICH9_RCBA + 0x3404), ==, 0x80);
    g_assert_cmphex(in16(0x602), ==, 0x101);
    rig_fini();
    g_free(a);
    g_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mch/ecam", test_ecam);
    g_test_add_func("/mch/memory", test_memory);
    g_test_add_func("/ich9/routing", test_routing);
    g_test_add_func("/ich9/pm", test_pm);
    g_test_add_func("/ich9/rcba", test_rcba);
    g_test_add_func("/ich9/smbus", test_smbus);
    g_test_add_func("/ich9/state", test_state);
    return g_test_run();
}
