/* Diskette controller 82078 at 3F0h-3F5h and 3F7h, ISA line 6, DMA channel 2. (Intel 290468, 82078 64 pin; 82077AA for SCAN.)
 *
 * Seeks take no time, and data takes as long as the image does: there are no index pulses, motors need not turn, head load and gap
 * lengths mean nothing. A drive without a diskette answers "missing address mark" at once, where a real one would wait for ever.
 * Sectors have 512 bytes and are never deleted ones or bad. Left out: FORMAT AND WRITE, FM recording, tape. */
#include "dev/floppy/fdc.h"

#include "base/log.h"
#include "bus/isa.h"
#include "dev/dma/i8237.h"
#include "dev/floppy/floppy.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { DOR_UNIT = 0x03, DOR_RUN = 0x04, DOR_GATE = 0x08, DOR_MOTOR_0 = 0x10 };
enum { DSR_RESET = 0x80, DSR_RATE = 0x03 };
enum { MSR_RQM = 0x80, MSR_TO_HOST = 0x40, MSR_NO_DMA = 0x20, MSR_BUSY = 0x10 };
enum { R_SRA, R_SRB, R_DOR, R_TDR, R_MSR, R_FIFO, R_DIR };

static struct fdc *controllers; /* in creation order */

/* ---- interrupts ---- */

static bool int_pin(const struct fdc *f)
{
    return (f->irq || f->seek_done) && f->dor & DOR_RUN;
}

static void update_irq(struct fdc *f)
{
    viv_isa_set_irq(&f->dev, f->irq_line, int_pin(f) && f->dor & DOR_GATE);
}

void fdc_set_irq(struct fdc *f, bool on)
{
    f->irq = on;
    update_irq(f);
}

/* ---- phases ---- */

static void next_command(struct fdc *f)
{
    f->phase = FDC_COMMAND;
    f->cmd_len = 0;
}

void fdc_result(struct fdc *f, unsigned len, bool irq)
{
    f->cmd_len = 0;
    f->result_pos = 0;
    f->result_len = (uint8_t)len;
    f->phase = len ? FDC_RESULT : FDC_COMMAND;
    fdc_set_irq(f, irq);
}

static uint8_t result_read(struct fdc *f)
{
    uint8_t v = f->result[f->result_pos++];

    if (f->result_pos == f->result_len)
        next_command(f);
    fdc_set_irq(f, false);
    return v;
}

static void command_write(struct fdc *f, uint8_t v)
{
    unsigned need;

    f->cmd[f->cmd_len++] = v;
    need = fdc_command_length(f);
    if (need && f->cmd_len >= need)
        fdc_command(f);
}

/* ---- resets ---- */

/* By DOR or DSR (82078, 4.0): LOCK keeps the FIFO's set-up; what SPECIFY said stays. */
static void soft_reset(struct fdc *f)
{
    fdc_abandon(f);
    next_command(f);
    f->seek_done = 0;
    f->perpendicular &= 0xfc;
    if (!f->lock) {
        f->config = 0x20; /* FIFO off, as an 8272A's */
        f->precomp_track = 0;
    }
    f->irq = false;
    f->sense_reset = 0;
}

/* The drives are polled: all have become ready. */
static void reset_over(struct fdc *f)
{
    f->sense_reset = FDC_UNITS;
    fdc_set_irq(f, true);
}

static void dor_write(struct fdc *f, uint8_t v)
{
    bool ran = f->dor & DOR_RUN;

    if (!(v & DOR_RUN) && ran)
        soft_reset(f);
    f->dor = v;
    if (v & DOR_RUN && !ran)
        reset_over(f);
    update_irq(f);
}

static void dsr_write(struct fdc *f, uint8_t v)
{
    f->dsr = v & 0x7f;
    f->rate = v & DSR_RATE;
    if (v & DSR_RESET && f->dor & DOR_RUN) { /* clears itself */
        soft_reset(f);
        reset_over(f);
    }
}

/* ---- registers ---- */

static const struct fdc_drive *selected(const struct fdc *f)
{
    return (f->dor & DOR_UNIT) < FDC_DRIVES ? f->drive[f->dor & DOR_UNIT] : NULL;
}

static uint8_t sra_read(const struct fdc *f)
{
    const struct fdc_drive *d = selected(f);
    uint8_t v = (uint8_t)(int_pin(f) ? 0x80 : 0) | (f->drive[1] ? 0 : 0x40);

    if (!d || d->track)
        v |= 0x10;
    if (!d || !d->front.drive->blk || !d->front.ro)
        v |= 0x02;
    return v | 0x04 | (f->head ? 0x08 : 0);
}

static uint8_t srb_read(const struct fdc *f)
{
    return (uint8_t)(0xc0 | (f->dor & 1) << 5 | (f->dor >> 4 & 3));
}

static uint8_t msr_read(const struct fdc *f)
{
    if (!(f->dor & DOR_RUN))
        return 0;
    switch (f->phase) {
    case FDC_COMMAND:
        return MSR_RQM | (f->cmd_len ? MSR_BUSY : 0);
    case FDC_RESULT:
        return MSR_RQM | MSR_TO_HOST | MSR_BUSY;
    case FDC_TRANSFER:
        if (f->specify[1] & 1)
            return (uint8_t)(MSR_RQM | MSR_NO_DMA | MSR_BUSY | (fdc_to_host(f) ? MSR_TO_HOST : 0));
        return MSR_BUSY;
    default:
        return (uint8_t)(MSR_BUSY | (f->specify[1] & 1 ? MSR_NO_DMA : 0));
    }
}

static uint8_t fifo_read(struct fdc *f)
{
    if (f->phase == FDC_RESULT)
        return result_read(f);
    if (f->phase == FDC_TRANSFER && f->specify[1] & 1 && fdc_to_host(f))
        return fdc_fifo_read(f);
    viv_guest_error("fdc", "the data register is read, and there is nothing in it");
    return 0;
}

static void fifo_write(struct fdc *f, uint8_t v)
{
    if (!(f->dor & DOR_RUN))
        return;
    if (f->phase == FDC_COMMAND)
        command_write(f, v);
    else if (f->phase == FDC_TRANSFER && f->specify[1] & 1 && !fdc_to_host(f))
        fdc_fifo_write(f, v);
    else
        viv_guest_error("fdc", "the data register is written, and it does not wait for anything");
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size)
{
    struct fdc *f = opaque;

    switch (off) {
    case R_SRA:
        return sra_read(f);
    case R_SRB:
        return srb_read(f);
    case R_DOR:
        return f->dor;
    case R_TDR:
        return f->tdr;
    case R_MSR:
        return msr_read(f);
    default:
        return fifo_read(f);
    }
}

static void low_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct fdc *f = opaque;

    switch (off) {
    case R_DOR:
        dor_write(f, (uint8_t)v);
        break;
    case R_TDR:
        f->tdr = v & 3;
        break;
    case R_MSR:
        dsr_write(f, (uint8_t)v);
        break;
    case R_FIFO:
        fifo_write(f, (uint8_t)v);
        break;
    }
}

static uint64_t dir_read(void *opaque, uint64_t off, unsigned size)
{
    const struct fdc_drive *d = selected(opaque);

    return d && d->changed ? 0x80 : 0;
}

static void ccr_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    ((struct fdc *)opaque)->rate = v & DSR_RATE;
}

/* ---- controllers ---- */

struct fdc *fdc_find(const char *bus)
{
    struct fdc *f = controllers;

    while (f && bus && strcmp(f->bus_name, bus))
        f = f->next;
    return f;
}

struct viv_floppy_info viv_floppy_info(void)
{
    struct viv_floppy_info info = {0};
    const struct fdc *f = controllers;

    if (!f)
        return info;
    info = (struct viv_floppy_info){.present = true, .iobase = f->iobase, .irq = f->irq_line, .dma = f->dma};
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        const struct floppy_format *usual;
        bool exact;

        if (!f->drive[i])
            continue;
        info.type[i] = f->drive[i]->type;
        usual = floppy_format_find(info.type[i], 0, &exact);
        if (!usual)
            continue;
        info.tracks[i] = usual->tracks;
        info.sectors[i] = usual->sectors;
        info.heads[i] = usual->heads;
    }
    return info;
}

static void list_add(struct fdc *f)
{
    struct fdc **end = &controllers;
    unsigned n = 0;

    for (; *end; end = &(*end)->next)
        n++;
    *end = f;
    f->bus_name = f->dev.id ? g_strdup_printf("%s.0", f->dev.id) : g_strdup_printf("floppy-bus.%u", n);
}

static void list_remove(struct fdc *f)
{
    struct fdc **p = &controllers;

    while (*p != f)
        p = &(*p)->next;
    *p = f->next;
    g_clear_pointer(&f->bus_name, g_free);
}

static int place(struct fdc *f, struct viv_opts *opts, struct viv_err *err)
{
    const char *what = viv_opts_what(opts);
    struct viv_dev *dma = f->dev.board->isa_dma;
    struct viv_space_range r;
    int rc;

    f->iobase = (uint16_t)viv_opts_int(opts, "iobase");
    f->irq_line = (unsigned)viv_opts_int(opts, "irq");
    f->dma = (unsigned)viv_opts_int(opts, "dma");
    if (f->iobase & 7)
        return viv_fail(err, EINVAL, "%s: iobase=0x%x is not a multiple of 8", what, f->iobase);
    if (viv_space_find(f->dev.board->io, f->iobase + 2u, &r) || viv_space_find(f->dev.board->io, f->iobase + 7u, &r))
        return viv_fail(err, EBUSY, "%s: something else is at port 0x%x: a diskette controller that the machine has already?", what,
                        f->iobase);
    if (!dma)
        return viv_fail(err, ENOTSUP, "%s: this machine has no ISA DMA, which diskettes need; machines pc and q35 have", what);
    rc = viv_i8237_claim(dma, f->dma, fdc_dma_ready, f);
    if (rc < 0)
        return viv_fail(err, -rc, "%s: DMA channel %u cannot be had; 2 is the usual one", what, f->dma);
    return 0;
}

static int fdc_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops low = {low_read, low_write, 1, 1, false, false};
    static const struct viv_region_ops high = {dir_read, ccr_write, 1, 1, false, false};
    static const char *const forced[FDC_DRIVES] = {"fdtypeA", "fdtypeB"}, *const boot[FDC_DRIVES] = {"bootindexA", "bootindexB"};
    struct fdc *f = (struct fdc *)d;
    int rc = place(f, opts, err);

    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        f->forced[i] = (uint8_t)floppy_type_parse(viv_opts_str(opts, forced[i]));
        f->bootindex[i] = viv_opts_given(opts, boot[i]) ? (int)viv_opts_int(opts, boot[i]) : -1;
    }
    f->fallback = (uint8_t)floppy_type_parse(viv_opts_str(opts, "fallback"));
    if (f->fallback == FLOPPY_AUTO)
        f->fallback = FLOPPY_288;
    f->region[0] = viv_isa_add_ports(d, "fdc", f->iobase, 6, &low);
    f->region[1] = viv_isa_add_ports(d, "fdc-dir", f->iobase + 7, 1, &high);
    list_add(f);
    return 0;
}

static void fdc_unrealize(struct viv_dev *d)
{
    struct fdc *f = (struct fdc *)d;

    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (f->drive[i])
            f->drive[i]->fdc = NULL;
    }
    viv_i8237_release(d->board->isa_dma, f->dma);
    viv_region_free(f->region[0]);
    viv_region_free(f->region[1]);
    list_remove(f);
}

/* The RESET pin: what LOCK keeps is gone too. */
static void fdc_reset(struct viv_dev *d)
{
    struct fdc *f = (struct fdc *)d;

    f->lock = false;
    soft_reset(f);
    f->dor = f->tdr = 0;
    f->dsr = f->rate = FLOPPY_250K;
    f->perpendicular = f->powerdown = f->option = f->last_eot = 0;
    f->specify[0] = f->specify[1] = 0;
    memset(f->pcn, 0, sizeof(f->pcn));
    memset(f->drive_spec, 0, sizeof(f->drive_spec));
    f->head = 0;
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (f->drive[i])
            viv_front_wait_idle(&f->drive[i]->front);
    }
    update_irq(f);
}

/* ---- state ---- */

static int fdc_post_load(void *obj, int version, struct viv_err *err)
{
    struct fdc *f = obj;
    bool data = f->phase == FDC_BUSY || f->phase == FDC_TRANSFER;
    bool ok = f->phase < FDC_PHASES && f->cmd_len < sizeof(f->cmd) && f->rate <= FLOPPY_1M && f->unit < FDC_UNITS &&
              f->sense_reset <= FDC_UNITS && f->seek_done < 1 << FDC_UNITS;

    if (ok && f->phase == FDC_COMMAND && f->cmd_len) { /* a command that is not complete: 0 is a length not known yet */
        unsigned need = fdc_command_length(f);

        ok = !need || f->cmd_len < need;
    }
    if (f->phase == FDC_RESULT)
        ok &= f->result_len <= sizeof(f->result) && f->result_pos < f->result_len;
    if (data)
        ok &= f->op < FDC_OPS && f->unit < FDC_DRIVES && f->drive[f->unit] && f->len <= FDC_BUF && f->pos <= f->len && f->r &&
              f->piece <= FLOPPY_MOST_SECTORS;
    if (f->phase == FDC_TRANSFER)
        ok &= f->pos < f->len && f->op != FDC_VERIFY &&
              (f->op < FDC_SCAN_EQUAL || (f->pos >= FLOPPY_SECTOR && f->len == 2 * FLOPPY_SECTOR));
    return ok ? 0 : viv_fail(err, EINVAL, "a diskette controller cannot be in such a state (phase %u, command %u)", f->phase, f->op);
}

static const struct viv_state_table fdc_state = {
    .name = "isa-fdc",
    .ctype = "fdc",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(fdc, dev),
            VIV_F_CONFIG(fdc, region),
            VIV_F_CONFIG(fdc, bus_name),
            VIV_F_CONFIG(fdc, iobase),
            VIV_F_CONFIG(fdc, irq_line),
            VIV_F_CONFIG(fdc, dma),
            VIV_F_CONFIG(fdc, forced),
            VIV_F_CONFIG(fdc, fallback),
            VIV_F_CONFIG(fdc, bootindex),
            VIV_F_CONFIG(fdc, drive),
            VIV_F_CONFIG(fdc, next),
            VIV_F_INT(fdc, dor),
            VIV_F_INT(fdc, tdr),
            VIV_F_INT(fdc, dsr),
            VIV_F_INT(fdc, rate),
            VIV_F_INT(fdc, irq),
            VIV_F_INT(fdc, sense_reset),
            VIV_F_INT(fdc, seek_done),
            VIV_F_INTS(fdc, seek_st0),
            VIV_F_INTS(fdc, pcn),
            VIV_F_INTS(fdc, specify),
            VIV_F_INT(fdc, config),
            VIV_F_INT(fdc, precomp_track),
            VIV_F_INT(fdc, perpendicular),
            VIV_F_INT(fdc, powerdown),
            VIV_F_INT(fdc, option),
            VIV_F_INT(fdc, last_eot),
            VIV_F_INTS(fdc, drive_spec),
            VIV_F_INT(fdc, lock),
            VIV_F_INT(fdc, phase),
            VIV_F_INTS(fdc, cmd),
            VIV_F_INT(fdc, cmd_len),
            VIV_F_INTS(fdc, result),
            VIV_F_INT(fdc, result_len),
            VIV_F_INT(fdc, result_pos),
            VIV_F_INT(fdc, op),
            VIV_F_INT(fdc, unit),
            VIV_F_INT(fdc, head),
            VIV_F_INT(fdc, c),
            VIV_F_INT(fdc, h),
            VIV_F_INT(fdc, r),
            VIV_F_INT(fdc, n),
            VIV_F_INT(fdc, eot),
            VIV_F_INT(fdc, piece),
            VIV_F_INT(fdc, left),
            VIV_F_INT(fdc, ids),
            VIV_F_INT(fdc, tc),
            VIV_F_INT(fdc, one),
            VIV_F_BYTES(fdc, buf),
            VIV_F_INT(fdc, pos),
            VIV_F_INT(fdc, len),
            VIV_F_DERIVED(fdc, req, "nothing is in flight when it is saved"),
            VIV_F_DERIVED(fdc, iov, "nothing is in flight when it is saved"),
            VIV_F_DERIVED(fdc, in_flight, "nothing is in flight when it is saved"),
            VIV_F_DERIVED(fdc, orphan, "nothing is in flight when it is saved"),
            VIV_F_END,
        },
    .post_load = fdc_post_load,
};

static const struct viv_opt_def props[] = {
    {.name = "iobase", .type = VIV_OPT_INT, .def = "0x3f0", .min = 0x100, .max = 0xfff8, .help = "first port"},
    {.name = "irq", .type = VIV_OPT_INT, .def = "6", .min = 1, .max = 15, .help = "ISA interrupt line"},
    {.name = "dma", .type = VIV_OPT_INT, .def = "2", .min = 0, .max = 3, .help = "ISA DMA channel"},
    {.name = "fdtypeA", .type = VIV_OPT_ENUM, .def = "auto", .values = floppy_type_names, .help = "drive A: (auto: by its image)"},
    {.name = "fdtypeB", .type = VIV_OPT_ENUM, .def = "auto", .values = floppy_type_names, .help = "drive B:"},
    {.name = "fallback", .type = VIV_OPT_ENUM, .def = "288", .values = floppy_type_names, .help = "what auto is without an image"},
    {.name = "bootindexA", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place of drive A: in the boot order"},
    {.name = "bootindexB", .type = VIV_OPT_INT, .min = 0, .max = INT32_MAX, .help = "place of drive B:"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_fdc = {
    .name = "isa-fdc",
    .desc = "diskette controller (82078)",
    .bus = VIV_BUS_ISA,
    .size = sizeof(struct fdc),
    .props = props,
    .state = &fdc_state,
    .realize = fdc_realize,
    .reset = fdc_reset,
    .unrealize = fdc_unrealize,
};
