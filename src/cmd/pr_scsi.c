/* PERSISTENT RESERVE IN and OUT to the device behind a descriptor, by SG_IO. */
#include "cmd/pr.h"

#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TIMEOUT_MS 30000
#define CDB_LEN    10 /* of these two */

enum { ILLEGAL_REQUEST = 5, DATA_PROTECT = 7, ABORTED_COMMAND = 0xb };

void pr_set_sense(struct pr_command *c, uint8_t key, uint8_t asc, uint8_t ascq)
{
    memset(c->sense, 0, sizeof(c->sense));
    c->sense[0] = 0x70; /* current error */
    c->sense[2] = key;
    c->sense[7] = 10; /* bytes that follow this one */
    c->sense[12] = asc;
    c->sense[13] = ascq;
    c->status = PR_CHECK_CONDITION;
}

/* The kernel asks for CAP_SYS_RAWIO, which we have and the client has not: what its descriptor allows is for us to check. */
static int check_device(struct pr_command *c)
{
    struct stat st;
    int mode = fcntl(c->fd, F_GETFL);

    if (mode < 0 || (mode & O_PATH) || fstat(c->fd, &st) || !(S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode))) {
        pr_set_sense(c, ILLEGAL_REQUEST, 0x20, 0); /* invalid command operation code */
        return -ENODEV;
    }
    if (c->cdb[0] == PR_OUT && (mode & O_ACCMODE) == O_RDONLY) {
        pr_set_sense(c, DATA_PROTECT, 0x27, 0); /* write protected */
        return -EACCES;
    }
    return 0;
}

/* How the transport ended, where it did not come to a SCSI status. */
static void transport_failed(struct pr_command *c)
{
    pr_set_sense(c, ABORTED_COMMAND, 0x00, 0x06); /* I/O process terminated */
}

void pr_run(struct pr_command *c)
{
    bool in = c->cdb[0] == PR_IN;
    struct sg_io_hdr h = {
        .interface_id = 'S',
        .dxfer_direction = !c->len ? SG_DXFER_NONE : in ? SG_DXFER_FROM_DEV : SG_DXFER_TO_DEV,
        .cmd_len = CDB_LEN,
        .cmdp = c->cdb,
        .dxfer_len = (unsigned)c->len,
        .dxferp = c->data,
        .mx_sb_len = sizeof(c->sense),
        .sbp = c->sense,
        .timeout = TIMEOUT_MS,
    };

    memset(c->sense, 0, sizeof(c->sense));
    if (check_device(c))
        goto none;
    if (ioctl(c->fd, SG_IO, &h) < 0) {
        if (errno == ENOTTY || errno == EINVAL)
            pr_set_sense(c, ILLEGAL_REQUEST, 0x20, 0); /* no SCSI device */
        else
            transport_failed(c);
        goto none;
    }
    c->status = h.status;
    if (!h.status && (h.host_status || (h.driver_status & 0xf)))
        transport_failed(c);
    if (c->status == PR_GOOD && in && h.resid >= 0 && (size_t)h.resid <= c->len) {
        c->len -= (size_t)h.resid;
        return;
    }
none:
    c->len = 0;
}
