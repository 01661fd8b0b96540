/* DSDT parts that every board may have: processors and legacy devices. */
#include "machine/acpi.h"
#include "machine/aml.h"

#include <glib.h>

void viv_acpi_dsdt_cpus(struct viv_aml *a, const struct viv_acpi_info *info)
{
    for (unsigned i = 0; i < info->cpu_count; i++) {
        char name[5];

        g_snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        viv_aml_device(a, name);
        viv_aml_name(a, "_HID");
        viv_aml_string(a, "ACPI0007");
        viv_aml_name(a, "_UID");
        viv_aml_int(a, i);
        viv_aml_close(a);
    }
}

/* A device with one port range and, unless `irq` is 0, one ISA line. `len2` > 0: a second range. */
static void legacy(struct viv_aml *a, const char *name, const char *hid, unsigned uid, uint16_t port,
                   uint8_t len, uint16_t port2, uint8_t len2, unsigned irq)
{
    viv_aml_device(a, name);
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, hid);
    viv_aml_name(a, "_UID");
    viv_aml_int(a, uid);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    if (len)
        viv_aml_res_io(a, port, len);
    if (len2)
        viv_aml_res_io(a, port2, len2);
    if (irq)
        viv_aml_res_irq(a, irq);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void hpet(struct viv_aml *a)
{
    viv_aml_device(a, "HPET");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0103");
    viv_aml_name(a, "_UID");
    viv_aml_int(a, 0);
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_mem32(a, 0xfed00000, 0x400);
    viv_aml_close(a);
    viv_aml_close(a);
}

/* The id that Linux's qemu_fw_cfg driver binds to: the interface is known by that name. */
static void fw_cfg(struct viv_aml *a)
{
    viv_aml_device(a, "FWCF");
    viv_aml_name(a, "_HID");
    viv_aml_string(a, "QEMU0002");
    viv_aml_name(a, "_STA");
    viv_aml_int(a, 0x0b); /* present, decoding, working; not shown */
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_io(a, 0x510, 12);
    viv_aml_close(a);
    viv_aml_close(a);
}

/* What drives there are and what they are like (ACPI 6.4, 9.9.1 and 9.9.2). */
static void floppy_drive(struct viv_aml *a, const struct viv_floppy_info *f, unsigned n)
{
    /* Step rate and head load, motor wait, sector size code, last sector, gap, data length, format gap, filler, settling and start. */
    const uint8_t fdi[16] = {(uint8_t)n, (uint8_t)f->type[n], (uint8_t)(f->tracks[n] - 1), f->sectors[n], (uint8_t)(f->heads[n] - 1),
                             0xaf, 0x02, 0x25, 0x02, f->sectors[n], 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08};

    viv_aml_device(a, n ? "FLPB" : "FLPA");
    viv_aml_name(a, "_ADR");
    viv_aml_int(a, n);
    viv_aml_name(a, "_FDI");
    viv_aml_package(a, sizeof(fdi));
    for (unsigned i = 0; i < sizeof(fdi); i++)
        viv_aml_int(a, fdi[i]);
    viv_aml_close(a);
    viv_aml_close(a);
}

static void floppy(struct viv_aml *a, const struct viv_floppy_info *f)
{
    uint8_t fde[20] = {[16] = 2}; /* four drives, a dword each; the fifth: no tape */

    viv_aml_device(a, "FDC0");
    viv_aml_name(a, "_HID");
    viv_aml_eisaid(a, "PNP0700");
    viv_aml_name(a, "_CRS");
    viv_aml_resources(a);
    viv_aml_res_io(a, f->iobase + 2, 4);
    viv_aml_res_io(a, f->iobase + 7, 1);
    viv_aml_res_irq(a, f->irq);
    viv_aml_res_dma(a, f->dma);
    viv_aml_close(a);
    for (unsigned i = 0; i < 2; i++) {
        if (f->type[i] == FLOPPY_NONE)
            continue;
        fde[4 * i] = 1;
        floppy_drive(a, f, i);
    }
    viv_aml_name(a, "_FDE");
    viv_aml_buffer(a, fde, sizeof(fde));
    viv_aml_close(a);
}

void viv_acpi_dsdt_legacy(struct viv_aml *a, const struct viv_acpi_info *info)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } com[] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

    if (info->rtc)
        legacy(a, "RTC", "PNP0B00", 0, 0x70, 2, 0, 0, 8);
    if (info->i8042) {
        legacy(a, "KBD", "PNP0303", 0, 0x60, 1, 0x64, 1, 1);
        legacy(a, "MOU", "PNP0F13", 0, 0, 0, 0, 0, 12);
    }
    if (info->pic)
        legacy(a, "PIC", "PNP0000", 0, 0x20, 2, 0xa0, 2, 0);
    if (info->pit)
        legacy(a, "TIMR", "PNP0100", 0, 0x40, 4, 0, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        char name[5];

        if (!(info->com_ports >> i & 1))
            continue;
        g_snprintf(name, sizeof(name), "COM%u", i + 1);
        legacy(a, name, "PNP0501", i + 1, com[i].port, 8, 0, 0, com[i].irq);
    }
    for (unsigned i = 0; i < 3; i++) {
        static const uint16_t lpt[] = {0x378, 0x278, 0x3bc};
        static const char *const names[] = {"LPT1", "LPT2", "LPT3"};

        if (info->lpt_ports >> i & 1)
            legacy(a, names[i], "PNP0400", i + 1, lpt[i], 3, 0, 0, 7);
    }
    if (info->floppy.present)
        floppy(a, &info->floppy);
    if (info->hpet)
        hpet(a);
    if (info->fw_cfg)
        fw_cfg(a);
}
