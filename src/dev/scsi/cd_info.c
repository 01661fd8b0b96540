/* What a CD drive says of itself and its disc (MMC-6). */
#include "dev/scsi/cd.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { PROFILE_CD = 0x0008, PROFILE_DVD = 0x0010 };
enum { LEAD_OUT = 0xaa, DATA_TRACK = 0x14 }; /* ADR 1, control 4: data, copying forbidden */

static void put_msf(uint8_t *p, uint32_t lba)
{
    uint32_t at = lba + 150; /* table 735: two seconds before the first sector */

    p[0] = 0;
    p[1] = (uint8_t)MIN(at / (75 * 60), 255);
    p[2] = (uint8_t)(at / 75 % 60);
    p[3] = (uint8_t)(at % 75);
}

static void put_address(uint8_t *p, uint32_t lba, bool as_msf)
{
    if (as_msf)
        put_msf(p, lba);
    else
        viv_st_be32(p, lba);
}

/* ---- READ TOC/PMA/ATIP (6.25) ---- */

static void toc(struct scsi_cd *cd, struct viv_scsi_req *r, bool as_msf)
{
    unsigned first = r->cdb[6], tracks = first <= 1 ? 2 : 1;
    uint8_t *p;

    if (first > 1 && first != LEAD_OUT) {
        scsi_invalid(r);
        return;
    }
    p = viv_scsi_answer(r, 4 + 8 * tracks, viv_ld_be16(r->cdb + 7));
    viv_st_be16(p, (uint16_t)(2 + 8 * tracks));
    p[2] = p[3] = 1; /* first and last track */
    p += 4;
    if (first <= 1) {
        p[1] = DATA_TRACK;
        p[2] = 1;
        put_address(p + 4, 0, as_msf);
        p += 8;
    }
    p[1] = DATA_TRACK;
    p[2] = LEAD_OUT;
    put_address(p + 4, scsi_cd_sectors(cd), as_msf);
}

static void session(struct viv_scsi_req *r, bool as_msf)
{
    uint8_t *p = viv_scsi_answer(r, 12, viv_ld_be16(r->cdb + 7));

    p[1] = 10;
    p[2] = p[3] = 1; /* first and last session */
    p[5] = DATA_TRACK;
    p[6] = 1; /* its first track */
    put_address(p + 8, 0, as_msf);
}

/* Points A0, A1, A2 and the track (table 480). */
static void full_toc(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 1};
    uint8_t *p = viv_scsi_answer(r, 4 + 11 * sizeof(points), viv_ld_be16(r->cdb + 7));

    viv_st_be16(p, 2 + 11 * sizeof(points));
    p[2] = p[3] = 1;
    p += 4;
    for (unsigned i = 0; i < sizeof(points); i++, p += 11) {
        uint8_t at[4] = {0, points[i] < 0xa2 ? 1 : 0}; /* A0, A1: number of the first and of the last track */

        if (points[i] == 0xa2 || points[i] == 1)
            put_msf(at, points[i] == 1 ? 0 : scsi_cd_sectors(cd));
        p[0] = 1; /* session */
        p[1] = DATA_TRACK;
        p[3] = points[i];
        memcpy(p + 8, at + 1, 3);
    }
}

void scsi_cd_read_toc(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    bool as_msf = r->cdb[1] & 2;
    unsigned format = r->cdb[2] & 15;

    if (!format)
        format = r->cdb[9] >> 6; /* where SFF-8020i had it */
    if (!scsi_ready(&cd->unit, r))
        return;
    if (format == 0)
        toc(cd, r, as_msf);
    else if (format == 1)
        session(r, as_msf);
    else if (format == 2)
        full_toc(cd, r);
    else
        scsi_invalid(r);
}

/* ---- GET CONFIGURATION (6.5) ---- */

static uint8_t *feature(uint8_t *p, uint16_t code, unsigned version, bool persistent, bool current, unsigned len)
{
    viv_st_be16(p, code);
    p[2] = (uint8_t)(version << 2 | persistent << 1 | current);
    p[3] = (uint8_t)len;
    return p + 4;
}

struct features {
    uint8_t data[256];
    unsigned len, from, kind; /* kind: RT field */
};

static void add(struct features *f, uint16_t code, unsigned version, bool persistent, bool current, const uint8_t *body, unsigned len)
{
    if (code < f->from || (f->kind == 1 && !current) || (f->kind == 2 && code != f->from))
        return;
    memcpy(feature(f->data + f->len, code, version, persistent, current, len), body, len);
    f->len += 4 + len;
}

void scsi_cd_get_configuration(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    bool there = scsi_cd_sectors(cd), dvd = there && scsi_cd_is_dvd(cd), is_cd = there && !dvd;
    const uint8_t profiles[] = {0, PROFILE_DVD, dvd, 0, 0, PROFILE_CD, is_cd, 0};
    static const uint8_t core[] = {0, 0, 0, 2, 1, 0, 0, 0}; /* ATAPI; class events of DBE: 1 */
    static const uint8_t removable[] = {0x29, 0, 0, 0};     /* tray, eject, lock */
    static const uint8_t readable[] = {0, 0, 8, 0, 0, 16, 0, 0};
    struct features f = {.kind = r->cdb[1] & 3, .from = viv_ld_be16(r->cdb + 2)};
    uint8_t *p;

    if (f.kind == 3) {
        scsi_invalid(r);
        return;
    }
    add(&f, 0x0000, 0, true, true, profiles, sizeof(profiles));
    add(&f, 0x0001, 2, true, true, core, sizeof(core));
    add(&f, 0x0003, 0, true, true, removable, sizeof(removable));
    add(&f, 0x0010, 0, false, there, readable, sizeof(readable));
    add(&f, 0x001e, 2, false, is_cd, (const uint8_t[4]){0}, 4);
    add(&f, 0x001f, 1, false, dvd, (const uint8_t[4]){0}, 4);
    p = viv_scsi_answer(r, 8 + f.len, viv_ld_be16(r->cdb + 7));
    viv_st_be32(p, 4 + f.len);
    viv_st_be16(p + 6, dvd ? PROFILE_DVD : is_cd ? PROFILE_CD : 0);
    memcpy(p + 8, f.data, f.len);
}

/* ---- GET EVENT STATUS NOTIFICATION (6.6) ---- */

void scsi_cd_get_event(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    enum { MEDIA = 4 };
    const struct viv_front *front = &cd->unit.front;
    uint16_t allocated = viv_ld_be16(r->cdb + 7);
    uint8_t *p;

    if (!(r->cdb[1] & 1)) { /* nothing is told unasked */
        scsi_invalid(r);
        return;
    }
    if (!(r->cdb[4] & 1 << MEDIA)) {
        p = viv_scsi_answer(r, 4, allocated);
        p[1] = 2;
        p[2] = 0x80; /* no event of the classes asked for */
        p[3] = 1 << MEDIA;
        return;
    }
    p = viv_scsi_answer(r, 8, allocated);
    p[1] = 6;
    p[2] = MEDIA;
    p[3] = 1 << MEDIA;
    p[4] = cd->event;
    p[5] = (uint8_t)((front->drive->blk ? 2 : 0) | front->tray_open);
    if (allocated > 4)
        cd->event = 0;
}

/* ---- disc, track, drive ---- */

void scsi_cd_disc_information(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint8_t *p;

    if (!scsi_ready(&cd->unit, r))
        return;
    if (r->cdb[1] & 7) { /* standard information only */
        scsi_invalid(r);
        return;
    }
    p = viv_scsi_answer(r, 34, viv_ld_be16(r->cdb + 7));
    p[1] = 32;
    p[2] = 0x0e; /* last session and disc are complete */
    p[3] = p[4] = p[5] = p[6] = 1;
    p[7] = 0x20; /* may be used without restriction */
    memset(p + 16, 0xff, 8); /* lead-in and last possible lead-out: not applicable */
}

void scsi_cd_track_information(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint32_t what = viv_ld_be32(r->cdb + 2), sectors = scsi_cd_sectors(cd);
    unsigned kind = r->cdb[1] & 3;
    uint8_t *p;

    if (!scsi_ready(&cd->unit, r))
        return;
    if (kind == 3 || (kind == 0 && what >= sectors) || (kind && what != 1)) {
        scsi_invalid(r);
        return;
    }
    p = viv_scsi_answer(r, 36, viv_ld_be16(r->cdb + 7));
    p[1] = 34;
    p[2] = p[3] = 1; /* track and session */
    p[5] = 4;        /* data */
    p[6] = 1;        /* mode 1 */
    viv_st_be32(p + 24, sectors);
}

/* 6.22, format 0: what a layer is like. The rest is copy protection, or for writers. */
void scsi_cd_dvd_structure(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint8_t *p;

    if (!scsi_ready(&cd->unit, r))
        return;
    if (!scsi_cd_is_dvd(cd)) {
        viv_scsi_fail(r, VIV_SCSI_ILLEGAL_REQUEST, 0x3002); /* incompatible format */
        return;
    }
    if (r->cdb[1] & 15 || r->cdb[7] || r->cdb[6]) {
        scsi_invalid(r);
        return;
    }
    p = viv_scsi_answer(r, 4 + 2048, viv_ld_be16(r->cdb + 8));
    viv_st_be16(p, 2 + 2048);
    p[4] = 1;   /* DVD-ROM, version 1 */
    p[5] = 0xf; /* 12 cm, no maximum rate */
    p[6] = 1;   /* one layer of the read-only type */
    viv_st_be32(p + 8, 0x30000);                              /* first sector of the data */
    viv_st_be32(p + 12, (0x30000 + scsi_cd_sectors(cd) - 1) & 0xffffff);
}

void scsi_cd_mechanism_status(struct scsi_cd *cd, struct viv_scsi_req *r)
{
    uint8_t *p = viv_scsi_answer(r, 8, viv_ld_be16(r->cdb + 8));

    p[1] = cd->unit.front.tray_open ? 0x10 : 0; /* door open */
}

/* ---- mode pages ---- */

unsigned scsi_cd_mode_page(struct scsi_unit *u, uint8_t code, bool changeable, uint8_t *p)
{
    static const uint8_t recovery[] = {0x01, 10, 0, 3}; /* 7.2.3; retries */
    static const uint8_t capabilities[] = {
        0x2a, 18,       /* SFF-8020i; of old, and still what drivers ask for */
        0x3b, 0,        /* reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM */
        0x70, 0,        /* mode 2 forms, multiple sessions */
        0x29, 0,        /* tray, eject, lock; [6] bit 1: is locked */
        0x16, 0x00,     /* 32x in KiB/s */
        0, 2, 2, 0,     /* two volume levels, 512 KiB of buffer */
        0x16, 0x00,
    };
    unsigned len = code == 0x01 ? 12 : code == 0x2a ? 20 : 0;

    if (!len)
        return 0;
    memset(p, 0, len);
    if (code == 0x01)
        memcpy(p, recovery, sizeof(recovery));
    else
        memcpy(p, capabilities, sizeof(capabilities));
    if (changeable)
        memset(p + 2, 0, len - 2);
    else if (code == 0x2a && u->front.tray_locked)
        p[6] |= 2;
    return len;
}
