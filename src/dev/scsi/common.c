/* Commands that every target has (SPC-4). */
#include "dev/scsi/unit.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

bool scsi_ready(struct scsi_unit *u, struct viv_scsi_req *r)
{
    if (viv_front_ready(&u->front))
        return true;
    viv_scsi_fail(r, VIV_SCSI_NOT_READY, u->front.tray_open ? VIV_SCSI_ASC_NO_MEDIUM_OPEN : VIV_SCSI_ASC_NO_MEDIUM_CLOSED);
    return false;
}

void scsi_request_sense(struct scsi_unit *u, struct viv_scsi_req *r)
{
    uint16_t asc = u->scsi.attention;

    if (r->cdb[1] & 1) { /* descriptor format */
        scsi_invalid(r);
        return;
    }
    u->scsi.attention = 0;
    viv_scsi_put_sense(viv_scsi_answer(r, VIV_SCSI_SENSE_LEN, r->cdb[4]), asc ? VIV_SCSI_UNIT_ATTENTION : VIV_SCSI_NO_SENSE, asc);
}

/* ---- INQUIRY ---- */

static void put_text(char *to, size_t size, const char *text)
{
    memset(to, ' ', size);
    memcpy(to, text, strnlen(text, size));
}

void scsi_set_names(struct scsi_unit *u, const char *vendor, const char *product)
{
    put_text(u->vendor, sizeof(u->vendor), vendor);
    put_text(u->product, sizeof(u->product), product);
}

static void standard(struct scsi_unit *u, struct viv_scsi_req *r)
{
    uint8_t *p = viv_scsi_answer(r, 36, viv_ld_be16(r->cdb + 3));

    p[0] = u->scsi.ops->type;
    p[1] = u->front.removable || u->removable ? 0x80 : 0;
    p[2] = 5; /* SPC-3 */
    p[3] = 2; /* format of this answer */
    p[4] = 36 - 5;
    p[7] = 2; /* CMDQUE */
    memcpy(p + 8, u->vendor, 8);
    memcpy(p + 16, u->product, sizeof(u->product));
    memcpy(p + 32, VIV_FRONT_REVISION, 4);
}

/* 7.8.5: by the serial number (else the drive's name), and by the world wide name. The first as vendor specific: a guest's udev makes
 * scsi-0QEMU_QEMU_HARDDISK_NUMBER of that in /dev/disk/by-id, and would make another name of a T10 vendor designator, which it prefers. */
static int identification(struct scsi_unit *u, uint8_t *p)
{
    const char *name = u->front.serial[0] ? u->front.serial : u->front.drive->id;
    size_t len = strnlen(name, 64);
    int at = 0;

    p[at] = 2;     /* ASCII */
    p[at + 1] = 0; /* vendor specific */
    p[at + 3] = (uint8_t)len;
    memcpy(p + at + 4, name, len);
    at += 4 + (int)len;
    if (u->wwn) {
        p[at] = 1;     /* binary */
        p[at + 1] = 3; /* NAA */
        p[at + 3] = 8;
        viv_st_be64(p + at + 4, u->wwn);
        at += 12;
    }
    return at;
}

void scsi_inquiry(struct scsi_unit *u, struct viv_scsi_req *r, const uint8_t *pages,
                  int (*vital)(struct scsi_unit *u, uint8_t page, uint8_t *p))
{
    uint8_t page = r->cdb[2], body[256] = {0}, *p;
    int len = -1;

    if (!(r->cdb[1] & 1)) {
        if (page)
            scsi_invalid(r);
        else
            standard(u, r);
        return;
    }
    switch (page) {
    case 0x00:
        body[0] = 0x00;
        len = 1;
        if (u->front.serial[0])
            body[len++] = 0x80;
        body[len++] = 0x83;
        for (; *pages; pages++)
            body[len++] = *pages;
        break;
    case 0x80:
        if (u->front.serial[0])
            len = (int)g_strlcpy((char *)body, u->front.serial, sizeof(u->front.serial));
        break;
    case 0x83:
        len = identification(u, body);
        break;
    default:
        len = vital ? vital(u, page, body) : -1;
    }
    if (len < 0) {
        scsi_invalid(r);
        return;
    }
    p = viv_scsi_answer(r, 4 + (size_t)len, viv_ld_be16(r->cdb + 3));
    p[0] = u->scsi.ops->type;
    p[1] = page;
    viv_st_be16(p + 2, (uint16_t)len);
    memcpy(p + 4, body, (size_t)len);
}

/* ---- MODE SENSE ---- */

void scsi_mode_sense(struct scsi_unit *u, struct viv_scsi_req *r, uint8_t medium_type, uint8_t device_specific,
                     const uint8_t *descriptor, unsigned (*page)(struct scsi_unit *u, uint8_t code, bool changeable, uint8_t *p))
{
    bool ten = r->cdb[0] == 0x5a, changeable = r->cdb[2] >> 6 == 1;
    uint8_t code = r->cdb[2] & 0x3f, data[1024] = {0}, *p;
    unsigned head = ten ? 8 : 4, at = head, start;

    if (r->cdb[2] >> 6 == 3) { /* saved values: nothing is */
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, 0x3900);
        return;
    }
    if (descriptor && !(r->cdb[1] & 8)) {
        memcpy(data + at, descriptor, 8);
        data[ten ? 7 : 3] = 8;
        at += 8;
    }
    start = at;
    for (unsigned c = code == 0x3f ? 0 : code; c <= (code == 0x3f ? 0x3e : code); c++)
        at += page(u, (uint8_t)c, changeable, data + at);
    if (at == start || (r->cdb[3] && r->cdb[3] != 0xff)) { /* no such page, or a subpage */
        scsi_invalid(r);
        return;
    }
    data[ten ? 2 : 1] = medium_type;
    data[ten ? 3 : 2] = device_specific;
    if (ten)
        viv_st_be16(data, (uint16_t)(at - 2));
    else
        data[0] = (uint8_t)MIN(at - 1, 255);
    p = viv_scsi_answer(r, at, ten ? viv_ld_be16(r->cdb + 7) : r->cdb[4]);
    memcpy(p, data, at);
}

const struct viv_state_table viv_scsi_unit_state = {
    .name = "scsi-unit",
    .ctype = "scsi_unit",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(scsi_unit, scsi, viv_scsi_dev_state),
            VIV_F_STRUCT(scsi_unit, front, viv_front_state),
            VIV_F_DERIVED(scsi_unit, held, "the adapter starts its commands anew"),
            VIV_F_CONFIG(scsi_unit, vendor),
            VIV_F_CONFIG(scsi_unit, product),
            VIV_F_CONFIG(scsi_unit, wwn),
            VIV_F_CONFIG(scsi_unit, removable),
            VIV_F_END,
        },
};
