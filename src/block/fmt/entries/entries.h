/* A table of entries of 32 or 64 bits in a file (VDI's block map, VHD's and VHDX's BAT): read in chunks when they are needed, changed
 * in memory, written when its owner says so, or by the owner itself. At most VIV_ENTRIES_MEM bytes are kept, but for changes that were not written yet: an owner
 * flushes when viv_entries_full() says so. The owner's lock protects it. */
#ifndef VIV_BLOCK_FMT_ENTRIES_ENTRIES_H
#define VIV_BLOCK_FMT_ENTRIES_ENTRIES_H

#include "block/node.h"

#define VIV_ENTRIES_MEM   (64u << 20)
#define VIV_ENTRIES_CHUNK 4096u /* entries */

struct viv_entries_chunk {
    uint8_t *data;              /* NULL: not in memory */
    uint32_t dirty_from, dirty_to; /* entries */
};

struct viv_entries {
    struct viv_node *file; /* borrowed */
    uint64_t offset;       /* of entry 0 */
    uint32_t count;
    bool big_endian;
    uint8_t width;         /* bytes of an entry */
    struct viv_entries_chunk *chunk;
    uint32_t chunks, loaded, dirty, clock; /* chunks; `clock` is where the search for a victim goes on */
};

/* -ENOMEM. */
int viv_entries_init(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count, bool big_endian);
/* Entries of 64 bits, little-endian. */
int viv_entries_init64(struct viv_entries *e, struct viv_node *file, uint64_t offset, uint32_t count);
void viv_entries_fini(struct viv_entries *e);
int viv_entries_get(struct viv_entries *e, uint32_t index, uint32_t *value);
int viv_entries_set(struct viv_entries *e, uint32_t index, uint32_t value);
int viv_entries_get64(struct viv_entries *e, uint32_t index, uint64_t *value);
int viv_entries_set64(struct viv_entries *e, uint32_t index, uint64_t value);
/* Too many changes in memory: flush before the next. */
bool viv_entries_full(const struct viv_entries *e);
/* Writes what changed, in whole sectors of the table; no barrier. */
int viv_entries_write(struct viv_entries *e);
/* For owners that write it themselves: the first chunk with changes from *chunk on (which becomes that one), its bytes that changed
 * in whole `unit`s; `data` stays until the next call that may load another chunk. False: nothing is left. */
bool viv_entries_dirty(const struct viv_entries *e, uint32_t *chunk, uint32_t unit, const uint8_t **data, uint64_t *offset,
                       uint32_t *bytes);
void viv_entries_clean(struct viv_entries *e, uint32_t chunk);
/* A new table of `count` entries `value`, filled up to a sector with zeroes; `ascending`: value, value + 1, ... */
int viv_entries_create(struct viv_node *file, uint64_t offset, uint32_t count, uint32_t value, bool ascending,
                       bool big_endian, uint8_t pad);

#endif
