/* Debug registers. Data and I/O breakpoints are traps: they are noted in pending_db while the instruction runs
 * and taken at its end; instruction breakpoints are faults, checked by viv_x86_take_event(). DR7's LE/GE have
 * no effect (as on every CPU since the P6); BTF needs DEBUGCTL.BTF, which is not offered. */
#include "cpu/x86/debug.h"

#include "cpu/x86/mmu_int.h"

static bool enabled(const struct viv_x86 *c, unsigned n)
{
    return c->dr[7] >> (n * 2) & 3;
}

static unsigned type(const struct viv_x86 *c, unsigned n)
{
    return c->dr[7] >> (16 + n * 4) & 3;
}

static unsigned length(const struct viv_x86 *c, unsigned n)
{
    static const uint8_t len[4] = {1, 2, 8, 4};

    return len[c->dr[7] >> (18 + n * 4) & 3];
}

static bool overlaps(const struct viv_x86 *c, unsigned n, uint64_t lin, uint64_t len)
{
    uint64_t size = length(c, n), start = c->dr[n] & ~(size - 1);

    return start < lin + len && lin < start + size;
}

bool viv_debug_watches_slow(const struct viv_x86 *c, uint64_t lin, uint64_t len)
{
    for (unsigned n = 0; n < 4; n++)
        if (enabled(c, n) && (type(c, n) & 1) && overlaps(c, n, lin, len))
            return true;
    return c->breaks.on & VIV_BREAK_ON_DATA && viv_break_watches(lin, len);
}

static void hit(struct viv_x86 *c, uint64_t lin, unsigned len, bool io, bool write)
{
    uint32_t triggered = 0, matched = 0;

    for (unsigned n = 0; n < 4; n++) {
        unsigned t = type(c, n);

        if (io ? t != VIV_DR_IO || !(c->cr4 & VIV_CR4_DE) : t == VIV_DR_EXEC || t == VIV_DR_IO)
            continue;
        if (!io && t == VIV_DR_WRITE && !write)
            continue;
        if (!overlaps(c, n, lin, len))
            continue;
        matched |= 1u << n;
        if (enabled(c, n))
            triggered |= 1u << n;
    }
    if (triggered) {
        c->pending_db |= matched;
        c->attention |= VIV_ATT_TRAP;
    }
}

void viv_debug_data_slow(struct viv_x86 *c, uint64_t lin, unsigned len, bool write)
{
    hit(c, lin, len, false, write);
    if (c->breaks.on & VIV_BREAK_ON_DATA) {
        viv_break_data(&c->breaks, lin, len, write);
        viv_debug_attention(c);
    }
}

void viv_debug_io_slow(struct viv_x86 *c, uint16_t port, unsigned len)
{
    hit(c, port, len, true, true);
}

uint32_t viv_debug_exec(const struct viv_x86 *c, uint64_t lin)
{
    uint32_t matched = 0;
    bool any = false;

    for (unsigned n = 0; n < 4; n++) {
        if (type(c, n) != VIV_DR_EXEC || c->dr[n] != lin)
            continue;
        matched |= 1u << n;
        any |= enabled(c, n);
    }
    return any ? matched : 0;
}

void viv_debug_attention(struct viv_x86 *c)
{
    uint8_t single = c->xlate ? VIV_BREAK_ON_STEP | VIV_BREAK_ON_MASK : UINT8_MAX;

    if (c->breaks.on & single || c->breaks.is_hit)
        c->attention |= VIV_ATT_BREAKS;
    else
        c->attention &= ~VIV_ATT_BREAKS;
}

void viv_debug_changed(struct viv_x86 *c)
{
    if (c->dr[7] & 0xff)
        c->attention |= VIV_ATT_DEBUG;
    else
        c->attention &= ~VIV_ATT_DEBUG;
    viv_debug_attention(c);
    viv_tlb_flush_data(c);
}
