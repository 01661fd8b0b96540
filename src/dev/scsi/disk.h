/* A SCSI disk from inside (SBC-3). */
#ifndef VIV_DEV_SCSI_DISK_H
#define VIV_DEV_SCSI_DISK_H

#include "dev/scsi/unit.h"

struct scsi_hd {
    struct scsi_unit unit;
    bool discard;     /* UNMAP and its like are offered */
    uint16_t rotation; /* per minute; 1: does not turn, 0: does not say */
    bool write_cache;
};

extern const struct viv_state_table viv_scsi_hd_state;

/* VIV_FRONT_PROPS. The caller plugs h->unit.scsi with these ops after that. */
int scsi_hd_open(struct scsi_hd *h, struct viv_dev *dev, struct viv_opts *opts, struct viv_err *err);
void scsi_hd_close(struct scsi_hd *h);
void scsi_hd_reset(struct scsi_hd *h);
extern const struct viv_scsi_dev_ops scsi_hd_ops;

#define HD_MOST_BLOCKS  (4u << 20) /* of one UNMAP or WRITE SAME */
#define HD_MOST_REGIONS 255        /* of one UNMAP */

static inline struct scsi_hd *scsi_hd_of(struct scsi_unit *u)
{
    return (struct scsi_hd *)u;
}

/* ---- disk_pages.c: what it says of itself, and is told ---- */
extern const uint8_t scsi_hd_vital_pages[]; /* ends with 0 */
int scsi_hd_vital(struct scsi_unit *u, uint8_t page, uint8_t *p);
void scsi_hd_capacity10(struct scsi_hd *h, struct viv_scsi_req *r);
void scsi_hd_capacity16(struct scsi_hd *h, struct viv_scsi_req *r);
void scsi_hd_mode_sense(struct scsi_hd *h, struct viv_scsi_req *r);
void scsi_hd_mode_select(struct scsi_hd *h, struct viv_scsi_req *r); /* parameters in r->buf */

#endif
