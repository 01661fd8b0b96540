/* The diskette controller from inside: registers and commands (fdc.c, commands.c), data (transfer.c), drives (drive.c). Device lock
 * held. */
#ifndef VIV_DEV_FLOPPY_FDC_H
#define VIV_DEV_FLOPPY_FDC_H

#include "dev/floppy/format.h"
#include "dev/storage/front.h"

#define FDC_UNITS  4 /* that commands can name */
#define FDC_DRIVES 2 /* that there can be */
#define FDC_BUF    (FLOPPY_MOST_SECTORS * FLOPPY_SECTOR)

enum { /* status registers 0-3 (82078, 5.0) */
       ST0_ABNORMAL = 0x40,
       ST0_INVALID = 0x80,
       ST0_CHANGED = 0xc0,
       ST0_SEEK_END = 0x20,
       ST0_EQUIPMENT = 0x10,
       ST0_NOT_READY = 0x08,
       ST1_END = 0x80,
       ST1_DATA_ERROR = 0x20,
       ST1_NO_DATA = 0x04,
       ST1_PROTECTED = 0x02,
       ST1_NO_MARK = 0x01,
       ST2_DELETED = 0x40,
       ST2_DATA_ERROR = 0x20,
       ST2_WRONG_CYLINDER = 0x10,
       ST2_SCAN_EQUAL = 0x08,
       ST2_SCAN_NONE = 0x04,
};

enum fdc_phase {
    FDC_COMMAND,  /* the guest writes a command's bytes */
    FDC_BUSY,     /* a request is in flight, or held, or waits for one that a reset has left */
    FDC_TRANSFER, /* by DMA, or by the FIFO */
    FDC_RESULT,   /* the guest reads */
    FDC_PHASES,
};

enum fdc_op { FDC_READ, FDC_READ_DELETED, FDC_READ_TRACK, FDC_WRITE, FDC_VERIFY, FDC_FORMAT, FDC_SCAN_EQUAL, FDC_SCAN_LOW, FDC_SCAN_HIGH,
              FDC_OPS };

struct fdc;

struct fdc_drive {
    struct viv_dev dev;
    struct viv_front front;
    struct fdc *fdc;
    unsigned unit;
    uint8_t type;
    const struct floppy_format *format; /* of the medium; NULL: there is none that can be read */
    uint8_t track;                      /* where the heads are */
    bool changed;                       /* the disk change line */
    char *fw_path;                      /* in the boot order; NULL: it is not */
};

struct fdc {
    struct viv_dev dev;
    struct viv_region *region[2];
    char *bus_name;
    uint16_t iobase;
    unsigned irq_line, dma;
    uint8_t forced[FDC_DRIVES], fallback; /* enum floppy_type */
    int bootindex[FDC_DRIVES];            /* -1: none */
    struct fdc_drive *drive[FDC_DRIVES];
    struct fdc *next;

    uint8_t dor, tdr, dsr;
    uint8_t rate; /* DSR's or CCR's, the last one written */
    bool irq;     /* the INT pin, before DOR lets it out */
    uint8_t sense_reset;          /* SENSE INTERRUPTs that still tell of a reset */
    uint8_t seek_done;            /* units, a bit each, that SENSE INTERRUPT has to tell of */
    uint8_t seek_st0[FDC_UNITS], pcn[FDC_UNITS];
    uint8_t specify[2];           /* step rate and head unload; head load and bit 0: no DMA */
    uint8_t config, precomp_track, perpendicular, powerdown, option, last_eot;
    uint8_t drive_spec[FDC_UNITS];
    bool lock;

    uint8_t phase;
    uint8_t cmd[17], cmd_len;
    uint8_t result[16], result_len, result_pos;

    /* The command that moves data: what it is, where it is (the sector that `buf` begins with), how many sectors `buf` is for. */
    uint8_t op, unit, head, c, h, r, n, eot, piece;
    uint8_t left;  /* sectors of VERIFY with a count; 0: until the end of the track */
    uint64_t ids;  /* FORMAT: sectors still to be filled, bit 0 is sector 1 */
    bool tc;       /* terminal count has come */
    bool one;      /* READ DELETED DATA of a sector that is not: the only one */
    uint8_t buf[FDC_BUF];
    uint32_t pos, len;

    struct viv_front_req req;
    struct iovec iov;
    bool in_flight, orphan; /* orphan: a reset came meanwhile; nobody waits for it */
};

/* ---- fdc.c ---- */
void fdc_set_irq(struct fdc *f, bool on);
/* Ends a command: `len` bytes of f->result are to be read. */
void fdc_result(struct fdc *f, unsigned len, bool irq);
struct fdc *fdc_find(const char *bus); /* NULL: the first; NULL: there is none */

/* ---- commands.c ---- */
/* How many bytes the command has whose first ones are in f->cmd; 0: not known yet. */
unsigned fdc_command_length(const struct fdc *f);
void fdc_command(struct fdc *f);

/* ---- transfer.c ---- */
void fdc_transfer_start(struct fdc *f, enum fdc_op op);
void fdc_read_id(struct fdc *f);
uint8_t fdc_fifo_read(struct fdc *f); /* of data, in FDC_TRANSFER without DMA */
void fdc_fifo_write(struct fdc *f, uint8_t v);
bool fdc_to_host(const struct fdc *f); /* is data going to the guest? */
void fdc_dma_ready(void *opaque);
void fdc_abandon(struct fdc *f); /* a reset: the command is no more */
void fdc_resend(void *opaque);   /* what was held; opaque is the drive */

/* ---- drive.c ---- */
/* A step of the heads: with a medium in the drive, its change line falls. */
void fdc_drive_seek(struct fdc_drive *d, uint8_t track);
bool fdc_drive_at(const struct fdc_drive *d, uint8_t cylinder);
extern const struct viv_state_table fdc_drive_state;

#endif
