/* The pc board: i440FX host bridge, PIIX3 and PIIX4 functions, the legacy chips, as on boards of 1996 that every
 * operating system knows.
 *
 *   0          RAM                        FEC00000  I/O APIC
 *   A0000      video memory (a card's)    FED00000  HPET
 *   C0000      shadow RAM (PAM)           FEE00000  local APICs
 *   100000     RAM up to 3.5 GiB, or      FFFC0000  firmware, when there is one
 *              3 GiB when there is more   1 00000000  the rest of RAM
 *   ...        PCI memory, to FEBFFFFF    behind it  64-bit PCI memory
 */
#include "machine/board_int.h"
#include "machine/bios.h"

#include "base/units.h"
#include "bus/pci.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/misc/fw_cfg.h"
#include "dev/pci/i440fx.h"
#include "dev/rtc/mc146818.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define PCI_HOLE_LAST 0xfebfffffu
#define PCI_IO_FIRST  0xc000u

struct pc {
    const struct viv_machine_config *cfg;
    struct viv_board_ram ram;
    struct viv_dev *bridge, *pm, *rtc, *fw_cfg;
    struct viv_firmware *firmware; /* NULL: the ROM runs */
    bool bios, started;
    bool acpi, hpet, pit;
};

/* Of PIRQA-D, as SeaBIOS and its like have it: two lines, level-triggered. */
static const uint8_t pirq_line[VIV_PCI_PIRQS] = {10, 10, 11, 11};

static struct pc *pc_of(struct viv_board *board)
{
    return board->machine;
}

static int add_pci(struct pc *pc, struct viv_board *board, struct viv_err *err)
{
    int ret = viv_board_add(board, "i440FX", "addr=00.0", &pc->bridge, err);

    if (!ret)
        ret = viv_board_add(board, "PIIX3", "addr=01.0,multifunction=on", NULL, err);
    if (!ret)
        ret = viv_board_add(board, "piix3-ide", "addr=01.1", NULL, err);
    if (!ret && pc->acpi)
        ret = viv_board_add(board, "PIIX4_PM", "addr=01.3", &pc->pm, err);
    return ret;
}

static int add_legacy(struct pc *pc, struct viv_board *board, struct viv_err *err)
{
    int ret = viv_board_add_rtc(pc->cfg, board, &pc->rtc, err);

    if (!ret && pc->pit && !board->intc->ops->kernel_pit)
        ret = viv_board_add(board, "i8254", NULL, NULL, err);
    if (!ret)
        ret = viv_board_add(board, "i8042", NULL, NULL, err);
    if (!ret)
        ret = viv_board_add(board, "port92", NULL, NULL, err);
    if (!ret && pc->hpet) /* after PIT and RTC: it puts itself in front of their lines */
        ret = viv_board_add(board, "hpet", NULL, NULL, err);
    if (!ret)
        ret = viv_board_add(board, "fw_cfg", NULL, &pc->fw_cfg, err);
    if (!ret)
        ret = viv_board_add_serials(pc->cfg, board, err);
    return ret;
}

static bool prop(const struct viv_machine_config *cfg, const char *key)
{
    const char *v = cfg->machine_opts ? viv_opts_str(cfg->machine_opts, key) : NULL;

    return !v || strcmp(v, "off");
}

static int pc_build(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    struct pc *pc = g_new0(struct pc, 1); /* lives as long as the VM */
    int ret;

    board->machine = pc;
    pc->cfg = cfg;
    pc->acpi = prop(cfg, "acpi") && !cfg->no_acpi;
    pc->hpet = (!cfg->machine_opts || viv_opts_bool(cfg->machine_opts, "hpet")) && !cfg->no_hpet;
    pc->pit = prop(cfg, "pit");
    pc->bios = viv_bios_wanted(cfg);
    ret = viv_board_check(cfg, board, err);
    if (!ret)
        ret = viv_board_add_ram(cfg, board, false, &pc->ram, err);
    if (!ret && pc->bios)
        ret = viv_bios_load(cfg, board, err);
    if (!ret)
        ret = viv_board_add_irqs(board, true, err);
    if (!ret)
        ret = add_pci(pc, board, err);
    if (!ret)
        ret = add_legacy(pc, board, err);
    return ret;
}

/* Memory sizes where a BIOS keeps them, for software that reads CMOS. */
static void set_cmos(struct pc *pc)
{
    uint64_t ext_kib = MIN((pc->ram.low_end - VIV_MIB) / VIV_KIB, 0xffffull);
    uint64_t above_16m = pc->ram.low_end > 16 * VIV_MIB
                             ? MIN((pc->ram.low_end - 16 * VIV_MIB) / (64 * VIV_KIB), 0xffffull) : 0;
    uint64_t above_4g = pc->ram.high_size / (64 * VIV_KIB);
    const struct {
        uint8_t index;
        uint64_t value;
    } bytes[] = {
        {0x15, 0x80}, {0x16, 0x02}, /* 640 KiB */
        {0x17, ext_kib}, {0x18, ext_kib >> 8}, {0x30, ext_kib}, {0x31, ext_kib >> 8},
        {0x34, above_16m}, {0x35, above_16m >> 8},
        {0x5b, above_4g}, {0x5c, above_4g >> 8}, {0x5d, above_4g >> 16},
        {0x5f, pc->cfg->smp.cpus - 1},
        {0x14, 0x06}, /* equipment: keyboard, FPU */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bytes); i++)
        viv_mc146818_set_nvram(pc->rtc, bytes[i].index, (uint8_t)bytes[i].value);
}

static void set_fw_cfg(struct pc *pc)
{
    const struct viv_machine_config *cfg = pc->cfg;

    viv_fw_cfg_add_u64(pc->fw_cfg, VIV_FW_CFG_RAM_SIZE, cfg->ram_bytes);
    viv_fw_cfg_add_u16(pc->fw_cfg, VIV_FW_CFG_NB_CPUS, (uint16_t)cfg->smp.cpus);
    viv_fw_cfg_add_u16(pc->fw_cfg, VIV_FW_CFG_MAX_CPUS, (uint16_t)MAX(cfg->smp.maxcpus, cfg->smp.cpus));
    viv_fw_cfg_add(pc->fw_cfg, VIV_FW_CFG_UUID, cfg->uuid, sizeof(cfg->uuid)); /* zeros: none */
}

/* The window for 64-bit BARs begins at the first multiple of 4 GiB above RAM. */
static struct viv_pci_windows windows(const struct pc *pc)
{
    uint64_t first = (4 * VIV_GIB + pc->ram.high_size + 4 * VIV_GIB - 1) & ~(4 * VIV_GIB - 1);

    return (struct viv_pci_windows){
        .io_first = PCI_IO_FIRST, .io_last = 0xffff,
        /* SeaBIOS begins at 2 GiB, or behind RAM at 3 or 3.5 GiB. Without it: not right behind RAM below 3 GiB: 32-bit BARs from there on are what kernels expect. */
        .mem_first = MAX(pc->ram.low_end, pc->bios ? 2 * VIV_GIB : 0xc0000000ull), .mem_last = PCI_HOLE_LAST,
        .mem64_first = first, .mem64_last = first + 32 * VIV_GIB - 1,
    };
}

static int pc_finish(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    struct pc *pc = pc_of(board);
    struct viv_pci_windows w = windows(pc);
    struct viv_firmware_config f = {
        .cfg = cfg, .board = board, .low_end = pc->ram.low_end, .high_size = pc->ram.high_size,
        .product = "Standard PC (i440FX + PIIX)", .with_acpi = pc->acpi,
        .acpi = {
            .com_ports = cfg->serial_count, .rtc = true, .i8042 = true, .pic = true, .pit = pc->pit,
            .hpet = pc->hpet, .fw_cfg = true, .ioapic = true, .pci = true,
            .pci32_first = (uint32_t)w.mem_first, .pci32_last = (uint32_t)w.mem_last,
            .pci64_first = w.mem64_first, .pci64_last = w.mem64_last,
            .pm_base = VIV_PIIX4_PM_BASE, .s5_type = VIV_PIIX4_S5,
        },
    };

    set_cmos(pc);
    set_fw_cfg(pc);
    return pc->bios ? viv_bios_add_files(&f, pc->fw_cfg, err) : viv_firmware_new(&f, &pc->firmware, err);
}

/* ELCR: PCI lines and the SCI are level-triggered. */
static void set_elcr(struct viv_board *board)
{
    viv_space_write_locked(board->io, 0x4d0, 0x00, 1);
    viv_space_write_locked(board->io, 0x4d1, 1u << (9 - 8) | 1u << (10 - 8) | 1u << (11 - 8), 1);
}

/* Chipset and CPUs are as power-on left them; the battery kept the boot order. */
static void reset_to_bios(struct pc *pc)
{
    uint16_t order = viv_bios_boot_cmos(pc->cfg->boot, !pc->started);

    viv_mc146818_set_nvram(pc->rtc, 0x3d, (uint8_t)order);
    viv_mc146818_set_nvram(pc->rtc, 0x38, (uint8_t)(order >> 8));
    pc->started = true;
    if (pc->pm)
        viv_piix4_pm_acpi_mode(pc->pm);
}

static void pc_reset(const struct viv_machine_config *cfg, struct viv_board *board)
{
    struct pc *pc = pc_of(board);
    struct viv_pci_windows w = windows(pc);

    if (pc->bios) {
        reset_to_bios(pc);
        return;
    }
    viv_i440fx_open_shadow(pc->bridge);
    if (pc->pm)
        viv_piix4_pm_setup(pc->pm, VIV_PIIX4_PM_BASE);
    for (unsigned i = 0; i < 4; i++)
        viv_pci_config_write(board->pci, 1 << 3, 0x60 + i, pirq_line[i], 1);
    viv_pci_config_write(board->pci, 1 << 3 | 1, 0x40, 0x80008000, 4); /* IDE ports are decoded */
    viv_firmware_pci(board->pci, &w, pirq_line);
    if (!board->intc->ops->kernel_irqchip) {
        viv_firmware_pic(board->io, pc->pit);
        set_elcr(board);
    }
    viv_firmware_reset(pc->firmware);
}

static int pc_powerdown(struct viv_board *board)
{
    if (!pc_of(board)->pm)
        return -ENOTSUP;
    viv_piix4_pm_power_button(pc_of(board)->pm);
    return 0;
}

static const struct viv_opt_def pc_props[] = {
    VIV_BOARD_PROPS,
    {.name = "acpi", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "ACPI tables and power management"},
    {.name = "pit", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "8254 timer (auto: on)"},
    {.name = "hpet", .type = VIV_OPT_BOOL, .def = "on", .help = "high precision event timer"},
    VIV_OPT_END,
};

static const char *const pc_aliases[] = {"pc-i440fx-7.2", NULL};

const struct viv_machine_class viv_machine_pc = {
    .name = "pc",
    .aliases = pc_aliases,
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .default_nic = "virtio-net-pci",
    .usb = (const char *const[]){"piix3-usb-uhci,addr=01.2", NULL},
    .props = pc_props,
    .max_cpus = 255,
    .build = pc_build,
    .finish = pc_finish,
    .reset = pc_reset,
    .powerdown = pc_powerdown,
};
