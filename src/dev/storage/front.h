/* A device's side of its drive: what every disk, CD and floppy needs once (docs/storage.md). Device lock held for all calls. */
#ifndef VIV_DEV_STORAGE_FRONT_H
#define VIV_DEV_STORAGE_FRONT_H

#include "block/registry.h"
#include "bus/dev.h"

struct viv_front_ops {
    /* There is another medium, or none (drive->blk NULL). Nothing is in flight. May be NULL: the drive is never empty. */
    void (*media)(void *opaque);
    void (*resized)(void *opaque); /* may be NULL */
    /* Somebody at the monitor pulls: move the tray or tell the guest. May be NULL: there is no tray. */
    void (*eject_asked)(void *opaque, bool force);
    /* The VM goes on: what was held is to be sent again. */
    void (*resend)(void *opaque);
};

struct viv_front {
    struct viv_dev *dev;
    struct viv_drive *drive;
    const struct viv_front_ops *ops;
    void *opaque;
    char serial[64];
    enum viv_drive_error rerror, werror;
    uint32_t logical, physical, min_io, opt_io; /* bytes */
    uint32_t discard;                           /* granularity, bytes */
    int bootindex;                              /* -1: none */
    bool ro, removable, tray_open, tray_locked;
    unsigned in_flight;
    bool holding; /* a request waits for `resend`; the device's table saves which */
};

/* Properties of every such device: drive, serial, bootindex, rerror, werror, block sizes, discard_granularity, write-cache. */
#define VIV_FRONT_PROPS                                                                                      \
    {.name = "drive", .type = VIV_OPT_STR, .help = "id of a -drive or -blockdev"},                          \
        {.name = "serial", .type = VIV_OPT_STR, .help = "serial number"},                                   \
        {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place in the boot order"}, \
        {.name = "rerror", .type = VIV_OPT_ENUM, .values = viv_front_errors, .help = "failed reads"},       \
        {.name = "werror", .type = VIV_OPT_ENUM, .values = viv_front_errors, .help = "failed writes"},      \
        {.name = "logical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,      \
         .help = "what the guest addresses"},                                                               \
        {.name = "physical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,     \
         .help = "what it should write at once"},                                                           \
        {.name = "min_io_size", .type = VIV_OPT_SIZE, .help = "hint to the guest"},                         \
        {.name = "opt_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},       \
    {                                                                                                        \
        .name = "discard_granularity", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "default: 4 KiB or a block" \
    }
extern const char *const viv_front_errors[];

/* Claims the drive that `opts` name and reads the properties above. `removable`: may be empty; a drive without a name is then an
 * empty one of its own. Refuses what cannot work (a read-only image for a disk) with what would. */
int viv_front_open(struct viv_front *f, struct viv_dev *dev, struct viv_opts *opts, bool removable, const struct viv_front_ops *ops,
                   void *opaque, struct viv_err *err);
void viv_front_close(struct viv_front *f);

uint64_t viv_front_blocks(const struct viv_front *f); /* logical ones; 0: no medium */

/* Around each request: counts, and limits what is drained. `done` comes with the device lock. */
void viv_front_submit(struct viv_front *f, struct viv_blk_req *req);

enum viv_front_action { VIV_FRONT_REPORT, VIV_FRONT_IGNORE, VIV_FRONT_HOLD };
/* What to do about a request that failed with -error. HOLD: the VM stops, `resend` is called when it goes on. */
enum viv_front_action viv_front_failed(struct viv_front *f, bool write, int error);

/* The guest moves or locks its tray: events for the monitor. Opening takes the medium out. */
void viv_front_set_tray(struct viv_front *f, bool open);
void viv_front_lock_tray(struct viv_front *f, bool locked);

#endif
