/* dump-guest-memory: the guest's memory and registers as a core file that gdb, crash and their like read. Loop thread, device lock
 * held. */
#ifndef VIV_MACHINE_MEMDUMP_H
#define VIV_MACHINE_MEMDUMP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum viv_memdump_format { VIV_MEMDUMP_ELF, VIV_MEMDUMP_KDUMP_ZLIB };

struct viv_memdump_params {
    enum viv_memdump_format format;
    const char *path;       /* NULL: fd_take */
    int fd_take;            /* belongs to the dump from then on, failed or not */
    bool paging;            /* ELF: the program headers say what the page tables map, not what lies where */
    bool filter;            /* ELF: only physical [begin, begin + length) */
    uint64_t begin, length;
};

enum viv_memdump_status { VIV_MEMDUMP_NONE, VIV_MEMDUMP_ACTIVE, VIV_MEMDUMP_COMPLETED, VIV_MEMDUMP_FAILED };

struct viv_memdump_state { /* of the last one */
    enum viv_memdump_status status;
    uint64_t completed, total; /* bytes of memory */
    struct viv_err err;
};

/* Stops the machine, has its memory written by a thread, calls `ended` and lets the machine go on if it ran. There is one at a time. */
int viv_memdump_start(const struct viv_memdump_params *p, void (*ended)(void), struct viv_err *err);
/* Serves the loop until it has ended. */
int viv_memdump_wait(struct viv_err *err);
void viv_memdump_get(struct viv_memdump_state *out);
/* The process ends: what is being written is given up, soon. */
void viv_memdump_cancel(void);
/* ... and waits for the thread. */
void viv_memdump_finish(void);

#endif
