#include "cpu/x86/xlate/l1.h"

#include "cpu/x86/xlate/layout.h"
#include "cpu/x86/xlate/xlate_int.h"
#include "mem/ram.h"

#include <string.h>
#include <sys/mman.h>

#define EMPTY (-(0x8000ll << VIV_PAGE_SHIFT)) /* a page that has another slot than 0 and 0xffff */

static uint64_t *array(struct viv_x86 *c, unsigned set, unsigned which)
{
    return (uint64_t *)((uint8_t *)c + XL_L1 + set * XL_L1_SET + which);
}

static unsigned slot_of(uint64_t lin)
{
    return (lin >> VIV_PAGE_SHIFT) & (XL_L1_SLOTS - 1);
}

static uint64_t empty(unsigned slot)
{
    return slot == 0 || slot == XL_L1_SLOTS - 1 ? (uint64_t)EMPTY : 0;
}

static void clear_slot(struct viv_x86 *c, unsigned set, unsigned slot)
{
    array(c, set, XL_L1_READ)[slot] = array(c, set, XL_L1_WRITE)[slot] = empty(slot);
}

/* Memory may hold what another translator left. Anonymous and untouched memory is zeros already: that costs nothing. */
void viv_l1_init(struct viv_x86 *c)
{
    bool zeros = madvise((uint8_t *)c + XL_L1, VIV_L1_SETS * XL_L1_SET, MADV_DONTNEED) == 0;

    for (unsigned set = 0; set < VIV_L1_SETS; set++) {
        c->xlate->l1[set].logged = XL_L1_LOG + 1;
        if (!zeros)
            viv_l1_flush(c, set);
        c->xlate->l1[set].logged = 0;
        clear_slot(c, set, 0);
        clear_slot(c, set, XL_L1_SLOTS - 1);
    }
}

static void fill(struct viv_x86 *c, unsigned set, unsigned slot, uint64_t addend, uint8_t *flags)
{
    array(c, set, XL_L1_ADDEND)[slot] = addend;
    array(c, set, XL_L1_FLAGS)[slot] = (uintptr_t)flags;
    viv_ram_quiet((size_t)((uint16_t *)flags - viv_arena_flags));
}

uint64_t viv_l1_fill(struct viv_x86 *c, unsigned set, uint64_t lin, const struct viv_tlb_entry *e)
{
    struct xl_l1_log *log = &c->xlate->l1[set];
    unsigned slot = slot_of(lin);
    uint64_t page = lin & VIV_PAGE_MASK;

    fill(c, set, slot, e->addend, e->flags);
    array(c, set, XL_L1_READ)[slot] = e->tag_read == page ? -page : empty(slot);
    array(c, set, XL_L1_WRITE)[slot] = e->tag_write == page && !*e->flags ? -page : empty(slot);
    if (log->logged < XL_L1_LOG)
        log->slot[log->logged] = (uint16_t)slot;
    if (log->logged <= XL_L1_LOG)
        log->logged++;
    return slot;
}

uint64_t viv_l1_once(struct viv_x86 *c, unsigned set, uint64_t lin, void *hva, uint8_t *flags)
{
    fill(c, set, XL_L1_SLOTS, (uintptr_t)hva - lin, flags);
    return XL_L1_SLOTS;
}

void viv_l1_protect(struct viv_x86 *c, const void *hva)
{
    uintptr_t flags = (uintptr_t)&viv_arena_flags[viv_arena_page(hva)];

    for (unsigned set = 0; set < VIV_L1_SETS; set++) {
        const struct xl_l1_log *log = &c->xlate->l1[set];

        if (log->logged > XL_L1_LOG)
            viv_l1_flush(c, set);
        for (unsigned n = 0; n < log->logged; n++) {
            unsigned slot = log->slot[n];

            if (array(c, set, XL_L1_FLAGS)[slot] == flags)
                array(c, set, XL_L1_WRITE)[slot] = empty(slot);
        }
    }
}

void viv_l1_flush(struct viv_x86 *c, unsigned set)
{
    struct xl_l1_log *log;

    if (!c->xlate)
        return;
    log = &c->xlate->l1[set];
    if (log->logged > XL_L1_LOG) {
        memset(array(c, set, XL_L1_READ), 0, XL_L1_SLOTS * 8);
        memset(array(c, set, XL_L1_WRITE), 0, XL_L1_SLOTS * 8);
        clear_slot(c, set, 0);
        clear_slot(c, set, XL_L1_SLOTS - 1);
    } else {
        for (unsigned n = 0; n < log->logged; n++)
            clear_slot(c, set, log->slot[n]);
    }
    log->logged = 0;
}

void viv_l1_flush_all(struct viv_x86 *c)
{
    for (unsigned set = 0; set < VIV_L1_SETS; set++)
        viv_l1_flush(c, set);
}

void viv_l1_drop(struct viv_x86 *c, uint64_t lin)
{
    uint64_t page = lin & VIV_PAGE_MASK;

    if (!c->xlate)
        return;
    for (unsigned set = 0; set < VIV_L1_SETS; set++) {
        unsigned slot = slot_of(lin);

        if (array(c, set, XL_L1_READ)[slot] == -page || array(c, set, XL_L1_WRITE)[slot] == -page)
            clear_slot(c, set, slot);
    }
}

/* Other regions that share these slots go too. */
void viv_l1_drop_region(struct viv_x86 *c, uint64_t lin, unsigned shift)
{
    unsigned n = 1u << (shift - VIV_PAGE_SHIFT), first = slot_of(lin) & ~(n - 1);

    if (!c->xlate)
        return;
    for (unsigned set = 0; set < VIV_L1_SETS; set++) {
        const uint64_t *read = array(c, set, XL_L1_READ), *write = array(c, set, XL_L1_WRITE);

        for (unsigned slot = first; slot < first + n; slot++)
            if (read[slot] | write[slot])
                clear_slot(c, set, slot);
    }
}
