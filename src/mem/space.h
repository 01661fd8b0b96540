/* Guest-physical address spaces: memory and I/O ports.
 *
 * A space is a set of regions (RAM, ROM, MMIO, each with a priority) flattened into a sorted array of
 * non-overlapping ranges. Regions change with the device lock held; viv_space_find may be called
 * from any thread without a lock and never blocks. The bus splits or widens accesses to what a
 * region says it implements, so that handlers are a plain switch over the offset:
 *
 *   - an access wider than max_size, or not aligned and the handler wants it so, becomes several, lowest
 *     address first;
 *   - one narrower than min_size reads the whole min_size unit and picks its bytes; written, it becomes a
 *     unit whose other bytes are 0 (a read-modify-write would trip over registers that change when read);
 *   - one that crosses from a range into the next is split at the border. */
#ifndef VIV_MEM_SPACE_H
#define VIV_MEM_SPACE_H

#include "base/err.h"
#include "mem/ram.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_space;
struct viv_region;

/* Accesses are naturally sized 1, 2, 4 or 8 bytes; value in the low bits. Called with the device lock
 * held unless .lockless. `off` is from the region's start. */
struct viv_region_ops {
    uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
    void (*write)(void *opaque, uint64_t off, uint64_t value, unsigned size);
    uint8_t min_size; /* what the handler implements; 0 means 1 */
    uint8_t max_size; /* 0 means 4 */
    bool unaligned;   /* handler takes offsets that are not a multiple of the size */
    bool lockless;    /* handler does its own locking; its region is never freed or unmapped while
                       * vCPUs run */
};

enum viv_region_kind { VIV_REGION_RAM, VIV_REGION_ROM, VIV_REGION_IO };

struct viv_region_desc {
    const char *name; /* borrowed for the region's life */
    enum viv_region_kind kind;
    uint64_t size;
    struct viv_ram *ram; /* RAM, ROM */
    uint64_t ram_offset;
    const struct viv_region_ops *ops; /* IO; ROM: writes go here if not NULL */
    void *opaque;
};

/* `bits`: width of addresses (ports: 16). All-ones is read where nothing answers. */
struct viv_space *viv_space_new(const char *name, unsigned bits);
/* A second view of another space, at most one of each: the regions made in it lie over all of the other's, whatever their priority, and
 * address line 20 is the other's too. What a CPU in system management mode sees is one. Freed before the other one. */
struct viv_space *viv_space_new_over(const char *name, struct viv_space *under);
void viv_space_free(struct viv_space *s);

/* Regions: made unmapped; device lock held for all of these (or before threads start). */
struct viv_region *viv_region_new(struct viv_space *s, const struct viv_region_desc *d);
void viv_region_free(struct viv_region *r); /* unmaps */
/* Maps at addr, above regions of lower priority (PCI BARs 1, RAM 0, overlays such as SMRAM 2). */
void viv_region_map(struct viv_region *r, uint64_t addr, int priority);
void viv_region_unmap(struct viv_region *r);
bool viv_region_mapped(const struct viv_region *r);
uint64_t viv_region_addr(const struct viv_region *r);
int viv_region_priority(const struct viv_region *r);
const char *viv_region_name(const struct viv_region *r); /* for people */

/* Several changes as one (one rebuild, one call of each listener). Nests. */
void viv_space_begin(struct viv_space *s);
void viv_space_commit(struct viv_space *s);

/* Address line 20 off: what lies in the first MiB is seen in the second one as well, over all else. (Higher odd MiB are not masked:
 * nobody looks there.) On when the space is made. */
void viv_space_set_a20(struct viv_space *s, bool on);
bool viv_space_a20(const struct viv_space *s);

/* One flattened range. */
struct viv_space_range {
    uint64_t start; /* inclusive */
    uint64_t last;  /* inclusive */
    enum viv_region_kind kind;
    uint8_t *hva; /* RAM, ROM: host address of `start`; else NULL */
    struct viv_region *region;
    uint64_t region_offset; /* of `start` within the region */
};

/* The range that holds addr, or false. Any thread. `region` is for callers that hold the device lock:
 * others may compare it but not follow it. */
bool viv_space_find(struct viv_space *s, uint64_t addr, struct viv_space_range *out);
/* Is what `s` has at addr a region of its own that lies over another space (viv_space_new_over)? Any thread. */
bool viv_space_covers(struct viv_space *s, uint64_t addr);
/* Copies the flat view (g_free it): for accelerators and `info mtree`. */
struct viv_space_range *viv_space_ranges(struct viv_space *s, size_t *count);

/* Called with the device lock after the flat view changed. vCPU software TLBs flush; KVM updates its
 * slots. */
typedef void (*viv_space_changed_fn)(void *opaque);
/* Listeners are for the life of the space. */
void viv_space_listen(struct viv_space *s, viv_space_changed_fn fn, void *opaque);

/* A vCPU's load or store of 1, 2, 4 or 8 bytes that is not plain RAM (or is: it works too). Takes the
 * device lock itself where needed; the caller must not hold it. Reads of nothing give all-ones. */
uint64_t viv_space_read(struct viv_space *s, uint64_t addr, unsigned size);
void viv_space_write(struct viv_space *s, uint64_t addr, uint64_t value, unsigned size);
/* The same with the device lock held by the caller. */
uint64_t viv_space_read_locked(struct viv_space *s, uint64_t addr, unsigned size);
void viv_space_write_locked(struct viv_space *s, uint64_t addr, uint64_t value, unsigned size);

#endif
