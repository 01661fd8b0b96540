#include "dev/intc/i8259.h"
#include "dev/intc/ioapic.h"
#include "dev/test_rig.h"

#include <glib.h>

extern const struct viv_dev_class viv_dev_i8259, viv_dev_ioapic;
const struct viv_dev_class *const rig_classes[] = {&viv_dev_i8259, &viv_dev_ioapic, NULL};

static struct viv_dev *pic;

static int inta(void)
{
    return rig.intc.ack_extint(rig.intc.ack_opaque);
}

/* The usual programming: vectors 20h and 28h, all unmasked. */
static void program(uint8_t icw4)
{
    rig_init();
    pic = rig_add("i8259", NULL);
    out8(0x20, 0x11);
    out8(0x21, 0x20);
    out8(0x21, 0x04);
    out8(0x21, icw4);
    out8(0xa0, 0x11);
    out8(0xa1, 0x28);
    out8(0xa1, 0x02);
    out8(0xa1, icw4);
}

static void pulse(unsigned irq)
{
    viv_i8259_set_irq(pic, irq, 1);
    viv_i8259_set_irq(pic, irq, 0);
}

static void test_priority(void)
{
    program(1);
    g_assert_cmpint(rig.extint, ==, 0);
    pulse(4);
    pulse(3);
    g_assert_cmpint(rig.extint, ==, 1);
    g_assert_cmphex(in8(0x20), ==, 0x18); /* IRR */
    g_assert_cmphex(inta(), ==, 0x23);
    g_assert_cmpint(rig.extint, ==, 0); /* 4 waits for 3 */
    out8(0x20, 0x0b);
    g_assert_cmphex(in8(0x20), ==, 0x08); /* ISR */
    pulse(1);
    g_assert_cmphex(inta(), ==, 0x21); /* nests */
    out8(0x20, 0x20);
    out8(0x20, 0x20);
    g_assert_cmpint(rig.extint, ==, 1);
    g_assert_cmphex(inta(), ==, 0x24);
    out8(0x20, 0x64); /* specific EOI of 4 */
    g_assert_cmphex(in8(0x20), ==, 0);
    out8(0x21, 0x10);
    pulse(4);
    g_assert_cmpint(rig.extint, ==, 0); /* masked, but remembered */
    out8(0x21, 0x00);
    g_assert_cmphex(inta(), ==, 0x24);
    rig_fini();
}

static void test_cascade(void)
{
    program(1);
    pulse(12);
    g_assert_cmphex(inta(), ==, 0x2c);
    pulse(9); /* above 12 on the slave, but the master has its line 2 in service */
    g_assert_cmpint(rig.extint, ==, 0);
    out8(0xa0, 0x20);
    out8(0x20, 0x20);
    g_assert_cmpint(rig.extint, ==, 1);
    g_assert_cmphex(inta(), ==, 0x29);
    rig_fini();

    program(0x11); /* special fully nested */
    pulse(12);
    g_assert_cmphex(inta(), ==, 0x2c);
    pulse(5);
    g_assert_cmpint(rig.extint, ==, 0); /* lower than the slave */
    pulse(9);
    g_assert_cmpint(rig.extint, ==, 1);
    g_assert_cmphex(inta(), ==, 0x29);
    pulse(1);
    g_assert_cmphex(inta(), ==, 0x21);
    out8(0x20, 0x20);
    out8(0xa0, 0x20);
    out8(0xa0, 0x20);
    g_assert_cmpint(rig.extint, ==, 0);
    out8(0x20, 0x20);
    g_assert_cmphex(inta(), ==, 0x25);
    rig_fini();
}

static void test_spurious(void)
{
    program(1);
    out8(0x4d0, 0x20); /* 5 is level */
    g_assert_cmphex(in8(0x4d0), ==, 0x20);
    viv_i8259_set_irq(pic, 5, 1);
    g_assert_cmpint(rig.extint, ==, 1);
    viv_i8259_set_irq(pic, 5, 0);
    g_assert_cmpint(rig.extint, ==, 0);
    g_assert_cmphex(inta(), ==, 0x27);
    out8(0x20, 0x0b);
    g_assert_cmphex(in8(0x20), ==, 0); /* not in service */
    viv_i8259_set_irq(pic, 5, 1);
    g_assert_cmphex(inta(), ==, 0x25);
    out8(0x20, 0x20);
    g_assert_cmpint(rig.extint, ==, 1); /* still asserted */
    /* On the slave: the master's line 2 goes into service all the same. */
    viv_i8259_set_irq(pic, 5, 0);
    pulse(10);
    out8(0xa1, 0xff);
    g_assert_cmphex(inta(), ==, 0x2f);
    g_assert_cmphex(in8(0x20), ==, 0x04);
    out8(0x4d1, 0xff);
    out8(0x4d0, 0xff);
    g_assert_cmphex(in16(0x4d0), ==, 0xdef8);
    rig_fini();
}

static void test_rotation(void)
{
    program(1);
    pulse(0);
    g_assert_cmphex(inta(), ==, 0x20);
    out8(0x20, 0xa0); /* rotate on non-specific EOI: 0 is lowest now */
    pulse(0);
    pulse(7);
    g_assert_cmphex(inta(), ==, 0x27);
    out8(0x20, 0x20);
    out8(0x20, 0xc2); /* 2 lowest: 3 is highest */
    pulse(1);
    pulse(3);
    g_assert_cmphex(inta(), ==, 0x23);
    out8(0x20, 0x20);
    g_assert_cmphex(inta(), ==, 0x20); /* 4..7 are quiet */
    rig_fini();

    program(3); /* automatic EOI */
    pulse(6);
    g_assert_cmphex(inta(), ==, 0x26);
    out8(0x20, 0x0b);
    g_assert_cmphex(in8(0x20), ==, 0);
    out8(0x20, 0x80); /* rotate in automatic EOI mode */
    pulse(1);
    g_assert_cmphex(inta(), ==, 0x21);
    pulse(1);
    pulse(5);
    g_assert_cmphex(inta(), ==, 0x25);
    rig_fini();
}

static void test_special_mask_and_poll(void)
{
    program(1);
    pulse(2); /* the cascade is not an input */
    g_assert_cmpint(rig.extint, ==, 0);
    pulse(3);
    g_assert_cmphex(inta(), ==, 0x23);
    pulse(6);
    g_assert_cmpint(rig.extint, ==, 0);
    out8(0x21, 0x08);
    out8(0x20, 0x68); /* special mask: 3, masked, no longer blocks */
    g_assert_cmpint(rig.extint, ==, 1);
    out8(0x20, 0x0c); /* poll */
    g_assert_cmphex(in8(0x20), ==, 0x86);
    g_assert_cmpint(rig.extint, ==, 0);
    out8(0x20, 0x0c);
    g_assert_cmphex(in8(0x20), ==, 0);
    rig_fini();
}

static void test_init(void)
{
    program(1);
    pulse(3);
    out8(0x21, 0x55);
    out8(0x20, 0x13);                  /* single, ICW4 follows */
    g_assert_cmphex(in8(0x21), ==, 0); /* IMR is cleared */
    g_assert_cmphex(in8(0x20), ==, 0); /* and the edge forgotten */
    out8(0x21, 0x40);
    out8(0x21, 0x01);
    out8(0x21, 0xfb);
    g_assert_cmphex(in8(0x21), ==, 0xfb);
    pulse(2);
    rig_fini();
}

/* ---- I/O APIC ---- */

static struct viv_dev *ioapic;

static void entry(unsigned pin, uint64_t v)
{
    set_mem32(0xfec00000, 0x10 + 2 * pin);
    set_mem32(0xfec00010, (uint32_t)v);
    set_mem32(0xfec00000, 0x11 + 2 * pin);
    set_mem32(0xfec00010, v >> 32);
}

static uint32_t entry_low(unsigned pin)
{
    set_mem32(0xfec00000, 0x10 + 2 * pin);
    return mem32(0xfec00010);
}

static void test_ioapic_registers(void)
{
    rig_init();
    ioapic = rig_add("ioapic", NULL);
    set_mem32(0xfec00000, 1);
    g_assert_cmphex(mem32(0xfec00010), ==, 0x00170020);
    set_mem32(0xfec00000, 0);
    set_mem32(0xfec00010, 0xff000000);
    g_assert_cmphex(mem32(0xfec00010), ==, 0x0f000000);
    g_assert_cmphex(entry_low(23), ==, 0x10000);
    entry(23, UINT64_MAX);
    g_assert_cmphex(entry_low(23), ==, 0x1afff); /* status and remote IRR are read only */
    set_mem32(0xfec00000, 0x40);
    g_assert_cmphex(mem32(0xfec00010), ==, 0);
    set_mem32(0xfec00010, 1);
    rig_fini();
}

static void test_ioapic_edge(void)
{
    rig_init();
    ioapic = rig_add("ioapic", NULL);
    viv_ioapic_set_irq(ioapic, 4, 1); /* masked: lost */
    entry(4, 0x0300000000000831);
    g_assert_cmpuint(rig.msis, ==, 0);
    viv_ioapic_set_irq(ioapic, 4, 1);
    g_assert_cmpuint(rig.msis, ==, 0);
    viv_ioapic_set_irq(ioapic, 4, 0);
    viv_ioapic_set_irq(ioapic, 4, 1);
    g_assert_cmpuint(rig.msis, ==, 1);
    g_assert_cmphex(rig.msi_addr, ==, 0xfee03004);
    g_assert_cmphex(rig.msi_data, ==, 0x31);
    viv_ioapic_set_irq(ioapic, 24, 1);
    rig_fini();
}

static void test_ioapic_level(void)
{
    rig_init();
    ioapic = rig_add("ioapic", NULL);
    entry(20, 0x18055); /* masked, level */
    viv_ioapic_set_irq(ioapic, 20, 1);
    g_assert_cmpuint(rig.msis, ==, 0);
    entry(20, 0x08055);
    g_assert_cmpuint(rig.msis, ==, 1);
    g_assert_cmphex(rig.msi_data, ==, 0xc055);
    g_assert_cmphex(entry_low(20), ==, 0x0c055);
    viv_ioapic_set_irq(ioapic, 20, 0);
    viv_ioapic_set_irq(ioapic, 20, 1);
    g_assert_cmpuint(rig.msis, ==, 1); /* not answered yet */
    rig.intc.eoi(rig.intc.eoi_opaque, 0x54);
    g_assert_cmpuint(rig.msis, ==, 1);
    rig.intc.eoi(rig.intc.eoi_opaque, 0x55);
    g_assert_cmpuint(rig.msis, ==, 2); /* still asserted */
    viv_ioapic_set_irq(ioapic, 20, 0);
    set_mem32(0xfec00040, 0x55); /* the EOI register */
    g_assert_cmpuint(rig.msis, ==, 2);
    g_assert_cmphex(entry_low(20), ==, 0x08055);
    /* To edge and back clears remote IRR. */
    viv_ioapic_set_irq(ioapic, 20, 1);
    g_assert_cmphex(entry_low(20), ==, 0x0c055);
    entry(20, 0x10055);
    entry(20, 0x18055);
    g_assert_cmphex(entry_low(20), ==, 0x18055);
    rig_fini();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8259/priority", test_priority);
    g_test_add_func("/i8259/cascade", test_cascade);
    g_test_add_func("/i8259/spurious", test_spurious);
    g_test_add_func("/i8259/rotation", test_rotation);
    g_test_add_func("/i8259/special-mask-poll", test_special_mask_and_poll);
    g_test_add_func("/i8259/init", test_init);
    g_test_add_func("/ioapic/registers", test_ioapic_registers);
    g_test_add_func("/ioapic/edge", test_ioapic_edge);
    g_test_add_func("/ioapic/level", test_ioapic_level);
    return g_test_run();
}
