#include "dev/pci/shadow.h"

#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum {
    PAM_READ = 1,
    PAM_WRITE = 2,
    SMRAM_OPEN = 0x40,
    SMRAM_CLOSED = 0x20,
    SMRAM_LOCK = 0x10,
    SMRAM_ENABLE = 0x08,
    SMRAM_WRITABLE = 0x78,
    SMRAM_BASE = 2, /* C_BASE_SEG reads 010 */
    PAMS = 7,
    SMRAM_LOW = 0xa0000,
};

/* ---- a segment in write-only mode ---- */

static uint64_t writes_read(void *opaque, uint64_t off, unsigned size)
{
    struct viv_shadow_segment *g = opaque;
    uint64_t v = UINT64_MAX;

    if (g->under)
        memcpy(&v, g->under + off, size);
    return v;
}

static void writes_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct viv_shadow_segment *g = opaque;
    uint8_t *p = g->shadow->ram->hva + g->start + off;

    memcpy(p, &v, size);
    viv_ram_written(p, size);
}

/* ---- mapping ---- */

/* PAM0 has F0000h in its high half; PAM1-PAM6 two segments of 16 KiB each, from C0000h up. */
static uint8_t segment_mode(const struct viv_shadow *s, unsigned i)
{
    const uint8_t *pam = s->bridge->config + s->pam;

    if (i == VIV_SHADOW_SEGMENTS - 1)
        return pam[0] >> 4 & 3;
    return pam[1 + i / 2] >> (i & 1 ? 4 : 0) & 3;
}

/* ROM that lies under all of a segment. (The guest can put a small expansion ROM anywhere.) */
static const uint8_t *rom_at(struct viv_shadow *s, uint32_t addr, uint32_t size)
{
    struct viv_space_range r;

    if (!viv_space_find(s->bridge->dev.board->mem, addr, &r) || r.kind != VIV_REGION_ROM || r.last - addr < size - 1)
        return NULL;
    return r.hva + (addr - r.start);
}

static void map_segment(struct viv_shadow_segment *g, uint8_t mode)
{
    viv_region_unmap(g->ram);
    viv_region_unmap(g->rom);
    viv_region_unmap(g->writes);
    g->mode = mode;
    switch (mode) {
    case PAM_READ | PAM_WRITE:
        viv_region_map(g->ram, g->start, 2);
        break;
    case PAM_READ:
        viv_region_map(g->rom, g->start, 2);
        break;
    case PAM_WRITE:
        viv_region_map(g->writes, g->start, 2);
        break;
    }
}

bool viv_shadow_smram_on(const struct viv_shadow *s)
{
    return s->bridge->config[s->smram] & SMRAM_ENABLE;
}

bool viv_shadow_smram_open(const struct viv_shadow *s)
{
    return viv_shadow_smram_on(s) && (s->bridge->config[s->smram] & SMRAM_OPEN);
}

bool viv_shadow_smram_locked(const struct viv_shadow *s)
{
    return s->bridge->config[s->smram] & SMRAM_LOCK;
}

static void show(struct viv_region *r, uint32_t addr, bool on)
{
    if (r && on)
        viv_region_map(r, addr, 2);
    else if (r)
        viv_region_unmap(r);
}

void viv_shadow_update(struct viv_shadow *s)
{
    struct viv_space *mem = s->bridge->dev.board->mem;

    /* What lies under a shadow is looked up before the map is held still for the changes. */
    for (unsigned i = 0; i < VIV_SHADOW_SEGMENTS; i++) {
        struct viv_shadow_segment *g = &s->segment[i];

        if (segment_mode(s, i) != PAM_WRITE || g->mode == PAM_WRITE)
            continue;
        map_segment(g, 0);
        g->under = rom_at(s, g->start, g->size);
    }
    viv_space_begin(mem);
    for (unsigned i = 0; i < VIV_SHADOW_SEGMENTS; i++) {
        if (segment_mode(s, i) != s->segment[i].mode)
            map_segment(&s->segment[i], segment_mode(s, i));
    }
    show(s->open_smram, s->smram_at, viv_shadow_smram_open(s));
    show(s->smram_in_smm, s->smram_at, viv_shadow_smram_on(s));
    viv_space_commit(mem);
}

/* A lock holds until reset. */
static void check_lock(struct viv_shadow *s)
{
    uint8_t *smram = &s->bridge->config[s->smram];

    if (*smram & SMRAM_LOCK) {
        *smram &= ~SMRAM_OPEN;
        s->bridge->wmask[s->smram] = SMRAM_CLOSED;
    }
}

void viv_shadow_written(struct viv_shadow *s, unsigned off, unsigned len)
{
    uint8_t *smram = &s->bridge->config[s->smram];

    if (off <= s->smram && off + len > s->smram) {
        *smram = (*smram & SMRAM_WRITABLE) | SMRAM_BASE;
        check_lock(s);
        if ((*smram & SMRAM_CLOSED) && viv_shadow_smram_on(s))
            viv_guest_error("smram", "D_CLS: a handler's data is not kept out of SMRAM");
    }
    if (off < s->smram + 1u && off + len > s->pam)
        viv_shadow_update(s);
}

void viv_shadow_open(struct viv_shadow *s)
{
    uint8_t *pam = s->bridge->config + s->pam;

    pam[0] = 0x30;
    memset(pam + 1, 0x33, PAMS - 1);
    viv_shadow_update(s);
}

void viv_shadow_reset(struct viv_shadow *s)
{
    s->bridge->wmask[s->smram] = SMRAM_WRITABLE;
    s->bridge->config[s->smram] = SMRAM_BASE;
    s->smram_at = SMRAM_LOW;
    viv_shadow_update(s);
}

void viv_shadow_load(struct viv_shadow *s)
{
    check_lock(s);
    viv_shadow_update(s);
}

/* ---- making ---- */

static struct viv_ram *find_ram(void)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        if (!strcmp(r->name, "pc.ram"))
            return r;
    }
    return NULL;
}

static void make_segment(struct viv_shadow *s, unsigned i)
{
    static const struct viv_region_ops ops = {writes_read, writes_write, 1, 8, false, false};
    struct viv_shadow_segment *g = &s->segment[i];
    struct viv_space *mem = s->bridge->dev.board->mem;
    bool last = i == VIV_SHADOW_SEGMENTS - 1;
    struct viv_region_desc desc = {.name = "pam-ram", .kind = VIV_REGION_RAM, .ram = s->ram};

    g->shadow = s;
    g->start = last ? 0xf0000 : 0xc0000 + i * 0x4000;
    g->size = last ? 0x10000 : 0x4000;
    desc.size = g->size;
    desc.ram_offset = g->start;
    g->ram = viv_region_new(mem, &desc);
    desc.name = "pam-rom";
    desc.kind = VIV_REGION_ROM;
    g->rom = viv_region_new(mem, &desc);
    g->writes = viv_region_new(mem, &(struct viv_region_desc){
                                        .name = "pam-shadow", .kind = VIV_REGION_IO, .size = g->size, .ops = &ops, .opaque = g});
}

int viv_shadow_init(struct viv_shadow *s, struct viv_pci_dev *bridge, uint8_t pam, uint8_t smram, struct viv_err *err)
{
    struct viv_region_desc open = {.name = "smram", .kind = VIV_REGION_RAM, .size = 0x20000, .ram_offset = SMRAM_LOW};

    *s = (struct viv_shadow){.bridge = bridge, .pam = pam, .smram = smram, .ram = find_ram(), .smram_at = SMRAM_LOW};
    if (!s->ram || s->ram->size < VIV_MIB)
        return viv_fail(err, EINVAL, "%s: there is no memory block 'pc.ram' of at least 1 MiB", bridge->dev.cls->name);
    for (unsigned i = 0; i < VIV_SHADOW_SEGMENTS; i++)
        make_segment(s, i);
    open.ram = s->ram;
    s->open_smram = viv_region_new(bridge->dev.board->mem, &open);
    if (bridge->dev.board->smm)
        s->smram_in_smm = viv_region_new(bridge->dev.board->smm, &open);
    return 0;
}

void viv_shadow_fini(struct viv_shadow *s)
{
    for (unsigned i = 0; i < VIV_SHADOW_SEGMENTS; i++) {
        viv_region_free(s->segment[i].ram);
        viv_region_free(s->segment[i].rom);
        viv_region_free(s->segment[i].writes);
    }
    viv_region_free(s->open_smram);
    viv_region_free(s->smram_in_smm);
}
