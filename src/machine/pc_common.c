/* Parts of a PC that do not depend on its chipset. */
#include "machine/pc_common.h"

#include "base/units.h"
#include "cpu/vcpu.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/ferr.h"
#include "cpu/x86/state.h"
#include "dev/acpi/pm.h"
#include "dev/floppy/floppy.h"
#include "dev/misc/fperr.h"
#include "dev/misc/fw_cfg.h"
#include "dev/rtc/mc146818.h"
#include "host/lock.h"
#include "machine/bios.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define PCI_HOLE_LAST 0xfebfffffu
#define PCI_IO_FIRST  0xc000u

static struct viv_pc *pc_of(struct viv_board *board)
{
    return board->machine;
}

/* On a vCPU's thread, without the lock. */
static void on_ferr(void *opaque)
{
    viv_dev_lock();
    viv_fperr_assert(opaque);
    viv_dev_unlock();
}

/* KVM's CPUs take CR0.NE as set. */
static int add_fperr(struct viv_board *board, struct viv_err *err)
{
    static const struct viv_fperr_ignne ignne = {viv_ferr_ignne, viv_ferr_ignoring};
    struct viv_dev *d;
    int ret = viv_board_add(board, "x87-error", NULL, &d, err);

    if (ret)
        return ret;
    viv_fperr_connect(d, &ignne);
    viv_ferr_connect(on_ferr, d);
    return 0;
}

static int add_legacy(struct viv_pc *pc, struct viv_board *board, struct viv_err *err)
{
    int ret = viv_board_add_rtc(pc->cfg, board, &pc->rtc, err);

    if (!ret && pc->pit && !board->intc->ops->kernel_pit)
        ret = viv_board_add(board, "i8254", NULL, NULL, err);
    if (!ret && pc->i8042)
        ret = viv_board_add(board, "i8042", NULL, NULL, err);
    if (!ret)
        ret = viv_board_add(board, "port92", NULL, NULL, err);
    if (!ret)
        ret = add_fperr(board, err);
    if (!ret)
        ret = viv_board_add(board, "i8237", NULL, NULL, err);
    if (!ret && pc->chip->floppy)
        ret = viv_board_add(board, "isa-fdc", NULL, NULL, err);
    if (!ret && pc->hpet) /* after PIT and RTC: it puts itself in front of their lines */
        ret = viv_board_add(board, "hpet", NULL, NULL, err);
    if (!ret)
        ret = viv_board_add(board, "fw_cfg", NULL, &pc->fw_cfg, err);
    if (!ret)
        ret = viv_board_add_serials(pc->cfg, board, err);
    if (!ret)
        ret = viv_board_add_parallels(pc->cfg, board, err);
    return ret;
}

static bool prop(const struct viv_machine_config *cfg, const char *key)
{
    const char *v = cfg->machine_opts ? viv_opts_str(cfg->machine_opts, key) : NULL;

    return !v || strcmp(v, "off");
}

bool viv_pc_has(const struct viv_machine_config *cfg, const char *key)
{
    return !cfg->machine_opts || viv_opts_bool(cfg->machine_opts, key);
}

int viv_pc_build(const struct viv_pc_chipset *chip, const struct viv_machine_config *cfg, struct viv_board *board,
                 struct viv_err *err)
{
    struct viv_pc *pc = g_new0(struct viv_pc, 1); /* lives as long as the VM */
    int ret;

    board->machine = pc;
    board->isa_at = chip->isa_at;
    pc->cfg = cfg;
    pc->chip = chip;
    pc->acpi = prop(cfg, "acpi") && !cfg->no_acpi;
    pc->hpet = viv_pc_has(cfg, "hpet") && !cfg->no_hpet;
    pc->i8042 = viv_pc_has(cfg, "i8042");
    pc->pit = prop(cfg, "pit");
    pc->bios = viv_bios_wanted(cfg);
    ret = viv_board_check(cfg, board, err);
    if (!ret)
        ret = viv_board_add_ram(cfg, board, false, &chip->split, &pc->ram, err);
    if (!ret && pc->bios)
        ret = viv_bios_load(cfg, board, err);
    if (!ret)
        ret = viv_board_add_irqs(board, true, err);
    if (!ret)
        ret = chip->add(pc, board, err);
    if (!ret)
        ret = add_legacy(pc, board, err);
    return ret;
}

/* Byte 14h: keyboard, FPU, and how many diskette drives. */
static uint8_t equipment(const struct viv_floppy_info *f)
{
    unsigned drives = (f->type[0] != FLOPPY_NONE) + (f->type[1] != FLOPPY_NONE);

    return (uint8_t)(0x06 | (drives ? 0x01 | (drives - 1) << 6 : 0));
}

/* Memory sizes and drives where a BIOS keeps them, for software that reads CMOS. */
static void set_cmos(struct viv_pc *pc)
{
    struct viv_floppy_info floppy = viv_floppy_info();
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
        {0x14, equipment(&floppy)}, {0x10, floppy.type[0] << 4 | floppy.type[1]},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(bytes); i++)
        viv_mc146818_set_nvram(pc->rtc, bytes[i].index, (uint8_t)bytes[i].value);
}

static void set_fw_cfg(struct viv_pc *pc)
{
    const struct viv_machine_config *cfg = pc->cfg;

    viv_fw_cfg_add_u64(pc->fw_cfg, VIV_FW_CFG_RAM_SIZE, cfg->ram_bytes);
    viv_fw_cfg_add_u16(pc->fw_cfg, VIV_FW_CFG_NB_CPUS, (uint16_t)cfg->smp.cpus);
    viv_fw_cfg_add_u16(pc->fw_cfg, VIV_FW_CFG_MAX_CPUS, (uint16_t)cfg->smp.cpus);
    viv_fw_cfg_add(pc->fw_cfg, VIV_FW_CFG_UUID, cfg->uuid, sizeof(cfg->uuid)); /* zeros: none */
}

static uint64_t address_end(void)
{
    return 1ull << viv_vcpus[0]->x86->cpuid->phys_bits;
}

/* What the CPU cannot name a guest would be told of, and take for its own memory. */
static int check_reach(const struct viv_pc *pc, struct viv_err *err)
{
    uint64_t end = pc->ram.high_size ? 4 * VIV_GIB + pc->ram.high_size : pc->ram.low_end;

    if (end <= address_end())
        return 0;
    return viv_fail(err, EINVAL, "-m: RAM reaches to 0x%" PRIx64 ", and this CPU's physical addresses have %u bits; -cpu MODEL,phys-bits=N gives it more",
                    end - 1, viv_vcpus[0]->x86->cpuid->phys_bits);
}

/* The window for 64-bit BARs begins at the first multiple of 4 GiB above RAM. */
static struct viv_pci_windows windows(const struct viv_pc *pc)
{
    uint64_t end = address_end();
    uint64_t first = (4 * VIV_GIB + pc->ram.high_size + 4 * VIV_GIB - 1) & ~(4 * VIV_GIB - 1);

    return (struct viv_pci_windows){
        .io_first = PCI_IO_FIRST, .io_last = 0xffff,
        .mem_first = MAX(pc->ram.low_end, pc->bios ? pc->chip->pci_first_bios : pc->chip->pci_first), .mem_last = PCI_HOLE_LAST,
        .mem64_first = first, .mem64_last = first < end ? MIN(first + 32 * VIV_GIB, end) - 1 : 0,
    };
}

static void placed(struct viv_board *board, struct viv_acpi_info *info)
{
    pc_of(board)->chip->placed(pc_of(board), info);
}

int viv_pc_finish(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    struct viv_pc *pc = pc_of(board);
    struct viv_pci_windows w = windows(pc);
    struct viv_firmware_config f = {
        .cfg = cfg, .board = board, .low_end = pc->ram.low_end, .high_size = pc->ram.high_size,
        .product = pc->chip->product, .with_acpi = pc->acpi, .pirq_pin = pc->chip->pirq_pin, .placed = placed, .tables = &pc->tables,
        .acpi = {
            .com_ports = viv_board_com_ports(), .lpt_ports = viv_board_lpt_ports(), .rtc = true, .i8042 = pc->i8042, .pic = true, .pit = pc->pit,
            .floppy = viv_floppy_info(), .hpet = pc->hpet, .fw_cfg = true, .ioapic = true, .pci = true,
            .pci32_first = (uint32_t)w.mem_first, .pci32_last = (uint32_t)w.mem_last,
            .pci64_first = w.mem64_first, .pci64_last = w.mem64_last, .s5_type = VIV_ACPI_S5,
        },
    };

    if (check_reach(pc, err) < 0)
        return -EINVAL;
    pc->chip->describe(pc, &f.acpi);
    set_cmos(pc);
    set_fw_cfg(pc);
    if (pc->bios && pc->chip->add_files) {
        int ret = pc->chip->add_files(pc, err);

        if (ret < 0)
            return ret;
    }
    return pc->bios ? viv_bios_add_files(&f, pc->fw_cfg, err) : viv_firmware_new(&f, &pc->firmware, err);
}

/* ELCR: PCI lines and the SCI are level-triggered. */
static void set_elcr(struct viv_board *board)
{
    viv_space_write_locked(board->io, 0x4d0, 0x00, 1);
    viv_space_write_locked(board->io, 0x4d1, 1u << (9 - 8) | 1u << (10 - 8) | 1u << (11 - 8), 1);
}

/* Chipset and CPUs are as power-on left them; the battery kept the boot order. Devices may have come and gone since. */
static void reset_to_bios(struct viv_pc *pc)
{
    uint16_t order = viv_bios_boot_cmos(pc->cfg->boot, !pc->started);
    struct viv_err err = VIV_ERR_INIT;

    if (viv_bios_add_bootorder(pc->cfg, pc->fw_cfg, &err) < 0) /* the file is there: it has a key */
        g_assert_not_reached();
    viv_mc146818_set_nvram(pc->rtc, 0x3d, (uint8_t)order);
    viv_mc146818_set_nvram(pc->rtc, 0x38, (uint8_t)(order >> 8 | pc->cfg->no_fd_bootchk));
    pc->started = true;
    if (pc->south)
        pc->chip->acpi_mode(pc);
}

/* The shutdown byte: 5 and 10 jump through 40:67h, 9 ends a block move. Programs of the 286's time leave protected mode so. */
bool viv_pc_resumes(struct viv_board *board)
{
    struct viv_pc *pc = pc_of(board);
    uint8_t code = viv_mc146818_nvram(pc->rtc, 0x0f);

    return pc->bios && (code == 0x05 || code == 0x09 || code == 0x0a);
}

void viv_pc_reset(const struct viv_machine_config *cfg, struct viv_board *board)
{
    struct viv_pc *pc = pc_of(board);
    struct viv_pci_windows w = windows(pc);

    if (pc->bios) {
        reset_to_bios(pc);
        return;
    }
    pc->chip->setup(pc, board);
    viv_space_write_locked(board->io, 0xd6, 0xc0, 1); /* the first DMA controller's requests go through the second one */
    viv_space_write_locked(board->io, 0xd4, 0x00, 1);
    viv_firmware_pci(board->pci, &w, pc->chip->pirq_line);
    if (!board->intc->ops->kernel_irqchip) {
        viv_firmware_pic(board->io, pc->pit);
        set_elcr(board);
    }
    viv_firmware_reset(pc->firmware);
}
