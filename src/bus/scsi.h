/* SCSI: targets below a host adapter, and the life of a command (docs/storage.md; SAM-5, SPC-4). Device lock held.
 *
 * An adapter makes a request of a CDB, moves its data in one or more pieces, and hears its end once:
 *
 *     r = viv_scsi_new(bus, id, lun, tag, cdb, len, mine);   r->direction, r->length: what the CDB asks for
 *     viv_scsi_move(r, iov, n)                               -> ops->moved(r, bytes), then again until r->length is done
 *     ops->done(r)                                           r->status, r->sense; then viv_scsi_put(r)
 *
 * A request without data is started by viv_scsi_move(r, NULL, 0); so is one that was refused when it was made (its status is
 * known by then, its end is not told). With data that call says that the adapter has no more room or data: the request ends with
 * what was moved. `moved` and `done` may come before viv_scsi_move returns. An error can end a request after any part. */
#ifndef VIV_BUS_SCSI_H
#define VIV_BUS_SCSI_H

#include "base/byname.h"
#include "bus/dev.h"

#include <sys/uio.h>

#define VIV_SCSI_CDB_MOST   16
#define VIV_SCSI_SENSE_LEN  18
#define VIV_SCSI_BUF_MOST   65536 /* data that a target answers itself, or parameters it is sent */

enum viv_scsi_direction { VIV_SCSI_NONE, VIV_SCSI_READ, VIV_SCSI_WRITE }; /* from the device, to it */
enum { VIV_SCSI_GOOD = 0x00, VIV_SCSI_CHECK = 0x02, VIV_SCSI_BUSY = 0x08, VIV_SCSI_CONFLICT = 0x18, VIV_SCSI_FULL = 0x28, VIV_SCSI_ABORTED = 0x40 };

enum { /* sense keys */
    VIV_SCSI_NO_SENSE = 0,
    VIV_SCSI_NOT_READY = 2,
    VIV_SCSI_MEDIUM_ERROR = 3,
    VIV_SCSI_HARDWARE_ERROR = 4,
    VIV_SCSI_ILLEGAL_REQUEST = 5,
    VIV_SCSI_UNIT_ATTENTION = 6,
    VIV_SCSI_DATA_PROTECT = 7,
    VIV_SCSI_ABORTED_COMMAND = 0xb,
};

enum { /* ASC and ASCQ */
    VIV_SCSI_ASC_LBA_RANGE = 0x2100,
    VIV_SCSI_ASC_OPCODE = 0x2000,
    VIV_SCSI_ASC_CDB = 0x2400,
    VIV_SCSI_ASC_LUN = 0x2500,
    VIV_SCSI_ASC_PARAMETERS = 0x2600,
    VIV_SCSI_ASC_PARAMETER_LENGTH = 0x1a00,
    VIV_SCSI_ASC_WRITE_PROTECTED = 0x2700,
    VIV_SCSI_ASC_NO_SPACE = 0x2707,
    VIV_SCSI_ASC_MEDIUM_CHANGED = 0x2800,
    VIV_SCSI_ASC_POWER_ON = 0x2900,
    VIV_SCSI_ASC_SIZE_CHANGED = 0x2a09,
    VIV_SCSI_ASC_LUNS_CHANGED = 0x3f0e,
    VIV_SCSI_ASC_NO_MEDIUM_CLOSED = 0x3a01,
    VIV_SCSI_ASC_NO_MEDIUM_OPEN = 0x3a02,
    VIV_SCSI_ASC_INTERNAL = 0x4400,
    VIV_SCSI_ASC_LOCKED = 0x5302,
    VIV_SCSI_ASC_WRONG_MODE = 0x6400,
};

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
    uint8_t sense[VIV_SCSI_SENSE_LEN]; /* fixed format */
    unsigned sense_len;
    unsigned refs;
    bool refused;   /* by viv_scsi_new: status and sense stand */
    bool cancelled, ended;
    uint8_t *buf;   /* the answer, or what the target is sent; NULL: data of the medium */
    uint64_t start; /* the target's: where on the medium, bytes */
    void *io;       /* the target's: in flight or held */
};

struct viv_scsi_bus_ops {
    unsigned ids, luns; /* how many */
    void (*moved)(struct viv_scsi_req *r, size_t bytes);
    void (*done)(struct viv_scsi_req *r);
    /* After `done`s that did not come from a call of the adapter's: the time for one interrupt. May be NULL. */
    void (*told)(struct viv_scsi_bus *b);
    /* How firmware names the channel that the targets are on ("/pci@i0cf8/scsi@4/channel@0"; g_free). NULL: it does not. */
    char *(*fw_path)(struct viv_scsi_bus *b);
    void (*plugged)(struct viv_scsi_bus *b, struct viv_scsi_dev *d);   /* may be NULL */
    void (*unplugged)(struct viv_scsi_bus *b, struct viv_scsi_dev *d); /* may be NULL */
    /* A unit's size or medium changed: sense key 6 with this code. May be NULL. */
    void (*attention)(struct viv_scsi_bus *b, struct viv_scsi_dev *d, uint16_t asc);
} VIV_BY_NAME;

/* `name` NULL: a bus that no -device can name, for an adapter with its target inside. */
bool viv_scsi_bus_exists(const char *name);
struct viv_scsi_bus *viv_scsi_bus_new(struct viv_dev *adapter, const char *name, const struct viv_scsi_bus_ops *ops);
/* Its targets have gone or are left without a bus. */
void viv_scsi_bus_free(struct viv_scsi_bus *b);
struct viv_dev *viv_scsi_bus_adapter(const struct viv_scsi_bus *b);
struct viv_scsi_dev *viv_scsi_at(struct viv_scsi_bus *b, unsigned id, unsigned lun);
struct viv_scsi_dev *viv_scsi_next(struct viv_scsi_bus *b, struct viv_scsi_dev *d); /* NULL starts and ends the walk */

/* cdb_len: 6 to 16 by its group, whatever more the adapter has. Never NULL: a command that is wrong is a request that ends with
 * CHECK CONDITION. */
struct viv_scsi_req *viv_scsi_new(struct viv_scsi_bus *b, unsigned id, unsigned lun, uint64_t tag, const uint8_t *cdb, size_t cdb_len,
                                  void *mine);
/* The same for a request that was saved with so much moved: goes on from there. Only data of the medium can. */
int viv_scsi_resume(struct viv_scsi_req *r, uint64_t moved, struct viv_err *err);
/* iov lies in guest memory that stays mapped until `moved`, or is the adapter's own; the array itself is copied. */
void viv_scsi_move(struct viv_scsi_req *r, const struct iovec *iov, unsigned n);
/* `done` comes, now or when the image's request has ended, with `cancelled` set. */
void viv_scsi_cancel(struct viv_scsi_req *r);
void viv_scsi_get(struct viv_scsi_req *r);
void viv_scsi_put(struct viv_scsi_req *r);

/* A target's side. */
struct viv_scsi_dev_ops {
    uint8_t type; /* SPC peripheral device type */
    /* Sets direction and length by the CDB, with an answer in buf (viv_scsi_answer), or room for parameters
     * (viv_scsi_parameters), or none; or refuses with viv_scsi_fail(). */
    void (*parse)(struct viv_scsi_dev *d, struct viv_scsi_req *r);
    /* A command without data, or whose parameters are in buf (r->moved bytes of them): ends, now or later. */
    void (*execute)(struct viv_scsi_dev *d, struct viv_scsi_req *r);
    /* The next part of the medium's data: r->moved is how far it has come; at least one byte. */
    void (*move)(struct viv_scsi_dev *d, struct viv_scsi_req *r, const struct iovec *iov, unsigned n);
    /* r->io is in flight or held: ends the request, now or later. */
    void (*cancel)(struct viv_scsi_dev *d, struct viv_scsi_req *r);
    /* A reset of the logical unit (SAM-5 6.3.3), whose commands have ended. Must not wait. */
    void (*reset)(struct viv_scsi_dev *d);
    /* Does this command ignore a unit attention, beside those that SPC names? May be NULL. */
    bool (*unattended)(const uint8_t *cdb);
} VIV_BY_NAME;

struct viv_scsi_dev {
    struct viv_dev *dev; /* whose target it is */
    const struct viv_scsi_dev_ops *ops;
    struct viv_scsi_bus *bus;
    unsigned id, lun;
    uint16_t attention; /* unit attention that waits: ASC and ASCQ; 0: none */
    char *fw_path;      /* with bootindex; else NULL */
    struct viv_scsi_bus *left; /* the one it was pulled out of: hears the end of its commands */
    struct viv_scsi_dev *next;
};
/* The attention: VIV_F_STRUCT(my_dev, scsi, viv_scsi_dev_state). */
extern const struct viv_state_table viv_scsi_dev_state;

#define VIV_SCSI_PROPS                                                                             \
    {.name = "bus", .type = VIV_OPT_STR, .help = "bus to plug into (default: the first SCSI bus with room)"}, \
        {.name = "channel", .type = VIV_OPT_INT, .def = "0", .help = "0: a bus has one channel"},          \
        {.name = "scsi-id", .type = VIV_OPT_INT, .min = 0, .max = 255, .help = "target (default: the first free one)"}, \
    {                                                                                              \
        .name = "lun", .type = VIV_OPT_INT, .min = 0, .max = 16383, .help = "logical unit (default: 0)" \
    }
/* Plugs by the properties above. In realize(). */
int viv_scsi_dev_init(struct viv_scsi_dev *d, struct viv_dev *dev, const struct viv_scsi_dev_ops *ops, struct viv_opts *opts,
                      struct viv_err *err);
/* Plugs into a place that the adapter knows to be free. */
void viv_scsi_dev_plug(struct viv_scsi_dev *d, struct viv_dev *dev, const struct viv_scsi_dev_ops *ops, struct viv_scsi_bus *b,
                       unsigned id, unsigned lun);
void viv_scsi_dev_fini(struct viv_scsi_dev *d);
/* Of classes on buses with names: the adapter tells its guest. */
extern const struct viv_hotplug viv_scsi_hotplug;
/* A unit attention, and the adapter is told. */
void viv_scsi_attention(struct viv_scsi_dev *d, uint16_t asc);
/* Commands have ended: the adapter may interrupt. */
void viv_scsi_told(struct viv_scsi_dev *d);

/* From parse(): `len` bytes of answer in r->buf, zeroed, of which the initiator takes at most `allocated`. len is at most
 * VIV_SCSI_BUF_MOST. */
uint8_t *viv_scsi_answer(struct viv_scsi_req *r, size_t len, size_t allocated);
/* From parse(): the initiator sends this many bytes; execute() finds them in r->buf. Refuses more than VIV_SCSI_BUF_MOST. */
void viv_scsi_parameters(struct viv_scsi_req *r, size_t len);
void viv_scsi_moved(struct viv_scsi_req *r, size_t bytes);
void viv_scsi_end(struct viv_scsi_req *r, uint8_t status);
/* CHECK CONDITION with fixed-format sense: from parse() it stands until the adapter starts the request, else it ends it. */
void viv_scsi_fail(struct viv_scsi_req *r, uint8_t key, uint16_t asc);
void viv_scsi_put_sense(uint8_t sense[VIV_SCSI_SENSE_LEN], uint8_t key, uint16_t asc);

#endif
