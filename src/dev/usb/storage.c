/* USB Mass Storage, Bulk-Only Transport 1.0, over a SCSI target.
 *
 * Data goes through a buffer of 64 KiB: a host may take its memory back at any time, and a request to an image cannot be called
 * back. While the buffer belongs to the image, endpoints say NAK. The thirteen cases of 6.7: where host and device disagree about
 * the direction the status is a phase error; a host that wants more than there is gets a short packet and the residue; one that
 * sends more than is wanted has it swallowed. */
#include "dev/usb/storage.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { CBW_SIGNATURE = 0x43425355, CSW_SIGNATURE = 0x53425355, CBW_LEN = 31, CSW_LEN = 13 };
enum { GOOD, FAILED, PHASE_ERROR };
enum { EP_IN = 0x81, EP_OUT = 0x02 };
#define REQUEST_SENSE 0x03

static struct usb_storage *storage_of(struct viv_usb_dev *d)
{
    return (struct usb_storage *)d;
}

static void wake(struct usb_storage *s)
{
    viv_usb_wakeup(&s->usb, EP_IN);
    viv_usb_wakeup(&s->usb, EP_OUT);
}

/* ---- the request ---- */

/* Goes on with the request, if it can: the buffer's content to it, or the next part into the buffer. */
static void advance(struct usb_storage *s)
{
    struct viv_scsi_req *r = s->req;
    struct iovec iov = {s->buf, s->have};

    if (!r || s->moving || s->calling || r->cancelled)
        return;
    if (r->direction == VIV_SCSI_READ && s->phase == STORAGE_IN) {
        if (s->at < s->have)
            return;
        s->base = r->moved;
        s->at = s->have = 0;
        iov.iov_len = (size_t)MIN(r->length - r->moved, STORAGE_BUF);
    } else if (r->direction == VIV_SCSI_WRITE) {
        if (s->have < MIN(r->length - r->moved, STORAGE_BUF) && s->left)
            return;
        s->base = r->moved;
    } else if (r->direction != VIV_SCSI_NONE) {
        return;
    }
    s->moving = s->calling = true;
    viv_scsi_move(r, &iov, r->direction != VIV_SCSI_NONE && iov.iov_len);
    s->calling = false;
    if (!s->moving)
        wake(s);
}

static void on_moved(struct viv_scsi_req *r, size_t bytes)
{
    struct usb_storage *s = r->mine;

    if (r->direction == VIV_SCSI_WRITE && r->buf)
        return; /* parameters: kept until the end, as a load begins with them anew */
    s->moving = false;
    s->base += bytes;
    s->have = r->direction == VIV_SCSI_READ && !r->cancelled ? (uint32_t)bytes : 0;
    if (!s->calling)
        wake(s);
}

static void on_done(struct viv_scsi_req *r)
{
    struct usb_storage *s = r->mine;

    s->req = NULL;
    s->active = s->moving = false;
    if (r->direction != VIV_SCSI_READ || r->cancelled)
        s->have = 0;
    if (r->status == VIV_SCSI_CHECK) {
        s->has_sense = true;
        memcpy(s->sense, r->sense, sizeof(s->sense));
    }
    if (!r->cancelled && s->status != PHASE_ERROR)
        s->status = r->status == VIV_SCSI_GOOD ? GOOD : FAILED;
    viv_scsi_put(r);
    if (!s->calling)
        wake(s);
}

const struct viv_scsi_bus_ops storage_scsi_ops = {.ids = 1, .luns = 1, .moved = on_moved, .done = on_done};

static void make(struct usb_storage *s)
{
    struct scsi_unit *u = s->is_cd ? &s->cd.unit : &s->hd.unit;
    uint16_t attention = u->scsi.attention;

    s->active = true;
    s->req = viv_scsi_new(s->bus, 0, s->lun, s->tag, s->cdb, s->cdb_len, s);
    /* The sense of the last command is for this one, before an attention. */
    if (s->cdb[0] == REQUEST_SENSE && s->has_sense && s->req->buf) {
        memcpy(s->req->buf, s->sense, sizeof(s->sense));
        u->scsi.attention = attention;
    }
}

static void begin(struct usb_storage *s)
{
    struct viv_scsi_req *r;
    bool wrong;

    s->at = s->have = 0;
    s->base = 0;
    s->status = GOOD;
    s->phase = !s->left ? STORAGE_STATUS : s->in ? STORAGE_IN : STORAGE_OUT;
    make(s);
    r = s->req;
    s->has_sense = false;
    wrong = (r->direction == VIV_SCSI_READ && (!s->in || !s->left)) || (r->direction == VIV_SCSI_WRITE && (s->in || !s->left));
    if (wrong || r->length > s->left) {
        s->status = PHASE_ERROR;
        viv_scsi_cancel(r);
        return;
    }
    advance(s);
}

void storage_reset(struct usb_storage *s)
{
    s->phase = STORAGE_COMMAND;
    s->left = s->residue = 0;
    s->at = 0;
    if (s->req)
        viv_scsi_cancel(s->req);
}

/* ---- packets ---- */

/* 6.6.1: a wrapper that is none breaks the transport until a reset. */
static void broken(struct usb_storage *s, struct viv_usb_packet *k)
{
    s->phase = STORAGE_BROKEN;
    s->usb.halted |= 1u << 2 | 1u << 17;
    k->status = VIV_USB_STALL;
}

static void command(struct usb_storage *s, struct viv_usb_packet *k)
{
    uint8_t w[CBW_LEN];

    if (s->req) { /* given up by a reset, and not at its end yet */
        k->status = VIV_USB_NAK;
        return;
    }
    if (k->length != CBW_LEN || viv_usb_copy(k, w, CBW_LEN) != CBW_LEN || viv_ld_le32(w) != CBW_SIGNATURE || w[13] & 15 ||
        (w[14] & 31) < 1 || (w[14] & 31) > 16) {
        viv_guest_error("usb-storage", "no command block wrapper in a packet of %zu bytes", k->length);
        broken(s, k);
        return;
    }
    s->tag = viv_ld_le32(w + 4);
    s->left = s->residue = viv_ld_le32(w + 8);
    s->in = w[12] & 0x80;
    s->lun = w[13] & 15;
    s->cdb_len = VIV_SCSI_CDB_MOST;
    memset(s->cdb, 0, sizeof(s->cdb));
    memcpy(s->cdb, w + 15, w[14] & 31);
    begin(s);
}

static void count(struct usb_storage *s, size_t n, bool used)
{
    s->left -= (uint32_t)n;
    s->residue -= used ? (uint32_t)n : 0;
    if (!s->left)
        s->phase = STORAGE_STATUS;
}

static void data_in(struct usb_storage *s, struct viv_usb_packet *k)
{
    while (s->left && k->actual < k->length) {
        size_t n = MIN(s->have - s->at, s->left);

        if (s->at < s->have) {
            n = viv_usb_copy(k, s->buf + s->at, n);
            if (k->status != VIV_USB_OK)
                return;
            s->at += (uint32_t)n;
            count(s, n, true);
        } else if (!s->req) {
            s->phase = STORAGE_STATUS; /* a short packet, maybe an empty one */
            return;
        } else {
            advance(s);
            if (s->at == s->have && s->req) {
                k->status = VIV_USB_NAK;
                return;
            }
        }
    }
}

/* Does the device want what the host sends? */
static bool wanted(const struct usb_storage *s)
{
    return s->req && !s->req->cancelled && s->req->direction == VIV_SCSI_WRITE;
}

static void swallow(struct usb_storage *s, struct viv_usb_packet *k)
{
    size_t n = MIN(k->length - k->actual, s->left);

    k->actual += n;
    count(s, n, false);
}

static void data_out(struct usb_storage *s, struct viv_usb_packet *k)
{
    while (s->left && k->actual < k->length) {
        struct viv_scsi_req *r = s->req;
        size_t n;

        if (s->moving) {
            k->status = VIV_USB_NAK;
            return;
        }
        if (!wanted(s)) {
            swallow(s, k);
            continue;
        }
        n = (size_t)MIN(r->length - r->moved, STORAGE_BUF) - s->have;
        n = viv_usb_copy(k, s->buf + s->have, MIN(n, s->left));
        if (k->status != VIV_USB_OK)
            return;
        s->have += (uint32_t)n;
        count(s, n, true);
        advance(s);
    }
}

static void status(struct usb_storage *s, struct viv_usb_packet *k)
{
    uint8_t w[CSW_LEN];

    if (s->req) {
        k->status = VIV_USB_NAK;
        return;
    }
    viv_st_le32(w, CSW_SIGNATURE);
    viv_st_le32(w + 4, s->tag);
    viv_st_le32(w + 8, s->residue);
    w[12] = s->status;
    viv_usb_answer(k, w, CSW_LEN);
    if (k->status == VIV_USB_OK)
        s->phase = STORAGE_COMMAND;
}

static void storage_data(struct viv_usb_dev *d, struct viv_usb_packet *k)
{
    struct usb_storage *s = storage_of(d);

    if (k->pid == VIV_USB_OUT && s->phase == STORAGE_COMMAND)
        command(s, k);
    else if (k->pid == VIV_USB_OUT && s->phase == STORAGE_OUT)
        data_out(s, k);
    else if (k->pid == VIV_USB_IN && s->phase == STORAGE_IN)
        data_in(s, k);
    else if (k->pid == VIV_USB_IN && s->phase == STORAGE_STATUS)
        status(s, k);
    else if (k->pid == VIV_USB_IN && s->phase == STORAGE_COMMAND)
        k->status = VIV_USB_NAK; /* nothing to tell */
    else
        broken(s, k);
}

/* 3.1, 3.2 */
static int storage_control(struct viv_usb_dev *d, const uint8_t setup[8], uint8_t *data)
{
    switch (setup[0] << 8 | setup[1]) {
    case VIV_USB_CLASS_INTERFACE_IN | 0xfe: /* GET MAX LUN */
        data[0] = 0;
        return 1;
    case VIV_USB_CLASS_INTERFACE_OUT | 0xff:
        storage_reset(storage_of(d));
        return 0;
    }
    return -1;
}

/* 5.3.4: clearing a halt does not mend a broken transport. */
static void storage_unhalted(struct viv_usb_dev *d, unsigned endpoint)
{
    if (storage_of(d)->phase == STORAGE_BROKEN)
        d->halted |= endpoint & 0x80 ? 1u << 17 : 1u << 2;
}

static void bus_reset(struct viv_usb_dev *d)
{
    storage_reset(storage_of(d));
}

const struct viv_usb_dev_ops storage_ops = {
    .reset = bus_reset,
    .control = storage_control,
    .data = storage_data,
    .configured = bus_reset,
    .unhalted = storage_unhalted,
};

/* ---- after a load ---- */

int storage_resume(struct usb_storage *s, struct viv_err *err)
{
    struct scsi_unit *u = s->is_cd ? &s->cd.unit : &s->hd.unit;
    uint16_t attention = u->scsi.attention;
    int rc;

    if (!s->active)
        return 0;
    u->scsi.attention = 0; /* it came behind the command */
    make(s);
    u->scsi.attention = attention;
    rc = s->base ? viv_scsi_resume(s->req, s->base, err) : 0;
    if (!rc && s->req->direction == VIV_SCSI_WRITE && s->have > MIN(s->req->length - s->req->moved, STORAGE_BUF))
        rc = viv_fail(err, EINVAL, "usb-storage has %u bytes for a command (%02xh) that wants fewer", s->have, s->cdb[0]);
    return rc;
}

void storage_go_on(struct usb_storage *s)
{
    /* One that was collecting data, and is refused here, ends now: nobody would start it. */
    if (!s->req || s->req->io || (!s->moving && s->req->direction != VIV_SCSI_NONE))
        return;
    s->moving = false;
    advance(s);
}
