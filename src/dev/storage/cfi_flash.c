/* Parallel NOR flash with Intel's command set: where firmware and its variables lie (`-drive if=pflash`).
 *
 * Built from JEDEC JESD68.01 and JEP137B (CFI), and the data sheet of Intel's 28F320J3 (290667), 8 bits wide, with
 * blocks of 4 KiB. While it reads as an array it is ROM that the CPU has mapped; the first command lays a region over
 * it that answers with status, identifier or query data until READ ARRAY (FFh).
 *
 * Other than the data sheet: operations take no time; the status register reads 0 until an operation has been done
 * (UEFI's driver tells flash from RAM by that); blocks cannot be locked.
 *
 * With secure=on only CPUs in SMM can give commands: to all others it is ROM at any time. Their views of memory are two (viv_board.smm):
 * what takes commands is in the second one alone.
 *
 * Every byte that the guest programs is in the image's file before the guest does anything else with the chip: bytes
 * that follow each other are written as one, whatever comes between them writes them out. So the file never holds a
 * later change without an earlier one, and a store that is made to survive a power cut survives our death. */
#include "dev/storage/cfi_flash.h"

#include "base/log.h"
#include "base/units.h"
#include "block/registry.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define SIZE_MAX_  (16 * VIV_MIB)
#define BUFFER_LOG 5
#define BUFFER     (1u << BUFFER_LOG)

enum { /* the first cycle of each command */
       CMD_PROGRAM_ALT = 0x10,
       CMD_ERASE = 0x20,
       CMD_PROGRAM = 0x40,
       CMD_CLEAR_STATUS = 0x50,
       CMD_LOCK = 0x60,
       CMD_STATUS = 0x70,
       CMD_ID = 0x90,
       CMD_QUERY = 0x98,
       CMD_SUSPEND = 0xb0,
       CMD_CONFIRM = 0xd0,
       CMD_BUFFER = 0xe8,
       CMD_ARRAY = 0xff,
};

enum { /* status register */
       SR_READY = 0x80,
       SR_ERASE_ERROR = 0x20,
       SR_PROGRAM_ERROR = 0x10,
       SR_LOCKED = 0x02,
};

enum mode { MODE_ARRAY, MODE_STATUS, MODE_ID, MODE_QUERY, MODES };

/* What the next write is. */
enum step { STEP_COMMAND, STEP_PROGRAM, STEP_ERASE, STEP_LOCK, STEP_COUNT, STEP_DATA, STEP_CONFIRM, STEPS };

struct cfi_flash {
    struct viv_dev dev;
    uint8_t mode, step, status;
    uint8_t left;       /* bytes still to come into the buffer */
    uint32_t at;        /* where the buffer's first byte goes; a multiple of its size */
    uint32_t filled;    /* which of its bytes are there */
    uint8_t buffer[BUFFER];
    uint32_t first, end; /* programmed, and not yet in the image */
    bool loaded;        /* the contents came from a saved state */
    bool failed;        /* a write of the image did, and somebody was told */
    bool flushing, flush_again;
    struct viv_blk_req flush;
    struct viv_drive *drive;
    struct viv_ram *ram;
    struct viv_region *array, *over;
    struct viv_region *rom; /* secure: what all others see; else NULL */
};

struct viv_ram *viv_cfi_flash_ram(struct viv_dev *d)
{
    return ((struct cfi_flash *)d)->ram;
}

/* ---- the image ---- */

static void start_flush(struct cfi_flash *f);

static void flushed(struct viv_blk_req *req, int result)
{
    struct cfi_flash *f = req->opaque;

    viv_dev_lock();
    if (result < 0)
        viv_error("flash '%s': flushing its image: %s", f->drive->id, strerror(-result));
    f->flushing = false;
    if (f->flush_again)
        start_flush(f);
    viv_dev_unlock();
}

static void start_flush(struct cfi_flash *f)
{
    f->flush_again = f->flushing;
    if (f->flushing)
        return;
    f->flushing = true;
    f->flush = (struct viv_blk_req){.op = VIV_BLK_FLUSH, .done = flushed, .opaque = f};
    viv_blk_submit(f->drive->blk, &f->flush);
}

/* In this thread: it is a write of a few bytes to the page cache, and the guest's next access must find it done. */
static bool write_image(struct cfi_flash *f, uint32_t off, uint32_t len)
{
    int rc = viv_blk_pwrite(f->drive->blk, off, f->ram->hva + off, len, 0);

    if (rc < 0 && !f->failed)
        viv_error("flash '%s': what the guest writes cannot be kept: %s", f->drive->id, strerror(-rc));
    f->failed = rc < 0;
    return rc >= 0;
}

static bool write_out(struct cfi_flash *f)
{
    uint32_t first = f->first, len = f->end - f->first;

    f->first = f->end = 0;
    return !len || write_image(f, first, len);
}

/* ---- operations ---- */

static bool writable(struct cfi_flash *f, uint8_t error)
{
    f->status |= SR_READY;
    if (!viv_blk_writable(f->drive->blk))
        f->status |= error | SR_LOCKED;
    return viv_blk_writable(f->drive->blk);
}

/* Programming clears bits; only an erase sets them. */
static void program(struct cfi_flash *f, uint32_t off, uint8_t v)
{
    if (!writable(f, SR_PROGRAM_ERROR))
        return;
    if (off != f->end && !write_out(f))
        f->status |= SR_PROGRAM_ERROR;
    if (f->first == f->end)
        f->first = f->end = off;
    f->ram->hva[off] &= v;
    viv_ram_written(f->ram->hva + off, 1);
    f->end = off + 1;
}

static void erase(struct cfi_flash *f, uint32_t off)
{
    uint8_t *block = f->ram->hva + (off & ~(VIV_CFI_FLASH_BLOCK - 1));

    if (!writable(f, SR_ERASE_ERROR))
        return;
    if (!write_out(f))
        f->status |= SR_ERASE_ERROR;
    memset(block, 0xff, VIV_CFI_FLASH_BLOCK);
    viv_ram_written(block, VIV_CFI_FLASH_BLOCK);
    if (!write_image(f, (uint32_t)(block - f->ram->hva), VIV_CFI_FLASH_BLOCK))
        f->status |= SR_ERASE_ERROR;
}

/* "Improper command sequence" (290667, table 9). */
static void confused(struct cfi_flash *f, uint8_t v)
{
    viv_guest_error("cfi.pflash01", "%02xh does not go on with the command before it", v);
    f->status |= SR_READY | SR_ERASE_ERROR | SR_PROGRAM_ERROR;
}

static void program_buffer(struct cfi_flash *f)
{
    for (unsigned i = 0; i < BUFFER; i++) {
        if (f->filled >> i & 1)
            program(f, f->at + i, f->buffer[i]);
    }
    if (!write_out(f))
        f->status |= SR_PROGRAM_ERROR;
}

/* The byte count less one, then as many bytes, all within one line of the buffer's size. */
static void fill_buffer(struct cfi_flash *f, uint32_t off, uint8_t v)
{
    uint32_t line = off & ~(BUFFER - 1);

    if (f->step == STEP_COUNT) {
        f->step = STEP_COMMAND;
        if (v >= BUFFER) {
            confused(f, v);
            return;
        }
        f->left = (uint8_t)(v + 1);
        f->at = line;
        f->filled = 0;
        f->step = STEP_DATA;
        return;
    }
    if (line != f->at) {
        confused(f, v);
        f->step = STEP_COMMAND;
        return;
    }
    f->buffer[off - line] = v;
    f->filled |= 1u << (off - line);
    if (!--f->left)
        f->step = STEP_CONFIRM;
}

static void set_mode(struct cfi_flash *f, enum mode mode)
{
    f->mode = mode;
    if (mode == MODE_ARRAY && viv_region_mapped(f->over))
        viv_region_unmap(f->over);
    else if (mode != MODE_ARRAY && !viv_region_mapped(f->over))
        viv_region_map(f->over, viv_region_addr(f->array), 1);
}

static void read_array(struct cfi_flash *f)
{
    bool wrote = f->status & SR_READY && viv_blk_writable(f->drive->blk);

    if (!write_out(f))
        f->status |= SR_PROGRAM_ERROR;
    set_mode(f, MODE_ARRAY);
    if (wrote)
        start_flush(f);
}

static void command(struct cfi_flash *f, uint8_t v)
{
    static const struct {
        uint8_t command, mode, step;
    } commands[] = {
        {CMD_PROGRAM, MODE_STATUS, STEP_PROGRAM}, {CMD_PROGRAM_ALT, MODE_STATUS, STEP_PROGRAM},
        {CMD_ERASE, MODE_STATUS, STEP_ERASE},     {CMD_LOCK, MODE_STATUS, STEP_LOCK},
        {CMD_BUFFER, MODE_STATUS, STEP_COUNT},    {CMD_STATUS, MODE_STATUS, STEP_COMMAND},
        {CMD_ID, MODE_ID, STEP_COMMAND},          {CMD_QUERY, MODE_QUERY, STEP_COMMAND},
    };

    for (unsigned i = 0; i < VIV_ARRAY_SIZE(commands); i++) {
        if (commands[i].command != v)
            continue;
        set_mode(f, commands[i].mode);
        f->step = commands[i].step;
        if (v == CMD_BUFFER)
            f->status |= SR_READY; /* the buffer is free */
        return;
    }
    switch (v) {
    case CMD_CLEAR_STATUS: /* the mode stays (table 4) */
        f->status = 0;
        break;
    case CMD_SUSPEND: /* nothing takes long enough */
    case CMD_CONFIRM:
        set_mode(f, MODE_STATUS);
        break;
    case CMD_ARRAY:
        read_array(f);
        break;
    default:
        viv_guest_error("cfi.pflash01", "unknown command %02xh", v);
        read_array(f);
    }
}

static void flash_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct cfi_flash *f = opaque;
    uint8_t v = (uint8_t)value, step = f->step;

    if (step == STEP_COUNT || step == STEP_DATA) {
        fill_buffer(f, (uint32_t)off, v);
        return;
    }
    f->step = STEP_COMMAND;
    switch (step) {
    case STEP_COMMAND:
        command(f, v);
        break;
    case STEP_PROGRAM:
        program(f, (uint32_t)off, v);
        break;
    case STEP_ERASE:
        if (v == CMD_CONFIRM)
            erase(f, (uint32_t)off);
        else
            confused(f, v);
        break;
    case STEP_LOCK: /* clears all lock bits: there are none to set */
        if (v == CMD_CONFIRM)
            f->status |= SR_READY;
        else
            confused(f, v);
        break;
    case STEP_CONFIRM:
        if (v == CMD_CONFIRM)
            program_buffer(f);
        else
            confused(f, v);
        break;
    }
}

/* ---- what it answers ---- */

/* Query data from 10h on (JESD68.01, 4; JEP137 0001h: Intel's extended table). */
static uint8_t query(const struct cfi_flash *f, uint64_t off)
{
    uint32_t blocks = (uint32_t)(f->ram->size / VIV_CFI_FLASH_BLOCK) - 1;
    uint8_t log = (uint8_t)(64 - __builtin_clzll(f->ram->size - 1));
    const uint8_t table[] = {
        'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00, 0, 0, 0, 0, /* command set, its table, no alternative */
        0x27, 0x36, 0, 0,                                  /* 2.7 V to 3.6 V, no Vpp */
        1, 1, 1, 0, 1, 1, 1, 0,                            /* 2 us, 2 us, 2 ms; at most twice that */
        log, 0x00, 0x00, BUFFER_LOG, 0, 1,                 /* size, x8, buffer, one region of blocks: */
        (uint8_t)blocks, (uint8_t)(blocks >> 8), (uint8_t)(VIV_CFI_FLASH_BLOCK / 256), (uint8_t)(VIV_CFI_FLASH_BLOCK / 65536),
        'P', 'R', 'I', '1', '1', 0, 0, 0, 0, 0, 0, 0, 0x33, 0, 0,
    };

    off -= 0x10;
    return off < sizeof(table) ? table[off] : 0;
}

static uint64_t flash_read(void *opaque, uint64_t off, unsigned size)
{
    struct cfi_flash *f = opaque;

    switch (f->mode) {
    case MODE_STATUS:
        return f->status;
    case MODE_ID: /* Intel, 28F320J3; a block's lock bit at 2 */
        return off == 0 ? 0x89 : off == 1 ? 0x16 : 0;
    case MODE_QUERY:
        return query(f, off);
    default: /* the mode changed while this access was on its way */
        return f->ram->hva[off];
    }
}

/* ---- class ---- */

static int check_size(const char *id, uint64_t size, struct viv_err *err)
{
    if (!size || size % VIV_CFI_FLASH_BLOCK || size > SIZE_MAX_)
        return viv_fail(err, EINVAL, "flash '%s': its image has %" PRIu64 " bytes; it must be a multiple of %u KiB, and at most "
                        "%u MiB", id, size, VIV_CFI_FLASH_BLOCK / 1024, (unsigned)(SIZE_MAX_ / VIV_MIB));
    return 0;
}

static void make_regions(struct cfi_flash *f, uint64_t end, bool secure)
{
    struct viv_space *commands = secure ? f->dev.board->smm : f->dev.board->mem;
    static const struct viv_region_ops ops = {flash_read, flash_write, 1, 1, false, false};
    struct viv_region_desc d = {.name = f->ram->name, .kind = VIV_REGION_ROM, .size = f->ram->size, .ram = f->ram,
                                .ops = &ops, .opaque = f};

    f->array = viv_region_new(commands, &d);
    d.ops = NULL;
    f->rom = secure ? viv_region_new(f->dev.board->mem, &d) : NULL;
    d = (struct viv_region_desc){.name = "flash-commands", .kind = VIV_REGION_IO, .size = f->ram->size, .ops = &ops, .opaque = f};
    f->over = viv_region_new(commands, &d);
    viv_region_map(f->array, end - f->ram->size, 0);
    if (f->rom)
        viv_region_map(f->rom, end - f->ram->size, 0);
}

static int flash_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    struct cfi_flash *f = (struct cfi_flash *)d;
    const char *id = viv_opts_str(opts, "drive");
    g_autofree char *name = g_strdup_printf("system.flash%u", (unsigned)viv_opts_int(opts, "unit"));
    bool secure = viv_opts_bool(opts, "secure");
    uint64_t size;
    int rc;

    if (!id)
        return viv_fail(err, EINVAL, "cfi.pflash01: drive= is missing");
    if (secure && !d->board->smm) {
        viv_warn("flash '%s': secure=on has no effect without system management mode: the guest's system can change the firmware's variables "
                 "(-machine q35,smm=on with -accel xlate protects them)", id);
        secure = false;
    }
    rc = viv_drive_claim(id, name, false, &f->drive, err);
    if (rc < 0)
        return rc;
    f->drive->in_state = true;
    if (!f->drive->blk)
        rc = viv_fail(err, EINVAL, "flash '%s': there is no image; file= names one", id);
    size = rc ? 0 : viv_blk_size(f->drive->blk);
    if (!rc)
        rc = check_size(id, size, err);
    if (!rc)
        rc = viv_ram_new(g_intern_string(name), size, &f->ram, err);
    if (!rc) {
        rc = viv_blk_pread(f->drive->blk, 0, f->ram->hva, size);
        if (rc < 0)
            viv_fail_os(err, -rc, "flash '%s': reading its image", id);
    }
    if (rc < 0) {
        viv_ram_release(f->ram);
        viv_drive_release(f->drive);
        return rc;
    }
    f->ram->keeps = true;
    viv_ram_written(f->ram->hva, size);
    make_regions(f, (uint64_t)viv_opts_int(opts, "end"), secure);
    return 0;
}

static void flash_unrealize(struct viv_dev *d)
{
    struct cfi_flash *f = (struct cfi_flash *)d;

    write_out(f);
    viv_region_free(f->over);
    viv_region_free(f->array);
    viv_region_free(f->rom);
    viv_ram_release(f->ram);
    viv_drive_release(f->drive);
}

static void flash_reset(struct viv_dev *d)
{
    struct cfi_flash *f = (struct cfi_flash *)d;

    write_out(f);
    f->status = 0;
    f->step = STEP_COMMAND;
    f->left = 0;
    f->at = f->filled = 0;
    memset(f->buffer, 0, sizeof(f->buffer));
    set_mode(f, MODE_ARRAY);
}

static bool same_as_image(struct cfi_flash *f)
{
    g_autofree uint8_t *image = g_malloc(f->ram->size);

    return viv_blk_pread(f->drive->blk, 0, image, f->ram->size) >= 0 && !memcmp(image, f->ram->hva, f->ram->size);
}

/* A machine that was loaded has the contents that it was saved with: the image gets them when it begins to run. After a load that
 * was refused they are what the image has. */
static void flash_running(struct viv_dev *d, bool running)
{
    struct cfi_flash *f = (struct cfi_flash *)d;

    if (running && f->loaded && viv_blk_writable(f->drive->blk) && !same_as_image(f) && write_image(f, 0, (uint32_t)f->ram->size))
        start_flush(f);
    if (running)
        f->loaded = false;
    else
        write_out(f);
}

static bool flash_idle(struct viv_dev *d)
{
    return !((struct cfi_flash *)d)->flushing;
}

static int flash_post_load(void *obj, int version, struct viv_err *err)
{
    struct cfi_flash *f = obj;

    if (f->mode >= MODES || f->step >= STEPS || f->at % BUFFER || f->at >= f->ram->size || f->left > BUFFER ||
        (f->step == STEP_DATA && !f->left))
        return viv_fail(err, EINVAL, "flash: no such mode");
    f->first = f->end = 0;
    f->loaded = true;
    set_mode(f, f->mode);
    return 0;
}

static const struct viv_state_table flash_state = {
    .name = "cfi.pflash01",
    .ctype = "cfi_flash",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(cfi_flash, dev),
            VIV_F_INT(cfi_flash, mode),
            VIV_F_INT(cfi_flash, step),
            VIV_F_INT(cfi_flash, status),
            VIV_F_INT(cfi_flash, left),
            VIV_F_INT(cfi_flash, at),
            VIV_F_INT(cfi_flash, filled),
            VIV_F_BYTES(cfi_flash, buffer),
            VIV_F_DERIVED(cfi_flash, first, "written out when the machine stops"),
            VIV_F_DERIVED(cfi_flash, end, "written out when the machine stops"),
            VIV_F_DERIVED(cfi_flash, loaded, "set by post_load"),
            VIV_F_DERIVED(cfi_flash, failed, "of this process's image"),
            VIV_F_DERIVED(cfi_flash, flushing, "of this process's image"),
            VIV_F_DERIVED(cfi_flash, flush_again, "of this process's image"),
            VIV_F_DERIVED(cfi_flash, flush, "of this process's image"),
            VIV_F_CONFIG(cfi_flash, drive),
            VIV_F_CONFIG(cfi_flash, ram),
            VIV_F_CONFIG(cfi_flash, array),
            VIV_F_CONFIG(cfi_flash, over),
            VIV_F_CONFIG(cfi_flash, rom),
            VIV_F_END,
        },
    .post_load = flash_post_load,
};

static const struct viv_opt_def props[] = {
    {.name = "drive", .type = VIV_OPT_STR, .help = "id of a -drive"},
    {.name = "unit", .type = VIV_OPT_INT, .min = 0, .max = 1, .def = "0", .help = "which of the board's"},
    {.name = "end", .type = VIV_OPT_INT, .min = 0, .max = INT64_MAX, .def = "4294967296", .help = "the address behind it"},
    {.name = "secure", .type = VIV_OPT_BOOL, .def = "off", .help = "takes commands from CPUs in system management mode alone"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_cfi_flash = {
    .name = "cfi.pflash01",
    .desc = "parallel flash, Intel's command set",
    .bus = VIV_BUS_NONE,
    .internal = true,
    .size = sizeof(struct cfi_flash),
    .props = props,
    .state = &flash_state,
    .realize = flash_realize,
    .reset = flash_reset,
    .unrealize = flash_unrealize,
    .vm_running = flash_running,
    .idle = flash_idle,
};
