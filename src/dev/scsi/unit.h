/* What SCSI targets with a drive share: identity, the way from a request to the image and back. */
#ifndef VIV_DEV_SCSI_UNIT_H
#define VIV_DEV_SCSI_UNIT_H

#include "bus/scsi.h"
#include "dev/storage/front.h"

struct scsi_io;

struct scsi_unit {
    struct viv_scsi_dev scsi;
    struct viv_front front;
    struct scsi_io *held; /* failed under a `stop` policy, in order; the adapter saves their commands and starts them anew */
    char vendor[8], product[16]; /* as INQUIRY has them: spaces behind */
    uint64_t wwn;         /* 0: none */
    bool removable;       /* says that its medium can go, whether or not it does */
};

/* All members but the adapter's part: VIV_F_STRUCT(my_dev, unit, viv_scsi_unit_state). */
extern const struct viv_state_table viv_scsi_unit_state;

/* ---- io.c ---- */

/* The next part of the medium's data: bytes from r->start + r->moved on. With the last byte `then` goes on (NULL: the request ends well). */
void scsi_io_move(struct scsi_unit *u, struct viv_scsi_req *r, const struct iovec *iov, unsigned n, unsigned flags,
                  void (*then)(struct scsi_unit *u, struct viv_scsi_req *r));
/* A flush, discard or write of zeroes; `then` goes on (NULL: the request ends well). */
void scsi_io_range(struct scsi_unit *u, struct viv_scsi_req *r, enum viv_blk_op op, uint64_t offset, uint64_t len, unsigned flags,
                   void (*then)(struct scsi_unit *u, struct viv_scsi_req *r));
void scsi_io_cancel(struct scsi_unit *u, struct viv_scsi_req *r);
void scsi_io_resend(struct scsi_unit *u);
/* At a reset of the machine: waits for what is in flight and ends what is held. */
void scsi_io_reset(struct scsi_unit *u);

/* ---- common.c ---- */

/* TEST UNIT READY's question; refuses the request if not. */
bool scsi_ready(struct scsi_unit *u, struct viv_scsi_req *r);
/* INQUIRY, with the vital pages 00, 80 and 83; others go to `vital`, which returns the length of what it put behind the 4 bytes
 * of header or -1 when there is no such page. `pages` ends with 0. */
void scsi_inquiry(struct scsi_unit *u, struct viv_scsi_req *r, const uint8_t *pages,
                  int (*vital)(struct scsi_unit *u, uint8_t page, uint8_t *p));
#define SCSI_VENDOR "QEMU" /* SeaBIOS asks these alone for their geometry; names that guests have made of it stay valid */
void scsi_set_names(struct scsi_unit *u, const char *vendor, const char *product);
void scsi_request_sense(struct scsi_unit *u, struct viv_scsi_req *r);
/* MODE SENSE (6) and (10). `page` puts a whole page (code and length first) at p and returns its length, 0 when there is none;
 * `changeable`: the mask of what can be set. `descriptor`: a block descriptor of 8 bytes, or NULL. */
void scsi_mode_sense(struct scsi_unit *u, struct viv_scsi_req *r, uint8_t medium_type, uint8_t device_specific,
                     const uint8_t *descriptor, unsigned (*page)(struct scsi_unit *u, uint8_t code, bool changeable, uint8_t *p));
static inline void scsi_invalid(struct viv_scsi_req *r)
{
    viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, VIV_SCSI_ASC_CDB);
}

#endif
