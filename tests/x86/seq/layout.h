/* Where things stand. Linear addresses are below 2 GiB, so that 32-bit code and absolute operands reach them, but for the
 * upper-half aliases. */
#ifndef VIV_TESTS_X86_SEQ_LAYOUT_H
#define VIV_TESTS_X86_SEQ_LAYOUT_H

#define LOW        0x10000000u
#define CODE_A     (LOW + 0x00000u) /* 4 pages, all rights; then nothing */
#define CODE_B     (LOW + 0x10000u) /* the same pages, no writing */
#define CODE_BYTES 0x4000u
#define DATA       (LOW + 0x20000u) /* nine pages: */
#define DATA_A       (DATA + 0x0000u) /*   read and write */
#define DATA_B       (DATA + 0x1000u) /*   read and write, not the physical neighbour */
#define DATA_RO      (DATA + 0x2000u) /*   read only */
                                      /*   absent */
#define DATA_C       (DATA + 0x4000u) /*   read and write; the tables can be edited to name another page */
#define DATA_MMIO    (DATA + 0x5000u) /*   device registers */
#define DATA_SYS     (DATA + 0x6000u) /*   supervisor's */
#define DATA_D       (DATA + 0x7000u) /*   read and write */
                                      /*   absent */
#define STACK      (LOW + 0x30000u) /* 2 pages; nothing before and after */
#define STACK_TOP  (STACK + 0x2000u)
#define SYS        (LOW + 0x40000u) /* supervisor's, read only */
#define SYS_GDT    (SYS + 0x0000u)  /* and TSS */
#define SYS_IDT    (SYS + 0x1000u)  /* six: 64-bit halting, skipping, the same with IST, 32-bit halting, skipping */
#define SYS_CODE   (SYS + 0x7000u)  /* handlers */
#define SYS_FIXUP  (SYS + 0x8000u)  /* 4 pages: length of the instruction at each offset of the code, 0: none */
#define SYS_STACK  (SYS + 0xd000u)  /* read and write */
#define SYS_BUDGET (SYS_STACK + 0x10u) /* faults left before the handler halts */
#define SYS_SP0    (SYS_STACK + 0x800u)
#define SYS_IST    (SYS_STACK + 0x1000u)
#define SYS_TABLE  (SYS + 0xf000u) /* the page table of all of these: read and write */
#define TOP_PAGE   0xfffff000u     /* the last of 4 GiB */
#define HIGH       0xffff888000000000ull /* supervisor's alias of DATA_A, DATA_B */
#define KTEXT      0xffffffff81000000ull /* supervisor's alias of the code */

/* Physical pages: first those that a run may change. */
enum {
    HOT_ZERO, /* linear 0 */
    HOT_TOP,
    HOT_CODE,
    HOT_DATA_B = HOT_CODE + 4,
    HOT_DATA_C,
    HOT_SWING, /* what DATA_C may be made to name */
    HOT_DATA_D,
    HOT_DATA_SYS,
    HOT_DATA_A,
    HOT_STACK,
    HOT_SYS_STACK = HOT_STACK + 2,
    HOT_TABLE_LOW,
    HOT_TABLE_HIGH,
    HOT_PAGES,
};
#define PHYS_HOT   0x100000u
#define PHYS_PAGE(hot) (PHYS_HOT + (hot) * 0x1000u)
#define PHYS_SYS   0x80000u /* the pages from SYS on that are read only */
#define SYS_PAGES  12
#define PHYS_RAM   0x200000u
#define PHYS_MMIO  0x40000000u
#define PHYS_CR3_LONG 0x1000u
#define PHYS_CR3_PAE  0x2000u

/* Handlers, offsets from SYS_CODE. */
#define H_HALT    0x000u /* + 16 * vector below 32 */
#define H_SKIP64  0x200u
#define H_SKIP32  0x400u
#define H_HALT_ANY 0x600u
#define H_INT64   0x610u /* INT 80H */
#define H_INT32   0x620u
#define H_SYSCALL 0x630u
#define H_COMMON64 0x700u
#define H_COMMON32 0x780u

#endif
