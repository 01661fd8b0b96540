/* Host bridge of q35 (82G33 GMCH, which the Q35 shares its layout with): PCI bus 0 with configuration mechanism 1 and memory-mapped
 * configuration space (PCIEXBAR), the shadow RAM registers, SMRAM and TSEG. (Intel 316966-002.)
 *
 * TSEG is the end of low RAM, seen by CPUs in SMM alone once it is enabled (T_EN and G_SMRAME) and not open (D_OPEN). Beside the chip's 1,
 * 2 and 8 MiB it has the size that the property names, as OVMF knows it from QEMU: TSEG_SZ 11, told in register 50h after FFFFh has been
 * written there.
 *
 * Left out: MCHBAR, EPBAR, DMIBAR, graphics; DRAM registers beyond keeping their bytes; E_SMERR. */
#include "dev/pci/mch.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/pci.h"
#include "dev/pci/shadow.h"

#include <errno.h>
#include <glib.h>

enum {
    EXT_TSEG = 0x50, /* no chip has it */
    GGC = 0x52,
    PCIEXBAR = 0x60,
    PAM0 = 0x90,
    SMRAM = 0x9d,
    ESMRAMC = 0x9e,
    GBSM = 0xa4,
    BGSM = 0xa8,
    TSEGMB = 0xac, /* where firmware has put TSEG: kept for it */
    TOLUD = 0xb0, /* 5.1.34: top of low usable DRAM, bits 15:4 are 31:20 of the address */

    PCIEXBAR_ENABLE = 1 << 0,
    EXT_TSEG_QUERY = 0xffff,
    ESMRAMC_T_EN = 1 << 0,
    ESMRAMC_H_SMRAME = 1 << 7, /* the SMRAM of A0000h is at FEDA0000h */
    ESMRAMC_WRITABLE = 0x87,
    ESMRAMC_CACHED = 0x38, /* read 1 */
};

#define LENGTHS 3 /* 256, 128, 64 MiB */

struct mch {
    struct viv_pci_dev pci;
    uint32_t config_addr; /* the bus's, for saved state */
    struct viv_shadow shadow;
    struct viv_region *ecam[LENGTHS]; /* one of them is mapped */
    struct viv_region *tseg, *tseg_in_smm; /* hides RAM; shows it; made by size */
    uint32_t tseg_size, ext_tseg; /* bytes */
    uint64_t low_end; /* of RAM below 4 GiB */
};

/* ---- configuration space in memory ---- */

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned size)
{
    struct mch *m = opaque;

    return viv_pci_config_read(viv_pci_bus_at(m->pci.bus, (unsigned)(off >> 20)), off >> 12 & 0xff, off & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct mch *m = opaque;

    viv_pci_config_write(viv_pci_bus_at(m->pci.bus, (unsigned)(off >> 20)), off >> 12 & 0xff, off & 0xfff, (uint32_t)v, size);
}

static void update_ecam(struct mch *m)
{
    uint64_t v = viv_ld_le64(m->pci.config + PCIEXBAR);
    unsigned length = v >> 1 & 3;
    uint64_t size = length < LENGTHS ? (uint64_t)VIV_MCH_ECAM_SIZE >> length : 0;

    for (unsigned i = 0; i < LENGTHS; i++) {
        uint64_t base = v & ~(size - 1) & 0xfffffffffull;

        if ((v & PCIEXBAR_ENABLE) && i == length && base)
            viv_region_map(m->ecam[i], base, 2);
        else
            viv_region_unmap(m->ecam[i]);
    }
}

uint32_t viv_mch_ecam(struct viv_dev *d)
{
    uint64_t v = viv_ld_le64(((struct mch *)d)->pci.config + PCIEXBAR), base = v & 0xfffffffffull & ~(VIV_MCH_ECAM_SIZE - 1ull);

    /* The length's code is 0: 256 MiB. */
    return (v & 7) == PCIEXBAR_ENABLE && base <= UINT32_MAX ? (uint32_t)base : 0;
}

/* ---- TSEG ---- */

static uint64_t hidden_read(void *opaque, uint64_t off, unsigned size)
{
    return UINT64_MAX;
}

static void hidden_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
}

/* 5.1.31: 1, 2 or 8 MiB. */
static uint32_t tseg_size(const struct mch *m)
{
    const uint32_t sizes[4] = {VIV_MIB, 2 * VIV_MIB, 8 * VIV_MIB, m->ext_tseg};
    uint32_t size = sizes[m->pci.config[ESMRAMC] >> 1 & 3];

    if (!(m->pci.config[ESMRAMC] & ESMRAMC_T_EN) || !viv_shadow_smram_on(&m->shadow))
        return 0;
    if (size <= m->low_end / 2)
        return size;
    viv_guest_error("mch", "TSEG of %u MiB: there is too little memory", (unsigned)(size / VIV_MIB));
    return 0;
}

static void make_tseg(struct mch *m, uint32_t size)
{
    static const struct viv_region_ops ops = {hidden_read, hidden_write, 1, 8, false, false};
    struct viv_board *board = m->pci.dev.board;
    struct viv_region_desc desc = {.name = "tseg-hidden", .kind = VIV_REGION_IO, .size = size, .ops = &ops, .opaque = m};

    viv_region_free(m->tseg);
    viv_region_free(m->tseg_in_smm);
    m->tseg = m->tseg_in_smm = NULL;
    m->tseg_size = size;
    if (!size)
        return;
    m->tseg = viv_region_new(board->mem, &desc);
    if (!board->smm)
        return;
    /* Low RAM lies in its block as it does in memory (machine/board.c). */
    desc = (struct viv_region_desc){.name = "tseg", .kind = VIV_REGION_RAM, .size = size, .ram = m->shadow.ram, .ram_offset = m->low_end - size};
    m->tseg_in_smm = viv_region_new(board->smm, &desc);
}

static void update_tseg(struct mch *m)
{
    struct viv_space *mem = m->pci.dev.board->mem;
    uint32_t size = tseg_size(m);

    viv_space_begin(mem);
    if (size != m->tseg_size)
        make_tseg(m, size);
    if (m->tseg_in_smm)
        viv_region_map(m->tseg_in_smm, m->low_end - size, 2);
    if (m->tseg && viv_shadow_smram_open(&m->shadow))
        viv_region_unmap(m->tseg);
    else if (m->tseg)
        viv_region_map(m->tseg, m->low_end - size, 2);
    viv_space_commit(mem);
}

/* After SMRAM, ESMRAMC, or both. D_LCK: TSEG, too, stays as it is until reset. */
static void update_smram(struct mch *m)
{
    uint8_t v = m->pci.config[ESMRAMC];
    bool locked = viv_shadow_smram_locked(&m->shadow);

    m->pci.wmask[ESMRAMC] = locked ? 0 : ESMRAMC_WRITABLE;
    viv_st_le32(m->pci.wmask + TSEGMB, locked ? 0 : 0xfff00000);
    m->shadow.smram_at = v & ESMRAMC_H_SMRAME ? 0xfeda0000 : 0xa0000;
    viv_shadow_update(&m->shadow);
    update_tseg(m);
}

static void config_written(struct viv_pci_dev *d, unsigned off, unsigned len)
{
    struct mch *m = (struct mch *)d;

    if (off < PCIEXBAR + 8 && off + len > PCIEXBAR)
        update_ecam(m);
    if (off < EXT_TSEG + 2 && off + len > EXT_TSEG && m->ext_tseg)
        viv_st_le16(d->config + EXT_TSEG, viv_ld_le16(d->config + EXT_TSEG) == EXT_TSEG_QUERY ? m->ext_tseg / VIV_MIB : 0);
    viv_shadow_written(&m->shadow, off, len);
    if (off <= ESMRAMC && off + len > SMRAM)
        update_smram(m);
}

void viv_mch_setup(struct viv_dev *d)
{
    struct mch *m = (struct mch *)d;

    viv_shadow_open(&m->shadow);
    viv_st_le64(m->pci.config + PCIEXBAR, VIV_MCH_ECAM | PCIEXBAR_ENABLE);
    update_ecam(m);
}

/* ---- class ---- */

/* Where RAM that begins at 1 MiB ends. */
static uint64_t find_low_end(struct viv_space *mem)
{
    struct viv_space_range r;

    return viv_space_find(mem, VIV_MIB, &r) && r.kind == VIV_REGION_RAM ? r.last + 1 : VIV_MIB;
}

static void make_ecam(struct mch *m)
{
    static const struct viv_region_ops ops = {ecam_read, ecam_write, 1, 4, false, false};
    struct viv_region_desc desc = {.name = "pcie-config", .kind = VIV_REGION_IO, .ops = &ops, .opaque = m};

    for (unsigned i = 0; i < LENGTHS; i++) {
        desc.size = (uint64_t)VIV_MCH_ECAM_SIZE >> i;
        m->ecam[i] = viv_region_new(m->pci.dev.board->mem, &desc);
    }
}

static void free_bus(struct viv_board *board)
{
    viv_pci_bus_free(board->pci);
    board->pci = NULL;
}

static int mch_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_pci_ids ids = {0x8086, 0x29c0, 0, 0x060000, 0x1af4, 0x1100};
    struct mch *m = (struct mch *)d;
    int rc;

    d->board->pci = viv_pcie_bus_new(d->board, "pcie.0");
    viv_pci_bus_add_ports(d->board->pci);
    rc = viv_pci_dev_init(&m->pci, &ids, opts, err);
    if (!rc) {
        rc = viv_shadow_init(&m->shadow, &m->pci, PAM0, SMRAM, err);
        if (rc < 0)
            viv_pci_dev_fini(&m->pci);
    }
    if (rc < 0) {
        free_bus(d->board);
        return rc;
    }
    m->low_end = find_low_end(d->board->mem);
    viv_st_le16(m->pci.config + TOLUD, (uint16_t)(m->low_end >> 16 & 0xfff0));
    make_ecam(m);
    viv_st_le64(m->pci.wmask + PCIEXBAR, 0x0000000ffc000007ull);
    for (unsigned reg = PAM0; reg < PAM0 + 7; reg++)
        m->pci.wmask[reg] = reg == PAM0 ? 0x30 : 0x33;
    m->pci.config[ESMRAMC] = ESMRAMC_CACHED;
    m->ext_tseg = (uint32_t)viv_opts_int(opts, "extended-tseg-mbytes") * (uint32_t)VIV_MIB;
    viv_st_le16(m->pci.wmask + EXT_TSEG, 0xffff);
    viv_st_le16(m->pci.wmask + GGC, 0x0372);
    viv_st_le32(m->pci.wmask + GBSM, 0xfff00000);
    viv_st_le32(m->pci.wmask + BGSM, 0xfff00000);
    viv_st_le32(m->pci.wmask + TSEGMB, 0xfff00000);
    m->pci.config_written = config_written;
    return 0;
}

static void mch_unrealize(struct viv_dev *d)
{
    struct mch *m = (struct mch *)d;

    viv_shadow_fini(&m->shadow);
    for (unsigned i = 0; i < LENGTHS; i++)
        viv_region_free(m->ecam[i]);
    viv_region_free(m->tseg);
    viv_region_free(m->tseg_in_smm);
    viv_pci_dev_fini(&m->pci);
    free_bus(d->board);
}

static void mch_reset(struct viv_dev *d)
{
    struct mch *m = (struct mch *)d;

    m->pci.wmask[ESMRAMC] = ESMRAMC_WRITABLE;
    viv_st_le32(m->pci.wmask + TSEGMB, 0xfff00000);
    viv_pci_dev_reset(&m->pci);
    viv_st_le32(m->pci.config + PCIEXBAR, 0xe0000000);
    viv_shadow_reset(&m->shadow);
    viv_pci_bus_set_config_addr(d->board->pci, 0);
    update_ecam(m);
    update_smram(m);
}

static void mch_pre_save(void *obj)
{
    struct mch *m = obj;

    m->config_addr = viv_pci_bus_config_addr(m->pci.bus);
}

static int mch_post_load(void *obj, int version, struct viv_err *err)
{
    struct mch *m = obj;

    viv_pci_bus_set_config_addr(m->pci.bus, m->config_addr);
    viv_shadow_load(&m->shadow);
    update_ecam(m);
    update_smram(m);
    return 0;
}

static const struct viv_state_table mch_state = {
    .name = "mch",
    .ctype = "mch",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(mch, pci, viv_pci_dev_state),
            VIV_F_INT(mch, config_addr),
            VIV_F_DERIVED(mch, shadow, "PAM and SMRAM registers in configuration space"),
            VIV_F_DERIVED(mch, ecam, "PCIEXBAR in configuration space"),
            VIV_F_DERIVED(mch, tseg, "ESMRAMC in configuration space"),
            VIV_F_DERIVED(mch, tseg_in_smm, "ESMRAMC in configuration space"),
            VIV_F_DERIVED(mch, tseg_size, "ESMRAMC in configuration space"),
            VIV_F_CONFIG(mch, ext_tseg),
            VIV_F_CONFIG(mch, low_end),
            VIV_F_END,
        },
    .pre_save = mch_pre_save,
    .post_load = mch_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_PCI_PROPS,
    {.name = "extended-tseg-mbytes", .type = VIV_OPT_INT, .def = "16", .min = 0, .max = 0xfff, .help = "a size of TSEG that firmware may choose, MiB; 0: none"},
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_mch = {
    .name = "mch",
    .desc = "host bridge of q35 (82G33)",
    .bus = VIV_BUS_PCI,
    .internal = true,
    .size = sizeof(struct mch),
    .props = props,
    .state = &mch_state,
    .realize = mch_realize,
    .reset = mch_reset,
    .unrealize = mch_unrealize,
};
