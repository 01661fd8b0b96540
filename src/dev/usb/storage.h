/* usb-storage from inside: the transport (storage.c) and the device around it (storage_dev.c). */
#ifndef VIV_DEV_USB_STORAGE_H
#define VIV_DEV_USB_STORAGE_H

#include "bus/usb.h"
#include "dev/scsi/cd.h"
#include "dev/scsi/disk.h"

#define STORAGE_BUF VIV_SCSI_BUF_MOST

enum storage_phase { STORAGE_COMMAND, STORAGE_OUT, STORAGE_IN, STORAGE_STATUS, STORAGE_BROKEN };

struct usb_storage {
    struct viv_usb_dev usb;
    struct viv_scsi_bus *bus;
    bool is_cd;
    struct scsi_hd hd; /* one of the two is there */
    struct scsi_cd cd;
    char *boot_path; /* NULL: none */

    /* The command block wrapper (5.1). */
    uint32_t tag, left; /* left: bytes of the data phase that the host still sends or takes */
    uint32_t residue;   /* of these, what the device did nothing with */
    uint8_t lun, cdb_len;
    uint8_t cdb[VIV_SCSI_CDB_MOST];
    uint8_t phase; /* enum storage_phase */
    uint8_t status;
    bool in; /* the host's idea of the direction */

    struct viv_scsi_req *req; /* until its end */
    bool active;  /* there is one; saved */
    bool moving;  /* the buffer belongs to it, or its execution has begun */
    bool calling; /* inside viv_scsi_move() */
    bool has_sense;
    uint8_t sense[VIV_SCSI_SENSE_LEN]; /* of the last command, if has_sense */
    uint64_t base;    /* bytes moved before what is in the buffer */
    uint32_t have, at; /* bytes in the buffer, and how many of these the host has taken */
    uint8_t buf[STORAGE_BUF];
};

extern const struct viv_usb_dev_ops storage_ops;
extern const struct viv_scsi_bus_ops storage_scsi_ops;
/* Gives up what is under way. */
void storage_reset(struct usb_storage *s);
/* After a load: the command anew. */
int storage_resume(struct usb_storage *s, struct viv_err *err);
/* The VM goes on: starts what a loaded command had begun. */
void storage_go_on(struct usb_storage *s);

#endif
