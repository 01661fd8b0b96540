/* A device's side of its drive: what every disk, CD and floppy needs once (docs/storage.md). Device lock held for all calls. */
#ifndef VIV_DEV_STORAGE_FRONT_H
#define VIV_DEV_STORAGE_FRONT_H

#include "block/registry.h"
#include "bus/dev.h"

#include <pthread.h>

struct viv_front_ops {
    /* There is another medium, or none (viv_front_ready), or the tray moved. Nothing is in flight. May be NULL: the drive is
     * never empty. */
    void (*media)(void *opaque);
    /* Somebody at the monitor wants the medium, and the guest has locked the tray: tell it. May be NULL: there is no tray. */
    void (*eject_asked)(void *opaque);
    /* The VM goes on: what was held is to be sent again. */
    void (*resend)(void *opaque);
};

struct viv_front {
    struct viv_dev *dev;
    struct viv_drive *drive;
    const struct viv_front_ops *ops;
    void *opaque;
    char serial[64]; /* empty: none */
    enum viv_drive_error rerror, werror;
    uint32_t logical, physical, min_io, opt_io; /* bytes */
    uint32_t discard;                           /* granularity, bytes; 0: nobody said */
    int bootindex;                              /* -1: none */
    bool ro, removable, wce_default;            /* the last: write-back cache */
    bool own;                                   /* the drive is ours alone: nobody named one */
    bool read_only_media;                       /* of a removable one, whatever the image allows: a CD */
    bool tray_open, tray_locked;
    bool holding; /* a request waits for `resend`; the device's table saves which */
    unsigned in_flight;
    pthread_cond_t idle; /* in_flight became 0 */
    struct viv_front *next;
};

/* tray_open, tray_locked, holding: VIV_F_STRUCT(my_dev, front, viv_front_state). */
extern const struct viv_state_table viv_front_state;

/* Properties of every such device. */
#define VIV_FRONT_PROPS                                                                                      \
    {.name = "drive", .type = VIV_OPT_STR, .help = "id of a -drive or -blockdev"},                          \
        {.name = "serial", .type = VIV_OPT_STR, .help = "serial number"},                                   \
        {.name = "bootindex", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place in the boot order"}, \
        {.name = "rerror", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_rerrors,                \
         .help = "what to do when a read fails"},                                                           \
        {.name = "werror", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_werrors,                \
         .help = "what to do when a write fails"},                                                          \
        {.name = "write-cache", .type = VIV_OPT_ENUM, .def = "auto", .values = viv_front_on_off_auto,       \
         .help = "off: each write is durable when it completes"},                                           \
        {.name = "logical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,      \
         .help = "what the guest addresses"},                                                               \
        {.name = "physical_block_size", .type = VIV_OPT_SIZE, .def = "512", .min = 512, .max = 2097152,     \
         .help = "what it should write at once"},                                                           \
        {.name = "min_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},       \
        {.name = "opt_io_size", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "hint to the guest"},       \
    {                                                                                                        \
        .name = "discard_granularity", .type = VIV_OPT_SIZE, .max = INT32_MAX, .help = "unit of discards"    \
    }
extern const char *const viv_front_rerrors[], *const viv_front_werrors[], *const viv_front_on_off_auto[];

/* Claims the drive that `opts` name and reads the properties above. `removable`: may be empty; a drive without a name is then an
 * empty one of its own. Refuses what cannot work with what would. The structure stays where it is until closed. */
int viv_front_open(struct viv_front *f, struct viv_dev *dev, struct viv_opts *opts, bool removable, const struct viv_front_ops *ops,
                   void *opaque, struct viv_err *err);
void viv_front_close(struct viv_front *f);

bool viv_front_ready(const struct viv_front *f);      /* there is a medium, and the tray is closed */
uint64_t viv_front_blocks(const struct viv_front *f); /* logical ones; 0: not ready */

/* One request of the device's: counts, so that nothing is in flight when the drive changes. br.done and br.opaque are the
 * front's; `done` comes once, on an I/O thread, with the device lock. */
struct viv_front_req {
    struct viv_blk_req br;
    struct viv_front *front;
    void (*done)(struct viv_front_req *r, int result);
};
void viv_front_submit(struct viv_front *f, struct viv_front_req *r);
/* For a reset of the machine and for the monitor: lets go of the device lock while it waits. */
void viv_front_wait_idle(struct viv_front *f);

enum viv_front_action { VIV_FRONT_REPORT, VIV_FRONT_IGNORE, VIV_FRONT_HOLD };
/* What to do about a request that failed with -error. HOLD: the VM stops, `resend` is called when it goes on. */
enum viv_front_action viv_front_failed(struct viv_front *f, bool write, int error);
/* From the class's vm_running(): sends again what is held. */
void viv_front_running(struct viv_front *f, bool running);
/* The device forgets the request that it held (a reset). */
void viv_front_drop_held(struct viv_front *f);

/* The guest moves or locks its tray: events for the monitor. The medium stays in the tray. */
void viv_front_set_tray(struct viv_front *f, bool open);
void viv_front_lock_tray(struct viv_front *f, bool locked);

/* ---- the monitor's side (medium.c). Loop thread; waits until the drive is idle ---- */

struct viv_front *viv_front_next(struct viv_front *f); /* NULL starts and ends the walk */
/* By the id of the drive or, else, of the device. NULL and why: there is no such, or it is not removable. */
struct viv_front *viv_front_removable(const char *drive, const char *device, struct viv_err *err);
/* A locked tray: the guest is asked, and nothing else happens, unless forced. */
int viv_front_open_tray(struct viv_front *f, bool force, struct viv_err *err);
int viv_front_close_tray(struct viv_front *f, struct viv_err *err);
/* The tray is open. Insert takes blk unless it fails. */
int viv_front_insert(struct viv_front *f, struct viv_blk *blk, struct viv_err *err);
int viv_front_remove(struct viv_front *f, struct viv_err *err);
/* Opens the tray and takes the medium out; a locked one is refused unless forced. */
int viv_front_eject(struct viv_front *f, bool force, struct viv_err *err);

#endif
