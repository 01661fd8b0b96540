/* The q35 board: MCH host bridge with PCI Express, ICH9 functions, the legacy chips.
 *
 *   0          RAM                          B0000000  configuration space (ECAM)
 *   A0000      video memory (a card's)      C0000000  PCI memory, to FEBFFFFF
 *   C0000      shadow RAM (PAM)             FEC00000  I/O APIC
 *   100000     RAM up to 2.75 GiB, or       FED00000  HPET; FED1C000 RCBA; FEE00000 local APICs
 *              2 GiB when there is more     1 00000000  the rest of RAM, behind it 64-bit PCI memory
 */
#include "machine/pc_common.h"

#include "base/units.h"
#include "bus/pci.h"
#include "dev/pci/ich9_lpc.h"
#include "dev/pci/mch.h"

#include <errno.h>

/* Of PIRQA-H in PIC mode, as SeaBIOS and its like have it: two lines, level-triggered. */
static const uint8_t pirq_line[VIV_PCI_PIRQS] = {10, 10, 11, 11, 10, 10, 11, 11};
static const uint8_t pirq_pin[VIV_PCI_PIRQS] = {16, 17, 18, 19, 20, 21, 22, 23}; /* of the I/O APIC */

static int add_pci(struct viv_pc *pc, struct viv_board *board, struct viv_err *err)
{
    int ret = viv_board_add(board, "mch", "addr=00.0", &pc->bridge, err);

    if (!ret)
        ret = viv_board_add(board, "ICH9-LPC", "addr=1f.0,multifunction=on", &pc->south, err);
    if (!ret && viv_pc_has(pc->cfg, "sata"))
        ret = viv_board_add(board, "ich9-ahci", "addr=1f.2", NULL, err);
    if (!ret && viv_pc_has(pc->cfg, "smbus"))
        ret = viv_board_add(board, "ICH9-SMB", "addr=1f.3", NULL, err);
    return ret;
}

static void describe(struct viv_pc *pc, struct viv_acpi_info *info)
{
    info->pm_base = VIV_ICH9_PM_BASE;
    info->ecam_base = VIV_MCH_ECAM;
}

static void placed(struct viv_pc *pc, struct viv_acpi_info *info)
{
    uint16_t pm = viv_ich9_pm_base(pc->south);
    uint32_t ecam = viv_mch_ecam(pc->bridge);

    info->pm_base = pm ? pm : info->pm_base;
    info->ecam_base = ecam ? ecam : info->ecam_base;
}

static void setup(struct viv_pc *pc, struct viv_board *board)
{
    viv_mch_setup(pc->bridge);
    viv_ich9_setup(pc->south, pirq_line);
}

static void acpi_mode(struct viv_pc *pc)
{
    viv_ich9_acpi_mode(pc->south);
}

static int add_files(struct viv_pc *pc, struct viv_err *err)
{
    return viv_ich9_add_smi_files(pc->south, pc->fw_cfg, err);
}

static const struct viv_pc_chipset chipset = {
    .isa_at = "1f",
    .product = "Standard PC (Q35 + ICH9)",
    .split = {VIV_MCH_ECAM, 0x80000000},
    .pci_first = VIV_MCH_ECAM + (uint64_t)VIV_MCH_ECAM_SIZE,
    .pci_first_bios = VIV_MCH_ECAM + (uint64_t)VIV_MCH_ECAM_SIZE,
    .pirq_line = pirq_line,
    .pirq_pin = pirq_pin,
    .add = add_pci,
    .describe = describe,
    .placed = placed,
    .setup = setup,
    .acpi_mode = acpi_mode,
    .add_files = add_files,
};

static int q35_build(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    return viv_pc_build(&chipset, cfg, board, err);
}

static int q35_powerdown(struct viv_board *board)
{
    struct viv_pc *pc = board->machine;

    if (!pc->acpi)
        return -ENOTSUP;
    viv_ich9_power_button(pc->south);
    return 0;
}

static const struct viv_opt_def q35_props[] = {
    VIV_PC_PROPS,
    {.name = "sata", .type = VIV_OPT_BOOL, .def = "on", .help = "SATA controller"},
    {.name = "smbus", .type = VIV_OPT_BOOL, .def = "on", .help = "SMBus controller"},
    VIV_OPT_END,
};

static const char *const q35_aliases[] = {"pc-q35-7.2", NULL};

/* As on the chip: four functions of one device. */
static const char *const q35_usb[] = {
    "ich9-usb-ehci1,addr=1d.7,multifunction=on",
    "ich9-usb-uhci1,addr=1d.0,multifunction=on,masterbus=usb-bus.0,firstport=0",
    "ich9-usb-uhci2,addr=1d.1,multifunction=on,masterbus=usb-bus.0,firstport=2",
    "ich9-usb-uhci3,addr=1d.2,multifunction=on,masterbus=usb-bus.0,firstport=4",
    NULL,
};

const struct viv_machine_class viv_machine_q35 = {
    .name = "q35",
    .aliases = q35_aliases,
    .versions = (const char *const[]){"pc-q35-", "q35+", "ubuntu-q35", NULL},
    .desc = "Standard PC (Q35 + ICH9, 2009)",
    .default_nic = "e1000",
    .usb = q35_usb,
    .props = q35_props,
    .max_cpus = 255,
    .pc = true,
    .smm = true,
    .floppy = VIV_FLOPPY_ON_REQUEST,
    .ide_buses = 6,
    .ide_units = 1,
    .build = q35_build,
    .finish = viv_pc_finish,
    .reset = viv_pc_reset,
    .resumes = viv_pc_resumes,
    .powerdown = q35_powerdown,
};
