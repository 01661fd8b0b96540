/* The microvm board: a virtio-mmio bus, an I/O APIC, one UART, hardware-reduced ACPI. No PCI, nothing to probe.
 *
 *   0          RAM up to 3.5 GiB, or 3 GiB when there is more; the rest from 4 GiB on
 *   FEA00000   event device (power button, power-off, reset)
 *   FEB00000   virtio-mmio slots of 512 bytes, GSI 16 upwards, one each
 *   FEC00000   I/O APIC              FEE00000  local APICs
 *
 * A kernel needs no 8259, 8254 or RTC here: the local APIC has a TSC deadline timer, CPUID tells the TSC's frequency and
 * kvmclock the time, with every accelerator. pit, pic and rtc add the old chips for systems that insist; `auto` means
 * on for the RTC (date and time of systems without kvmclock), off for the others. */
#include "machine/board_int.h"

#include "base/units.h"
#include "bus/virtio_mmio.h"
#include "chr/chr.h"
#include "dev/acpi/ged.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define GED_BASE    0xfea00000u
#define GED_GSI     9
#define VIRTIO_BASE 0xfeb00000u
#define VIRTIO_GSI  16
#define SLOTS       8

struct microvm {
    const struct viv_machine_config *cfg;
    struct viv_board_ram ram;
    struct viv_dev *ged;
    struct viv_firmware *firmware;
    bool pic, pit, rtc;
};

static bool prop_on(const struct viv_machine_config *cfg, const char *key, bool automatic)
{
    const char *v = cfg->machine_opts ? viv_opts_str(cfg->machine_opts, key) : NULL;

    return !v || !strcmp(v, "auto") ? automatic : !strcmp(v, "on");
}

static int check_words(const struct viv_machine_config *cfg, struct viv_err *err)
{
    struct viv_opts *o = cfg->machine_opts;

    if (!o)
        return 0;
    if (viv_opts_bool(o, "x-option-roms"))
        return viv_fail(err, ENOTSUP, "-machine microvm,x-option-roms=on: there are no option ROMs; leave it out");
    if (viv_opts_bool(o, "auto-kernel-cmdline"))
        return viv_fail(err, ENOTSUP, "-machine microvm,auto-kernel-cmdline=on: devices are announced by ACPI; leave it out");
    for (unsigned i = 0; i < cfg->serial_count && !viv_opts_bool(o, "isa-serial"); i++) {
        if (cfg->serial[i] && strcmp(viv_chr_filename(cfg->serial[i]), "null"))
            return viv_fail(err, EINVAL, "-machine microvm,isa-serial=off: there is no port for -serial; use -device virtio-serial-device "
                            "with a virtconsole, or leave one of the two out");
    }
    return 0;
}

static int check(const struct microvm *m, struct viv_board *board, struct viv_err *err)
{
    const char *acpi = m->cfg->machine_opts ? viv_opts_str(m->cfg->machine_opts, "acpi") : NULL;

    if (m->cfg->bios)
        return viv_fail(err, ENOTSUP, "-bios %s: firmware is not run yet; boot a kernel with -kernel", m->cfg->bios);
    if (m->cfg->no_acpi || (acpi && !strcmp(acpi, "off")))
        return viv_fail(err, ENOTSUP, "-machine microvm,acpi=off: its virtio devices are announced by ACPI; leave it out");
    if (prop_on(m->cfg, "pcie", false))
        return viv_fail(err, ENOTSUP, "-machine microvm,pcie=on: there is no PCI on this board; use -machine pc");
    if (check_words(m->cfg, err) < 0)
        return -EINVAL;
    return viv_board_check(m->cfg, board, err);
}

static void add_virtio(struct viv_board *board)
{
    struct viv_irq irqs[SLOTS];

    for (unsigned i = 0; i < SLOTS; i++)
        irqs[i] = board->gsi_irq[VIRTIO_GSI + i];
    board->vmmio = viv_virtio_mmio_bus_new(board, VIRTIO_BASE, SLOTS, irqs);
}

static int add_legacy(struct microvm *m, struct viv_board *board, struct viv_err *err)
{
    int ret = 0;

    if (m->rtc)
        ret = viv_board_add_rtc(m->cfg, board, NULL, err);
    if (!ret && m->pit && !board->intc->ops->kernel_pit)
        ret = viv_board_add(board, "i8254", NULL, NULL, err);
    if (!ret && (!m->cfg->machine_opts || viv_opts_bool(m->cfg->machine_opts, "isa-serial")))
        ret = viv_board_add_serials(m->cfg, board, err);
    return ret;
}

static int microvm_build(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    static const struct viv_ram_split split = {0xe0000000, 0xc0000000};
    struct microvm *m = g_new0(struct microvm, 1); /* lives as long as the VM */
    int ret;

    board->machine = m;
    m->cfg = cfg;
    m->pic = prop_on(cfg, "pic", false);
    m->pit = prop_on(cfg, "pit", false);
    m->rtc = prop_on(cfg, "rtc", true);
    ret = check(m, board, err);
    if (!ret)
        ret = viv_board_add_ram(cfg, board, true, &split, &m->ram, err);
    if (!ret)
        ret = viv_board_add_irqs(board, m->pic, err);
    if (!ret)
        ret = viv_board_add(board, "acpi-ged", NULL, &m->ged, err);
    if (ret)
        return ret;
    viv_ged_connect(m->ged, GED_BASE, &board->isa_irq[GED_GSI]);
    add_virtio(board);
    return add_legacy(m, board, err);
}

static int microvm_finish(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    struct microvm *m = board->machine;
    struct viv_firmware_config f = {
        .cfg = cfg, .board = board, .low_end = m->ram.low_end, .high_size = m->ram.high_size,
        .product = "microvm", .with_acpi = true,
        .acpi = {
            .com_ports = viv_board_com_ports(), .rtc = m->rtc, .pic = m->pic, .pit = m->pit, .ioapic = true,
            .virtio_base = VIRTIO_BASE, .virtio_stride = VIV_VIRTIO_MMIO_STRIDE, .virtio_slots = SLOTS,
            .virtio_gsi = VIRTIO_GSI, .ged_base = GED_BASE, .ged_gsi = GED_GSI,
        },
    };

    return viv_firmware_new(&f, &m->firmware, err);
}

static void microvm_reset(const struct viv_machine_config *cfg, struct viv_board *board)
{
    struct microvm *m = board->machine;

    if (m->pic && !board->intc->ops->kernel_irqchip)
        viv_firmware_pic(board->io, m->pit);
    viv_firmware_reset(m->firmware);
}

static int microvm_powerdown(struct viv_board *board)
{
    viv_ged_power_button(((struct microvm *)board->machine)->ged);
    return 0;
}

static const struct viv_opt_def microvm_props[] = {
    VIV_BOARD_PROPS,
    {.name = "acpi", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "ACPI tables (always on)"},
    {.name = "pcie", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "PCI bus (off or auto: there is none)"},
    {.name = "pit", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "8254 timer (auto: off)"},
    {.name = "pic", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "8259 interrupt controllers (auto: off)"},
    {.name = "rtc", .type = VIV_OPT_ENUM, .values = viv_on_off_auto, .help = "MC146818 clock (auto: on)"},
    {.name = "ioapic2", .type = VIV_OPT_REFUSED, .help = "eight slots fit the first I/O APIC; leave it out"},
    {.name = "isa-serial", .type = VIV_OPT_BOOL, .def = "on", .help = "serial ports"},
    {.name = "x-option-roms", .type = VIV_OPT_BOOL, .def = "off", .help = "option ROMs (off only: there are none)"},
    {.name = "auto-kernel-cmdline", .type = VIV_OPT_BOOL, .def = "off", .help = "devices in the kernel's words (off only: ACPI has them)"},
    VIV_OPT_END,
};

const struct viv_machine_class viv_machine_microvm = {
    .name = "microvm",
    .desc = "virtio-mmio only: small and quick to start",
    .default_nic = "virtio-net-device",
    .props = microvm_props,
    .max_cpus = 255,
    .build = microvm_build,
    .finish = microvm_finish,
    .reset = microvm_reset,
    .powerdown = microvm_powerdown,
};
