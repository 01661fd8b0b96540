/* Host memory behind guest RAM and ROM.
 *
 * All blocks live in one reserved stretch of host address space, the arena, so that anything known
 * per page of guest memory (dirty bits, "holds decoded code") is an array indexed by
 * (hva - arena base) >> 12, from any host pointer, without a look-up. Address space is never given
 * back before the process ends: a pointer into the arena stays valid. */
#ifndef VIV_MEM_RAM_H
#define VIV_MEM_RAM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIV_PAGE_SHIFT 12
#define VIV_PAGE_SIZE  4096u
#define VIV_PAGE_MASK  (~(uint64_t)(VIV_PAGE_SIZE - 1))

struct viv_ram {
    const char *name; /* "pc.ram", in saved state and errors; borrowed */
    uint8_t *hva;     /* page aligned, inside the arena */
    uint64_t size;    /* bytes, multiple of the page size */
    int fd;           /* what is mapped, shared, from offset 0 on; or -1 */
    int below;        /* the file below a private mapping, from offset 0 on: what was never touched is its; or -1 */
    bool keeps;       /* ROM, flash: what it holds, no reset brings back; set by who makes it */
    struct viv_ram_log *logs; /* ram.c's: clients of the dirty log */
};

/* A page's word (atomic accesses). Stores look at the low byte, the flags, or at the high byte. That one is for code that can only
 * ask for 0: not 0 means that there are no flags; 0 means that there are some, or that viv_ram_quiet() has not been called yet. */
enum {
    VIV_PAGE_CODE = 1 << 0,      /* a vCPU holds decoded or translated code of this page */
    VIV_PAGE_CLEAN_LOG = 1 << 1, /* dirty log is on and the page is not yet dirty */
    VIV_PAGE_FLAGS = 0xff,
    VIV_PAGE_QUIET = 1 << 8,
};

extern uint8_t *viv_arena_base;     /* constant after the first viv_ram_new */
extern uint16_t *viv_arena_flags;   /* one word a page */
extern uint32_t *viv_arena_version; /* one counter a page, bumped when its code may have changed */

static inline size_t viv_arena_page(const void *hva)
{
    return (size_t)((const uint8_t *)hva - viv_arena_base) >> VIV_PAGE_SHIFT;
}

static inline unsigned viv_page_flags(size_t page)
{
    return __atomic_load_n(&viv_arena_flags[page], __ATOMIC_RELAXED) & VIV_PAGE_FLAGS;
}
/* Bytes from viv_arena_base on that are blocks or will be; 0 before the first. */
uint64_t viv_arena_bytes(void);
/* Makes the high byte say that there are no flags, if so. Any thread. */
void viv_ram_quiet(size_t page);

/* Reserves the arena on first use. -ENOMEM with a text that names the size. Before threads start. */
int viv_ram_new(const char *name, uint64_t size, struct viv_ram **out, struct viv_err *err);

/* The same, in a file (mem/backend.h). */
struct viv_ram_place {
    int fd;         /* -1: anonymous memory. It belongs to the block from then on */
    bool shared;
    bool reserve;   /* the host sets swap or huge pages aside */
    uint64_t align; /* of the address; a power of two, 0: any */
};
int viv_ram_new_at(const char *name, uint64_t size, const struct viv_ram_place *place, struct viv_ram **out, struct viv_err *err);

/* The memory of a device that goes: its contents are dropped, and a later block of the same size may get the place. No region shows
 * it any more; nobody logs it. Device lock held. */
void viv_ram_release(struct viv_ram *ram); /* NULL allowed */

/* All blocks in creation order, for saved state and for accelerators; NULL-terminated walk. */
struct viv_ram *viv_ram_next(struct viv_ram *prev);

/* To be called after bytes at hva were changed by anything but a vCPU's own checked store (DMA,
 * loaders): marks pages dirty and bumps the version of those that hold code. Any thread. */
void viv_ram_written(void *hva, size_t len);

/* Marks the page as holding decoded code and returns the version that what is decoded now is good
 * for: the decoder calls this first, then reads the bytes, and keeps the result only as long as
 * viv_arena_version[page] still is what was returned. After it returns every store by another vCPU
 * either is visible or will see the flag: it ends with membarrier(2) when more than one vCPU exists.
 * The version is read before the flag is set, and an invalidation clears the flag before it bumps the
 * version: a version read after the call could already count an invalidation whose clearing of the
 * flag is still to come. Any vCPU thread. */
uint32_t viv_ram_mark_code(const void *hva);
/* Before the program makes its first thread: registers for membarrier(2), which then costs microseconds; with threads it
 * waits for a grace period of the kernel's, 10 ms and more. Optional: the first block does it otherwise. */
void viv_ram_early(void);
/* Who wants to know of each page that held code and has a new version now: called in the thread that changed it, before
 * that thread goes on; any lock may be held. One listener; NULL: none. */
void viv_ram_set_code_listener(void (*changed)(size_t page));
/* Announced once by the machine; with 1, viv_ram_mark_code needs no barrier. */
void viv_ram_set_vcpu_count(unsigned n);

/* The slow half of a store: what viv_ram_written does for one access that a vCPU made to a page whose
 * flags are not 0. Returns whether decoded code was invalidated. */
bool viv_ram_store_slow(void *hva, size_t len);

/* Dirty log of one block, one bit a page: for live save, for screens. Several clients log one block at a time, each with a bitmap
 * of its own; to a vCPU they are one log. Device lock held; the vCPUs may run.
 * start: all pages count as clean for this client from now on. sync: ORs the pages written since start or this client's last sync
 * into bitmap ((size >> 12) bits) and counts them clean again for it; bytes read after sync returns are at least as new as its
 * answer. Accelerators that log in the kernel announce their own source, which is asked as well: DMA and loaders are always
 * logged here. -ENOTSUP comes from such a source only; -ENOMEM: no memory for the bitmap. */
struct viv_ram_log_source {
    int (*start)(void *opaque, struct viv_ram *ram);
    int (*sync)(void *opaque, struct viv_ram *ram, unsigned long *bitmap);
    void (*stop)(void *opaque, struct viv_ram *ram);
    void *opaque;
};
void viv_ram_set_log_source(const struct viv_ram_log_source *src); /* borrowed; NULL: none */
struct viv_ram_log; /* one client's log of one block */
int viv_ram_log_start(struct viv_ram *ram, struct viv_ram_log **out);
int viv_ram_log_sync(struct viv_ram_log *log, unsigned long *bitmap);
void viv_ram_log_stop(struct viv_ram_log *log); /* NULL allowed */

#endif
