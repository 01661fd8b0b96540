/* What a board asks of its diskette drives. */
#ifndef VIV_DEV_FLOPPY_FLOPPY_H
#define VIV_DEV_FLOPPY_FLOPPY_H

#include "bus/dev.h"
#include "dev/floppy/format.h"

/* The first controller's; present: false when there is none. */
struct viv_floppy_info {
    bool present;
    uint16_t iobase;
    unsigned irq, dma;
    enum floppy_type type[2]; /* FLOPPY_NONE: no drive */
    uint8_t tracks[2], sectors[2], heads[2]; /* of the drive's usual format */
};
struct viv_floppy_info viv_floppy_info(void);

#endif
