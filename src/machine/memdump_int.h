/* Inside the dump of memory: what is dumped, and where it goes. */
#ifndef VIV_MACHINE_MEMDUMP_INT_H
#define VIV_MACHINE_MEMDUMP_INT_H

#include "machine/memdump.h"

#include <glib.h>
#include <stdatomic.h>

/* RAM or ROM as the guest sees it; in the order of addresses. */
struct memdump_block {
    uint64_t gpa, size;
    const uint8_t *hva;
    uint64_t offset; /* in the memory that is written: the sizes of those before it */
};

/* What the readers of the file are told: `size` bytes at `offset` are at `lin`. */
struct memdump_load {
    uint64_t lin, gpa, size, offset;
};

struct memdump {
    enum viv_memdump_format format;
    bool is_64bit;       /* a CPU is in long mode: registers are written so */
    GArray *blocks;      /* struct memdump_block */
    GArray *loads;       /* struct memdump_load */
    GByteArray *notes;
    uint64_t total;      /* bytes of blocks */
    uint64_t phys_base;  /* of a Linux kernel: physical less virtual address of its text, beside 0xffffffff80000000 */
    unsigned cpus;

    int fd;
    char *name; /* of the file, for errors */
    bool plain; /* a file or a disk: no poll(2), pieces of any size */
    _Atomic uint64_t completed;
    atomic_bool cancel;
};

/* memdump_map.c: from the machine that stands. */
int memdump_map(struct memdump *d, const struct viv_memdump_params *p, struct viv_err *err);
/* memdump_notes.c: a note of each kind for each CPU. */
void memdump_make_notes(struct memdump *d);
/* memdump_out.c: in order; no file position is used but the descriptor's own. */
int memdump_put(struct memdump *d, const void *data, uint64_t len, struct viv_err *err);
/* memdump_elf.c, memdump_kdump.c: in the dump's thread. */
int memdump_write_elf(struct memdump *d, struct viv_err *err);
int memdump_write_kdump(struct memdump *d, struct viv_err *err);

#endif
