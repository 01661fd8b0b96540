/* The fixed tables: RSDP, XSDT, RSDT, FADT, FACS, MADT, HPET, WAET, and the DSDT's frame.
 *
 * Both RSDT and XSDT are given; addresses are below 1 MiB, so either serves. Sections are of ACPI 6.4. */
#include "machine/acpi.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/units.h"
#include "cpu/x86/apic.h"
#include "dev/intc/ioapic.h"
#include "machine/aml.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define OEM_ID       "VIVARM"
#define OEM_TABLE_ID "VIVARIUM"
#define HPET_BASE    0xfed00000u
#define SCI_IRQ      9
#define MAX_TABLES   8

struct builder {
    GByteArray *buf;
    uint32_t base;
    uint32_t tables[MAX_TABLES]; /* addresses for XSDT */
    unsigned count;
    struct viv_acpi_links links;
};

static void align(struct builder *b, unsigned to)
{
    static const uint8_t zeros[64];

    while (b->buf->len % to)
        g_byte_array_append(b->buf, zeros, 1);
}

/* A field of table `at`, an address within the blob. */
static void add_pointer(struct builder *b, uint32_t table, unsigned offset, uint8_t size)
{
    struct viv_acpi_links *l = &b->links;

    g_assert(l->pointer_count < VIV_ARRAY_SIZE(l->pointers));
    l->pointers[l->pointer_count++] = (struct viv_acpi_pointer){table - b->base + offset, size};
}

static void add_sum(struct builder *b, uint32_t start, uint32_t len, uint32_t at)
{
    struct viv_acpi_links *l = &b->links;

    g_assert(l->sum_count < VIV_ARRAY_SIZE(l->sums));
    l->sums[l->sum_count++] = (struct viv_acpi_sum){start, len, at};
}

/* Adds a table: header (5.2.6) and body; returns its address. */
static uint32_t add_table(struct builder *b, const char *sig, uint8_t rev, const void *body, size_t len)
{
    uint8_t h[36] = {0};
    size_t at;

    align(b, 64);
    at = b->buf->len;
    memcpy(h, sig, 4);
    viv_st_le32(h + 4, (uint32_t)(len + sizeof(h)));
    h[8] = rev;
    memcpy(h + 10, OEM_ID, 6);
    memcpy(h + 16, OEM_TABLE_ID, 8);
    viv_st_le32(h + 24, 1);
    memcpy(h + 28, "VIV ", 4);
    viv_st_le32(h + 32, 1);
    g_byte_array_append(b->buf, h, sizeof(h));
    g_byte_array_append(b->buf, body, (guint)len);
    b->buf->data[at + 9] = viv_checksum8(b->buf->data + at, len + sizeof(h));
    add_sum(b, (uint32_t)at, (uint32_t)(len + sizeof(h)), (uint32_t)at + 9);
    return b->base + (uint32_t)at;
}

static void list_table(struct builder *b, uint32_t addr)
{
    g_assert(b->count < MAX_TABLES);
    b->tables[b->count++] = addr;
}

static uint32_t add_facs(struct builder *b)
{
    uint8_t f[64] = {0};
    uint32_t addr;

    align(b, 64);
    addr = b->base + b->buf->len;
    memcpy(f, "FACS", 4);
    viv_st_le32(f + 4, sizeof(f));
    f[32] = 2; /* version; no checksum, the OS writes here */
    g_byte_array_append(b->buf, f, sizeof(f));
    return addr;
}

/* Generic Address Structure (5.2.3.2). */
static void gas(uint8_t *p, uint8_t space, uint8_t bits, uint8_t access, uint64_t addr)
{
    p[0] = space;
    p[1] = bits;
    p[2] = 0;
    p[3] = access;
    viv_st_le64(p + 4, addr);
}

enum { /* FADT flags (5.2.9) */
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_PWR_BUTTON = 1 << 4, FADT_SLP_BUTTON = 1 << 5,
    FADT_RTC_S4 = 1 << 7, FADT_RESET_REG_SUP = 1 << 10,
    FADT_HW_REDUCED = 1 << 20,
    /* IA-PC boot architecture flags */
    ARCH_LEGACY = 1 << 0, ARCH_8042 = 1 << 1, ARCH_NO_VGA = 1 << 2, ARCH_NO_CMOS_RTC = 1 << 5,
};

/* Offsets here are into the table, header included. */
static void fadt_fixed_hw(uint8_t *f, const struct viv_acpi_info *info)
{
    uint16_t pm = info->pm_base;

    viv_st_le16(f + 46, SCI_IRQ);
    /* SMI_CMD 0: there is no legacy mode to leave, SCI_EN is already set by the board. */
    viv_st_le32(f + 56, pm);     /* PM1a_EVT_BLK */
    viv_st_le32(f + 64, pm + 4); /* PM1a_CNT_BLK */
    viv_st_le32(f + 76, pm + 8); /* PM_TMR_BLK */
    if (info->gpe_bytes) {
        viv_st_le32(f + 80, pm + info->gpe); /* GPE0_BLK */
        f[92] = info->gpe_bytes;
        gas(f + 220, VIV_AML_SYSTEM_IO, (uint8_t)(8 * info->gpe_bytes), 1, (uint64_t)pm + info->gpe);
    }
    f[88] = 4;
    f[89] = 2;
    f[91] = 4;
    viv_st_le16(f + 96, 0xfff);  /* no C2 */
    viv_st_le16(f + 98, 0xfff);  /* no C3 */
    f[108] = 0x32;               /* century in CMOS */
    gas(f + 148, VIV_AML_SYSTEM_IO, 32, 2, pm);
    gas(f + 172, VIV_AML_SYSTEM_IO, 16, 2, pm + 4u);
    gas(f + 208, VIV_AML_SYSTEM_IO, 32, 3, pm + 8u);
    gas(f + 116, VIV_AML_SYSTEM_IO, 8, 1, 0xcf9); /* reset control */
    f[128] = 0x06;
    /* The timer has 24 bits. */
    viv_st_le32(f + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 |
                             FADT_RESET_REG_SUP);
}

static void fadt_hw_reduced(uint8_t *f, const struct viv_acpi_info *info)
{
    gas(f + 116, VIV_AML_SYSTEM_MEMORY, 8, 1, info->ged_base + VIV_GED_RESET);
    f[128] = VIV_GED_RESET_VALUE;
    gas(f + 244, VIV_AML_SYSTEM_MEMORY, 8, 1, info->ged_base + VIV_GED_SLEEP_CTL);
    gas(f + 256, VIV_AML_SYSTEM_MEMORY, 8, 1, info->ged_base + VIV_GED_SLEEP_STATUS);
    viv_st_le32(f + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
                             FADT_RESET_REG_SUP | FADT_HW_REDUCED);
}

static void add_fadt(struct builder *b, const struct viv_acpi_info *info, uint32_t dsdt)
{
    uint8_t f[276] = {0};
    uint16_t arch = ARCH_NO_VGA;
    uint32_t at;

    if (info->pm_base) {
        viv_st_le32(f + 36, add_facs(b));
        fadt_fixed_hw(f, info);
        arch = ARCH_LEGACY;
    } else {
        fadt_hw_reduced(f, info);
    }
    if (info->i8042)
        arch |= ARCH_8042;
    if (!info->rtc)
        arch |= ARCH_NO_CMOS_RTC;
    viv_st_le32(f + 40, dsdt);
    f[45] = info->pm_base ? 1 : 0; /* preferred profile: desktop, unspecified */
    viv_st_le16(f + 109, arch);
    f[131] = 3; /* 6.3 */
    viv_st_le64(f + 140, dsdt);
    at = add_table(b, "FACP", 6, f + 36, sizeof(f) - 36);
    if (info->pm_base)
        add_pointer(b, at, 36, 4);
    add_pointer(b, at, 40, 4);
    add_pointer(b, at, 140, 8);
    list_table(b, at);
}

static void madt_cpu(GByteArray *m, uint32_t apic_id, unsigned uid)
{
    uint8_t e[16] = {0};

    if (apic_id < 255) { /* local APIC (5.2.12.2) */
        e[1] = 8;
        e[2] = (uint8_t)uid;
        e[3] = (uint8_t)apic_id;
        viv_st_le32(e + 4, 1); /* enabled */
    } else { /* local x2APIC (5.2.12.12) */
        e[0] = 9;
        e[1] = 16;
        viv_st_le32(e + 4, apic_id);
        viv_st_le32(e + 8, 1);
        viv_st_le32(e + 12, uid);
    }
    g_byte_array_append(m, e, e[1]);
}

static void madt_override(GByteArray *m, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    uint8_t e[10] = {2, 10, 0, irq};

    viv_st_le32(e + 4, gsi);
    viv_st_le16(e + 8, flags);
    g_byte_array_append(m, e, sizeof(e));
}

static void add_madt(struct builder *b, const struct viv_acpi_info *info)
{
    GByteArray *m = g_byte_array_new();
    uint8_t head[8];
    uint8_t ioapic[12] = {1, 12, 0};
    const uint8_t nmi[6] = {4, 6, 0xff, 0, 0, 1}; /* LINT1 of all, conforming */
    bool x2apic = false;

    viv_st_le32(head, VIV_APIC_DEFAULT_BASE);
    viv_st_le32(head + 4, info->pic ? 1 : 0); /* PCAT_COMPAT */
    g_byte_array_append(m, head, sizeof(head));
    for (unsigned i = 0; i < info->cpu_count; i++) {
        madt_cpu(m, info->cpus[i].apic_id, i);
        x2apic |= info->cpus[i].apic_id >= 255;
    }
    if (info->ioapic) {
        viv_st_le32(ioapic + 4, VIV_IOAPIC_BASE);
        g_byte_array_append(m, ioapic, sizeof(ioapic));
    }
    if (info->pit)
        madt_override(m, 0, 2, 0); /* the PIT's line is pin 2; 0 carried the 8259's INTR */
    if (info->pm_base)
        madt_override(m, 9, 9, 0xd); /* the SCI: level, active high */
    if (info->pm_base && !info->ecam_base) {
        madt_override(m, 5, 5, 0xd); /* PCI lines through the PIIX3: the same */
        madt_override(m, 10, 10, 0xd);
        madt_override(m, 11, 11, 0xd);
    }
    g_byte_array_append(m, nmi, sizeof(nmi));
    if (x2apic) {
        const uint8_t xnmi[12] = {0xa, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1};

        g_byte_array_append(m, xnmi, sizeof(xnmi));
    }
    list_table(b, add_table(b, "APIC", 4, m->data, m->len));
    g_byte_array_unref(m);
}

static void add_hpet(struct builder *b)
{
    uint8_t h[20] = {0};

    viv_st_le32(h, 0x8086a201); /* event timer block id: Intel, legacy replacement, 3 timers */
    gas(h + 4, VIV_AML_SYSTEM_MEMORY, 0, 0, HPET_BASE);
    list_table(b, add_table(b, "HPET", 1, h, sizeof(h)));
}

/* "Windows ACPI Emulated devices Table": the ACPI timer needs one read only, the RTC no re-read of register C. */
static void add_waet(struct builder *b)
{
    uint8_t w[4];

    viv_st_le32(w, 2);
    list_table(b, add_table(b, "WAET", 1, w, sizeof(w)));
}

/* PCI Firmware 3.2, 4.1.2: one segment group, all its buses. */
static void add_mcfg(struct builder *b, uint32_t base)
{
    uint8_t m[24] = {0};

    viv_st_le64(m + 8, base);
    m[19] = 255;
    list_table(b, add_table(b, "MCFG", 1, m, sizeof(m)));
}

static void add_dsdt_and_fadt(struct builder *b, const struct viv_acpi_info *info)
{
    struct viv_aml *a = viv_aml_new();
    const uint8_t *code;
    size_t len;

    if (info->ecam_base)
        viv_acpi_dsdt_q35(a, info);
    else if (info->pci)
        viv_acpi_dsdt_pc(a, info);
    else
        viv_acpi_dsdt_microvm(a, info);
    code = viv_aml_data(a, &len);
    add_fadt(b, info, add_table(b, "DSDT", 2, code, len));
    viv_aml_free(a);
}

static void add_roots(struct builder *b)
{
    uint8_t x[8 * MAX_TABLES], r[4 * MAX_TABLES];
    uint8_t *rsdp;
    uint32_t xsdt, rsdt;

    for (unsigned i = 0; i < b->count; i++) {
        viv_st_le64(x + 8 * i, b->tables[i]);
        viv_st_le32(r + 4 * i, b->tables[i]);
    }
    xsdt = add_table(b, "XSDT", 1, x, 8u * b->count);
    rsdt = add_table(b, "RSDT", 1, r, 4u * b->count);
    for (unsigned i = 0; i < b->count; i++) {
        add_pointer(b, xsdt, 36 + 8 * i, 8);
        add_pointer(b, rsdt, 36 + 4 * i, 4);
    }
    add_pointer(b, b->base, 16, 4);
    add_pointer(b, b->base, 24, 8);
    add_sum(b, 0, 20, 8);
    add_sum(b, 0, 36, 32);
    rsdp = b->buf->data; /* reserved by viv_acpi_build (5.2.5.3) */
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, OEM_ID, 6);
    rsdp[15] = 2;
    viv_st_le32(rsdp + 16, rsdt);
    viv_st_le32(rsdp + 20, 36);
    viv_st_le64(rsdp + 24, xsdt);
    rsdp[8] = viv_checksum8(rsdp, 20);
    rsdp[32] = viv_checksum8(rsdp, 36);
}

int viv_acpi_build(const struct viv_acpi_info *info, uint32_t base, size_t max, uint8_t **out, size_t *len,
                   struct viv_acpi_links *links, struct viv_err *err)
{
    struct builder b = {.buf = g_byte_array_new(), .base = base};

    g_assert(viv_is_aligned(base, 64));
    g_byte_array_set_size(b.buf, VIV_ACPI_RSDP_BYTES);
    memset(b.buf->data, 0, VIV_ACPI_RSDP_BYTES);
    add_dsdt_and_fadt(&b, info);
    add_madt(&b, info);
    if (info->hpet)
        add_hpet(&b);
    if (info->ecam_base)
        add_mcfg(&b, info->ecam_base);
    add_waet(&b);
    add_roots(&b);
    if (b.buf->len > max) {
        int ret = viv_fail(err, ENOSPC, "ACPI tables for %u CPUs take %u bytes, the BIOS area has %zu",
                           info->cpu_count, b.buf->len, max);

        g_byte_array_unref(b.buf);
        return ret;
    }
    if (links)
        *links = b.links;
    *len = b.buf->len;
    *out = g_byte_array_free(b.buf, FALSE);
    return 0;
}
