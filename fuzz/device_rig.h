/* What the parts of the device target share: a bare board with the devices of one family, back ends that do what the input says, and
 * the form of an input (docs/fuzzing.md). */
#ifndef VIV_FUZZ_DEVICE_RIG_H
#define VIV_FUZZ_DEVICE_RIG_H

#include "bus/dev.h"

enum { RAM_SIZE = 1 << 20, WINDOWS = 16 };
#define FUZZ_GED         0xfea00000u
#define FUZZ_VIRTIO_MMIO 0xfeb00000u

/* A stretch of registers that steps name by its number. */
struct fuzz_window {
    enum { WINDOW_END, WINDOW_PORT, WINDOW_MEM, WINDOW_BAR } kind;
    uint32_t base; /* BAR: devfn << 4 | number */
    uint32_t size; /* BAR: not given */
};

struct fuzz_family {
    const char *name;
    const char *const *devices; /* as after -device, NULL at the end; drive=dN, cdN or fdN makes that drive, fsdev=f a folder */
    struct fuzz_window windows[WINDOWS];
    unsigned queues; /* of netdev n0 */
    bool vhost;      /* of the same: a kernel moves its frames */
};

extern const struct fuzz_family fuzz_families[];

/* Says why and aborts: libFuzzer keeps the input (g_error's trap it does not catch). */
void fuzz_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* --- the board (device_rig.c); device lock held for all --- */

extern struct viv_board fuzz_board;
extern struct viv_ram *fuzz_ram;
extern const struct fuzz_family *fuzz_family;
extern struct viv_dev *fuzz_kbc, *fuzz_pm, *fuzz_ged;

void fuzz_board_make(const struct fuzz_family *f); /* zeroed RAM, time 0, devices running */
void fuzz_board_free(void);
/* Requests end, the loop has nothing to do: the VM stands still. */
void fuzz_board_stop(void);
/* Saves all, makes the devices anew, loads: with `changes` random changes of what was saved, which may be refused. Without, the same
 * must come out again. */
void fuzz_board_reload(unsigned changes, uint32_t seed);
/* The address and size of a window; false: there is no such. */
bool fuzz_window_at(unsigned n, struct viv_space **space, uint64_t *base, uint32_t *size);
/* The n-th function on the root bus. */
unsigned fuzz_function(unsigned n);
void fuzz_run_loop(void);
/* A CPU takes an interrupt, or has served one. */
void fuzz_take_interrupt(unsigned v);
extern bool fuzz_io_error; /* a device asked for a stop */

/* --- disks (device_disk.c) --- */

void fuzz_add_drive(const char *id);
void fuzz_disks_restore(void); /* before an input: as they were */
unsigned fuzz_complete(unsigned count, int error); /* requests of disks, the newest first; how many there were */
void fuzz_disk_act(unsigned what);             /* tray, medium, size */

/* --- a network (device_wire.c) --- */

void fuzz_wire_reset(unsigned queues, bool vhost);
void fuzz_wire_give(unsigned what, unsigned len, bool header);
void fuzz_wire_set_full(bool full);
void fuzz_wire_set_link(bool up);
/* The kernel of queue k's vhost (device_vhost.c). */
struct viv_vhost;
struct viv_vhost *fuzz_vhost_new(unsigned k);
void fuzz_vhost_work(unsigned k, unsigned ring, unsigned count, bool tell);

/* --- serial lines, screens, keyboards (device_hands.c) --- */

void fuzz_chr_reset(void);
void fuzz_chr_give(unsigned which, uint8_t byte, unsigned count);
void fuzz_chr_event(unsigned which, unsigned event);
void fuzz_chr_set_room(unsigned bytes);
void fuzz_screen(unsigned what);
void fuzz_screen_reset(void);
void fuzz_balloon(unsigned v);
void fuzz_hands(unsigned what, unsigned v);

/* --- a shared folder (device_share.c) --- */

void fuzz_share_add(const char *id);
void fuzz_share_empty(void);
bool fuzz_share_serve(void); /* one request, if there is one */

/* --- the input: a list of steps, each a byte that says what it is, and its arguments --- */

enum fuzz_step {
    STEP_OUT,   /* window, offset (16 bits), value of 1 << n bytes: a write of 1 << s bytes */
    STEP_IN,    /* window, offset: a read of 1 << s bytes */
    STEP_ADD,   /* window, offset, byte: is added to the register */
    STEP_RAM,   /* page, offset (12 bits), count, bytes */
    STEP_PTR,   /* page, offset, address / 16: a pointer of 1 << n bytes into RAM */
    STEP_CFG,   /* function, register, value of 1 << n bytes: a write of as many */
    STEP_TIME,  /* 12 bits to be shifted by 4 bits: nanoseconds */
    STEP_BACK,  /* what, 16 bits: of back ends */
    STEP_CTL,   /* what, 16 bits: reset, save and load */
    STEP_REP,   /* window, offset, count: as many reads (n even) or writes of 1 << s bytes */
    STEP_VQ,    /* queue, shape, where, 4 lengths: a request in a virtqueue */
    STEP_START, /* flags, size, features (32 bits): a virtio driver's start */
    STEPS,
};

static inline unsigned fuzz_step_kind(uint8_t op)
{
    return (op & 15) % STEPS;
}

/* Of the step that `data` begins with, `left` at most. */
static inline size_t fuzz_step_len(const uint8_t *data, size_t left)
{
    static const uint8_t len[STEPS] = {4, 4, 5, 5, 6, 3, 3, 4, 4, 5, 8, 7};
    unsigned kind = fuzz_step_kind(*data);
    size_t n = len[kind];

    if (kind == STEP_OUT || kind == STEP_CFG)
        n += 1u << (*data >> 4 & 3);
    else if (kind == STEP_RAM && left > 4)
        n += data[4];
    return n < left ? n : left;
}

#endif
