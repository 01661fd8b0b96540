/* An NVMe controller with one namespace, from inside (NVM Express 1.4; section numbers are its). */
#ifndef VIV_DEV_NVME_NVME_H
#define VIV_DEV_NVME_NVME_H

#include "bus/pci.h"
#include "dev/storage/front.h"

#include <glib.h>

enum {
    NVME_BAR_SIZE = 16384,
    NVME_DOORBELLS = 0x1000,  /* a dword each: tail of queue 0, head of queue 0, tail of queue 1 ... */
    NVME_QUEUES_MOST = 128,   /* I/O queue pairs */
    NVME_ENTRIES_MOST = 2048, /* of an I/O queue */
    NVME_ENTRIES_ADMIN = 4096,
    NVME_MDTS = 7,            /* pages of 4 KiB in one command, a power of two: 512 KiB */
    NVME_DATA_MOST = 4096 << NVME_MDTS,
    NVME_PIECES_MOST = (1 << NVME_MDTS) + 1,
    NVME_REQS_MOST = 4096, /* commands under way of all I/O queues: what waits for more stays in the guest's memory */
    NVME_AERS = 4, /* event requests that wait */
    NVME_RANGES_MOST = 256,
};

enum { /* 3.1 */
    NVME_R_CAP = 0x00,
    NVME_R_VS = 0x08,
    NVME_R_INTMS = 0x0c,
    NVME_R_INTMC = 0x10,
    NVME_R_CC = 0x14,
    NVME_R_CSTS = 0x1c,
    NVME_R_AQA = 0x24,
    NVME_R_ASQ = 0x28,
    NVME_R_ACQ = 0x30,
};

enum {
    NVME_CC_EN = 1,
    NVME_CSTS_RDY = 1 << 0,
    NVME_CSTS_CFS = 1 << 1,
    NVME_CSTS_SHST = 3 << 2,
    NVME_CSTS_SHUTTING = 1 << 2,
    NVME_CSTS_SHUT = 2 << 2,
};

/* Status code and its type, as bits 10-0 of the status field (4.6.1). */
enum {
    NVME_OK = 0x000,
    NVME_INVALID_OPCODE = 0x001,
    NVME_INVALID_FIELD = 0x002,
    NVME_DATA_TRANSFER = 0x004,
    NVME_INTERNAL = 0x006,
    NVME_INVALID_NS = 0x00b,
    NVME_SEQUENCE = 0x00c,
    NVME_PRP_OFFSET = 0x013,
    NVME_WRITE_PROTECTED = 0x020,
    NVME_LBA_RANGE = 0x080,
    NVME_CAPACITY = 0x081,
    NVME_INVALID_CQ = 0x100,
    NVME_INVALID_QID = 0x101,
    NVME_QUEUE_SIZE = 0x102,
    NVME_AER_LIMIT = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG = 0x109,
    NVME_QUEUE_DELETION = 0x10c,
    NVME_NOT_SAVEABLE = 0x10d,
    NVME_WRITE_FAULT = 0x280,
    NVME_READ_ERROR = 0x281,
    /* not statuses: */
    NVME_LATER = 0xfffe,  /* the command ends by itself */
    NVME_PARKED = 0xffff, /* somebody else keeps its identifier and will answer it */
};

enum { /* features, 5.21.1 */
    NVME_F_ARBITRATION = 1,
    NVME_F_POWER = 2,
    NVME_F_TEMPERATURE = 4,
    NVME_F_RECOVERY = 5,
    NVME_F_CACHE = 6,
    NVME_F_QUEUES = 7,
    NVME_F_COALESCING = 8,
    NVME_F_VECTOR = 9,
    NVME_F_ATOMICITY = 10,
    NVME_F_EVENTS = 11,
    NVME_FEATURES
};

enum { NVME_EVENT_NAMESPACE = 1 << 8 }; /* in NVME_F_EVENTS, and in what the controller says it has (OAES) */

struct nvme_cmd {
    uint8_t bytes[64];
};

/* size 0: there is none. Queue 0 is the admin queue. */
struct nvme_sq {
    uint64_t gpa;
    uint32_t size, head, tail;
    uint16_t cq;
    bool deleting; /* the command `delete_cid` of the admin queue waits for the commands under way */
    uint16_t delete_cid;
    unsigned active; /* commands under way */
};

struct nvme_cq {
    uint64_t gpa;
    uint32_t size, head, tail;
    uint16_t vector;
    bool interrupts, phase;
    unsigned reserved; /* entries that commands under way will need */
    bool touched;      /* an interrupt is due */
};

struct nvme {
    struct viv_pci_dev pci;
    struct viv_front front;
    struct viv_region *region;
    unsigned queues; /* I/O queue pairs at most */
    unsigned vectors;
    char *fw_path;     /* with bootindex; else NULL */

    uint32_t intm, cc, csts, aqa;
    uint64_t asq, acq;
    bool stopping; /* CC.EN is 0, CSTS.RDY waits for the commands under way */
    uint32_t features[NVME_FEATURES];
    uint64_t read_bytes, written_bytes, reads, writes; /* SMART */
    uint16_t aer[NVME_AERS]; /* command identifiers of event requests that wait */
    uint32_t aers;
    uint8_t error;       /* an error event that waits to be told, plus one; 0: none */
    bool error_masked;   /* told: the next waits until the log page has been read */
    bool changed;        /* the namespace has another size, and nobody has read of it */
    bool change_masked;  /* told */
    struct nvme_sq *sq;  /* queues + 1 of each */
    struct nvme_cq *cq;
    bool starved;  /* commands wait in queues although their completion queues have room */
    unsigned turn; /* whose they are next */
    GQueue reqs;   /* struct nvme_req: under way, held or loaded, in order */
    GQueue held;   /* those that failed under a `stop` policy, in order */
    GQueue loaded; /* from saved state, to be started when the VM goes on */
};

struct nvme_req {
    struct viv_front_req fr;
    struct nvme *n;
    uint16_t sqid, cid;
    bool internal; /* the flush of a shutdown: nobody's command */
    struct nvme_cmd cmd;
    struct iovec iov[NVME_PIECES_MOST];
    unsigned pieces;
    uint8_t *ranges; /* of a dataset management command */
    unsigned at, count;
    void (*then)(struct nvme_req *r); /* after fr has succeeded; NULL: the command ends well */
    GList link, wait; /* in reqs; in held or loaded */
};

/* ---- nvme_queue.c ---- */
static inline unsigned nvme_page_size(const struct nvme *n)
{
    return 4096u << (n->cc >> 7 & 15);
}
void nvme_doorbell(struct nvme *n, uint64_t off, uint32_t value);
/* Takes what the queue has, as far as its completion queue has room. */
void nvme_fetch(struct nvme *n, unsigned sqid);
/* Commands have ended: those of queues that had to wait are taken. */
void nvme_fetch_starved(struct nvme *n);
void nvme_post(struct nvme *n, unsigned sqid, uint16_t cid, uint16_t status, uint32_t result);
/* The interrupts that are due. */
void nvme_interrupt(struct nvme *n);
void nvme_update_line(struct nvme *n);
/* An error event (5.2): 0 invalid doorbell register, 1 invalid value. */
void nvme_tell_error(struct nvme *n, uint8_t what);
void nvme_tell_events(struct nvme *n);
/* A notice (5.2): the namespace has another size. */
void nvme_tell_resized(struct nvme *n);
/* Nothing is under way in a queue that is being deleted: ends that. */
void nvme_queue_idle(struct nvme *n, unsigned sqid);
extern const struct viv_state_table viv_nvme_sq_state, viv_nvme_cq_state;
void nvme_save_queues(struct viv_state_writer *w, const void *obj);
int nvme_load_queues(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

/* ---- nvme_prp.c ---- */
/* The command's buffer of len bytes (at most NVME_DATA_MOST), mapped: r->iov, r->pieces. A status. */
uint16_t nvme_map(struct nvme_req *r, uint64_t len, bool for_write);
void nvme_unmap(struct nvme_req *r, bool written);
/* To and from the command's buffer. A status. */
uint16_t nvme_copy_out(struct nvme_req *r, const void *data, uint64_t len); /* as nvme_map: to guest memory */
uint16_t nvme_copy_in(struct nvme_req *r, void *data, uint64_t len);

/* ---- nvme_io.c, nvme_admin.c: a status, or NVME_LATER ---- */
uint16_t nvme_io(struct nvme_req *r);
uint16_t nvme_admin(struct nvme_req *r, uint32_t *result);
void nvme_submit(struct nvme_req *r, enum viv_blk_op op, unsigned flags, uint64_t offset, uint64_t len);

/* ---- nvme_req.c ---- */
/* A command's whole way. */
void nvme_start(struct nvme *n, unsigned sqid, const struct nvme_cmd *cmd);
/* The flush of a shutdown (3.1.5, CC.SHN). */
void nvme_shut_down(struct nvme *n);
/* Ends and forgets. */
void nvme_end(struct nvme_req *r, uint16_t status, uint32_t result);
void nvme_done(struct viv_front_req *fr, int result);
void nvme_resend_held(struct nvme *n);
/* Held and loaded ones end without an answer. */
void nvme_drop_held(struct nvme *n);
void nvme_resume_loaded(struct nvme *n);
/* Nothing is in flight: forgets all, for a state to be loaded. */
void nvme_clear_reqs(struct nvme *n);
void nvme_save_reqs(struct viv_state_writer *w, const void *obj);
int nvme_load_reqs(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

/* ---- nvme.c ---- */
/* No command is under way any more: a controller that is being stopped has stopped. */
void nvme_idle(struct nvme *n);

/* ---- nvme_identify.c ---- */
uint16_t nvme_identify(struct nvme_req *r);
uint16_t nvme_log_page(struct nvme_req *r);

#endif
