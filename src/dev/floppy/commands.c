/* Commands of the diskette controller: their lengths, and those that move no data. (82078, 5.0 and 6.0.) */
#include "dev/floppy/fdc.h"

#include "base/log.h"

#include <glib.h>
#include <string.h>

#define VERSION 0x90 /* an enhanced controller: 82077 and up */
#define PART_ID 0x41 /* 82078, 64 pins */

enum { SPEC_DONE = 0x80, SPEC_NO_RESULT = 0x40 };

static struct fdc_drive *drive_of(const struct fdc *f)
{
    unsigned unit = f->cmd[1] & 3;

    return unit < FDC_DRIVES ? f->drive[unit] : NULL;
}

/* ---- heads ---- */

/* A seek is over at once; SENSE INTERRUPT tells. */
static void seek_done(struct fdc *f, uint8_t st0)
{
    unsigned unit = f->cmd[1] & 3;

    f->seek_st0[unit] = (uint8_t)(st0 | (f->cmd[1] & 7));
    f->seek_done |= 1 << unit;
    fdc_result(f, 0, f->irq);
}

static void move_heads(struct fdc *f, uint8_t track)
{
    struct fdc_drive *d = drive_of(f);

    f->pcn[f->cmd[1] & 3] = track;
    if (d)
        fdc_drive_seek(d, track);
    seek_done(f, ST0_SEEK_END);
}

static void seek(struct fdc *f)
{
    f->head = f->cmd[1] >> 2 & 1;
    move_heads(f, f->cmd[2]);
}

/* 80 steps at most; where there is no drive, nobody says "track 0". */
static void recalibrate(struct fdc *f)
{
    struct fdc_drive *d = drive_of(f);

    f->cmd[1] &= 3;
    f->pcn[f->cmd[1]] = 0;
    if (d)
        fdc_drive_seek(d, 0);
    seek_done(f, d ? ST0_SEEK_END : ST0_SEEK_END | ST0_ABNORMAL | ST0_EQUIPMENT);
}

static void relative_seek(struct fdc *f)
{
    unsigned unit = f->cmd[1] & 3;
    int to = f->cmd[0] & 0x40 ? f->pcn[unit] + f->cmd[2] : f->pcn[unit] - f->cmd[2];

    f->head = f->cmd[1] >> 2 & 1;
    move_heads(f, (uint8_t)CLAMP(to, 0, 255));
}

/* ---- status ---- */

static void sense_interrupt(struct fdc *f)
{
    unsigned unit = 0;

    f->irq = false;
    if (f->sense_reset) {
        unit = FDC_UNITS - f->sense_reset--;
        f->result[0] = (uint8_t)(ST0_CHANGED | unit);
    } else if (f->seek_done) {
        unit = (unsigned)g_bit_nth_lsf(f->seek_done, -1);
        f->seek_done &= ~(1 << unit);
        f->result[0] = f->seek_st0[unit];
    } else {
        f->result[0] = ST0_INVALID;
        fdc_result(f, 1, false);
        return;
    }
    f->result[1] = f->pcn[unit];
    fdc_result(f, 2, false);
}

static void sense_drive(struct fdc *f)
{
    const struct fdc_drive *d = drive_of(f);

    f->result[0] = 0x28 | (f->cmd[1] & 7);
    if (d && !d->track)
        f->result[0] |= 0x10;
    if (d && d->front.drive->blk && d->front.ro)
        f->result[0] |= 0x40;
    fdc_result(f, 1, false);
}

/* What DUMPREG and SAVE have in common, from the step rate on. */
static uint8_t *put_set_up(const struct fdc *f, uint8_t *p)
{
    memcpy(p, f->specify, 2);
    p[2] = f->last_eot;
    p[3] = (uint8_t)(f->lock << 7 | (f->perpendicular & 0x3f));
    p[4] = f->config;
    p[5] = f->precomp_track;
    return p + 6;
}

static const uint8_t *take_set_up(struct fdc *f, const uint8_t *p)
{
    memcpy(f->specify, p, 2);
    f->last_eot = p[2];
    f->lock = p[3] >> 7;
    f->perpendicular = p[3] & 0x3f;
    f->config = p[4] & 0x7f;
    f->precomp_track = p[5];
    return p + 6;
}

static void dumpreg(struct fdc *f)
{
    memcpy(f->result, f->pcn, 4);
    put_set_up(f, f->result + 4);
    fdc_result(f, 10, false);
}

static void save(struct fdc *f)
{
    uint8_t *p = f->result;

    memset(p, 0, 16);
    p[1] = f->option;
    memcpy(p + 2, f->pcn, 4);
    p = put_set_up(f, p + 6);
    *p = f->powerdown;
    fdc_result(f, 16, false);
}

static void restore(struct fdc *f)
{
    const uint8_t *p = f->cmd + 1;

    f->option = p[1];
    memcpy(f->pcn, p + 2, 4);
    p = take_set_up(f, p + 6);
    f->powerdown = *p;
    fdc_result(f, 0, f->irq);
}

static void one_byte(struct fdc *f, uint8_t v)
{
    f->result[0] = v;
    fdc_result(f, 1, false);
}

/* ---- set-up ---- */

static void specify(struct fdc *f)
{
    f->specify[0] = f->cmd[1];
    f->specify[1] = f->cmd[2];
    fdc_result(f, 0, f->irq);
}

static void configure(struct fdc *f)
{
    f->config = f->cmd[2] & 0x7f;
    f->precomp_track = f->cmd[3];
    fdc_result(f, 0, f->irq);
}

/* OW lets the drives' bits in; GAP and WGATE are always written (6.9). */
static void perpendicular(struct fdc *f)
{
    f->perpendicular = (uint8_t)((f->cmd[1] & 0x80 ? f->cmd[1] & 0x3c : f->perpendicular & 0x3c) | (f->cmd[1] & 3));
    fdc_result(f, 0, f->irq);
}

static void lock(struct fdc *f)
{
    f->lock = f->cmd[0] >> 7;
    one_byte(f, (uint8_t)(f->lock << 4));
}

/* A byte a drive, then one that says whether there is a result (6.12). */
static void drive_specification(struct fdc *f)
{
    unsigned last = f->cmd_len - 1u;

    for (unsigned i = 1; i < last; i++)
        f->drive_spec[f->cmd[i] >> 5 & 3] = f->cmd[i] & 0x1f;
    memcpy(f->result, f->drive_spec, 4);
    fdc_result(f, f->cmd[last] & SPEC_NO_RESULT ? 0 : 4, f->irq);
}

static void powerdown(struct fdc *f)
{
    f->powerdown = f->cmd[1];
    one_byte(f, f->powerdown);
}

static void option(struct fdc *f)
{
    f->option = f->cmd[1];
    fdc_result(f, 0, f->irq);
}

static void version(struct fdc *f)
{
    one_byte(f, VERSION);
}

static void part_id(struct fdc *f)
{
    one_byte(f, PART_ID);
}

/* ---- the table ---- */

#define DATA(fn, op)                                                                                \
    static void fn(struct fdc *f)                                                                  \
    {                                                                                              \
        fdc_transfer_start(f, op);                                                                 \
    }
DATA(read_data, FDC_READ)
DATA(read_deleted, FDC_READ_DELETED)
DATA(read_track, FDC_READ_TRACK)
DATA(write_data, FDC_WRITE)
DATA(verify, FDC_VERIFY)
DATA(format_track, FDC_FORMAT)
DATA(scan_equal, FDC_SCAN_EQUAL)
DATA(scan_low, FDC_SCAN_LOW)
DATA(scan_high, FDC_SCAN_HIGH)

static const struct {
    uint8_t mask, code, length; /* 0: DRIVE SPECIFICATION, which says itself when it ends */
    void (*fn)(struct fdc *f);
} commands[] = {
    {0x1f, 0x06, 9, read_data},    {0x1f, 0x0c, 9, read_deleted}, {0x3f, 0x05, 9, write_data},  {0x3f, 0x09, 9, write_data},
    {0x9f, 0x02, 9, read_track},   {0x1f, 0x16, 9, verify},       {0xbf, 0x0d, 6, format_track}, {0x1f, 0x11, 9, scan_equal},
    {0x1f, 0x19, 9, scan_low},     {0x1f, 0x1d, 9, scan_high},    {0xff, 0x07, 2, recalibrate}, {0xff, 0x08, 1, sense_interrupt},
    {0xff, 0x03, 3, specify},      {0xff, 0x04, 2, sense_drive},  {0xff, 0x0f, 3, seek},        {0xbf, 0x8f, 3, relative_seek},
    {0xff, 0x8e, 0, drive_specification}, {0xff, 0x13, 4, configure}, {0xff, 0x0e, 1, dumpreg}, {0xbf, 0x0a, 2, fdc_read_id},
    {0xff, 0x12, 2, perpendicular}, {0x7f, 0x14, 1, lock},        {0xff, 0x10, 1, version},     {0xff, 0x18, 1, part_id},
    {0xff, 0x17, 2, powerdown},    {0xff, 0x33, 2, option},       {0xff, 0x2e, 1, save},        {0xff, 0x4e, 17, restore},
};

static int find(uint8_t code)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if ((code & commands[i].mask) == commands[i].code)
            return (int)i;
    }
    return -1;
}

unsigned fdc_command_length(const struct fdc *f)
{
    int i = find(f->cmd[0]);
    unsigned n = i < 0 ? 1 : commands[i].length;

    if (n)
        return n;
    /* At most four drives and the end. */
    return f->cmd_len > 1 && (f->cmd[f->cmd_len - 1] & SPEC_DONE || f->cmd_len >= 6) ? f->cmd_len : 0;
}

void fdc_command(struct fdc *f)
{
    int i = find(f->cmd[0]);

    /* After a reset SENSE INTERRUPT comes first; a program that does not care begins with something else. */
    if (i < 0 || commands[i].fn != sense_interrupt) {
        f->sense_reset = 0;
        fdc_set_irq(f, false);
    }
    if (i < 0) {
        viv_guest_error("fdc", "there is no command %02xh", f->cmd[0]);
        one_byte(f, ST0_INVALID);
        return;
    }
    commands[i].fn(f);
}
