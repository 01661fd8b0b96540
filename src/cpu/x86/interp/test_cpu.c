#include "cpu/x86/interp/test_cpu.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

static struct test_cpu the;

/* Code in MMIO: NOPs, and HLT in the last 16 bytes. */
static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t b = off >= 0xff0 ? 0xf4 : 0x90;

    return b * 0x0101010101010101ull;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
}

static const struct viv_region_ops mmio_ops = {
    .read = mmio_read, .write = mmio_write, .max_size = 8, .unaligned = true, .lockless = true,
};

static void make(void)
{
    struct viv_err err = {0};
    struct viv_ram *ram;
    struct viv_region_desc d = {.name = "ram", .kind = VIV_REGION_RAM, .size = TEST_RAM_BYTES};
    struct viv_region_desc io = {.name = "mmio", .kind = VIV_REGION_IO, .size = 4096, .ops = &mmio_ops};
    struct viv_region_desc smram = {.name = "smram", .kind = VIV_REGION_RAM, .size = TEST_SMRAM_BYTES, .ram_offset = TEST_SMRAM};

    viv_ram_set_vcpu_count(1);
    g_assert_cmpint(viv_ram_new("test", TEST_RAM_BYTES, &ram, &err), ==, 0);
    the.ram = ram->hva;
    the.mem = viv_space_new("memory", 52);
    the.smm = viv_space_new_over("smm", the.mem);
    the.io = viv_space_new("io", 16);
    d.ram = ram;
    viv_region_map(viv_region_new(the.mem, &d), 0, 0);
    viv_region_map(viv_region_new(the.mem, &io), TEST_MMIO, 1);
    smram.ram = ram;
    the.smram = viv_region_new(the.smm, &smram);
    g_assert_cmpint(viv_cpuid_parse("max", &the.cpuid, &err), ==, 0);
    viv_cpuid_software_words(the.cpuid->word);
    viv_cpuid_finish(the.cpuid);
    the.c = viv_x86_new(&the.vcpu, the.cpuid, the.mem, the.smm, the.io);
    the.vcpu.x86 = the.c;
    g_assert_nonnull(the.c);
    g_assert_cmpint(viv_interp_init(the.c), ==, 0);
}

/* Identity map of the first GiB in 2 MiB pages, except from TEST_ABSENT to the next 2 MiB.
 * Tables at 0x100000. */
static void page_tables(void)
{
    uint8_t *pml4 = the.ram + 0x100000, *pdpt = pml4 + 0x1000, *pd = pml4 + 0x2000;

    memset(pml4, 0, 0x3000);
    viv_st_le64(pml4, 0x101007);
    viv_st_le64(pdpt, 0x102007);
    for (uint64_t n = 0; n < 512; n++)
        viv_st_le64(pd + 8 * n, n << 21 | 0x87);
    viv_st_le64(pd + 8 * (TEST_ABSENT >> 21), 0);
}

/* Gates 0-31 to HLT handlers. */
static void idt(unsigned mode)
{
    for (unsigned n = 0; n < 32; n++) {
        uint32_t at = TEST_HANDLERS + 16 * n;
        uint8_t *g = the.ram + TEST_IDT + n * (mode == VIV_MODE_LONG ? 16 : 8);

        the.ram[at] = 0xf4;
        if (mode == VIV_MODE_REAL) {
            viv_st_le32(the.ram + 4 * n, at); /* IVT: 0000:at */
            continue;
        }
        memset(g, 0, mode == VIV_MODE_LONG ? 16 : 8);
        viv_st_le32(g, 8u << 16 | (at & 0xffff));
        viv_st_le32(g + 4, (at & 0xffff0000) | 0x8e00);
    }
}

static void segment(struct viv_x86 *c, unsigned s, uint16_t sel, uint32_t attr)
{
    c->seg[s] = (struct viv_seg){.sel = sel, .limit = 0xffffffff, .attr = attr};
}

static void protected_mode(struct viv_x86 *c, unsigned mode)
{
    uint8_t *gdt = the.ram + TEST_GDT;

    memset(gdt, 0, 64);
    viv_st_le64(gdt + 8, mode == VIV_MODE_LONG ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
    viv_st_le64(gdt + 16, 0x00cf93000000ffffull);
    c->gdtr = (struct viv_dtr){.base = TEST_GDT, .limit = 63};
    c->idtr = (struct viv_dtr){.base = TEST_IDT, .limit = mode == VIV_MODE_LONG ? 511 : 255};
    c->cr0 = VIV_CR0_PE | VIV_CR0_ET | VIV_CR0_NE | VIV_CR0_WP;
    segment(c, VIV_CS, 8, mode == VIV_MODE_LONG ? 0xa09b : 0xc09b);
    for (unsigned s = 0; s < 6; s++) {
        if (s != VIV_CS)
            segment(c, s, 16, 0xc093);
    }
    if (mode != VIV_MODE_LONG)
        return;
    page_tables();
    c->cr3 = 0x100000;
    c->cr4 = VIV_CR4_PAE | VIV_CR4_OSFXSR | VIV_CR4_OSXMMEXCPT;
    c->msr.efer = VIV_EFER_LME | VIV_EFER_LMA | VIV_EFER_SCE | VIV_EFER_NXE;
    c->cr0 |= VIV_CR0_PG;
}

struct test_cpu *test_cpu_get(unsigned mode)
{
    struct viv_x86 *c;

    if (!the.c)
        make();
    c = the.c;
    viv_region_unmap(the.smram);
    memset(the.ram, 0, 0x200000);
    viv_ram_written(the.ram, 0x200000);
    viv_x86_reset(c, false, true);
    idt(mode);
    if (mode != VIV_MODE_REAL)
        protected_mode(c, mode);
    else
        for (unsigned s = 0; s < 6; s++)
            c->seg[s].base = 0, c->seg[s].sel = 0;
    c->gpr[VIV_RSP] = mode == VIV_MODE_REAL ? 0x7000 : TEST_STACK;
    viv_x86_update_mode(c);
    return &the;
}

void test_cpu_code(struct test_cpu *t, const void *bytes, unsigned len)
{
    if (t->c->mode == VIV_MODE_REAL) { /* 1000:0000 */
        t->c->seg[VIV_CS].sel = TEST_CODE >> 4;
        t->c->seg[VIV_CS].base = TEST_CODE;
        t->c->rip = 0;
    } else {
        t->c->rip = TEST_CODE;
    }
    memcpy(t->ram + TEST_CODE, bytes, len);
    viv_ram_written(t->ram + TEST_CODE, len);
}

enum viv_run test_cpu_run(struct test_cpu *t)
{
    return viv_interp_run(t->c);
}

int test_cpu_exception(const struct test_cpu *t)
{
    uint64_t at = t->c->rip - 1 - TEST_HANDLERS;

    if (!t->c->halted || at >= 32 * 16 || at % 16)
        return -1;
    return (int)(at / 16);
}
