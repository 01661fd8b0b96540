/* An ATA disk from inside. */
#ifndef VIV_DEV_IDE_HD_H
#define VIV_DEV_IDE_HD_H

#include "base/checked.h"
#include "dev/ide/ide.h"
#include "dev/storage/front.h"

#define HD_SECTOR   512
#define HD_SECTORS_MOST ((1ull << 48) - 1)
#define HD_TAGS     32 /* of queued commands */
#define HD_NO_TAG   0x80
#define HD_TRIM_BLOCKS (IDE_BUF / HD_SECTOR) /* of one list of ranges, at most */
#define HD_MULTIPLE 16 /* sectors of one block of READ/WRITE MULTIPLE, at most */

enum hd_op { HD_NONE, HD_PIO_READ, HD_PIO_WRITE, HD_DMA_READ, HD_DMA_WRITE, HD_VERIFY, HD_FLUSH, HD_DATA, HD_TRIM, HD_OPS };

/* The queued command that failed first since the log was read; tag 80h: none. */
struct hd_failed {
    uint8_t tag, error;
    uint64_t lba;
};

struct hd_queued;

/* Could a command be about these bytes? The disk may have been larger when it came. */
static inline bool ide_hd_is_place(uint64_t at, uint64_t left)
{
    return viv_range_inside(at, left, HD_SECTORS_MOST * HD_SECTOR);
}

struct ide_hd {
    struct viv_dev dev;
    struct ide_unit unit;
    struct viv_front front;
    char model[41], revision[9];
    uint64_t wwn;
    uint16_t rotation; /* turns a minute; 0: not said, 1: none */
    uint64_t sectors;

    /* The command: where on the disk the next part is, bytes left of it, bytes of the part (in buf, or in flight). */
    uint8_t op;
    bool fua;
    uint64_t at, left;
    uint32_t part, block; /* block: of PIO, bytes between two interrupts */

    uint8_t multiple; /* sectors; 0: off */
    bool write_cache, smart;
    uint8_t mdma, udma; /* masks: the mode chosen, 0: none */
    uint16_t cylinders;
    uint8_t heads, track; /* of INITIALIZE DEVICE PARAMETERS */

    struct viv_front_req req;
    struct iovec iov;

    struct hd_queued *queue[HD_TAGS]; /* NULL: never used */
    uint32_t queued, held;            /* tags: of commands that run, of those that wait for the VM to go on */
    struct hd_failed failed;
};

/* ---- hd_io.c ---- */
extern const struct ide_unit_ops ide_hd_ops;
/* Starts a command that moves data: `count` sectors from `lba` on. */
void ide_hd_start(struct ide_hd *h, enum hd_op op, uint64_t lba, uint32_t count, uint32_t block);
void ide_hd_flush(struct ide_hd *h);
/* 512 bytes in buf that are no sector. */
void ide_hd_data(struct ide_hd *h);
void ide_hd_resend(void *opaque);
void ide_hd_finish(struct ide_hd *h, uint8_t status, uint8_t error);
/* `len` bytes from h->at on; writes are durable where the command or the disk says so. */
void ide_hd_submit(struct ide_hd *h, enum viv_blk_op op, uint64_t len, const struct iovec *iov, unsigned n);

void ide_hd_reset_ended(struct ide_hd *h);

/* ---- hd_trim.c ---- */
void ide_hd_trim(struct ide_hd *h);
void ide_hd_trim_dma(struct ide_hd *h);  /* the guest's list can be read */
void ide_hd_trim_next(struct ide_hd *h); /* a range is done */
void ide_hd_trim_again(struct ide_hd *h); /* or is to be done once more */

/* ---- hd_queue.c ---- */
void ide_hd_queue_start(struct ide_unit *u, unsigned tag, bool write, const struct ide_cursor *memory);
void ide_hd_queue_resend(struct ide_hd *h);
void ide_hd_queue_free(struct ide_hd *h);
bool ide_hd_read_log(struct ide_hd *h, uint8_t p[HD_SECTOR]);
void ide_hd_log_directory(uint8_t p[HD_SECTOR]); /* of no logs but itself */
void ide_hd_queue_save(struct viv_state_writer *w, const void *obj);
int ide_hd_queue_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err);
extern const struct viv_state_table ide_hd_failed_state;

/* ---- hd.c ---- */
uint64_t ide_hd_lba48(const struct ide_unit *u);
void ide_hd_command(struct ide_unit *u, uint8_t cmd);
/* After a reset that the guest made, and defaults at power on. */
uint16_t ide_hd_cylinders(const struct ide_hd *h); /* of the default geometry */
void ide_hd_defaults(struct ide_hd *h);

/* ---- hd_identify.c ---- */
void ide_hd_identify(struct ide_hd *h, uint8_t p[HD_SECTOR]);
void ide_hd_smart_data(uint8_t p[HD_SECTOR]);

#endif
