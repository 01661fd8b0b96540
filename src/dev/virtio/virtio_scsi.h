/* virtio-scsi (virtio 1.2, 5.6) from inside: an adapter for the targets of bus/scsi.h. */
#ifndef VIV_DEV_VIRTIO_VIRTIO_SCSI_H
#define VIV_DEV_VIRTIO_VIRTIO_SCSI_H

#include "bus/scsi.h"
#include "bus/virtio.h"

#include <linux/virtio_scsi.h>
#include <pthread.h>

enum { VSCSI_CONTROL, VSCSI_EVENT, VSCSI_REQUEST }; /* queues; requests from the third on */
enum { VSCSI_TARGETS = 256, VSCSI_LUNS = 16384 };

struct vscsi_req;
struct vscsi_tmf;

struct virtio_scsi {
    struct viv_virtio v;
    struct viv_scsi_bus *bus;
    uint32_t queue_num, queue_size, max_sectors, cmd_per_lun;
    bool hotplug, change;
    uint32_t sense_size, cdb_size; /* as the driver set them */
    bool events_missed;
    uint64_t touched;                /* queues that wait for their interrupt, a bit each */
    uint64_t count;                  /* of requests: which came before a task management function */
    struct vscsi_req *reqs;          /* under way, in order */
    struct viv_virtq_elem *loaded;   /* from saved state, to be started when the VM goes on */
    struct vscsi_tmf *tmfs;          /* that wait for requests to end */
    pthread_cond_t ended;            /* the last request */
};

struct vscsi_req {
    struct virtio_scsi *s;
    struct viv_virtq_elem *e;
    struct viv_scsi_req *r;
    unsigned target, lun;
    uint64_t tag, number;
    bool by_reset; /* given up by a reset of its unit, not one by one */
    struct vscsi_req *next;
};

static inline struct virtio_scsi *vscsi_of(struct viv_scsi_bus *b)
{
    return (struct virtio_scsi *)viv_virtio_of(viv_scsi_bus_adapter(b));
}

/* What an address of 8 bytes names (5.6.6.1). */
struct vscsi_address {
    bool known;
    unsigned target, lun;
};
struct vscsi_address vscsi_address(const uint8_t lun[8]);
void vscsi_put_address(uint8_t lun[8], unsigned target, unsigned lun_number);
bool vscsi_has_target(const struct virtio_scsi *s, unsigned target);

/* ---- virtio_scsi_req.c ---- */
extern const struct viv_scsi_bus_ops vscsi_bus_ops;
void vscsi_take_requests(struct virtio_scsi *s, unsigned queue);
/* Starts what was loaded. */
void vscsi_resume(struct virtio_scsi *s);
/* Gives up everything; lets go of the device lock while it waits. */
void vscsi_give_up(struct virtio_scsi *s);
/* The interrupts that are due. */
void vscsi_flush(struct virtio_scsi *s);
void vscsi_save_reqs(struct viv_state_writer *w, const void *obj);
int vscsi_load_reqs(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);

/* ---- virtio_scsi_ctrl.c ---- */
void vscsi_take_controls(struct virtio_scsi *s);
/* A request has ended: so may have a function that waits for it. */
void vscsi_tmf_check(struct virtio_scsi *s);
/* Buffers for events have come. */
void vscsi_take_events(struct virtio_scsi *s);
void vscsi_plugged(struct viv_scsi_bus *b, struct viv_scsi_dev *d);
void vscsi_unplugged(struct viv_scsi_bus *b, struct viv_scsi_dev *d);
void vscsi_attention(struct viv_scsi_bus *b, struct viv_scsi_dev *d, uint16_t asc);

#endif
