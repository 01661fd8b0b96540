#include "cpu/x86/page_walk.h"

#include "base/bytes.h"
#include "cpu/x86/state.h"
#include "mem/space.h"

#include <glib.h>

#define FRAME 0x000ffffffffff000ull

struct walk {
    struct viv_space *mem;
    bool wide; /* 8-byte entries */
    unsigned levels;
    unsigned *tables; /* that may still be read */
    viv_mapped_page_fn fn;
    void *opaque;
};

static uint64_t canonical(const struct walk *w, uint64_t lin)
{
    unsigned top = w->levels == 5 ? 56 : 47;

    return w->levels >= 4 ? (uint64_t)((int64_t)(lin << (63 - top)) >> (63 - top)) : lin;
}

/* Bytes that could be read: where there is no RAM, no entry is present. */
static size_t read_table(struct viv_space *mem, uint64_t gpa, uint8_t *raw, size_t len)
{
    struct viv_space_range r;

    if (!viv_space_find(mem, gpa, &r) || !r.hva)
        return 0;
    len = (size_t)MIN(len, r.last - gpa + 1);
    memcpy(raw, r.hva + (gpa - r.start), len);
    return len;
}

static bool walk(struct walk *w, uint64_t table, unsigned level, uint64_t lin, unsigned rights)
{
    unsigned bits = w->wide ? 9 : 10, shift = 12 + bits * (level - 1), width = w->wide ? 8 : 4;
    bool pdpt = w->levels == 3 && level == 3; /* PAE's: four entries, no rights */
    unsigned count = pdpt ? 4 : 1u << bits;
    uint8_t raw[4096];
    size_t got;

    if (!*w->tables)
        return false;
    --*w->tables;
    got = read_table(w->mem, table, raw, (size_t)count * width);
    for (unsigned i = 0; (size_t)(i + 1) * width <= got; i++) {
        uint64_t e = w->wide ? viv_ld_le64(raw + i * 8) : viv_ld_le32(raw + i * 4), at = canonical(w, lin | (uint64_t)i << shift);
        bool leaf = level == 1 || (level <= 3 && !pdpt && (e & VIV_PTE_PS));
        unsigned both = pdpt ? rights : rights & (unsigned)e;

        if (!(e & VIV_PTE_P))
            continue;
        if (leaf) {
            struct viv_mapped_page p = {at, e & FRAME & ~((1ull << shift) - 1), 1ull << shift, e, both};

            if (!w->fn(w->opaque, &p))
                return false;
        } else if (!walk(w, e & FRAME, level - 1, at, both)) {
            return false;
        }
    }
    return true;
}

bool viv_x86_each_page(const struct viv_x86 *c, unsigned *tables, viv_mapped_page_fn fn, void *opaque)
{
    struct walk w = {.mem = c->mem, .tables = tables, .fn = fn, .opaque = opaque};

    if (!(c->cr0 & VIV_CR0_PG))
        return true;
    w.wide = c->cr4 & VIV_CR4_PAE;
    w.levels = !w.wide ? 2 : !(c->msr.efer & VIV_EFER_LMA) ? 3 : c->cr4 & VIV_CR4_LA57 ? 5 : 4;
    return walk(&w, c->cr3 & (w.levels == 3 ? 0xffffffe0ull : FRAME), w.levels, 0, VIV_PTE_W | VIV_PTE_U);
}
