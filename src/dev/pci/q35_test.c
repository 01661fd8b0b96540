#include "base/bytes.h"
#include "base/units.h"
#include "bus/pci.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/ich9_lpc.h"
#include "dev/pci/mch.h"
#include "dev/test_rig.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_mch, viv_dev_ich9_lpc, viv_dev_ich9_smbus, viv_dev_pci_testdev, viv_dev_pcie_root_port;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_mch, &viv_dev_ich9_lpc, &viv_dev_ich9_smbus, &viv_dev_pci_testdev,
                                                   &viv_dev_pcie_root_port, &viv_dev_fw_cfg, NULL};

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
    rig_fini();
}

/* As a CPU in SMM sees it. */
static uint32_t smm32(uint64_t addr)
{
    return (uint32_t)viv_space_read(rig.board.smm, addr, 4);
}

static void test_tseg(void)
{
    begin();
    set_mem32(14 * VIV_MIB, 9);
    set_cfg(0, 0x9e, 0x03, 1); /* 2 MiB */
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9); /* G_SMRAME is not set */
    set_cfg(0, 0x9d, 0x0a, 1);
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, UINT32_MAX);
    g_assert_cmphex(mem32(14 * VIV_MIB - 4), ==, 0);
    g_assert_cmphex(smm32(14 * VIV_MIB), ==, 9);
    set_mem32(14 * VIV_MIB, 1);
    viv_space_write(rig.board.smm, 16 * VIV_MIB - 4, 3, 4);
    g_assert_cmphex(smm32(14 * VIV_MIB), ==, 9);
    set_cfg(0, 0x9d, 0x4a, 1); /* open */
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9);
    g_assert_cmphex(mem32(16 * VIV_MIB - 4), ==, 3);
    set_cfg(0, 0x9d, 0x0a, 1);
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, UINT32_MAX);
    set_cfg(0, 0x9e, 0x02, 1); /* not enabled */
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9);
    set_cfg(0, 0xac, 0x00e12345, 4);
    g_assert_cmphex(cfg(0, 0xac, 4), ==, 0x00e00000);
    set_cfg(0, 0x9d, 0x1a, 1); /* lock */
    set_cfg(0, 0x9e, 0x03, 1);
    set_cfg(0, 0xac, 0, 4);
    g_assert_cmphex(cfg(0, 0x9e, 1), ==, 0x3a);
    g_assert_cmphex(cfg(0, 0xac, 4), ==, 0x00e00000);
    g_assert_cmphex(mem32(14 * VIV_MIB), ==, 9);
    g_assert_cmphex(mem32(0xa0000), ==, UINT32_MAX);
    viv_dev_reset_all();
    g_assert_cmphex(cfg(0, 0xac, 4), ==, 0);
    set_cfg(0, 0x9e, 0x01, 1);
    set_cfg(0, 0x9d, 0x1a, 1); /* on and locked at once, as firmware leaves it */
    g_assert_cmphex(mem32(15 * VIV_MIB), ==, UINT32_MAX);
    set_cfg(0, 0x9d, 0x02, 1);
    set_cfg(0, 0x9e, 0x00, 1);
    g_assert_cmphex(mem32(15 * VIV_MIB), ==, UINT32_MAX);
    set_cfg(0, 0x60, (uint32_t)(15 * VIV_MIB) | 1, 4); /* neither does another decoder show it */
    g_assert_cmphex(mem32(15 * VIV_MIB), !=, 9);
    rig_fini();
}

static void test_tseg_sizes(void)
{
    begin();
    set_cfg(0, 0x9d, 0x0a, 1);
    g_assert_cmphex(cfg(0, 0x50, 2), ==, 0);
    set_cfg(0, 0x50, 0xffff, 2);
    g_assert_cmphex(cfg(0, 0x50, 2), ==, 16);
    set_cfg(0, 0x50, 0x1234, 2);
    g_assert_cmphex(cfg(0, 0x50, 2), ==, 0);
    set_mem32(8 * VIV_MIB, 8);
    set_cfg(0, 0x9e, 0x05, 1);
    g_assert_cmphex(mem32(8 * VIV_MIB), ==, UINT32_MAX);
    g_assert_cmphex(mem32(8 * VIV_MIB - 4), ==, 0);
    set_cfg(0, 0x9e, 0x07, 1); /* all there is of memory: no */
    g_assert_cmphex(mem32(8 * VIV_MIB), ==, 8);
    g_assert_cmphex(mem32(VIV_MIB), ==, 0);
    rig_fini();
    g_assert_cmpint(viv_dev_add_global("mch", "extended-tseg-mbytes", "4", NULL), ==, 0);
    begin();
    set_cfg(0, 0x9d, 0x0a, 1);
    set_cfg(0, 0x50, 0xffff, 2);
    g_assert_cmphex(cfg(0, 0x50, 2), ==, 4);
    set_cfg(0, 0x9e, 0x07, 1);
    g_assert_cmphex(mem32(12 * VIV_MIB), ==, UINT32_MAX);
    g_assert_cmphex(mem32(12 * VIV_MIB - 4), ==, 0);
    rig_fini();
}

/* H_SMRAME: the same RAM, elsewhere. */
static void test_high_smram(void)
{
    begin();
    set_cfg(0, 0x9d, 0x4a, 1);
    set_mem32(0xa0000, 5);
    set_cfg(0, 0x9e, 0x80, 1);
    g_assert_cmphex(mem32(0xa0000), ==, UINT32_MAX);
    g_assert_cmphex(mem32(0xfeda0000), ==, 5);
    set_cfg(0, 0x9d, 0x1a, 1);
    g_assert_cmphex(mem32(0xfeda0000), ==, UINT32_MAX);
    g_assert_cmphex(smm32(0xfeda0000), ==, 5);
    g_assert_cmphex(smm32(0xa0000), ==, UINT32_MAX);
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

/* SMI_EN, SMI_STS, the lock, and what the guest gets: 316972-004, 13.8.3.7, 13.8.3.8. */
static void test_smi(void)
{
    begin();
    set_cfg(LPC, 0x40, 0x601, 2);
    set_cfg(LPC, 0x44, 0x80, 1);
    g_assert_cmphex(in32(0x630), ==, 0); /* SMIs are there to be used */
    out8(0xb2, 1);
    out32(0x630, 0x20); /* not GBL_SMI_EN */
    out8(0xb2, 1);
    out32(0x630, 0x01); /* not APMC_EN */
    out8(0xb2, 1);
    g_assert_cmpuint(rig.smis[0], ==, 0);
    g_assert_cmphex(in32(0x634), ==, 0);
    out32(0x630, 0x21);
    out8(0xb3, 0x55);
    g_assert_cmpuint(rig.smis[0], ==, 0);
    out8(0xb2, 0x12);
    g_assert_cmpuint(rig.smis[0], ==, 1);
    g_assert_cmphex(in32(0x634), ==, 0x20);
    g_assert_cmphex(in16(0xb2), ==, 0x5512);
    for (unsigned i = 1; i < 4; i++)
        out8(0x634 + i, 0xff); /* of its own byte alone */
    g_assert_cmphex(in32(0x634), ==, 0x20);
    out8(0x634, 0x20);
    g_assert_cmphex(in32(0x634), ==, 0);
    out8(0xb2, 0x12);
    g_assert_cmphex(in32(0x634), ==, 0x20);
    out32(0x634, 0x20);
    g_assert_cmphex(in32(0x634), ==, 0);
    set_cfg(LPC, 0xa0, 0x10, 2); /* SMI_LOCK */
    set_cfg(LPC, 0xa0, 0, 2);
    g_assert_cmphex(cfg(LPC, 0xa0, 2), ==, 0x10);
    out32(0x630, 0x20);
    g_assert_cmphex(in32(0x630), ==, 0x21);
    out8(0x630, 0);
    g_assert_cmphex(in32(0x630), ==, 0x01);
    viv_dev_reset_all();
    g_assert_cmphex(cfg(LPC, 0xa0, 2), ==, 0);
    rig_fini();
}

/* On a board without them firmware is told that they are in use. */
static void test_no_smi(void)
{
    begin(); /* its memory */
    rig_fini();
    rig_init();
    rig.board.smi.fn = rig.board.smi_all.fn = NULL;
    viv_space_free(rig.board.smm);
    rig.board.smm = NULL;
    map("low", VIV_REGION_RAM, ram, 0, 0xa0000);
    map("high", VIV_REGION_RAM, ram, VIV_MIB, 15 * VIV_MIB);
    rig_add("mch", "addr=0");
    lpc = rig_add("ICH9-LPC", "addr=1f.0");
    set_cfg(LPC, 0x40, 0x601, 2);
    set_cfg(LPC, 0x44, 0x80, 1);
    g_assert_cmphex(in32(0x630) & 0x20, ==, 0x20);
    out32(0x630, 0x01);
    g_assert_cmphex(in32(0x630), ==, 0x21);
    out8(0xb2, 1);
    g_assert_cmphex(in32(0x634), ==, 0);
    set_cfg(0, 0x9d, 0x1a, 1);
    set_cfg(0, 0x9e, 0x01, 1);
    g_assert_cmphex(mem32(0xa0000), ==, UINT32_MAX);
    rig_fini();
}

/* A fw_cfg item by its name: its key, found in the directory. */
static uint16_t item(const char *name)
{
    unsigned count;

    out16(0x510, 0x19);
    count = (unsigned)in8(0x511) << 24 | (unsigned)in8(0x511) << 16 | (unsigned)in8(0x511) << 8;
    count |= in8(0x511);
    while (count--) {
        uint8_t e[64];

        for (unsigned i = 0; i < sizeof(e); i++)
            e[i] = in8(0x511);
        if (!strcmp((char *)e + 8, name))
            return (uint16_t)(e[4] << 8 | e[5]);
    }
    return 0;
}

static void choose(uint8_t features)
{
    viv_st_be32(ram->hva + 0x1000, (uint32_t)item("etc/smi/requested-features") << 16 | 0x18); /* select, write */
    viv_st_be32(ram->hva + 0x1004, 8);
    viv_st_be64(ram->hva + 0x1008, 0x2000);
    viv_st_le64(ram->hva + 0x2000, features);
    out32(0x514, 0);
    out32(0x518, __builtin_bswap32(0x1000));
    g_assert_cmphex(viv_ld_be32(ram->hva + 0x1000), ==, 0);
}

static void test_broadcast(void)
{
    struct viv_err err = VIV_ERR_INIT;
    size_t len;
    uint8_t *saved;

    begin();
    g_assert_cmpint(viv_ich9_add_smi_files(lpc, rig_add("fw_cfg", NULL), &err), ==, 0);
    set_cfg(LPC, 0x40, 0x601, 2);
    set_cfg(LPC, 0x44, 0x80, 1);
    out32(0x630, 0x21);
    out16(0x510, item("etc/smi/supported-features"));
    g_assert_cmphex(in8(0x511), ==, 1);
    choose(3); /* the second one is not offered */
    out16(0x510, item("etc/smi/features-ok"));
    g_assert_cmphex(in8(0x511), ==, 0);
    choose(1);
    out8(0xb2, 0);
    g_assert_cmpuint(rig.smis[0], ==, 1); /* not yet */
    out16(0x510, item("etc/smi/features-ok"));
    g_assert_cmphex(in8(0x511), ==, 1);
    out8(0xb2, 0);
    g_assert_cmpuint(rig.smis[0], ==, 1);
    g_assert_cmpuint(rig.smis[1], ==, 1);
    choose(0); /* too late */
    out16(0x510, item("etc/smi/features-ok"));
    g_assert_cmphex(in8(0x511), ==, 1);
    out16(0x510, item("etc/smi/requested-features"));
    g_assert_cmphex(in8(0x511), ==, 1);
    out8(0xb2, 0);
    g_assert_cmpuint(rig.smis[1], ==, 2);
    saved = rig_save(&len);
    viv_dev_reset_all();
    out16(0x510, item("etc/smi/requested-features"));
    g_assert_cmphex(in8(0x511), ==, 0);
    rig_load(saved, len);
    out8(0xb2, 0);
    g_assert_cmpuint(rig.smis[1], ==, 3);
    g_free(saved);
    rig_fini();
}

static void test_sleep_props(void)
{
    begin();
    rig_refused("ICH9-LPC", "addr=2,disable_s3=0", "suspended");
    rig_refused("ICH9-LPC", "addr=2,disable_s4=0", "suspended");
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
    set_cfg(0, 0x9d, 0x1a, 1);
    viv_space_write(rig.board.smm, 15 * VIV_MIB, 77, 4);
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
    g_assert_cmphex(smm32(15 * VIV_MIB), ==, 77);
    set_cfg(0, 0x9e, 0x00, 1);
    set_cfg(0, 0x9d, 0x02, 1);
    g_assert_cmphex(cfg(0, 0x9d, 1), ==, 0x1a);
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
    g_test_add_func("/mch/tseg", test_tseg);
    g_test_add_func("/mch/tseg-sizes", test_tseg_sizes);
    g_test_add_func("/mch/high-smram", test_high_smram);
    g_test_add_func("/ich9/routing", test_routing);
    g_test_add_func("/ich9/pm", test_pm);
    g_test_add_func("/ich9/smi", test_smi);
    g_test_add_func("/ich9/no-smi", test_no_smi);
    g_test_add_func("/ich9/smi-broadcast", test_broadcast);
    g_test_add_func("/ich9/sleep-props", test_sleep_props);
    g_test_add_func("/ich9/rcba", test_rcba);
    g_test_add_func("/ich9/smbus", test_smbus);
    g_test_add_func("/ich9/state", test_state);
    return g_test_run();
}
