/* A channel: the registers of the command block, which both units hear, selection, interrupts, resets (ATA/ATAPI-7, volume 2). */
#include "dev/ide/ide.h"

#include "base/log.h"
#include "bus/bootorder.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04, CONTROL_HOB = 0x80 };
enum { R_DATA, R_ERROR, R_COUNT, R_LOW, R_MID, R_HIGH, R_DEVICE, R_STATUS };
enum { CMD_DEVICE_RESET = 0x08, CMD_DIAGNOSTIC = 0x90 };

static struct ide_channel *channels; /* in creation order */

static struct ide_unit *selected(struct ide_channel *ch)
{
    return ch->unit[ch->select];
}

/* ---- interrupts ---- */

static void update_irq(struct ide_channel *ch)
{
    struct ide_unit *u = selected(ch);
    bool level = u && u->irq && !(ch->control & CONTROL_NIEN);

    if (ch->host)
        return;
    if (level && !ch->line)
        ch->bm_status |= 4; /* latched by the bus master */
    if (level != ch->line)
        ch->set_irq(ch->opaque, ch->n, level);
    ch->line = level;
}

static void set_irq(struct ide_unit *u, bool irq)
{
    u->irq = irq;
    update_irq(u->ch);
}

/* ---- what units say ---- */

static uint8_t idle_status(const struct ide_unit *u)
{
    return u->ops->packet ? IDE_DRDY : IDE_DRDY | IDE_DSC;
}

void ide_end(struct ide_unit *u, uint8_t status, uint8_t error)
{
    u->phase = IDE_IDLE;
    u->pos = u->len = 0;
    u->status = idle_status(u) | status;
    u->error = error;
    set_irq(u, true);
    if (u->ch->host)
        u->ch->host->ended(u->ch);
}

void ide_abort(struct ide_unit *u)
{
    ide_end(u, IDE_ERR, IDE_ABRT);
}

void ide_busy(struct ide_unit *u)
{
    u->phase = IDE_BUSY;
    u->status = IDE_BSY | (u->status & IDE_DRDY);
}

void ide_pio(struct ide_unit *u, enum ide_phase phase, uint32_t from, uint32_t to, bool irq)
{
    g_assert(from < to && to <= IDE_BUF);
    u->phase = (uint8_t)phase;
    u->pos = from;
    u->len = to;
    u->status = idle_status(u) | IDE_DRQ;
    if (irq)
        set_irq(u, true);
    if (u->ch->host)
        u->ch->host->pio(u->ch);
}

void ide_dma_wait(struct ide_unit *u)
{
    ide_busy(u);
    u->phase = IDE_DMA;
    ide_bm_kick(u->ch);
}

/* 9.12: what a unit shows after reset. */
void ide_signature(struct ide_unit *u)
{
    u->count[0] = u->low[0] = 1;
    u->mid[0] = u->ops->packet ? 0x14 : 0;
    u->high[0] = u->ops->packet ? 0xeb : 0;
    u->count[1] = u->low[1] = u->mid[1] = u->high[1] = 0;
    u->device = (uint8_t)(u->n << 4);
}

void ide_reset_done(struct ide_unit *u)
{
    bool ready = !(u->ch->control & CONTROL_SRST); /* else when that bit falls */

    u->resetting = false;
    if (ready) {
        ide_signature(u);
        u->error = 1; /* passed */
        u->status = u->ops->packet ? 0 : IDE_DRDY | IDE_DSC;
    }
    if (u->ch->host)
        u->ch->host->reset_done(u->ch, ready);
}

void ide_unit_reset(struct ide_unit *u)
{
    bool at_once = u->ops->reset(u);

    u->phase = IDE_IDLE;
    u->pos = u->len = 0;
    u->status = IDE_BSY;
    set_irq(u, false);
    u->resetting = !at_once;
    if (at_once)
        ide_reset_done(u);
}

void ide_unit_power_on(struct ide_unit *u)
{
    ide_unit_reset(u);
    memset(u->feature, 0, sizeof(u->feature));
}

/* ---- registers ---- */

static void push(uint8_t reg[2], uint8_t v)
{
    reg[1] = reg[0];
    reg[0] = v;
}

static uint32_t read_data(struct ide_unit *u, unsigned size)
{
    uint32_t v = 0, n;

    if (u->phase != IDE_PIO_IN)
        return 0;
    n = MIN(size, u->len - u->pos);
    memcpy(&v, u->buf + u->pos, n);
    u->pos += n;
    if (u->pos == u->len)
        u->ops->drained(u);
    return v;
}

static void write_data(struct ide_unit *u, uint32_t v, unsigned size)
{
    uint32_t n;

    if (u->phase != IDE_PIO_OUT)
        return;
    n = MIN(size, u->len - u->pos);
    memcpy(u->buf + u->pos, &v, n);
    u->pos += n;
    if (u->pos == u->len)
        u->ops->filled(u);
}

/* Unit 0 answers for a unit 1 that is not there, with zeroes (9.16.1: at least the status is). So does an empty channel, as in
 * QEMU: UEFI waits there for BSY and DRQ to fall, for minutes. */
static uint8_t read_reg(struct ide_channel *ch, unsigned reg)
{
    struct ide_unit *u = selected(ch);
    unsigned hob = ch->control & CONTROL_HOB ? 1 : 0;

    if (!u)
        return 0;
    switch (reg) {
    case R_ERROR:
        return u->error;
    case R_COUNT:
        return u->count[hob];
    case R_LOW:
        return u->low[hob];
    case R_MID:
        return u->mid[hob];
    case R_HIGH:
        return u->high[hob];
    case R_DEVICE:
        return u->device | 0xa0;
    default:
        set_irq(u, false);
        return u->status;
    }
}

uint32_t ide_read(struct ide_channel *ch, unsigned reg, unsigned size)
{
    struct ide_unit *u = selected(ch);
    uint32_t v = 0;

    if (reg == R_DATA && (size > 1 || (u && u->phase == IDE_PIO_IN)))
        return u ? read_data(u, size) : UINT32_MAX;
    for (unsigned i = 0; i < size; i++)
        v |= (uint32_t)(reg + i < 8 ? read_reg(ch, reg + i) : 0xff) << (8 * i);
    return v;
}

uint8_t ide_alternate_status(struct ide_channel *ch)
{
    struct ide_unit *u = selected(ch);

    if (!u)
        return 0;
    return u->status;
}

void ide_command(struct ide_channel *ch, uint8_t cmd)
{
    struct ide_unit *u = selected(ch);

    if (cmd == CMD_DIAGNOSTIC) { /* both do, whichever is selected */
        ch->select = 0;
        for (unsigned i = 0; i < 2; i++) {
            if (ch->unit[i])
                ide_unit_reset(ch->unit[i]);
        }
        if (ch->unit[0] && !ch->unit[0]->resetting)
            set_irq(ch->unit[0], true);
        return;
    }
    if (!u)
        return;
    if (cmd == CMD_DEVICE_RESET && u->ops->packet) {
        ide_unit_reset(u);
        return;
    }
    if (u->phase != IDE_IDLE || u->resetting) {
        viv_guest_error(ch->name, "command %02xh while one is running", cmd);
        return;
    }
    set_irq(u, false);
    u->error = 0;
    u->ops->command(u, cmd);
}

static void write_unit(struct ide_unit *u, unsigned reg, uint8_t v)
{
    if (!u || u->status & IDE_BSY)
        return;
    switch (reg) {
    case R_ERROR:
        push(u->feature, v);
        break;
    case R_COUNT:
        push(u->count, v);
        break;
    case R_LOW:
        push(u->low, v);
        break;
    case R_MID:
        push(u->mid, v);
        break;
    case R_HIGH:
        push(u->high, v);
        break;
    case R_DEVICE:
        u->device = v & 0x5f;
        break;
    }
}

static void write_reg(struct ide_channel *ch, unsigned reg, uint8_t v)
{
    ch->control &= (uint8_t)~CONTROL_HOB;
    if (reg == R_STATUS) {
        if (!(ch->control & CONTROL_SRST))
            ide_command(ch, v);
        return;
    }
    if (reg == R_DEVICE)
        ch->select = v >> 4 & 1;
    for (unsigned i = 0; i < 2; i++)
        write_unit(ch->unit[i], reg, v);
    if (reg == R_DEVICE)
        update_irq(ch);
}

void ide_write(struct ide_channel *ch, unsigned reg, uint32_t v, unsigned size)
{
    struct ide_unit *u = selected(ch);

    if (reg == R_DATA) {
        if (u)
            write_data(u, v, size);
        return;
    }
    for (unsigned i = 0; i < size && reg + i < 8; i++)
        write_reg(ch, reg + i, (uint8_t)(v >> (8 * i)));
}

void ide_control_write(struct ide_channel *ch, uint8_t v)
{
    uint8_t changed = ch->control ^ v;

    ch->control = v & (CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB);
    if (changed & CONTROL_SRST) {
        if (v & CONTROL_SRST)
            ch->select = 0;
        for (unsigned i = 0; i < 2; i++) {
            struct ide_unit *u = ch->unit[i];

            if (u && v & CONTROL_SRST)
                ide_unit_reset(u);
            else if (u && !u->resetting)
                ide_reset_done(u);
        }
    }
    update_irq(ch);
}

void ide_put_string(uint8_t *p, const char *s, size_t len)
{
    size_t have = strnlen(s, len);

    for (size_t i = 0; i < len; i++)
        p[i ^ 1] = i < have ? (uint8_t)s[i] : ' ';
}

/* ---- making ---- */

static void enlist(struct ide_channel *ch)
{
    struct ide_channel **end = &channels;

    ide_dma_init(&ch->dma, ch);
    for (; *end; end = &(*end)->link)
        ch->serial = (*end)->serial + 2;
    *end = ch;
}

void ide_channel_init(struct ide_channel *ch, struct viv_board *board, unsigned n, void (*irq)(void *, unsigned, bool), void *opaque)
{
    *ch = (struct ide_channel){.board = board, .n = n, .units = 2, .set_irq = irq, .opaque = opaque};
    g_snprintf(ch->name, sizeof(ch->name), "ide.%u", n);
    enlist(ch);
}

void ide_channel_init_serial(struct ide_channel *ch, struct viv_board *board, const char *name, unsigned n,
                             const struct ide_host_ops *host, void *opaque)
{
    *ch = (struct ide_channel){.board = board, .n = n, .units = 1, .host = host, .opaque = opaque};
    g_strlcpy(ch->name, name, sizeof(ch->name));
    enlist(ch);
}

unsigned ide_channel_free_number(void)
{
    unsigned n = 0;

    for (struct ide_channel *ch = channels; ch; ch = ch->link) {
        unsigned long v;
        char *end;

        if (!g_str_has_prefix(ch->name, "ide."))
            continue;
        v = strtoul(ch->name + 4, &end, 10);
        if (!*end && v >= n)
            n = (unsigned)v + 1;
    }
    return n;
}

void ide_channel_fini(struct ide_channel *ch)
{
    struct ide_channel **p = &channels;

    while (*p != ch)
        p = &(*p)->link;
    *p = ch->link;
    g_clear_pointer(&ch->fw_path, g_free);
    for (unsigned i = 0; i < 2; i++) {
        if (ch->unit[i])
            ch->unit[i]->ch = NULL;
    }
}

void ide_unit_name(const struct ide_unit *u, char *serial, size_t size)
{
    g_snprintf(serial, size, "QM%05u", u->ch->serial + u->n + 1);
}

/* The units are devices of their own, and are reset as such. */
void ide_channel_reset(struct ide_channel *ch)
{
    ch->select = ch->control = 0;
    ch->bm_command = ch->bm_status = 0;
    ch->bm_table = 0;
    ch->dma.cur = ch->dma.next = (struct ide_cursor){0};
    ch->dma.moved = 0;
    update_irq(ch);
}

static int find_place(struct ide_unit *u, const char *bus, int unit, const char *what, struct viv_err *err)
{
    g_autoptr(GString) names = g_string_new(NULL);
    unsigned units = 0;

    for (struct ide_channel *ch = channels; ch; ch = ch->link) {
        g_string_append_printf(names, "%s%s", names->len ? ", " : "", ch->name);
        if (bus && strcmp(bus, ch->name))
            continue;
        units = MAX(units, ch->units);
        for (int n = 0; n < (int)ch->units; n++) {
            if (ch->unit[n] || (unit >= 0 && unit != n))
                continue;
            u->ch = ch;
            u->n = (unsigned)n;
            return 0;
        }
    }
    if (!channels)
        return viv_fail(err, ENODEV, "%s: this machine has no IDE controller; use virtio-blk", what);
    if (!units)
        return viv_fail(err, ENODEV, "%s: there is no bus '%s'; this machine has %.200s", what, bus, names->str);
    if (unit >= (int)units)
        return viv_fail(err, ENODEV, "%s: a SATA bus has unit 0 only; there is %.200s", what, names->str);
    return viv_fail(err, EBUSY, "%s: %s%s%s%s is taken", what, unit < 0 ? "every unit" : unit ? "unit 1" : "unit 0",
                    bus ? " of bus '" : " of the IDE buses", bus ? bus : "", bus ? "'" : "");
}

int ide_unit_init(struct ide_unit *u, struct viv_dev *dev, const struct ide_unit_ops *ops, struct viv_opts *opts, struct viv_err *err)
{
    int unit = viv_opts_given(opts, "unit") ? (int)viv_opts_int(opts, "unit") : -1;
    int rc = find_place(u, viv_opts_str(opts, "bus"), unit, viv_opts_what(opts), err);

    if (rc < 0)
        return rc;
    u->dev = dev;
    u->ops = ops;
    u->ch->unit[u->n] = u;
    return 0;
}

int ide_unit_boot(struct ide_unit *u, int index, struct viv_err *err)
{
    g_autofree char *path = g_strdup_printf("%s/disk@%u", u->ch->fw_path, u->n);

    if (index < 0)
        return 0;
    if (viv_bootorder_add(u->dev, index, path, err) < 0)
        return -EBUSY;
    u->fw_path = g_steal_pointer(&path);
    return 0;
}

void ide_unit_fini(struct ide_unit *u)
{
    if (!u->ch)
        return;
    if (u->fw_path)
        viv_bootorder_remove(u->dev);
    g_clear_pointer(&u->fw_path, g_free);
    u->irq = false;
    update_irq(u->ch);
    u->ch->unit[u->n] = NULL;
    u->ch = NULL;
}

/* ---- state ---- */

int ide_post_load(struct ide_channel *ch, struct viv_err *err)
{
    if (ch->select > 1)
        return viv_fail(err, EINVAL, "%s: there is no unit %u", ch->name, ch->select);
    if (!ide_cursor_ok(&ch->dma.cur))
        return viv_fail(err, EINVAL, "%s: no DMA region is so large, no table of them so long", ch->name);
    ch->control &= CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB;
    return 0;
}

static int unit_post_load(void *obj, int version, struct viv_err *err)
{
    struct ide_unit *u = obj;
    bool pio = u->phase == IDE_PIO_IN || u->phase == IDE_PIO_OUT;

    if (u->phase >= IDE_PHASES || u->len > IDE_BUF || (pio ? u->pos >= u->len : u->pos || u->len))
        return viv_fail(err, EINVAL, "an IDE unit cannot be in phase %u at %u of %u", u->phase, u->pos, u->len);
    return 0;
}

const struct viv_state_table ide_unit_state = {
    .name = "ide-unit",
    .ctype = "ide_unit",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ide_unit, dev),
            VIV_F_CONFIG(ide_unit, ch),
            VIV_F_CONFIG(ide_unit, ops),
            VIV_F_CONFIG(ide_unit, n),
            VIV_F_CONFIG(ide_unit, fw_path),
            VIV_F_INTS(ide_unit, feature),
            VIV_F_INTS(ide_unit, count),
            VIV_F_INTS(ide_unit, low),
            VIV_F_INTS(ide_unit, mid),
            VIV_F_INTS(ide_unit, high),
            VIV_F_INT(ide_unit, device),
            VIV_F_INT(ide_unit, status),
            VIV_F_INT(ide_unit, error),
            VIV_F_INT(ide_unit, phase),
            VIV_F_INT(ide_unit, irq),
            VIV_F_DERIVED(ide_unit, resetting, "false: nothing is in flight when it is saved"),
            VIV_F_INT(ide_unit, pos),
            VIV_F_INT(ide_unit, len),
            VIV_F_BYTES(ide_unit, buf),
            VIV_F_END,
        },
    .post_load = unit_post_load,
};

static const struct viv_state_table cursor_state = {
    .name = "ide-cursor",
    .ctype = "ide_cursor",
    .version = 2, /* 2: addresses of 64 bits */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(ide_cursor, entry),
            VIV_F_INT(ide_cursor, entries),
            VIV_F_INT(ide_cursor, total),
            VIV_F_INT(ide_cursor, addr),
            VIV_F_INT(ide_cursor, left),
            VIV_F_INT(ide_cursor, last),
            VIV_F_END,
        },
};

const struct viv_state_table ide_dma_state = {
    .name = "ide-dma",
    .ctype = "ide_dma",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ide_dma, ch),
            VIV_F_STRUCT(ide_dma, cur, cursor_state),
            VIV_F_DERIVED(ide_dma, next, "set with each request"),
            VIV_F_DERIVED(ide_dma, iov, "nothing is mapped when it is saved"),
            VIV_F_DERIVED(ide_dma, pieces, "nothing is mapped when it is saved"),
            VIV_F_DERIVED(ide_dma, to_memory, "set with each request"),
            VIV_F_INT(ide_dma, moved),
            VIV_F_END,
        },
};

const struct viv_state_table ide_channel_state = {
    .name = "ide-channel",
    .ctype = "ide_channel",
    .version = 2, /* 2: the walk as a table of its own */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(ide_channel, board),
            VIV_F_CONFIG(ide_channel, name),
            VIV_F_CONFIG(ide_channel, fw_path),
            VIV_F_CONFIG(ide_channel, unit),
            VIV_F_CONFIG(ide_channel, units),
            VIV_F_INT(ide_channel, select),
            VIV_F_INT(ide_channel, control),
            VIV_F_CONFIG(ide_channel, host),
            VIV_F_CONFIG(ide_channel, set_irq),
            VIV_F_CONFIG(ide_channel, opaque),
            VIV_F_CONFIG(ide_channel, n),
            VIV_F_CONFIG(ide_channel, serial),
            VIV_F_INT(ide_channel, line),
            VIV_F_DERIVED(ide_channel, master, "the PCI function's command register"),
            VIV_F_INT(ide_channel, bm_command),
            VIV_F_INT(ide_channel, bm_status),
            VIV_F_INT(ide_channel, bm_table),
            VIV_F_STRUCT(ide_channel, dma, ide_dma_state),
            VIV_F_CONFIG(ide_channel, link),
            VIV_F_END,
        },
};
