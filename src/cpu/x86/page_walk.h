/* All that a CPU's page tables map (SDM volume 3, chapter 4), for debuggers: nothing is marked as accessed. */
#ifndef VIV_CPU_X86_PAGE_WALK_H
#define VIV_CPU_X86_PAGE_WALK_H

#include <stdbool.h>
#include <stdint.h>

struct viv_x86;

/* Bits of an entry. */
enum {
    VIV_PTE_P = 1 << 0, VIV_PTE_W = 1 << 1, VIV_PTE_U = 1 << 2, VIV_PTE_PWT = 1 << 3, VIV_PTE_PCD = 1 << 4, VIV_PTE_A = 1 << 5,
    VIV_PTE_D = 1 << 6, VIV_PTE_PS = 1 << 7, VIV_PTE_G = 1 << 8,
};
#define VIV_PTE_NX (1ull << 63)

/* Enough for 128 GiB in pages of 4 KiB; what is read of a guest's tables has to end somewhere. */
#define VIV_PAGE_TABLES_MAX 65536u

struct viv_mapped_page {
    uint64_t lin, gpa, size;
    uint64_t entry;  /* the last one on the way */
    unsigned rights; /* VIV_PTE_W, VIV_PTE_U: of all levels together */
};

/* False: enough of it. */
typedef bool (*viv_mapped_page_fn)(void *opaque, const struct viv_mapped_page *p);

/* In the order of linear addresses. The tables are the guest's and may point at themselves: at most *tables are read, which counts
 * down. False: the walk was cut short, by that or by fn. Paging off: nothing is mapped. The CPU is stopped, the device lock held. */
bool viv_x86_each_page(const struct viv_x86 *c, unsigned *tables, viv_mapped_page_fn fn, void *opaque);

#endif
