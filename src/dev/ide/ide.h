/* ATA from inside: a channel with its units, and what moves their data. A parallel channel has two units, registers, and a bus
 * master (ATA/ATAPI-7, SFF-8038i); a serial one has one unit, and a host that speaks for it (dev/ide/ahci*.c).
 *
 * A unit is in one phase at a time:
 *
 *     IDLE -> BUSY (a request is in flight, or held) -> PIO_IN / PIO_OUT (the guest moves buf) -> ... -> IDLE
 *          -> DMA (waits for the guest to start the bus master) -> BUSY -> ... -> IDLE
 *
 * All of a command that goes on is in saved members, so that it can be taken up in another process. Device lock held. */
#ifndef VIV_DEV_IDE_IDE_H
#define VIV_DEV_IDE_IDE_H

#include "base/byname.h"
#include "bus/dev.h"

#include <sys/uio.h>

#define IDE_BUF    65536 /* what PIO moves at once: 128 sectors */
#define IDE_PIECES 1024  /* of guest memory in one request */
#define IDE_MOST   (16u << 20)

enum { /* status */
    IDE_ERR = 0x01,
    IDE_DRQ = 0x08,
    IDE_DSC = 0x10,
    IDE_DF = 0x20,
    IDE_DRDY = 0x40,
    IDE_BSY = 0x80,
};
enum { IDE_ABRT = 0x04, IDE_IDNF = 0x10, IDE_UNC = 0x40 }; /* error */

enum ide_phase { IDE_IDLE, IDE_BUSY, IDE_PIO_IN, IDE_PIO_OUT, IDE_DMA, IDE_PHASES };

struct ide_channel;
struct ide_unit;
struct ide_cursor;

struct ide_unit_ops {
    bool packet; /* ATAPI: another signature */
    void (*command)(struct ide_unit *u, uint8_t cmd);
    void (*drained)(struct ide_unit *u); /* the guest has read buf up to len */
    void (*filled)(struct ide_unit *u);  /* the guest has written it */
    void (*dma)(struct ide_unit *u);     /* the bus master goes */
    /* Forgets the command. False: a request is in flight; ide_reset_done() comes when it has ended. */
    bool (*reset)(struct ide_unit *u);
    /* Starts READ or WRITE FPDMA QUEUED, by the registers. The tag is free; queued_done() comes once, now or later, unless there
     * is a reset. NULL: the unit has no queue. */
    void (*queue)(struct ide_unit *u, unsigned tag, bool write, const struct ide_cursor *memory);
} VIV_BY_NAME;

/* Registers that are written twice for 48 bits: [0] is the latest. */
struct ide_unit {
    struct viv_dev *dev;
    struct ide_channel *ch;
    const struct ide_unit_ops *ops;
    unsigned n;    /* 0, 1 */
    char *fw_path; /* in the boot order; NULL: not there */
    uint8_t feature[2], count[2], low[2], mid[2], high[2];
    uint8_t device, status, error;
    uint8_t phase;
    bool irq;       /* INTRQ is wanted */
    bool resetting; /* BSY until the request in flight has ended */
    uint32_t pos, len;
    uint8_t buf[IDE_BUF];
};
extern const struct viv_state_table ide_unit_state;

/* Where in the guest's table of regions we are. */
struct ide_cursor {
    uint64_t entry;   /* address of the next one */
    uint32_t entries; /* how many were read */
    uint32_t total;   /* of a serial host's table: how many there are */
    uint64_t addr;    /* of what is left of the present one */
    uint32_t left;
    bool last; /* the present one is */
};
bool ide_cursor_ok(const struct ide_cursor *c); /* as loaded */

/* A walk of the guest's memory along such a table. */
struct ide_dma {
    struct ide_channel *ch;
    struct ide_cursor cur;        /* at the start of the present request */
    struct ide_cursor next;       /* behind it */
    struct iovec iov[IDE_PIECES]; /* mapped */
    unsigned pieces;
    bool to_memory;
    uint32_t moved; /* bytes, since the command began */
};
extern const struct viv_state_table ide_dma_state;

/* Who speaks for a serial channel's unit. */
struct ide_host_ops {
    /* Reads the table's entry at c->entry: sets addr, left, last. Negative: no memory. */
    int (*entry)(struct ide_channel *ch, struct ide_cursor *c);
    /* The unit is in a PIO phase: its buffer is to be moved, and its drained() or filled() called. */
    void (*pio)(struct ide_channel *ch);
    void (*ended)(struct ide_channel *ch); /* the command, with the unit's status and error */
    /* A reset is through; not `ready`: the guest still asks for one. */
    void (*reset_done)(struct ide_channel *ch, bool ready);
    void (*queued_done)(struct ide_channel *ch, unsigned tag, uint8_t error); /* 0: well */
} VIV_BY_NAME;

struct ide_channel {
    struct viv_board *board;
    char name[64];
    char *fw_path; /* as firmware names it; owned by the controller */
    struct ide_unit *unit[2];
    unsigned units;  /* how many there can be */
    uint8_t select;  /* 0, 1 */
    uint8_t control; /* device control register */
    const struct ide_host_ops *host; /* NULL: parallel */
    void (*set_irq)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;
    unsigned serial; /* units of the machine's channels before this one */
    bool line;   /* INTRQ as the host sees it */
    bool master; /* the function may master the bus */

    uint8_t bm_command, bm_status; /* SFF-8038i 3.1, 3.2 */
    uint32_t bm_table;
    struct ide_dma dma;
    struct ide_channel *link;
};
extern const struct viv_state_table ide_channel_state;

/* ---- channel.c ---- */
/* A parallel channel "ide.N"; a serial one under any name. */
void ide_channel_init(struct ide_channel *ch, struct viv_board *board, unsigned n, void (*set_irq)(void *, unsigned, bool),
                      void *opaque);
void ide_channel_init_serial(struct ide_channel *ch, struct viv_board *board, const char *name, unsigned n,
                             const struct ide_host_ops *host, void *opaque);
/* The first N for which there is no "ide.N". */
unsigned ide_channel_free_number(void);
void ide_channel_fini(struct ide_channel *ch);
void ide_channel_reset(struct ide_channel *ch);
/* The serial number of a unit that was given none: QEMU's, of which guests made names. */
void ide_unit_name(const struct ide_unit *u, char *serial, size_t size);
uint32_t ide_read(struct ide_channel *ch, unsigned reg, unsigned size); /* 1F0h + reg */
void ide_write(struct ide_channel *ch, unsigned reg, uint32_t v, unsigned size);
uint8_t ide_alternate_status(struct ide_channel *ch);
void ide_control_write(struct ide_channel *ch, uint8_t v);
void ide_command(struct ide_channel *ch, uint8_t cmd);
void ide_unit_reset(struct ide_unit *u);
int ide_post_load(struct ide_channel *ch, struct viv_err *err);

#define IDE_PROPS                                                                                            \
    {.name = "bus", .type = VIV_OPT_STR, .help = "ide.0 and so on (default: the first with room)"},          \
    {                                                                                                        \
        .name = "unit", .type = VIV_OPT_INT, .min = 0, .max = 1, .help = "0: master, 1: slave (default: the first free one)" \
    }
/* Plugs by the properties above. */
int ide_unit_init(struct ide_unit *u, struct viv_dev *dev, const struct ide_unit_ops *ops, struct viv_opts *opts,
                  struct viv_err *err);
void ide_unit_fini(struct ide_unit *u);
/* bootindex=, -1: none. */
int ide_unit_boot(struct ide_unit *u, int index, struct viv_err *err);
/* Power on; and when a request that a reset waited for has ended. */
void ide_unit_power_on(struct ide_unit *u);
void ide_reset_done(struct ide_unit *u);
void ide_signature(struct ide_unit *u);
/* The command has ended: status (DRDY and DSC come by themselves on ATA), and an interrupt. */
void ide_end(struct ide_unit *u, uint8_t status, uint8_t error);
void ide_abort(struct ide_unit *u);
void ide_busy(struct ide_unit *u);
/* len bytes of buf for the guest, or room for them. */
void ide_pio(struct ide_unit *u, enum ide_phase phase, uint32_t from, uint32_t to, bool irq);
/* Waits for the bus master. */
void ide_dma_wait(struct ide_unit *u);

/* ATA's strings: the bytes of each word are swapped, padded with spaces. */
void ide_put_string(uint8_t *p, const char *s, size_t len);

/* ---- bmdma.c ---- */
uint32_t ide_bm_read(struct ide_channel *ch, unsigned reg);
void ide_bm_write(struct ide_channel *ch, unsigned reg, uint8_t v);
/* Something changed that DMA waits for. */
void ide_bm_kick(struct ide_channel *ch);
void ide_dma_init(struct ide_dma *m, struct ide_channel *ch);
/* Maps what comes next of the guest's memory into m->iov: at most `want` bytes, 0 when the table has ended, negative when what
 * it names is no memory. */
int64_t ide_dma_map(struct ide_dma *m, uint64_t want, bool to_memory);
/* `go_on`: the data has moved; else the same place is mapped again. */
void ide_dma_unmap(struct ide_dma *m, bool go_on);
void ide_bm_failed(struct ide_channel *ch);
/* The unit has had all it wanted. */
void ide_bm_done(struct ide_channel *ch);

#endif
