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
#include "machine/pc_common.h"

#include "base/units.h"
#include "bus/pci.h"
#include "dev/acpi/pcihp.h"
#include "dev/acpi/piix4_pm.h"
#include "dev/pci/i440fx.h"

#include <errno.h>

/* Of PIRQA-D, as SeaBIOS and its like have it: two lines, level-triggered. */
static const uint8_t pirq_line[VIV_PCI_PIRQS] = {10, 10, 11, 11};

static int add_pci(struct viv_pc *pc, struct viv_board *board, struct viv_err *err)
{
    int ret = viv_board_add(board, "i440FX", "addr=00.0", &pc->bridge, err);

    if (!ret)
        ret = viv_board_add(board, "PIIX3", "addr=01.0,multifunction=on", NULL, err);
    if (!ret)
        ret = viv_board_add(board, "piix3-ide", "addr=01.1", NULL, err);
    if (!ret && pc->acpi)
        ret = viv_board_add(board, "PIIX4_PM", "addr=01.3", &pc->south, err);
    return ret;
}

/* Buses of bridges, depth first: what they can be told by is the command line's order of places. */
static void add_hot_buses(struct viv_pcihp *h, struct viv_acpi_info *info, unsigned above)
{
    struct viv_pci_bus *bus = h->bus[above].pci;

    info->hot_bus[above].slots = viv_pcihp_slots(h, above);
    info->hot_buses = h->count;
    for (unsigned fn = 0; fn < 256; fn++) {
        struct viv_pci_dev *d = viv_pci_at(bus, fn);
        struct viv_pci_bus *below = d ? viv_pci_bus_behind(d) : NULL;

        if (!below || !viv_pcihp_add(h, below))
            continue;
        info->hot_bus[h->count - 1] = (struct viv_acpi_hot_bus){.above = above, .bridge = (uint8_t)fn};
        add_hot_buses(h, info, h->count - 1);
    }
}

static void describe(struct viv_pc *pc, struct viv_acpi_info *info)
{
    info->pm_base = VIV_PIIX4_PM_BASE;
    info->gpe = VIV_PIIX4_PM_GPE;
    info->gpe_bytes = 4;
    if (pc->south)
        add_hot_buses(viv_piix4_pm_hotplug(pc->south), info, 0);
}

static void placed(struct viv_pc *pc, struct viv_acpi_info *info)
{
    uint16_t base = viv_piix4_pm_base(pc->south);

    info->pm_base = base ? base : info->pm_base;
}

static void setup(struct viv_pc *pc, struct viv_board *board)
{
    viv_i440fx_open_shadow(pc->bridge);
    if (pc->south)
        viv_piix4_pm_setup(pc->south, VIV_PIIX4_PM_BASE);
    for (unsigned i = 0; i < 4; i++)
        viv_pci_config_write(board->pci, 1 << 3, 0x60 + i, pirq_line[i], 1);
    viv_pci_config_write(board->pci, 1 << 3 | 1, 0x40, 0x80008000, 4); /* IDE ports are decoded */
}

static void acpi_mode(struct viv_pc *pc)
{
    viv_piix4_pm_acpi_mode(pc->south);
}

static const struct viv_pc_chipset chipset = {
    .isa_at = "1",
    .floppy = true,
    .product = "Standard PC (i440FX + PIIX)",
    .split = {0xe0000000, 0xc0000000},
    /* SeaBIOS begins at 2 GiB, or behind RAM at 3 or 3.5 GiB. Without it: not right behind RAM below 3 GiB: 32-bit BARs from
     * there on are what kernels expect. */
    .pci_first = 0xc0000000,
    .pci_first_bios = 2 * VIV_GIB,
    .pirq_line = pirq_line,
    .pirq_pin = pirq_line, /* the I/O APIC hears ISA lines */
    .add = add_pci,
    .describe = describe,
    .placed = placed,
    .setup = setup,
    .acpi_mode = acpi_mode,
};

static int pc_build(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    return viv_pc_build(&chipset, cfg, board, err);
}

static int pc_powerdown(struct viv_board *board)
{
    struct viv_pc *pc = board->machine;

    if (!pc->south)
        return -ENOTSUP;
    viv_piix4_pm_power_button(pc->south);
    return 0;
}

static const struct viv_opt_def pc_props[] = {VIV_PC_PROPS, VIV_OPT_END};

static const char *const pc_aliases[] = {"pc-i440fx-7.2", NULL};

const struct viv_machine_class viv_machine_pc = {
    .name = "pc",
    .aliases = pc_aliases,
    .versions = (const char *const[]){"pc-i440fx-", "pc+", "ubuntu", NULL},
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .default_nic = "e1000",
    .usb = (const char *const[]){"piix3-usb-uhci,addr=01.2", NULL},
    .props = pc_props,
    .max_cpus = 255,
    .pc = true,
    .smm = true,
    .floppy = VIV_FLOPPY_BUILT_IN,
    .ide_buses = 2,
    .ide_units = 2,
    .build = pc_build,
    .finish = viv_pc_finish,
    .reset = viv_pc_reset,
    .resumes = viv_pc_resumes,
    .powerdown = pc_powerdown,
};
