/* Sections are of the MultiProcessor Specification 1.4. */
#include "machine/mptable.h"

#include "base/bytes.h"
#include "cpu/x86/apic.h"
#include "dev/intc/ioapic.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum {
    POINTER = 16, HEADER = 44, /* bytes: 4.1, 4.2 */
    ENTRY_CPU = 0, ENTRY_BUS = 1, ENTRY_IOAPIC = 2, ENTRY_IRQ = 3, ENTRY_LINT = 4,
    CPU_USABLE = 1, CPU_BOOTS = 2,
    LAPIC_VERSION = 0x14, IOAPIC_VERSION = 0x20, IOAPIC_ID = 0, ALL_LAPICS = 0xff,
    INT = 0, NMI = 1, EXTINT = 3, /* 4.3.4 */
    CONFORMING = 0, LEVEL_HIGH = 0xd, LEVEL_LOW = 0xf,
    /* A PCI bus has its own number. The ISA bus's must be none of these; how many bridges bring, nobody knows yet. */
    PCI_ROOT = 0, ISA = 255,
    ISA_LINES = 16, CASCADE = 2, PIT_LINE = 0, PIT_PIN = 2,
};

struct table {
    GByteArray *buf;
    unsigned entries;
};

static void add(struct table *t, const uint8_t *entry, unsigned len)
{
    g_byte_array_append(t->buf, entry, len);
    t->entries++;
}

static void add_cpus(struct table *t, const struct viv_mp_info *info)
{
    for (unsigned i = 0; i < info->cpu_count; i++) {
        uint8_t e[20] = {ENTRY_CPU, (uint8_t)info->cpus[i].apic_id, LAPIC_VERSION, CPU_USABLE | (i ? 0 : CPU_BOOTS)};

        if (info->cpus[i].apic_id >= ALL_LAPICS)
            continue;
        viv_st_le32(e + 4, info->signature);
        viv_st_le32(e + 8, info->features);
        add(t, e, sizeof(e));
    }
}

static void add_bus(struct table *t, uint8_t id, const char *kind)
{
    uint8_t e[8] = {ENTRY_BUS, id};

    memcpy(e + 2, kind, 6);
    add(t, e, sizeof(e));
}

static void add_ioapic(struct table *t)
{
    uint8_t e[8] = {ENTRY_IOAPIC, IOAPIC_ID, IOAPIC_VERSION, 1};

    viv_st_le32(e + 4, VIV_IOAPIC_BASE);
    add(t, e, sizeof(e));
}

static void add_line(struct table *t, uint8_t flags, uint8_t bus, uint8_t irq, uint8_t pin)
{
    const uint8_t e[8] = {ENTRY_IRQ, INT, flags, 0, bus, irq, IOAPIC_ID, pin};

    add(t, e, sizeof(e));
}

/* Returns the pins that are taken, which no ISA device has. */
static uint32_t add_pci_lines(struct table *t, const struct viv_mp_info *info)
{
    uint32_t taken = 0;

    for (unsigned slot = 1; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            uint8_t to = info->pirq_pin[viv_pci_slot_pirq(info->pci, slot, pin)];

            /* D.3. Lines that go by way of ISA ones are active high, as MADT says too. */
            add_line(t, to < ISA_LINES ? LEVEL_HIGH : LEVEL_LOW, PCI_ROOT, (uint8_t)(slot << 2 | pin), to);
            taken |= 1u << to;
        }
    }
    return taken;
}

static void add_isa_lines(struct table *t, const struct viv_mp_info *info, uint32_t taken)
{
    for (uint8_t irq = 0; irq < ISA_LINES; irq++) {
        if (irq == PIT_LINE && info->pit)
            add_line(t, CONFORMING, ISA, irq, PIT_PIN);
        else if (irq != CASCADE && irq != PIT_LINE && !(taken >> irq & 1))
            add_line(t, CONFORMING, ISA, irq, irq);
    }
}

/* The 8259s' line is the first CPU's LINT0, the NMI everybody's LINT1 (4.3.5). */
static void add_local(struct table *t, const struct viv_mp_info *info)
{
    const uint8_t ext[8] = {ENTRY_LINT, EXTINT, CONFORMING, 0, ISA, 0, (uint8_t)info->cpus[0].apic_id, 0};
    const uint8_t nmi[8] = {ENTRY_LINT, NMI, CONFORMING, 0, ISA, 0, ALL_LAPICS, 1};

    add(t, ext, sizeof(ext));
    add(t, nmi, sizeof(nmi));
}

static void fill_heads(struct table *t, uint32_t base)
{
    uint8_t *pointer = t->buf->data, *head = pointer + POINTER;
    size_t len = t->buf->len - POINTER;

    memcpy(pointer, "_MP_", 4);
    viv_st_le32(pointer + 4, base + POINTER);
    pointer[8] = 1; /* of 16 bytes */
    pointer[9] = 4; /* 1.4 */
    pointer[10] = viv_checksum8(pointer, POINTER); /* feature bytes 0: a table, virtual wire */
    memcpy(head, "PCMP", 4);
    viv_st_le16(head + 4, (uint16_t)len);
    head[6] = 4;
    memcpy(head + 8, "VIVARIUM", 8);
    memcpy(head + 16, "PC          ", 12);
    viv_st_le16(head + 34, (uint16_t)t->entries);
    viv_st_le32(head + 36, VIV_APIC_DEFAULT_BASE);
    head[7] = viv_checksum8(head, len);
}

int viv_mp_build(const struct viv_mp_info *info, uint32_t base, size_t max, uint8_t **out, size_t *len, struct viv_err *err)
{
    static const uint8_t heads[POINTER + HEADER];
    struct table t = {g_byte_array_new(), 0};

    g_byte_array_append(t.buf, heads, sizeof(heads));
    add_cpus(&t, info);
    add_bus(&t, PCI_ROOT, "PCI   ");
    add_bus(&t, ISA, "ISA   ");
    add_ioapic(&t);
    add_isa_lines(&t, info, add_pci_lines(&t, info));
    add_local(&t, info);
    if (t.buf->len > max || t.buf->len > UINT16_MAX) {
        int ret = viv_fail(err, ENOSPC, "the MP table of %u CPUs takes %u bytes, and there is room for %zu", info->cpu_count, t.buf->len, max);

        g_byte_array_unref(t.buf);
        return ret;
    }
    fill_heads(&t, base);
    *len = t.buf->len;
    *out = g_byte_array_free(t.buf, FALSE);
    return 0;
}
