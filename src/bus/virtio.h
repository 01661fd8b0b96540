/* Virtio 1.2 core: feature bits, queues (split and packed), config space; transports are separate
 * (virtio_pci.c, virtio_mmio.c) and a device function knows none of them.
 *
 * A device function fills one struct viv_virtio_class and embeds struct viv_virtio first. Everything
 * here holds the device lock; a back end's completion that arrives on an I/O thread takes it before it
 * pushes. Kicks come on the kicking vCPU, or from an ioeventfd's handler on the loop thread; with iothread= all queues
 * are served on that thread. What is read
 * from a ring is copied once and checked; a broken ring sets NEEDS_RESET and stops the device. */
#ifndef VIV_BUS_VIRTIO_H
#define VIV_BUS_VIRTIO_H

#include "base/byname.h"
#include "bus/dev.h"

#include <sys/uio.h>

#define VIV_VIRTQ_MAX_SIZE 1024
#define VIV_VIRTQ_MAX_SEGS 1024 /* segments in one request, over all indirections */

enum { /* feature bits common to all devices (virtio 1.2, 6) */
    VIV_VIRTIO_F_NOTIFY_ON_EMPTY = 24,
    VIV_VIRTIO_F_ANY_LAYOUT = 27,
    VIV_VIRTIO_F_INDIRECT = 28,
    VIV_VIRTIO_F_EVENT_IDX = 29,
    VIV_VIRTIO_F_VERSION_1 = 32,
    VIV_VIRTIO_F_ACCESS_PLATFORM = 33,
    VIV_VIRTIO_F_RING_PACKED = 34,
    VIV_VIRTIO_F_IN_ORDER = 35,
    VIV_VIRTIO_F_RING_RESET = 40,
};

enum { /* device status (2.1) */
    VIV_VIRTIO_S_ACKNOWLEDGE = 1,
    VIV_VIRTIO_S_DRIVER = 2,
    VIV_VIRTIO_S_DRIVER_OK = 4,
    VIV_VIRTIO_S_FEATURES_OK = 8,
    VIV_VIRTIO_S_NEEDS_RESET = 64,
    VIV_VIRTIO_S_FAILED = 128,
};

enum { /* virtio ids (5) */
    VIV_VIRTIO_ID_NET = 1,
    VIV_VIRTIO_ID_BLOCK = 2,
    VIV_VIRTIO_ID_CONSOLE = 3,
    VIV_VIRTIO_ID_RNG = 4,
    VIV_VIRTIO_ID_SCSI = 8,
    VIV_VIRTIO_ID_9P = 9,
    VIV_VIRTIO_ID_GPU = 16,
    VIV_VIRTIO_ID_INPUT = 18,
};

struct viv_virtio;
struct viv_virtq;

/* One request taken from a queue. Buffers are mapped guest memory (viv_dma_map), `out` (device reads) then
 * `in` (device writes). Ended by exactly one of push, unpop or drop. */
struct viv_virtq_elem {
    struct viv_virtio *v;
    uint16_t queue;
    uint16_t id;     /* head (split) or buffer id (packed) */
    uint16_t ndescs; /* ring slots it occupies (packed; 1 for split) */
    uint16_t cap;    /* segments there is room for */
    uint32_t life;   /* the queue's, when it was taken */
    unsigned out_num, in_num;
    struct iovec *out;
    struct iovec *in;
    uint64_t out_len, in_len;    /* totals; each below 4 GiB */
    uint64_t *gpa;               /* guest address of each segment, out then in: for saved state */
    struct viv_virtq_elem *next; /* the device function's, while it holds the element */
};

/* What a kind of device is. Const. */
struct viv_virtio_class {
    const char *name;      /* "virtio-blk" */
    uint16_t device_id;    /* virtio id */
    uint16_t pci_legacy_id; /* transitional PCI device id, 0x1000..; 0: has no legacy interface */
    uint32_t pci_class;    /* 0xCCSSPP for virtio-pci */
    const char *fw_kind, *fw_unit; /* of what firmware can boot from: "scsi", "/disk@0,0"; has bootindex. NULL: not */
    const char *pci_rom;   /* expansion ROM of the PCI function */
    unsigned pci_vectors;  /* MSI-X vectors by default; 0: one a queue and one */
    bool iothread;         /* has VIV_VIRTIO_IOTHREAD_PROP */
    unsigned config_len;   /* bytes of device config */
    size_t size;           /* of the instance, which begins with struct viv_virtio */
    const struct viv_state_table *state; /* of the instance; holds VIV_F_STRUCT(.., v, viv_virtio_state) */

    /* Adds queues, takes back ends. `opts` borrowed for the call. On failure nothing is left behind. */
    int (*realize)(struct viv_virtio *v, struct viv_opts *opts, struct viv_err *err);
    void (*unrealize)(struct viv_virtio *v);                       /* may be NULL */
    uint64_t (*features)(struct viv_virtio *v);                    /* device-specific bits offered */
    void (*set_features)(struct viv_virtio *v, uint64_t features); /* negotiated; may be NULL */
    void (*get_config)(struct viv_virtio *v, uint8_t *config);     /* fills config_len bytes; may be NULL if 0 */
    void (*set_config)(struct viv_virtio *v, unsigned off, unsigned len, const uint8_t *val); /* may be NULL */
    void (*kick)(struct viv_virtio *v, unsigned queue);
    /* The driver came up (DRIVER_OK, or `early`) or went; or, while it is up, a queue was stopped or started, or the bus lets the device reach memory or
     * not: whoever works on buffers by himself looks whether he may. May be NULL. */
    void (*status)(struct viv_virtio *v, uint8_t status);
    /* Gives up everything taken from the queues: drops held elements, waits (viv_dev_wait) until
     * none is in a back end. The device lock may be let go meanwhile; kicks are held off. */
    void (*reset)(struct viv_virtio *v);
    void (*vm_running)(struct viv_virtio *v, bool running); /* may be NULL; queues are kicked after */
    bool (*idle)(struct viv_virtio *v);                     /* may be NULL */
    int (*can_save)(struct viv_virtio *v, struct viv_err *err); /* as in bus/dev.h; may be NULL */
} VIV_BY_NAME;

/* What the transport gives. Device lock held. */
struct viv_virtio_transport {
    void (*notify_queue)(void *opaque, unsigned queue); /* used buffer notification */
    void (*notify_config)(void *opaque);
    void *opaque;
} VIV_BY_NAME;

/* Embedded first in a device function's instance. struct viv_virtq is in bus/virtio_int.h, for core and
 * transports. */
struct viv_virtio {
    const struct viv_virtio_class *cls;
    struct viv_board *board;
    struct viv_dev *dev; /* the transport device: id, path */
    struct viv_virtio_transport transport;
    uint64_t host_features, guest_features;
    uint8_t status;
    uint8_t config_generation;
    bool early; /* up without DRIVER_OK: a legacy driver at its first kick */
    bool broken;
    bool running;   /* the VM runs */
    bool resetting; /* cls->reset is waiting: kicks are dropped */
    bool barred;    /* from memory, by the bus: nothing is taken from the rings */
    unsigned queue_count;
    struct viv_virtq *queues; /* array of queue_count */
    struct viv_iothread *iothread; /* serves all queues; NULL: whoever kicks does */
    bool rekick_queued;       /* the loop will come back for queues that had more than one kick may take */
    bool gone;                /* freed but for that */
};

extern const struct viv_state_table viv_virtio_state;

/* Properties of every virtio device, to be spliced into schemas. */
#define VIV_VIRTIO_PROPS                                                                           \
    {.name = "indirect_desc", .type = VIV_OPT_BOOL, .def = "on",                                   \
     .help = "offer indirect descriptors"},                                                        \
    {.name = "event_idx", .type = VIV_OPT_BOOL, .def = "on", .help = "offer event indices"},       \
    {.name = "any_layout", .type = VIV_OPT_BOOL, .def = "on",                                      \
     .help = "tell legacy drivers that any framing is fine"},                                      \
    {.name = "packed", .type = VIV_OPT_BOOL, .def = "off", .help = "offer packed rings"},          \
    {.name = "notify_on_empty", .type = VIV_OPT_REFUSED,                                           \
     .help = "a legacy feature no current driver asks for; leave it out"},                         \
    {.name = "iommu_platform", .type = VIV_OPT_REFUSED,                                            \
     .help = "there is no IOMMU to sit behind; leave it out"},                                     \
    {.name = "in_order", .type = VIV_OPT_REFUSED,                                                  \
     .help = "requests complete out of order here; leave it out"},                                 \
    {.name = "queue_reset", .type = VIV_OPT_REFUSED,                                               \
     .help = "reset of single queues is not implemented; leave it out"},                           \
    {.name = "use-started", .type = VIV_OPT_REFUSED, .help = "internal to QEMU's migration"}

#define VIV_VIRTIO_IOTHREAD_PROP                                                                   \
    {.name = "iothread", .type = VIV_OPT_STR, .help = "id of a -object iothread, which serves the queues"}

/* For transports: makes and realizes an instance of `cls` (g_malloc0'ed), with offered features set. */
int viv_virtio_new(const struct viv_virtio_class *cls, struct viv_dev *dev,
                   const struct viv_virtio_transport *transport, struct viv_opts *opts,
                   struct viv_virtio **out, struct viv_err *err);
void viv_virtio_free(struct viv_virtio *v); /* NULL allowed */
/* The function behind a transport device, or NULL when `d` is none. */
struct viv_virtio *viv_virtio_of(struct viv_dev *d);

/* In realize, in order. Returns the queue's index. max_size: power of two up to VIV_VIRTQ_MAX_SIZE. */
unsigned viv_virtio_add_queue(struct viv_virtio *v, unsigned max_size);

static inline bool viv_virtio_has(const struct viv_virtio *v, unsigned feature)
{
    return v->guest_features >> feature & 1;
}

/* Is the driver up? 3.1.2: a legacy one may use the device before it says so. */
static inline bool viv_virtio_driven(const struct viv_virtio *v)
{
    return v->early || (v->status & VIV_VIRTIO_S_DRIVER_OK);
}

/* Is the driver up and the ring trusted: may the function touch its queues? */
static inline bool viv_virtio_live(const struct viv_virtio *v)
{
    return v->running && !v->broken && !v->resetting && !v->barred && viv_virtio_driven(v);
}

void viv_virtio_config_changed(struct viv_virtio *v);
void viv_virtio_set_broken(struct viv_virtio *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *viv_virtio_name(const struct viv_virtio *v); /* for messages: id, else class name */

/* Next available request, or NULL; NULL also asks the driver for a kick, unless that was turned off. On
 * a broken ring: NULL, and the device is broken. */
struct viv_virtq_elem *viv_virtq_pop(struct viv_virtio *v, unsigned queue);
/* Returns it as used with `written` bytes of device-written data (the first bytes of `in`; more than
 * in_len is cut). Does not notify. Frees e. */
void viv_virtq_push(struct viv_virtq_elem *e, uint32_t written);
/* The same for n >= 1 of one queue that make one message: a driver that looks meanwhile sees none of them or all. Cuts written[]. */
void viv_virtq_push_all(struct viv_virtq_elem **e, uint32_t *written, unsigned n);
/* Gives it back unread; the last one popped first. It will be popped again. Frees e. */
void viv_virtq_unpop(struct viv_virtq_elem *e);
/* Lets go without telling the driver (reset, broken). Frees e. */
void viv_virtq_drop(struct viv_virtq_elem *e);
/* Interrupts the driver if it wants it (event index, flags). */
void viv_virtq_notify(struct viv_virtio *v, unsigned queue);
/* Suppress or ask for kicks while polling. Returns true if requests arrived meanwhile. */
bool viv_virtq_set_kick(struct viv_virtio *v, unsigned queue, bool want);
/* As a kick of the driver, in so many elements and no more; what is left follows from the loop. */
void viv_virtio_kick(struct viv_virtio *v, unsigned queue);
/* No more elements in this kick: the loop comes back for the rest. */
void viv_virtq_yield(struct viv_virtio *v, unsigned queue);
/* Is it set up? */
bool viv_virtq_ready(struct viv_virtio *v, unsigned queue);
/* Nothing to pop now. (True also on a queue that is not set up.) */
bool viv_virtq_empty(struct viv_virtio *v, unsigned queue);
/* Descriptors of its ring, as the driver set it up. */
unsigned viv_virtq_size(const struct viv_virtio *v, unsigned queue);

/* An element held over a save (a failed request that waits for the VM to go on): segments by guest
 * address. Load maps it again; `*out` NULL on failure. */
void viv_virtq_elem_save(struct viv_state_writer *w, const struct viv_virtq_elem *e);
int viv_virtq_elem_load(struct viv_state_reader *r, struct viv_virtio *v, struct viv_virtq_elem **out,
                        struct viv_err *err);

/* Copies between an element's buffers and a flat one; return bytes copied. */
size_t viv_iov_to_buf(const struct iovec *iov, int n, size_t off, void *buf, size_t len);
size_t viv_iov_from_buf(const struct iovec *iov, int n, size_t off, const void *buf, size_t len);
/* The part [off, off+len) of an iov as an iov; returns segments used (dst has room for n). */
int viv_iov_cut(struct iovec *dst, const struct iovec *src, int n, size_t off, size_t len);

#endif
