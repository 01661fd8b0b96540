/* A device's side of its drive: what every disk, CD and floppy needs once (docs/storage.md). Device lock held for all calls. */
#ifndef VIV_DEV_STORAGE_FRONT_H
#define VIV_DEV_STORAGE_FRONT_H

#include "base/byname.h"
#include "block/registry.h"
#include "bus/dev.h"
#include "dev/storage/props.h"

#include <pthread.h>

#define VIV_FRONT_REVISION "2.5+" /* of a disk's firmware: QEMU's, which Windows takes into the names of disks */

struct viv_front_ops {
    /* There is another medium, or none (viv_front_ready), or the tray moved. Nothing is in flight. May be NULL: the drive is
     * never empty. */
    void (*media)(void *opaque);
    /* Somebody at the monitor wants the medium, and the guest has locked the tray: tell it. May be NULL: there is no tray. */
    void (*eject_asked)(void *opaque);
    /* The VM goes on: what was held is to be sent again. */
    void (*resend)(void *opaque);
    /* The disk has another size. May be NULL: block_resize is refused. */
    void (*resized)(void *opaque);
    /* Every request that had ended by now has been told of: the time for one interrupt instead of many. May be NULL. */
    void (*told)(void *opaque);
} VIV_BY_NAME;

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
    bool share;                                 /* share-rw: others may write its image */
    bool of_node;                               /* it is a handle on the block node that was named */
    bool read_only_media;                       /* of a removable one, whatever the image allows: a CD */
    bool trayless;                           /* a removable one without a tray: media come and go at once (a diskette drive) */
    bool tray_open, tray_locked;
    bool holding; /* a request waits for `resend`; the device's table saves which */
    int held_error; /* why it failed; 0: not known any more */
    unsigned in_flight;   /* in the block layer or on `ended` */
    unsigned drained;     /* depth: requests wait in `waiting` */
    struct viv_front_req *waiting, **waiting_end;
    struct viv_front_req *ended; /* stack; pushed by I/O threads, atomic */
    pthread_cond_t idle;  /* in_flight became 0, or `waiting` empty */
    struct viv_front *next;
};

/* tray_open, tray_locked, holding: VIV_F_STRUCT(my_dev, front, viv_front_state). */
extern const struct viv_state_table viv_front_state;

/* Claims the drive that `opts` name and reads the properties above. `removable`: may be empty; a drive without a name is then an
 * empty one of its own. Refuses what cannot work with what would. The structure stays where it is until closed. */
int viv_front_open(struct viv_front *f, struct viv_dev *dev, struct viv_opts *opts, bool removable, const struct viv_front_ops *ops,
                   void *opaque, struct viv_err *err);
void viv_front_close(struct viv_front *f);

bool viv_front_ready(const struct viv_front *f);      /* there is a medium, and the tray is closed */
uint64_t viv_front_blocks(const struct viv_front *f); /* logical ones; 0: not ready */

/* One request of the device's: counts, so that nothing is in flight when the drive changes. br.done and br.opaque are the
 * front's; `done` comes once, on an I/O thread, with the device lock, which is taken once for all that have ended by then. */
struct viv_front_req {
    struct viv_blk_req br;
    struct viv_front *front;
    void (*done)(struct viv_front_req *r, int result);
    int result;
    struct viv_front_req *next; /* the front's, until `done` */
};
void viv_front_submit(struct viv_front *f, struct viv_front_req *r);
/* For a reset of the machine or of the device: lets go of the device lock while it waits. I/O limits do not hold it up. */
void viv_front_wait_idle(struct viv_front *f);
/* Nothing in flight? Asked by somebody who waits for it: for a class's idle(). */
bool viv_front_idle(struct viv_front *f);
bool viv_front_idle_all(void);
/* Somebody waits for what is in flight: I/O limits do not count now. */
void viv_front_hurry(struct viv_front *f);
/* For those who change the drive: as wait_idle, and what the device submits from here to resume starts only then (-ENOMEDIUM when
 * there is no medium any more). Loop thread; nests. */
void viv_front_drain(struct viv_front *f);
void viv_front_resume(struct viv_front *f);

enum viv_front_action { VIV_FRONT_REPORT, VIV_FRONT_IGNORE, VIV_FRONT_HOLD };
/* What to do about a request that ended with result < 0. HOLD: the VM stops, `resend` is called when it goes on. */
enum viv_front_action viv_front_failed(const struct viv_front_req *r, int result);
/* From the class's vm_running(): sends again what is held. */
void viv_front_running(struct viv_front *f, bool running);
/* The device forgets the request that it held (a reset). */
void viv_front_drop_held(struct viv_front *f);

/* The guest moves or locks its tray: events for the monitor. The medium stays in the tray. */
void viv_front_set_tray(struct viv_front *f, bool open);
void viv_front_lock_tray(struct viv_front *f, bool locked);

/* ---- the monitor's side (medium.c). Loop thread; waits until the drive is idle, without the device lock. Refused while a request
 * is held: it would find another medium ---- */

struct viv_front *viv_front_next(struct viv_front *f); /* NULL starts and ends the walk */
/* As answers and events have them: the id of the drive ("" where it is a handle on a block node); the device's id or path, to be freed;
 * "ok", "failed", "nospace" (NULL: nobody keeps it). */
const char *viv_front_drive_name(const struct viv_front *f);
char *viv_front_device_name(const struct viv_front *f);
const char *viv_front_io_status(const struct viv_front *f);
/* By the id of the drive or, else, by id, path or name (viv_front_device_name) of the device. NULL and why: there is no such (or, removable, it is not). */
struct viv_front *viv_front_named(const char *drive, const char *device, struct viv_err *err);
struct viv_front *viv_front_removable(const char *drive, const char *device, struct viv_err *err);
/* A locked tray: the guest is asked, and nothing else happens, unless forced. */
int viv_front_open_tray(struct viv_front *f, bool force, struct viv_err *err); /* without one: nothing to do */
int viv_front_close_tray(struct viv_front *f, struct viv_err *err);
/* The tray is open, or there is none. Insert takes blk unless it fails. */
int viv_front_insert(struct viv_front *f, struct viv_blk *blk, struct viv_err *err);
int viv_front_remove(struct viv_front *f, struct viv_err *err);
/* As viv_blk_set_limits; the next medium has them too. */
struct viv_limits;
int viv_front_limit(struct viv_front *f, const char *group, const struct viv_limits *l, struct viv_err *err);
/* Opens the tray and takes the medium out; a locked one is refused unless forced. */
int viv_front_eject(struct viv_front *f, bool force, struct viv_err *err);

#endif
