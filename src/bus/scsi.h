/* SCSI: targets below a host adapter, and the life of a command (docs/storage.md; SAM-5, SPC-4). Device lock held.
 *
 * An adapter makes a request of a CDB, moves its data in one or more pieces, and hears its end once:
 *
 *     r = viv_scsi_new(bus, id, lun, tag, cdb, len, mine);   r->direction, r->length: what the CDB asks for
 *     viv_scsi_move(r, iov, n)                               -> ops->moved(r, bytes), then again until r->length is done
 *     ops->done(r)                                           r->status, r->sense; then viv_scsi_put(r)
 *
 * A request without data is started by viv_scsi_move(r, NULL, 0). Moved less than asked for: a short transfer, `done` follows. */
#ifndef VIV_BUS_SCSI_H
#define VIV_BUS_SCSI_H

#include "bus/dev.h"

#include <sys/uio.h>

#define VIV_SCSI_CDB_MOST   16
#define VIV_SCSI_SENSE_MOST 96

enum viv_scsi_direction { VIV_SCSI_NONE, VIV_SCSI_READ, VIV_SCSI_WRITE }; /* from the device, to it */
enum { VIV_SCSI_GOOD = 0x00, VIV_SCSI_CHECK = 0x02, VIV_SCSI_BUSY = 0x08, VIV_SCSI_CONFLICT = 0x18, VIV_SCSI_FULL = 0x28, VIV_SCSI_ABORTED = 0x40 };

struct viv_scsi_bus;
struct viv_scsi_dev;

struct viv_scsi_req {
    struct viv_scsi_bus *bus;
    struct viv_scsi_dev *dev; /* NULL: nobody has that address */
    unsigned lun;
    uint64_t tag;
    void *mine; /* the adapter's */
    uint8_t cdb[VIV_SCSI_CDB_MOST];
    enum viv_scsi_direction direction;
    uint64_t length, moved; /* bytes */
    uint8_t status;
    uint8_t sense[VIV_SCSI_SENSE_MOST]; /* fixed format */
    unsigned sense_len;
    unsigned refs;
    bool cancelled, ended;
};

struct viv_scsi_bus_ops {
    unsigned ids, luns; /* how many */
    void (*moved)(struct viv_scsi_req *r, size_t bytes);
    void (*done)(struct viv_scsi_req *r);
    void (*plugged)(struct viv_scsi_bus *b, struct viv_scsi_dev *d);   /* may be NULL */
    void (*unplugged)(struct viv_scsi_bus *b, struct viv_scsi_dev *d); /* may be NULL */
    /* A unit's size or medium changed: sense key 6 with this code. May be NULL. */
    void (*attention)(struct viv_scsi_bus *b, struct viv_scsi_dev *d, uint16_t asc);
    /* A saved request is running again: the adapter's part of it. May be NULL: the adapter starts its commands anew itself. */
    struct viv_scsi_req *(*load)(struct viv_scsi_bus *b, struct viv_state_reader *rd, struct viv_scsi_req *r);
};

struct viv_scsi_bus *viv_scsi_bus_new(struct viv_dev *adapter, const char *name, const struct viv_scsi_bus_ops *ops);
void viv_scsi_bus_free(struct viv_scsi_bus *b);
struct viv_scsi_dev *viv_scsi_at(struct viv_scsi_bus *b, unsigned id, unsigned lun);

/* cdb_len: 6 to 16 by its group, whatever more the adapter has. Never NULL but for want of memory: a command that is wrong is a
 * request that ends with CHECK CONDITION. */
struct viv_scsi_req *viv_scsi_new(struct viv_scsi_bus *b, unsigned id, unsigned lun, uint64_t tag, const uint8_t *cdb, size_t cdb_len,
                                  void *mine);
/* iov lies in guest memory that stays mapped until `moved`, or is the adapter's own. */
void viv_scsi_move(struct viv_scsi_req *r, const struct iovec *iov, unsigned n);
/* `done` comes, now or when the image's request has ended, with `cancelled` set. */
void viv_scsi_cancel(struct viv_scsi_req *r);
void viv_scsi_get(struct viv_scsi_req *r);
void viv_scsi_put(struct viv_scsi_req *r);

/* A target's side. */
struct viv_scsi_dev_ops {
    uint8_t type;   /* SPC peripheral device type */
    /* Sets direction and length by the CDB, or ends the request. */
    void (*parse)(struct viv_scsi_dev *d, struct viv_scsi_req *r);
    void (*move)(struct viv_scsi_dev *d, struct viv_scsi_req *r, const struct iovec *iov, unsigned n);
    void (*cancel)(struct viv_scsi_dev *d, struct viv_scsi_req *r);
};

struct viv_scsi_dev {
    struct viv_dev dev;
    const struct viv_scsi_dev_ops *ops;
    struct viv_scsi_bus *bus;
    unsigned id, lun;
    uint16_t attention; /* unit attention that waits: ASC and ASCQ; 0: none */
    struct viv_scsi_dev *next;
};

/* Properties: bus, channel (0), scsi-id, lun. In realize(). */
int viv_scsi_dev_init(struct viv_scsi_dev *d, struct viv_opts *opts, struct viv_err *err);
void viv_scsi_dev_fini(struct viv_scsi_dev *d);
void viv_scsi_moved(struct viv_scsi_req *r, size_t bytes);
void viv_scsi_end(struct viv_scsi_req *r, uint8_t status);
/* CHECK CONDITION with fixed-format sense. */
void viv_scsi_fail(struct viv_scsi_req *r, uint8_t key, uint16_t asc);

#endif
