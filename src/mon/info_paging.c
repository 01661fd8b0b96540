/* info mem, info tlb: a CPU's page tables (SDM volume 3, chapter 4), read as memory. The tables are the guest's: they may point at
 * themselves, so what is read and what is printed have bounds. */
#include "mon/mon_int.h"

#include "cpu/vcpu.h"
#include "cpu/x86/state.h"
#include "mon/memory.h"

#include <inttypes.h>
#include <string.h>

#define TABLES_MAX 65536u
#define TEXT_MAX   (1u << 20)

enum { PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_PWT = 1 << 3, PTE_PCD = 1 << 4, PTE_A = 1 << 5, PTE_D = 1 << 6, PTE_PS = 1 << 7, PTE_G = 1 << 8 };
#define PTE_NX (1ull << 63)

struct map {
    GString *out;
    bool each;  /* every page; else ranges with the same rights */
    bool wide;  /* 8-byte entries */
    unsigned levels;
    unsigned tables; /* read */
    bool cut;
    uint64_t start, end; /* the range that is being collected */
    unsigned rights;
};

static void put_range(struct map *m)
{
    if (m->end > m->start || (m->start && !m->end))
        g_string_append_printf(m->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %c%c%c\n", m->start, m->end, m->end - m->start,
                               m->rights & PTE_U ? 'u' : '-', 'r', m->rights & PTE_W ? 'w' : '-');
    m->start = m->end = 0;
}

static void put_page(struct map *m, uint64_t lin, uint64_t size, uint64_t e)
{
    uint64_t frame = e & 0x000ffffffffff000ull & ~(size - 1);

    g_string_append_printf(m->out, "%016" PRIx64 ": %016" PRIx64 " %c%c%c%c%c%c%c%c%c\n", lin, frame, e & PTE_NX ? 'X' : '-',
                           e & PTE_G ? 'G' : '-', size > 4096 ? 'P' : '-', e & PTE_D ? 'D' : '-', e & PTE_A ? 'A' : '-',
                           e & PTE_PCD ? 'C' : '-', e & PTE_PWT ? 'T' : '-', e & PTE_U ? 'U' : '-', e & PTE_W ? 'W' : '-');
}

static void found(struct map *m, uint64_t lin, uint64_t size, uint64_t e, unsigned rights)
{
    if (m->out->len > TEXT_MAX) {
        m->cut = true;
    } else if (m->each) {
        put_page(m, lin, size, e);
    } else {
        if (lin != m->end || rights != m->rights || m->start == m->end) {
            put_range(m);
            m->start = lin;
            m->rights = rights;
        }
        m->end = lin + size;
    }
}

static uint64_t canonical(const struct map *m, uint64_t lin)
{
    unsigned top = m->levels == 5 ? 56 : 47;

    return m->levels >= 4 ? (uint64_t)((int64_t)(lin << (63 - top)) >> (63 - top)) : lin;
}

static void walk(struct map *m, uint64_t table, unsigned level, uint64_t lin, unsigned rights)
{
    unsigned bits = m->wide ? 9 : 10, shift = 12 + bits * (level - 1);
    unsigned count = m->wide && m->levels == 3 && level == 3 ? 4 : 1u << bits;
    uint8_t raw[4096];
    size_t got;

    if (++m->tables > TABLES_MAX || m->cut) {
        m->cut = true;
        return;
    }
    got = viv_mon_mem_read(NULL, table, raw, (size_t)count * (m->wide ? 8 : 4));
    for (unsigned i = 0; i < count && (i + 1) * (m->wide ? 8u : 4u) <= got && !m->cut; i++) {
        uint64_t e = 0, at = canonical(m, lin | (uint64_t)i << shift);
        bool directory = level > 1 && level <= 3 && !(m->levels == 3 && level == 3);
        unsigned both;

        memcpy(&e, raw + i * (m->wide ? 8u : 4u), m->wide ? 8 : 4);
        if (!(e & PTE_P))
            continue;
        both = m->levels == 3 && level == 3 ? rights : rights & (unsigned)e & (PTE_W | PTE_U); /* a PDPTE of PAE has no rights */
        if (level == 1 || (directory && (e & PTE_PS)))
            found(m, at, 1ull << shift, e, both);
        else
            walk(m, e & 0x000ffffffffff000ull, level - 1, at, both);
    }
}

static void show(struct viv_vcpu *v, bool each, GString *out)
{
    const struct viv_x86 *c = v->x86;
    struct map m = {.out = out, .each = each};

    if (!(c->cr0 & VIV_CR0_PG)) {
        g_string_append(out, "PG disabled\n");
        return;
    }
    m.wide = c->cr4 & VIV_CR4_PAE;
    m.levels = !m.wide ? 2 : !(c->msr.efer & VIV_EFER_LMA) ? 3 : c->cr4 & VIV_CR4_LA57 ? 5 : 4;
    walk(&m, c->cr3 & (m.levels == 3 ? 0xffffffe0ull : 0x000ffffffffff000ull), m.levels, 0, PTE_W | PTE_U);
    if (!each)
        put_range(&m);
    if (m.cut)
        g_string_append(out, "... and more: the tables are too many, or too much to print\n");
}

static int info(bool each, json_t **result, struct viv_err *err)
{
    struct viv_vcpu *v = viv_mon_cpu(err);
    GString *out;
    bool running;

    if (!v)
        return -ENODEV;
    out = g_string_new(NULL);
    running = viv_mon_freeze();
    show(v, each, out);
    viv_mon_thaw(running);
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

int viv_mon_info_mem(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    return info(false, result, err);
}

int viv_mon_info_tlb(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    return info(true, result, err);
}
