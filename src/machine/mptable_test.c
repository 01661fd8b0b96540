/* Reads the table as a kernel does: by its pointer, its lengths, its sums. */
#include "machine/mptable.h"

#include "base/bytes.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define BASE 0xf2000u

static const struct viv_acpi_cpu three[] = {{4}, {6}, {300}};
static const uint8_t lines[VIV_PCI_PIRQS] = {10, 10, 11, 11}, pins[VIV_PCI_PIRQS] = {16, 17, 18, 19, 20, 21, 22, 23};

struct rig {
    struct viv_board board;
    struct viv_mp_info info;
    uint8_t *b;
    size_t len;
};

static void build(struct rig *r, const uint8_t *pirq_pin)
{
    struct viv_err err = VIV_ERR_INIT;

    memset(r, 0, sizeof(*r));
    r->board.mem = viv_space_new("mem", 64);
    r->board.io = viv_space_new("io", 16);
    r->board.pci = viv_pci_bus_new(&r->board, "pci.0");
    r->info = (struct viv_mp_info){.cpus = three, .cpu_count = 3, .signature = 0x663, .features = 0x201, .pit = true, .pci = r->board.pci,
                                   .pirq_pin = pirq_pin};
    g_assert_cmpint(viv_mp_build(&r->info, BASE, 0x2000, &r->b, &r->len, &err), ==, 0);
}

static void done(struct rig *r)
{
    g_free(r->b);
    viv_pci_bus_free(r->board.pci);
    viv_space_free(r->board.mem);
    viv_space_free(r->board.io);
}

static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* The nth entry of a type, or NULL; *count: how many there are. Types must ascend, and the entries fill the table. */
static const uint8_t *entry(const struct rig *r, uint8_t type, unsigned n, unsigned *count)
{
    const uint8_t *head = r->b + 16, *found = NULL, *p = head + 44;
    unsigned seen = 0, last = 0;

    for (unsigned i = 0; i < viv_ld_le16(head + 34); i++, p += *p ? 8 : 20) {
        g_assert_cmpuint(*p, >=, last);
        last = *p;
        if (*p == type && seen++ == n)
            found = p;
    }
    g_assert_true(p == r->b + r->len);
    if (count)
        *count = seen;
    return found;
}

/* Where an interrupt of a bus goes; -1: nowhere. */
static int pin_of(const struct rig *r, uint8_t bus, uint8_t irq, uint8_t *flags)
{
    unsigned count;
    int pin = -1;

    entry(r, 3, 0, &count);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *e = entry(r, 3, i, NULL);

        if (e[4] == bus && e[5] == irq) {
            g_assert_cmpint(pin, ==, -1); /* said once */
            pin = e[7];
            *flags = e[2];
        }
    }
    return pin;
}

static void test_layout(void)
{
    struct rig r;
    unsigned count;
    const uint8_t *e;

    build(&r, lines);
    g_assert_cmpmem(r.b, 4, "_MP_", 4);
    g_assert_cmpuint(viv_ld_le32(r.b + 4), ==, BASE + 16);
    g_assert_cmpint(sum(r.b, 16), ==, 0);
    g_assert_cmpmem(r.b + 16, 4, "PCMP", 4);
    g_assert_cmpuint(viv_ld_le16(r.b + 20), ==, r.len - 16);
    g_assert_cmpint(sum(r.b + 16, r.len - 16), ==, 0);
    e = entry(&r, 0, 0, &count);
    g_assert_cmpuint(count, ==, 2); /* 300 has no place */
    g_assert_cmpuint(e[1], ==, 4);
    g_assert_cmpuint(e[3], ==, 3); /* usable, boots */
    g_assert_cmpuint(viv_ld_le32(e + 4), ==, 0x663);
    g_assert_cmpuint(viv_ld_le32(e + 8), ==, 0x201);
    e = entry(&r, 0, 1, &count);
    g_assert_cmpuint(e[1], ==, 6);
    g_assert_cmpuint(e[3], ==, 1);
    entry(&r, 2, 0, &count);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpuint(entry(&r, 4, 0, &count)[6], ==, 4); /* the 8259s interrupt the first CPU */
    done(&r);
}

static void test_lines(void)
{
    uint8_t isa, flags;
    struct rig r;

    build(&r, lines);
    isa = entry(&r, 1, 1, NULL)[1];
    g_assert_cmpint(pin_of(&r, isa, 0, &flags), ==, 2); /* the timer */
    g_assert_cmpint(pin_of(&r, isa, 2, &flags), ==, -1);
    g_assert_cmpint(pin_of(&r, isa, 4, &flags), ==, 4);
    g_assert_cmpint(flags, ==, 0);
    g_assert_cmpint(pin_of(&r, isa, 10, &flags), ==, -1); /* PCI's */
    g_assert_cmpint(pin_of(&r, 0, 3 << 2, &flags), ==, 11); /* slot 3, INTA: PIRQC */
    g_assert_cmpint(flags, ==, 0xd);
    done(&r);

    build(&r, pins);
    isa = entry(&r, 1, 1, NULL)[1];
    g_assert_cmpint(pin_of(&r, isa, 10, &flags), ==, 10);
    g_assert_cmpint(pin_of(&r, 0, 1 << 2 | 3, &flags), ==, 19); /* slot 1, INTD: (1 + 3 - 1) mod 4 */
    g_assert_cmpint(flags, ==, 0xf);
    done(&r);
}

static void test_room(void)
{
    struct viv_err err = VIV_ERR_INIT;
    uint8_t *b = NULL;
    struct rig r;
    size_t len;

    build(&r, lines);
    g_assert_cmpint(viv_mp_build(&r.info, BASE, r.len, &b, &len, &err), ==, 0);
    g_free(b);
    g_assert_cmpint(viv_mp_build(&r.info, BASE, r.len - 1, &b, &len, &err), ==, -ENOSPC);
    done(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mptable/layout", test_layout);
    g_test_add_func("/mptable/lines", test_lines);
    g_test_add_func("/mptable/room", test_room);
    return g_test_run();
}
