/* Jobs: long work on nodes, each in a thread of its own, with a list that monitors show and steer.
 *
 * A job is created, running (paused, and for those that follow a guest ready, and then standby while paused), waiting, pending (until it is
 * finalized, at once unless asked otherwise), concluded (until it is dismissed, likewise) and then null: gone. What fails or is cancelled
 * goes through aborting instead of waiting and pending. The device lock guards the list and all states; the work is done without it. */
#ifndef VIV_BLOCK_JOB_H
#define VIV_BLOCK_JOB_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct viv_job;
struct viv_node;

enum viv_job_status {
    VIV_JOB_CREATED, VIV_JOB_RUNNING, VIV_JOB_PAUSED, VIV_JOB_READY, VIV_JOB_STANDBY, VIV_JOB_WAITING, VIV_JOB_PENDING, VIV_JOB_ABORTING,
    VIV_JOB_CONCLUDED, VIV_JOB_NULL
};
const char *viv_job_status_name(enum viv_job_status s);

enum viv_job_event {
    VIV_JOB_EVENT_STATUS, VIV_JOB_EVENT_READY, VIV_JOB_EVENT_PENDING, VIV_JOB_EVENT_COMPLETED, VIV_JOB_EVENT_CANCELLED, VIV_JOB_EVENT_ERROR
};

/* What a job tells of itself. Text is borrowed until the device lock is let go. */
struct viv_job_info {
    const char *id, *type; /* "mirror" */
    bool block;            /* works on nodes: query-block-jobs shows it */
    enum viv_job_status status;
    uint64_t offset, len, speed; /* bytes done of all that is known to be there to do; bytes a second, 0: any */
    bool auto_finalize, auto_dismiss, busy, ready, paused;
    const char *io_status; /* "ok", "failed", "nospace" */
    const char *error;     /* NULL: none */
    const char *error_operation, *error_action; /* VIV_JOB_EVENT_ERROR: "read", "report" */
};

/* Called with the device lock held. */
void viv_jobs_on_event(void (*fn)(enum viv_job_event event, const struct viv_job_info *info));

/* --- steering; device lock held, loop thread --- */

struct viv_job *viv_job_find(const char *id); /* NULL: none */
struct viv_job *viv_job_next(struct viv_job *j); /* NULL: the first (newest); NULL again: no more */
void viv_job_info(const struct viv_job *j, struct viv_job_info *out);

enum viv_job_verb { VIV_JOB_CANCEL, VIV_JOB_PAUSE, VIV_JOB_RESUME, VIV_JOB_SET_SPEED, VIV_JOB_COMPLETE, VIV_JOB_FINALIZE, VIV_JOB_DISMISS };
/* `force`: CANCEL: also of a job that is ready, which else ends as it is, with its target whole. `speed`: SET_SPEED. What ends by it has
 * ended when this returns, but for COMPLETE. */
int viv_job_do(struct viv_job *j, enum viv_job_verb verb, bool force, uint64_t speed, struct viv_err *err);
/* Does one work on `n`, or on an image above it? Its name is *who. */
bool viv_job_has(const struct viv_node *n, const char **who);
/* Until it is concluded or gone; the loop is served. */
void viv_job_wait_end(const char *id);
/* The last of a program: those that work on nodes are cancelled, others waited for, all forgotten. */
void viv_jobs_finish(void);

/* --- starting --- */

struct viv_job_opts {
    const char *id;
    uint64_t speed;
    bool no_auto_finalize, no_auto_dismiss;
};

/* blockdev-create and its like: `run` in a thread, then, or when it did not start, `end` with the device lock. */
enum viv_job_simple { VIV_JOB_CREATE, VIV_JOB_SNAPSHOT_SAVE, VIV_JOB_SNAPSHOT_LOAD, VIV_JOB_SNAPSHOT_DELETE };
int viv_job_start_simple(const struct viv_job_opts *o, enum viv_job_simple type, int (*run)(void *opaque, struct viv_err *err),
                         void (*end)(void *opaque), void *opaque, struct viv_err *err);

enum viv_job_sync { VIV_SYNC_FULL, VIV_SYNC_TOP, VIV_SYNC_NONE, VIV_SYNC_INCREMENTAL, VIV_SYNC_BITMAP };
enum viv_job_on_error { VIV_ON_ERROR_REPORT, VIV_ON_ERROR_IGNORE, VIV_ON_ERROR_STOP, VIV_ON_ERROR_ENOSPC };
enum viv_job_bitmap_mode { VIV_BITMAP_ON_SUCCESS, VIV_BITMAP_NEVER, VIV_BITMAP_ALWAYS };

struct viv_job_group; /* jobs that all succeed, or none does (job_group.c) */

struct viv_block_job_opts {
    struct viv_job_opts job;
    struct viv_node *node;   /* the disk: source of a copy, the top of a chain */
    struct viv_node *target; /* backup, mirror */
    struct viv_node *base;   /* commit: what is written; stream: what stays (NULL: nothing) */
    struct viv_node *top;    /* commit: the topmost layer that goes; NULL: node */
    enum viv_job_sync sync;
    enum viv_job_on_error on_source, on_target;
    const char *bitmap;      /* backup */
    enum viv_job_bitmap_mode bitmap_mode;
    bool compress;           /* backup */
    bool write_blocking;     /* mirror: a write is in the target before the guest hears of it */
    bool same_backing;       /* mirror: the target, which shows the same backing file by its own header, gets the disk's nodes below it when it
                              * takes its place */
    uint32_t granularity;    /* mirror; 0: as the target's clusters */
    const char *backing_file; /* commit, stream: what the header is to say; NULL: the file name of what stays */
};
/* A job in steps, for several at one moment. New: checked and listed, with what it needs; its bitmap may not be there yet. Prepare, or undo it: in
 * a quiet graph, from any thread without the device lock. Go, or drop: device lock held, the loop's thread. `g` NULL: alone. */
struct viv_job *viv_job_backup_new(const struct viv_block_job_opts *o, struct viv_job_group *g, struct viv_err *err);
int viv_job_prepare(struct viv_job *j, struct viv_err *err);
void viv_job_unprepare(struct viv_job *j);
int viv_job_go(struct viv_job *j, struct viv_err *err); /* fails: it is dropped */
void viv_job_drop(struct viv_job *j);
/* Device lock held. Jobs join it by being made for it; it is theirs from then on, and put once by who made it. */
struct viv_job_group *viv_job_group_new(void);
void viv_job_group_put(struct viv_job_group *g); /* NULL allowed */

/* 0: it runs (backup: everything from this moment on is caught). Device lock held, loop thread; the loop is served meanwhile. */
int viv_job_backup(const struct viv_block_job_opts *o, struct viv_err *err);
int viv_job_mirror(const struct viv_block_job_opts *o, struct viv_err *err);
int viv_job_commit(const struct viv_block_job_opts *o, struct viv_err *err); /* of the top layer itself: mirror into the base */
int viv_job_stream(const struct viv_block_job_opts *o, struct viv_err *err);

#endif
