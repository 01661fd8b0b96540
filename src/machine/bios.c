#include "machine/bios.h"

#include "base/log.h"
#include "base/units.h"
#include "host/datadir.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define DEFAULT_BIOS "bios-256k.bin"
#define ROM_UNIT     (64 * VIV_KIB)
#define ROM_MAX      (16 * VIV_MIB)
#define LOW_MAX      (128 * VIV_KIB) /* what is seen below 1 MiB */

bool viv_bios_wanted(const struct viv_machine_config *cfg)
{
    return cfg->bios || cfg->pflash[0] || cfg->pflash[1] || !cfg->kernel;
}

static int check_size(const char *name, size_t len, struct viv_err *err)
{
    if (len % ROM_UNIT)
        return viv_fail(err, EINVAL, "-bios %s: %zu bytes is not a multiple of 64 KiB, as firmware images are", name, len);
    return 0;
}

static void map_rom(struct viv_board *board, struct viv_ram *rom, const char *name, uint64_t offset, uint64_t end)
{
    struct viv_region_desc d = {
        .name = name, .kind = VIV_REGION_ROM, .size = rom->size - offset, .ram = rom, .ram_offset = offset};

    viv_region_map(viv_region_new(board->mem, &d), end - d.size, 0);
}

void viv_bios_map_low(struct viv_board *board, struct viv_ram *rom)
{
    map_rom(board, rom, "bios-low", rom->size > LOW_MAX ? rom->size - LOW_MAX : 0, VIV_MIB);
}

/* UEFI is in firmware volumes: their headers have "_FVH" at 28h, and lie at multiples of 4 KiB (PI 1.7, vol. 3, 3.2.1). */
static bool is_uefi(const uint8_t *data, size_t len)
{
    for (size_t at = 0; at + 0x2c <= len; at += 4096) {
        if (!memcmp(data + at + 0x28, "_FVH", 4))
            return true;
    }
    return false;
}

static int load_rom(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    const char *name = cfg->bios ? cfg->bios : DEFAULT_BIOS;
    g_autofree uint8_t *data = NULL;
    struct viv_ram *rom;
    size_t len;
    int r;

    r = viv_datadir_read(name, ROM_MAX, &data, &len, err);
    if (r < 0) {
        viv_err_prefix(err, "%s", cfg->bios ? "-bios" : "firmware (there is no -kernel)");
        return r;
    }
    r = check_size(name, len, err);
    if (!r && cfg->kernel && !is_uefi(data, len))
        r = viv_fail(err, ENOTSUP, "-bios %s with -kernel: this firmware would need a program of its own to start the kernel; "
                                   "leave out -bios to start it directly, or use UEFI firmware, which does it by itself", name);
    if (!r)
        r = viv_ram_new("pc.bios", len, &rom, err);
    if (r < 0)
        return r;
    rom->keeps = true;
    memcpy(rom->hva, data, len);
    viv_ram_written(rom->hva, len);
    map_rom(board, rom, "bios", 0, 4 * VIV_GIB);
    viv_bios_map_low(board, rom);
    return 0;
}

int viv_bios_load(const struct viv_machine_config *cfg, struct viv_board *board, struct viv_err *err)
{
    board->runs_firmware = true;
    return cfg->pflash[0] || cfg->pflash[1] ? viv_bios_add_flash(cfg, board, err) : load_rom(cfg, board, err);
}

/* ---- boot order ---- */

const struct viv_opt_def viv_boot_opts[] = {
    {.name = "order", .type = VIV_OPT_STR, .help = "letters: a floppy, c disk, d CD, n network"},
    {.name = "once", .type = VIV_OPT_STR, .help = "the same, for the first start only"},
    {.name = "menu", .type = VIV_OPT_BOOL, .help = "let the person choose"},
    {.name = "splash-time", .type = VIV_OPT_INT, .min = 0, .max = 65535, .help = "how long the menu's key is waited for, ms"},
    {.name = "splash", .type = VIV_OPT_STR, .help = "a JPEG or BMP file that SeaBIOS shows while it waits (menu=on)"},
    {.name = "reboot-timeout", .type = VIV_OPT_INT, .def = "-1", .min = -1, .max = 65535,
     .help = "start again after that many ms when nothing could be booted; -1: never"},
    {.name = "strict", .type = VIV_OPT_BOOL, .help = "boot from nothing but devices with bootindex"},
    VIV_OPT_END,
};

/* SeaBIOS's numbers, in CMOS since Bochs: first in 3Dh's low half, second in its high half, third in 38h's high half. */
static unsigned code_of(char letter)
{
    switch (letter) {
    case 'a': case 'b':
        return 1;
    case 'c':
        return 2;
    case 'd':
        return 3;
    case 'n':
        return 4;
    }
    return 0;
}

static int check_letters(const char *key, const char *s, struct viv_err *err)
{
    for (size_t i = 0; s && s[i]; i++) {
        if (!code_of(s[i]))
            return viv_fail(err, EINVAL, "-boot %s=%.40s: '%c' is no kind of device: a, b (floppy), c (disk), d (CD), "
                                         "n (network)", key, s, s[i]);
        if (strchr(s + i + 1, s[i]))
            return viv_fail(err, EINVAL, "-boot %s=%.40s: '%c' stands there twice", key, s, s[i]);
    }
    if (s && strlen(s) > 3)
        return viv_fail(err, EINVAL, "-boot %s=%.40s: the firmware looks at three kinds; bootindex= of devices can order more",
                        key, s);
    return 0;
}

int viv_bios_check_boot(struct viv_opts *boot, struct viv_err *err)
{
    int r = boot ? check_letters("order", viv_opts_str(boot, "order"), err) : 0;

    return r || !boot ? r : check_letters("once", viv_opts_str(boot, "once"), err);
}

static char asked_later[4];
static bool there_is_cmos;

int viv_bios_set_boot(const char *letters, struct viv_err *err)
{
    int r = check_letters("order", letters, err);

    if (!r && !there_is_cmos)
        r = viv_fail(err, ENOTSUP, "this machine runs no firmware that would ask for a boot order");
    if (!r)
        g_strlcpy(asked_later, letters, sizeof(asked_later));
    return r;
}

uint16_t viv_bios_boot_cmos(struct viv_opts *boot, bool first_start)
{
    const char *once = boot ? viv_opts_str(boot, "once") : NULL, *order = boot ? viv_opts_str(boot, "order") : NULL;
    const char *s = *asked_later ? asked_later : first_start && once ? once : order ? order : "cad";
    unsigned code[3] = {0};

    there_is_cmos = true;
    for (unsigned i = 0; i < 3 && s[i]; i++)
        code[i] = code_of(s[i]);
    return (uint16_t)(code[0] | code[1] << 4 | code[2] << 12);
}
