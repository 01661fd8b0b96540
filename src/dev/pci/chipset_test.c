#include "base/units.h"
#include "bus/pci.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/pci/i440fx.h"
#include "dev/test_rig.h"

#include <glib.h>
#include <string.h>

extern const struct viv_dev_class viv_dev_i440fx, viv_dev_piix3, viv_dev_piix4_pm,
    viv_dev_pci_testdev;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i440fx, &viv_dev_piix3,
                                                   &viv_dev_piix4_pm, &viv_dev_pci_testdev, NULL};

static struct viv_ram *ram, *bios;
static struct viv_dev *bridge, *pm;

static void begin(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (!ram) {
        g_assert_cmpint(viv_ram_new("pc.ram", 2 * VIV_MIB, &ram, &err), ==, 0);
        g_assert_cmpint(viv_ram_new("pc.bios", 0x20000, &bios, &err), ==, 0);
    }
    memset(ram->hva, 0, ram->size);
    memset(bios->hva, 0xb1, bios->size);
    rig_init();
    viv_region_map(viv_region_new(rig.board.mem, &(struct viv_region_desc){.name = "low",
                                                                           .kind = VIV_REGION_RAM,
                                                                           .size = 0xa0000,
                                                                           .ram = ram}),
                   0, 0);
    viv_region_map(viv_region_new(rig.board.mem, &(struct viv_region_desc){.name = "bios",
                                                                           .kind = VIV_REGION_ROM,
                                                                           .size = 0x20000,
                                                                           .ram = bios}),
                   0xe0000, 1);
    bridge = rig_add("i440FX", "addr=0");
    rig_add("PIIX3", "addr=1,multifunction=on");
    pm = rig_add("PIIX4_PM", "addr=1.3");
}

static uint32_t cfg(unsigned devfn, unsigned reg, unsigned len)
{
    return viv_pci_config_read(rig.board.pci, devfn, reg, len);
}

static void set_cfg(unsigned devfn, unsigned reg, uint32_t v, unsigned len)
{
    viv_pci_config_write(rig.board.pci, devfn, reg, v, len);
}

static void test_pam(void)
{
    begin();
    g_assert_cmphex(cfg(0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(mem32(0xf0000), ==, 0xb1b1b1b1);
    g_assert_cmphex(mem32(0xc0000), ==, 0xffffffff); /* nothing: PCI */
    set_cfg(0, 0x59, 0x20, 1);                       /* F0000h: write to RAM, read from ROM */
    set_mem32(0xf0000, 0x12345678);
    g_assert_cmphex(mem32(0xf0000), ==, 0xb1b1b1b1);
    set_cfg(0, 0x59, 0x10, 1); /* read only RAM */
    g_assert_cmphex(mem32(0xf0000), ==, 0x12345678);
    set_mem32(0xf0000, 0);
    g_assert_cmphex(mem32(0xf0000), ==, 0x12345678);
    set_cfg(0, 0x59, 0x30, 1);
    set_mem32(0xf0000, 0x77);
    g_assert_cmphex(mem32(0xf0000), ==, 0x77);
    set_cfg(0, 0x5a, 0x03, 1); /* C0000h-C3FFFh only */
    set_mem32(0xc0000, 1);
    set_mem32(0xc4000, 1);
    g_assert_cmphex(mem32(0xc0000), ==, 1);
    g_assert_cmphex(mem32(0xc4000), ==, 0xffffffff);
    viv_dev_reset_all();
    g_assert_cmphex(mem32(0xf0000), ==, 0xb1b1b1b1);
    viv_i440fx_open_shadow(bridge);
    for (uint32_t a = 0xc0000; a < 0x100000; a += 0x1000) {
        set_mem32(a, a);
        g_assert_cmphex(mem32(a), ==, a);
    }
    rig_fini();
}

/* A guest can have an expansion ROM anywhere: one smaller than a segment is not read past its end. */
static void test_pam_small_rom(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_region *r;
    struct viv_ram *rom;

    begin();
    g_assert_cmpint(viv_ram_new("small.rom", 0x1000, &rom, &err), ==, 0);
    memset(rom->hva, 0x5a, rom->size);
    r = viv_region_new(rig.board.mem, &(struct viv_region_desc){.name = "rom", .kind = VIV_REGION_ROM, .size = 0x1000, .ram = rom});
    viv_region_map(r, 0xd0000, 1);
    set_cfg(0, 0x5c, 0x02, 1); /* D0000h-D3FFFh: write to RAM, read from PCI */
    g_assert_cmphex(mem32(0xd1000), ==, 0xffffffff);
    g_assert_cmphex(mem32(0xd3ffc), ==, 0xffffffff);
    set_mem32(0xd2000, 0x12345678);
    set_cfg(0, 0x5c, 0x01, 1);
    g_assert_cmphex(mem32(0xd2000), ==, 0x12345678);
    rig_fini();
}

/* As a CPU in SMM sees it. */
static uint32_t smm32(uint64_t addr)
{
    return (uint32_t)viv_space_read(rig.board.smm, addr, 4);
}

static void test_smram(void)
{
    begin();
    g_assert_cmphex(mem32(0xa0000), ==, 0xffffffff);
    set_cfg(0, 0x72, 0x4a, 1);
    set_mem32(0xa0000, 5);
    g_assert_cmphex(mem32(0xa0000), ==, 5);
    g_assert_cmphex(smm32(0xa0000), ==, 5);
    set_cfg(0, 0x72, 0x02, 1); /* not there at all: a video card's memory for everybody */
    g_assert_cmphex(smm32(0xa0000), ==, 0xffffffff);
    set_cfg(0, 0x72, 0x0a, 1); /* in SMM alone */
    g_assert_cmphex(mem32(0xa0000), ==, 0xffffffff);
    g_assert_cmphex(smm32(0xa0000), ==, 5);
    set_mem32(0xa0000, 6);
    g_assert_cmphex(smm32(0xa0000), ==, 5);
    viv_space_write(rig.board.smm, 0xbfffc, 7, 4);
    g_assert_cmphex(smm32(0xbfffc), ==, 7);
    g_assert_cmphex(smm32(0xc0000), ==, mem32(0xc0000));
    set_cfg(0, 0x72, 0x1a, 1); /* lock */
    g_assert_cmphex(mem32(0xa0000), ==, 0xffffffff);
    g_assert_cmphex(smm32(0xa0000), ==, 5);
    set_cfg(0, 0x72, 0x02, 1);
    g_assert_cmphex(smm32(0xa0000), ==, 5);
    set_cfg(0, 0x72, 0x4a, 1);
    g_assert_cmphex(mem32(0xa0000), ==, 0xffffffff);
    g_assert_cmphex(cfg(0, 0x72, 1), ==, 0x1a);
    viv_dev_reset_all();
    g_assert_cmphex(cfg(0, 0x72, 1), ==, 0x02);
    g_assert_cmphex(smm32(0xa0000), ==, 0xffffffff);
    rig_fini();
}

static void test_routing(void)
{
    struct viv_pci_dev *a, *b;

    begin();
    a = (struct viv_pci_dev *)rig_add("pci-testdev", "addr=3"); /* pin A: PIRQ 2 */
    b = (struct viv_pci_dev *)rig_add("pci-testdev", "addr=4"); /* PIRQ 3 */
    a->config[0x3d] = b->config[0x3d] = 1;
    viv_pci_set_intx(a, 1);
    for (int i = 0; i < 16; i++)
        g_assert_cmpint(rig.line[i], ==, 0); /* not routed */
    set_cfg(8, 0x62, 11, 1);
    g_assert_cmpint(rig.line[11], ==, 1);
    set_cfg(8, 0x63, 11, 1);
    viv_pci_set_intx(b, 1);
    viv_pci_set_intx(a, 0);
    g_assert_cmpint(rig.line[11], ==, 1); /* shared */
    set_cfg(8, 0x63, 10, 1);
    g_assert_cmpint(rig.line[11], ==, 0);
    g_assert_cmpint(rig.line[10], ==, 1);
    set_cfg(8, 0x63, 8, 1); /* reserved: nowhere */
    g_assert_cmpint(rig.line[10] | rig.line[8], ==, 0);
    rig_fini();
}

static void test_reset_port(void)
{
    begin();
    out8(0xcf9, 2);
    g_assert_cmpuint(rig.requests, ==, 0);
    out8(0xcf9, 6);
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmpint(rig.request, ==, VIV_VM_RESET);
    g_assert_cmphex(in8(0xcf9), ==, 2);
    out32(0xcf8, 0x80000006); /* the address register, though it covers CF9h */
    g_assert_cmpuint(rig.requests, ==, 1);
    rig_fini();
}

static void test_pm_timer(void)
{
    begin();
    g_assert_cmphex(in32(0x608), ==, 0xffffffff); /* not placed */
    set_cfg(0x0b, 0x40, 0x601, 4);
    set_cfg(0x0b, 0x80, 1, 1);
    rig_step(VIV_NS_PER_SEC);
    g_assert_cmpuint(in32(0x608), ==, 3579545);
    out16(0x602, 1); /* TMR_EN */
    out16(0x600, 1);
    out16(0x604, 1); /* SCI_EN */
    g_assert_cmpint(rig.line[9], ==, 0);
    rig_step(1500 * VIV_NS_PER_MS); /* bit 23 changes at 2.34 s */
    g_assert_cmpint(rig.line[9], ==, 1);
    g_assert_cmphex(in16(0x600), ==, 1);
    out16(0x600, 1);
    g_assert_cmpint(rig.line[9], ==, 0);
    rig_step(2400 * VIV_NS_PER_MS);
    g_assert_cmpint(rig.line[9], ==, 1);
    g_assert_cmphex(in32(0x608) >> 24, ==, 0);
    rig_fini();
}

/* An SMI takes APMC_EN in DEVACTB and SMI_EN in GLBCTL. */
static void test_smi(void)
{
    begin();
    viv_piix4_pm_setup(pm, VIV_PIIX4_PM_BASE);
    g_assert_cmphex(cfg(0xb, 0x58, 4), ==, 0);
    out8(0xb2, 1);
    set_cfg(0xb, 0x58, 1u << 25, 4);
    out8(0xb2, 1);
    g_assert_cmpuint(rig.smis[0], ==, 0);
    out32(VIV_PIIX4_PM_BASE + 0x28, 1);
    g_assert_cmphex(in32(VIV_PIIX4_PM_BASE + 0x28), ==, 1);
    out8(0xb3, 1);
    g_assert_cmpuint(rig.smis[0], ==, 0);
    out8(0xb2, 1);
    g_assert_cmpuint(rig.smis[0], ==, 1);
    g_assert_cmphex(in16(VIV_PIIX4_PM_BASE + 0x18), ==, 0x20);
    out8(VIV_PIIX4_PM_BASE + 0x19, 0xff); /* of its own byte alone */
    g_assert_cmphex(in16(VIV_PIIX4_PM_BASE + 0x18), ==, 0x20);
    out8(VIV_PIIX4_PM_BASE + 0x18, 0x20);
    g_assert_cmphex(in16(VIV_PIIX4_PM_BASE + 0x18), ==, 0);
    out8(0xb2, 1);
    out16(VIV_PIIX4_PM_BASE + 0x18, 0x20);
    g_assert_cmphex(in16(VIV_PIIX4_PM_BASE + 0x18), ==, 0);
    viv_dev_reset_all();
    g_assert_cmphex(cfg(0xb, 0x58, 4), ==, 0);
    rig_fini();
}

static void test_pm_events(void)
{
    begin();
    viv_piix4_pm_setup(pm, VIV_PIIX4_PM_BASE);
    g_assert_cmphex(in16(0x604), ==, 1);
    viv_piix4_pm_power_button(pm);
    g_assert_cmpint(rig.line[9], ==, 0);
    out8(0x603, 1); /* PWRBTN_EN by its byte */
    g_assert_cmpint(rig.line[9], ==, 1);
    out8(0x600, 0xff); /* the other half: not cleared */
    g_assert_cmpint(rig.line[9], ==, 1);
    out8(0x601, 1);
    g_assert_cmpint(rig.line[9], ==, 0);
    out16(0x604, 1 << 10 | 1 << 13); /* S3: refused */
    g_assert_cmpuint(rig.requests, ==, 0);
    out16(0x604, 1 << 13);
    g_assert_cmpint(rig.request, ==, VIV_VM_SHUTDOWN);
    g_assert_cmpuint(rig.requests, ==, 1);
    g_assert_cmphex(in16(0x604), ==, 0);
    out8(0xb2, 0xf1);
    g_assert_cmphex(in16(0x604), ==, 1);
    out8(0xb3, 0x55);
    g_assert_cmphex(in8(0xb3), ==, 0x55);
    set_cfg(0x0b, 0x90, 0x701, 4); /* SMBus */
    set_cfg(0x0b, 0xd2, 1, 1);
    out8(0x702, 0x48);
    g_assert_cmphex(in8(0x700), ==, 4);
    out8(0x700, 4);
    g_assert_cmphex(in8(0x700), ==, 0);
    rig_fini();
}

static void test_testdev(void)
{
    char name[16];

    begin();
    rig_add("pci-testdev", "addr=5");
    set_cfg(0x28, 0x10, 0xe0000000, 4);
    set_cfg(0x28, 0x14, 0xc000, 4);
    set_cfg(0x28, 4, 3, 2);
    out8(0xc000, 0);
    g_assert_cmphex(in8(0xc001), ==, 1);
    for (unsigned i = 0; i < 3; i++)
        out8((uint16_t)(0xc000 + in32(0xc004)), (uint8_t)in32(0xc008));
    g_assert_cmpuint(in32(0xc00c), ==, 3);
    for (unsigned i = 0; i < sizeof(name); i++)
        name[i] = (char)in8((uint16_t)(0xc010 + i));
    g_assert_cmpstr(name, ==, "portio-plain");
    out8(0xc000, 1);
    g_assert_cmphex(in8(0xc001), ==, 0);
    g_assert_cmphex(mem32(0xe0000000) & 0xffff, ==, 0x0100);
    rig_refused("pci-testdev", "membar=16M", "membar");
    rig_fini();
}

static void test_state(void)
{
    size_t len, len2;
    uint8_t *a, *b;

    begin();
    viv_i440fx_open_shadow(bridge);
    viv_piix4_pm_setup(pm, 0x600);
    out16(0x602, 0x101);
    viv_piix4_pm_power_button(pm);
    set_cfg(8, 0x60, 11, 1);
    out32(0xcf8, 0x80000840);
    set_mem32(0xd0000, 0x1234);
    a = rig_save(&len);
    rig_fini();
    begin();
    rig_load(a, len);
    b = rig_save(&len2);
    g_assert_cmpmem(a, len, b, len2);
    g_assert_cmphex(in32(0xcf8), ==, 0x80000840);
    set_mem32(0xd0000, 0x4321);
    g_assert_cmphex(mem32(0xd0000), ==, 0x4321);
    g_assert_cmphex(in16(0x602), ==, 0x101);
    rig_fini();
    g_free(a);
    g_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i440fx/pam", test_pam);
    g_test_add_func("/i440fx/pam-small-rom", test_pam_small_rom);
    g_test_add_func("/i440fx/smram", test_smram);
    g_test_add_func("/piix3/routing", test_routing);
    g_test_add_func("/piix3/reset-port", test_reset_port);
    g_test_add_func("/piix4-pm/timer", test_pm_timer);
    g_test_add_func("/piix4-pm/smi", test_smi);
    g_test_add_func("/piix4-pm/events", test_pm_events);
    g_test_add_func("/pci-testdev", test_testdev);
    g_test_add_func("/chipset/state", test_state);
    return g_test_run();
}
