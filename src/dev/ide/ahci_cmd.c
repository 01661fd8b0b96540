/* Commands of an AHCI port (AHCI 1.3.1, 4, 5; FISes: SATA 3.1, 10.3). Command header, FIS, packet and each entry of the PRD table are
 * read once; the copies are checked and used. One command at a time, or queued ones: a command of the other kind waits.
 *
 * Left out: DMA Setup FISes (the received-FIS area keeps what it had), port multipliers, FIS-based switching. */
#include "dev/ide/ahci.h"

#include "base/bytes.h"
#include "base/log.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum {
    FIS_H2D = 0x27,
    FIS_D2H = 0x34,
    FIS_BITS = 0xa1,
    FIS_PIO = 0x5f,
    FIS_COMMAND = 0x80,
    FIS_IRQ = 0x40,
    FIS_TO_HOST = 0x20,
    FIS_DWORDS = 5,

    AT_PIO = 0x20, /* in the received-FIS area (4.2.1) */
    AT_D2H = 0x40,
    AT_BITS = 0x58,

    TABLE_PACKET = 0x40, /* in the command table (4.2.3) */
    TABLE_PRD = 0x80,
    HEADER_PACKET = 1 << 5,

    READ_QUEUED = 0x60,
    WRITE_QUEUED = 0x61,
    DEVICE_RESET = 0x08,
    DIAGNOSTIC = 0x90,
};

static struct ahci_port *port_of(struct ide_channel *ch)
{
    return ch->opaque;
}

static struct viv_space *mem_of(const struct ahci_port *p)
{
    return p->hba->pci.dev.board->mem;
}

/* Nothing more is done until software clears ST. */
static void fatal(struct ahci_port *p, uint32_t irq, const char *what)
{
    viv_guest_error(p->ch.name, "%s", what);
    p->halted = true;
    ahci_port_raise(p, irq);
}

/* ---- FISes to the guest ---- */

static void send(struct ahci_port *p, unsigned at, const uint8_t *fis, unsigned len, uint32_t irq)
{
    if (!(p->cmd & PORT_FRE))
        return;
    if (viv_dma_write(mem_of(p), p->fb + at, fis, len) < 0)
        fatal(p, PORT_IRQ_BUS, "received FISes: no memory");
    else if (irq)
        ahci_port_raise(p, irq);
}

static void put_registers(const struct ide_unit *u, uint8_t *f)
{
    f[2] = u->status;
    f[3] = u->error;
    f[4] = u->low[0];
    f[5] = u->mid[0];
    f[6] = u->high[0];
    f[7] = u->device;
    f[8] = u->low[1];
    f[9] = u->mid[1];
    f[10] = u->high[1];
    f[12] = u->count[0];
    f[13] = u->count[1];
}

static void take_task_file(struct ahci_port *p)
{
    const struct ide_unit *u = p->ch.unit[0];

    p->tfd = u->status | (uint32_t)u->error << 8;
}

void ahci_send_registers(struct ahci_port *p, bool irq)
{
    uint8_t f[20] = {FIS_D2H, irq ? FIS_IRQ : 0};

    take_task_file(p);
    put_registers(p->ch.unit[0], f);
    send(p, AT_D2H, f, sizeof(f), irq ? PORT_IRQ_D2H : 0);
}

/* Before each block of PIO: `count` bytes, and the status after them. */
static void send_pio_setup(struct ahci_port *p, bool to_host, uint32_t count)
{
    const struct ide_unit *u = p->ch.unit[0];
    uint8_t f[20] = {FIS_PIO, FIS_IRQ | (to_host ? FIS_TO_HOST : 0)};

    put_registers(u, f);
    f[15] = u->status & ~IDE_DRQ;
    viv_st_le16(f + 16, (uint16_t)count);
    send(p, AT_PIO, f, sizeof(f), PORT_IRQ_PIO);
}

/* ---- the end of a command ---- */

static void put_count(struct ahci_port *p)
{
    uint8_t n[4];

    viv_st_le32(n, p->ch.dma.moved);
    if (viv_dma_write(mem_of(p), p->clb + 32u * p->slot + 4, n, sizeof(n)) < 0)
        fatal(p, PORT_IRQ_BUS, "command header: no memory");
}

/* After an error the bit in PxCI stays, and software clears ST (6.2.2.1). `fis`: PIO that went to the host ends without one. */
static void complete(struct ahci_port *p, bool fis)
{
    uint8_t slot = p->slot;

    if (slot == AHCI_SLOTS)
        return;
    put_count(p);
    p->slot = AHCI_SLOTS;
    p->atapi = false;
    take_task_file(p);
    if (p->tfd & IDE_ERR)
        p->halted = true;
    else
        p->ci &= ~(1u << slot);
    if (fis)
        ahci_send_registers(p, true);
    if (p->tfd & IDE_ERR)
        ahci_port_raise(p, PORT_IRQ_TASK);
    ahci_issue(p);
}

static void ended(struct ide_channel *ch)
{
    complete(port_of(ch), true);
}

/* SATA 3.1, 10.3.6: which tags are done; an error stops the rest. */
static void queued_done(struct ide_channel *ch, unsigned tag, uint8_t error)
{
    struct ahci_port *p = port_of(ch);
    uint8_t status = IDE_DRDY | (error ? IDE_ERR : 0), f[8] = {FIS_BITS, FIS_IRQ, status, error};

    p->queued &= ~(1u << tag);
    if (p->halted)
        return;
    p->tfd = (p->tfd & IDE_BSY) | status | (uint32_t)error << 8;
    if (!error) {
        viv_st_le32(f + 4, 1u << tag);
        p->sact &= ~(1u << tag);
    }
    if (error)
        p->halted = true;
    send(p, AT_BITS, f, sizeof(f), PORT_IRQ_SDB | (error ? PORT_IRQ_TASK : 0));
    ahci_issue(p);
}

static void reset_done(struct ide_channel *ch, bool ready)
{
    struct ahci_port *p = port_of(ch);
    enum ahci_reset why = p->reset;

    p->reset = AHCI_RESET_NONE;
    p->queued = 0;
    if (why == AHCI_RESET_COMMAND && p->slot != AHCI_SLOTS) {
        complete(p, true);
    } else {
        p->slot = AHCI_SLOTS;
        if (ready && why != AHCI_RESET_STOP) {
            ahci_port_signature(p);
            ahci_send_registers(p, why == AHCI_RESET_COMMAND);
        }
    }
    ahci_port_quiet(p->hba);
    ahci_issue(p);
}

/* ---- PIO: the HBA moves the unit's buffer along the PRD table ---- */

/* Moves what there is room for; what goes beyond the table is dropped, and told (5.4.1). */
static uint32_t move_buffer(struct ahci_port *p, uint8_t *buf, uint32_t len, bool to_memory)
{
    struct ide_dma *m = &p->ch.dma;
    uint32_t done = 0;

    while (done < len) {
        int64_t n = ide_dma_map(m, len - done, to_memory);

        if (n < 0)
            fatal(p, PORT_IRQ_BUS, "PIO: no memory");
        if (n <= 0)
            break;
        for (unsigned i = 0; i < m->pieces; i++) {
            size_t part = m->iov[i].iov_len;

            memcpy(to_memory ? m->iov[i].iov_base : buf + done, to_memory ? buf + done : m->iov[i].iov_base, part);
            done += (uint32_t)part;
        }
        ide_dma_unmap(m, true);
    }
    return done;
}

/* One block. */
static void move_block(struct ahci_port *p, struct ide_unit *u)
{
    bool in = u->phase == IDE_PIO_IN;
    uint32_t len = u->len - u->pos;

    if (p->atapi) {
        memcpy(u->buf + u->pos, p->packet, MIN(len, sizeof(p->packet)));
        p->atapi = false;
    } else {
        send_pio_setup(p, in, len);
        if (move_buffer(p, u->buf + u->pos, len, in) < len) {
            ahci_port_raise(p, PORT_IRQ_OVERFLOW);
            if (!in) {
                u->ops->reset(u); /* the unit forgets the command: nothing is in flight in this phase */
                ide_abort(u);
                return;
            }
        }
    }
    u->pos = u->len;
    if (in)
        u->ops->drained(u);
    else
        u->ops->filled(u);
}

/* Units go from one block to the next within drained(): the loop is here, so that the stack stays flat. */
static void pio(struct ide_channel *ch)
{
    struct ahci_port *p = port_of(ch);
    struct ide_unit *u = ch->unit[0];

    if (p->moving)
        return;
    p->moving = true;
    while ((u->phase == IDE_PIO_IN || u->phase == IDE_PIO_OUT) && p->slot != AHCI_SLOTS && !p->halted)
        move_block(p, u);
    p->moving = false;
    if (u->phase == IDE_IDLE)
        complete(p, false);
}

/* ---- the PRD table (4.2.3.3) ---- */

static int entry(struct ide_channel *ch, struct ide_cursor *c)
{
    uint8_t e[16];

    if (c->entries >= c->total || viv_dma_read(ch->board->mem, c->entry, e, sizeof(e)) < 0)
        return -EFAULT;
    c->addr = viv_ld_le64(e) & ~1ull;
    c->left = (viv_ld_le32(e + 12) & 0x3fffff) + 1;
    c->left = (c->left + 1) & ~1u; /* bit 0 of the count is always set */
    c->last = c->entries + 1 >= c->total;
    c->entry += sizeof(e);
    return 0;
}

const struct ide_host_ops ahci_host_ops = {
    .entry = entry,
    .pio = pio,
    .ended = ended,
    .reset_done = reset_done,
    .queued_done = queued_done,
};

/* ---- issuing ---- */

static void load_registers(struct ide_unit *u, const uint8_t *f)
{
    u->feature[0] = f[3];
    u->low[0] = f[4];
    u->mid[0] = f[5];
    u->high[0] = f[6];
    u->device = f[7];
    u->low[1] = f[8];
    u->mid[1] = f[9];
    u->high[1] = f[10];
    u->feature[1] = f[11];
    u->count[0] = f[12];
    u->count[1] = f[13];
}

struct command {
    uint8_t fis[20];
    uint32_t flags; /* of the header */
    struct ide_cursor memory;
    uint64_t table;
};

static bool read_command(struct ahci_port *p, unsigned slot, struct command *c)
{
    uint8_t h[16];

    if (viv_dma_read(mem_of(p), p->clb + 32u * slot, h, sizeof(h)) < 0) {
        fatal(p, PORT_IRQ_BUS, "command header: no memory");
        return false;
    }
    c->flags = viv_ld_le32(h);
    c->table = viv_ld_le64(h + 8) & ~127ull;
    c->memory = (struct ide_cursor){.entry = c->table + TABLE_PRD, .total = c->flags >> 16, .last = !(c->flags >> 16)};
    if (viv_dma_read(mem_of(p), c->table, c->fis, sizeof(c->fis)) < 0) {
        fatal(p, PORT_IRQ_BUS, "command table: no memory");
        return false;
    }
    if (c->fis[0] != FIS_H2D || (c->flags & 31) < FIS_DWORDS || (c->fis[1] & 15)) {
        fatal(p, PORT_IRQ_INTERFACE, "a command FIS is none, or for another device behind the port");
        return false;
    }
    return true;
}

static bool is_queued(const struct command *c)
{
    return (c->fis[1] & FIS_COMMAND) && (c->fis[2] == READ_QUEUED || c->fis[2] == WRITE_QUEUED);
}

/* PxCI's bit falls as the disk takes the command, PxSACT's when it is done (5.6.4.1). */
static void start_queued(struct ahci_port *p, unsigned slot, const struct command *c)
{
    struct ide_unit *u = p->ch.unit[0];
    unsigned tag = c->fis[12] >> 3;

    if (!u->ops->queue || tag != slot || p->queued >> tag & 1) {
        p->slot = (uint8_t)slot;
        p->ch.dma.moved = 0;
        u->status = IDE_DRDY;
        ide_abort(u);
        return;
    }
    load_registers(u, c->fis);
    p->ci &= ~(1u << slot);
    p->queued |= 1u << tag;
    p->tfd = IDE_DRDY;
    u->ops->queue(u, tag, c->fis[2] == WRITE_QUEUED, &c->memory);
}

static void start_plain(struct ahci_port *p, unsigned slot, const struct command *c)
{
    struct ide_unit *u = p->ch.unit[0];
    uint8_t cmd = c->fis[2];

    p->slot = (uint8_t)slot;
    p->ch.dma.cur = c->memory;
    p->ch.dma.moved = 0;
    if (c->flags & HEADER_PACKET) {
        if (viv_dma_read(mem_of(p), c->table + TABLE_PACKET, p->packet, sizeof(p->packet)) < 0) {
            p->slot = AHCI_SLOTS;
            fatal(p, PORT_IRQ_BUS, "packet: no memory");
            return;
        }
        p->atapi = true;
    }
    p->tfd = IDE_BSY | IDE_DRDY;
    load_registers(u, c->fis);
    if (cmd == DIAGNOSTIC || (cmd == DEVICE_RESET && u->ops->packet))
        p->reset = AHCI_RESET_COMMAND;
    ide_command(&p->ch, cmd);
}

/* A FIS with the control register only: SRST rises, and falls in the next one. */
static void start_control(struct ahci_port *p, unsigned slot, const struct command *c)
{
    p->ci &= ~(1u << slot);
    p->reset = AHCI_RESET_LINK;
    ide_control_write(&p->ch, c->fis[15]);
    if (p->ch.unit[0]->resetting)
        p->tfd = IDE_BSY;
    else
        p->reset = AHCI_RESET_NONE;
}

static void start(struct ahci_port *p, unsigned slot, const struct command *c)
{
    p->last = (uint8_t)slot;
    if (!(c->fis[1] & FIS_COMMAND))
        start_control(p, slot, c);
    else if (is_queued(c))
        start_queued(p, slot, c);
    else
        start_plain(p, slot, c);
}

static bool may_issue(const struct ahci_port *p)
{
    const struct ide_unit *u = p->ch.unit[0];

    return p->ci && (p->cmd & PORT_ST) && !p->halted && p->slot == AHCI_SLOTS && u && !u->resetting && !p->hba->resetting &&
           viv_pci_bus_master(&p->hba->pci);
}

/* Each round takes a bit out of PxCI, or leaves a command running, or halts the port. */
void ahci_issue(struct ahci_port *p)
{
    struct command c;

    if (p->issuing)
        return;
    p->issuing = true;
    while (may_issue(p)) {
        unsigned slot = (p->last + 1) % AHCI_SLOTS;

        while (!(p->ci >> slot & 1))
            slot = (slot + 1) % AHCI_SLOTS;
        if (!read_command(p, slot, &c) || (!is_queued(&c) && p->queued))
            break;
        start(p, slot, &c);
    }
    p->issuing = false;
}
