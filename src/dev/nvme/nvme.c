/* nvme: the controller's registers and life. Built from NVM Express 1.4; one namespace, which is the drive. Left out: scatter-gather
 * lists, compare, protection information, firmware updates, namespace management, controller memory, weighted arbitration (queues are
 * served as their doorbells ring). Abort answers that the command was not aborted: its data may be moving.
 *
 * CC.EN = 0: nothing more is taken, and CSTS.RDY stays 1 until the commands under way have ended (their pages stay mapped until then). */
#include "dev/nvme/nvme.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/bootorder.h"

#include <errno.h>
#include <string.h>

enum { BAR_REGISTERS = 0, BAR_MSIX = 4 };
enum { CC_MPS = 7, CC_SHN = 3 << 14, CC_SIZES = 0xff << 16, CC_AMS = 7 << 11, CC_CSS = 7 << 4, MPS_MOST = 4 };
/* 3.1.1: 2048 entries, queues in one piece; 15 s to become ready or not; the NVM command set; pages of 4 to 64 KiB. */
#define CAP (0x7ffull | 1ull << 16 | 30ull << 24 | 1ull << 37 | (uint64_t)MPS_MOST << 52)

/* ---- enable, disable, shutdown ---- */

static void default_features(struct nvme *n)
{
    memset(n->features, 0, sizeof(n->features));
    n->features[NVME_F_TEMPERATURE] = 273 + 70;
    n->features[NVME_F_CACHE] = n->front.wce_default;
    n->features[NVME_F_QUEUES] = (n->queues - 1) | (n->queues - 1) << 16;
}

static void enable(struct nvme *n)
{
    uint32_t sq = (n->aqa & 0xfff) + 1, cq = (n->aqa >> 16 & 0xfff) + 1;
    uint64_t mask = nvme_page_size(n) - 1;

    if ((n->cc >> CC_MPS & 15) > MPS_MOST || n->cc & (CC_AMS | CC_CSS) || sq < 2 || cq < 2 || n->asq & mask || n->acq & mask) {
        viv_guest_error("nvme", "cannot start: CC %08x, AQA %08x, ASQ %llx, ACQ %llx", n->cc, n->aqa, (unsigned long long)n->asq,
                        (unsigned long long)n->acq);
        n->csts |= NVME_CSTS_CFS;
        return;
    }
    n->sq[0] = (struct nvme_sq){.gpa = n->asq, .size = sq};
    n->cq[0] = (struct nvme_cq){.gpa = n->acq, .size = cq, .interrupts = true, .phase = true};
    n->csts = NVME_CSTS_RDY;
}

static void clear(struct nvme *n)
{
    memset(n->sq, 0, (n->queues + 1) * sizeof(*n->sq));
    memset(n->cq, 0, (n->queues + 1) * sizeof(*n->cq));
    n->csts = n->intm = n->aers = 0;
    n->error = 0;
    n->error_masked = n->changed = n->change_masked = false;
    default_features(n);
    nvme_update_line(n);
}

void nvme_idle(struct nvme *n)
{
    if (!n->stopping || n->reqs.length)
        return;
    n->stopping = false;
    clear(n);
    if (n->cc & NVME_CC_EN) /* set again meanwhile */
        enable(n);
}

static void stop(struct nvme *n)
{
    n->stopping = true;
    nvme_drop_held(n);
    viv_front_hurry(&n->front);
    nvme_idle(n);
}

static bool has_io_queue(const struct nvme *n)
{
    for (unsigned i = 1; i <= n->queues; i++) {
        if (n->sq[i].size || n->cq[i].size)
            return true;
    }
    return false;
}

static void write_cc(struct nvme *n, uint32_t v)
{
    uint32_t old = n->cc;

    /* 3.1.5: the rest changes only while the controller is disabled; 7.6.1 lets a driver say sizes of entries before its first queue. */
    if (old & v & NVME_CC_EN) {
        uint32_t free = has_io_queue(n) ? CC_SHN : CC_SHN | CC_SIZES;

        n->cc = (old & ~free) | (v & free);
    } else {
        n->cc = v;
    }
    if (!(old & NVME_CC_EN) && v & NVME_CC_EN && !n->stopping) {
        enable(n);
    } else if (old & NVME_CC_EN && !(v & NVME_CC_EN) && !n->stopping) {
        stop(n);
        return;
    }
    if (v & CC_SHN && !(old & CC_SHN) && !n->stopping && !(n->csts & NVME_CSTS_SHST))
        nvme_shut_down(n);
}

/* ---- registers ---- */

static uint64_t reg_read(void *opaque, uint64_t off, unsigned size)
{
    struct nvme *n = opaque;

    switch (off) {
    case NVME_R_CAP:
        return (uint32_t)CAP;
    case NVME_R_CAP + 4:
        return CAP >> 32;
    case NVME_R_VS:
        return 0x00010400;
    case NVME_R_INTMS:
    case NVME_R_INTMC:
        return n->intm;
    case NVME_R_CC:
        return n->cc;
    case NVME_R_CSTS:
        return n->csts;
    case NVME_R_AQA:
        return n->aqa;
    case NVME_R_ASQ:
        return (uint32_t)n->asq;
    case NVME_R_ASQ + 4:
        return n->asq >> 32;
    case NVME_R_ACQ:
        return (uint32_t)n->acq;
    case NVME_R_ACQ + 4:
        return n->acq >> 32;
    default:
        return 0;
    }
}

static void put_half(uint64_t *reg, bool high, uint32_t v)
{
    *reg = high ? (*reg & UINT32_MAX) | (uint64_t)v << 32 : (*reg & ~(uint64_t)UINT32_MAX) | v;
}

static void reg_write(void *opaque, uint64_t off, uint64_t value, unsigned size)
{
    struct nvme *n = opaque;
    uint32_t v = (uint32_t)value;

    switch (off) {
    case NVME_R_INTMS:
        n->intm |= v;
        nvme_update_line(n);
        break;
    case NVME_R_INTMC:
        n->intm &= ~v;
        nvme_update_line(n);
        break;
    case NVME_R_CC:
        write_cc(n, v);
        break;
    case NVME_R_AQA:
        n->aqa = v & 0x0fff0fff;
        break;
    case NVME_R_ASQ:
    case NVME_R_ASQ + 4:
        put_half(&n->asq, off & 4, off & 4 ? v : v & ~0xfffu);
        break;
    case NVME_R_ACQ:
    case NVME_R_ACQ + 4:
        put_half(&n->acq, off & 4, off & 4 ? v : v & ~0xfffu);
        break;
    default:
        if (off >= NVME_DOORBELLS)
            nvme_doorbell(n, off, v);
        else
            viv_guest_error("nvme", "write of %x to register %llx", v, (unsigned long long)off);
    }
}

/* ---- the device ---- */

static void resend(void *opaque)
{
    nvme_resend_held(opaque);
}

static void told(void *opaque)
{
    nvme_fetch_starved(opaque);
    nvme_interrupt(opaque);
}

static void resized(void *opaque)
{
    nvme_tell_resized(opaque);
}

static int check_drive(const struct nvme *n, struct viv_opts *opts, struct viv_err *err)
{
    const struct viv_front *f = &n->front;
    const char *what = viv_opts_what(opts);

    if (!f->serial[0])
        return viv_fail(err, EINVAL, "%s: serial is missing: a name of up to 20 characters by which guests tell disks apart", what);
    if (f->logical > 65536)
        return viv_fail(err, EINVAL, "%s: logical_block_size is at most 65536 on NVMe", what);
    if (!viv_front_blocks(f))
        return viv_fail(err, EINVAL, "%s: drive '%s' has no blocks", what, f->drive->id);
    return 0;
}

static int add_bars(struct nvme *n, struct viv_err *err)
{
    static const struct viv_region_ops ops = {reg_read, reg_write, 4, 4, false, false};
    struct viv_region_desc desc = {.name = "nvme", .kind = VIV_REGION_IO, .size = NVME_BAR_SIZE, .ops = &ops, .opaque = n};
    int rc = viv_msix_init(&n->pci, n->vectors, BAR_MSIX, err);

    if (rc < 0)
        return rc;
    n->region = viv_region_new(n->pci.dev.board->mem, &desc);
    viv_pci_add_bar(&n->pci, BAR_REGISTERS, n->region, NVME_BAR_SIZE, false, true, false);
    return 0;
}

static int add_boot(struct nvme *n, struct viv_opts *opts, struct viv_err *err)
{
    g_autofree char *at = NULL;

    if (n->front.bootindex < 0)
        return 0;
    at = viv_pci_fw_path(&n->pci, "nvme");
    n->fw_path = g_strconcat(at, "/namespace@1,0", NULL);
    if (viv_bootorder_add(&n->pci.dev, n->front.bootindex, n->fw_path, err) == 0)
        return 0;
    viv_err_prefix(err, "%s", viv_opts_what(opts));
    g_clear_pointer(&n->fw_path, g_free);
    return -EBUSY;
}

static int finish_realize(struct nvme *n, struct viv_opts *opts, struct viv_err *err)
{
    int rc = check_drive(n, opts, err);

    if (!rc && viv_pci_bus_kind(n->pci.bus) == VIV_PCIE_LINK)
        rc = viv_pcie_init(&n->pci, VIV_PCIE_ENDPOINT, 0, err);
    if (!rc)
        rc = viv_pci_pm_init(&n->pci, err);
    if (!rc)
        rc = add_bars(n, err);
    return rc ? rc : add_boot(n, opts, err);
}

static void pulled(struct viv_pci_dev *d)
{
    struct nvme *n = (struct nvme *)d;

    n->cc = 0;
    if (!n->stopping)
        stop(n);
}

static int nvme_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_front_ops front_ops = {.resend = resend, .told = told, .resized = resized};
    static const struct viv_pci_ids ids = {0x1b36, 0x0010, 2, 0x010802, 0x1af4, 0x1100};
    struct nvme *n = (struct nvme *)d;
    int rc = viv_pci_dev_init(&n->pci, &ids, opts, err);

    if (rc < 0)
        return rc;
    n->pci.config[0x3d] = 1; /* INTA# */
    rc = viv_front_open(&n->front, d, opts, false, &front_ops, n, err);
    if (rc == 0) {
        n->queues = (unsigned)viv_opts_int(opts, "max_ioqpairs");
        n->vectors = n->queues + 1;
        rc = finish_realize(n, opts, err);
        if (rc == 0) {
            n->sq = g_new0(struct nvme_sq, n->queues + 1);
            n->cq = g_new0(struct nvme_cq, n->queues + 1);
            g_queue_init(&n->reqs);
            g_queue_init(&n->held);
            g_queue_init(&n->loaded);
            n->pci.pulled = pulled;
            return 0;
        }
        viv_front_close(&n->front);
    }
    viv_pci_dev_fini(&n->pci);
    return rc;
}

static void nvme_reset(struct viv_dev *d)
{
    struct nvme *n = (struct nvme *)d;

    n->cc = 0;
    n->stopping = true;
    nvme_drop_held(n);
    viv_front_wait_idle(&n->front);
    nvme_drop_held(n);
    n->stopping = false;
    clear(n);
    n->cc = n->aqa = 0;
    n->asq = n->acq = 0;
    n->read_bytes = n->written_bytes = n->reads = n->writes = 0;
    viv_pci_dev_reset(&n->pci);
}

static void nvme_unrealize(struct viv_dev *d)
{
    struct nvme *n = (struct nvme *)d;

    nvme_reset(d);
    viv_front_close(&n->front);
    if (n->fw_path)
        viv_bootorder_remove(&n->pci.dev);
    g_free(n->fw_path);
    g_free(n->sq);
    g_free(n->cq);
    viv_pci_dev_fini(&n->pci);
}

static void nvme_running(struct viv_dev *d, bool running)
{
    struct nvme *n = (struct nvme *)d;

    viv_front_running(&n->front, running);
    if (running)
        nvme_resume_loaded(n);
}

static bool nvme_is_idle(struct viv_dev *d)
{
    return viv_front_idle(&((struct nvme *)d)->front);
}

static int nvme_post_load(void *obj, int version, struct viv_err *err)
{
    struct nvme *n = obj;
    uint32_t known = NVME_CSTS_RDY | NVME_CSTS_CFS | NVME_CSTS_SHST;

    if (n->csts & ~known || n->aers > NVME_AERS || n->error > 2 ||
        (n->csts & NVME_CSTS_RDY && !(n->sq[0].size && n->cq[0].size && (n->cc >> CC_MPS & 15) <= MPS_MOST)) || n->front.holding != (n->loaded.length != 0))
        return viv_fail(err, EINVAL, "nvme: registers that could not be (CSTS %x, CC %x)", n->csts, n->cc);
    n->features[NVME_F_QUEUES] = (n->queues - 1) | (n->queues - 1) << 16;
    return 0;
}

static const struct viv_state_table nvme_state = {
    .name = "nvme",
    .ctype = "nvme",
    .version = 2, /* 1: without changes of the namespace */
    .min_version = 2,
    .fields =
        (const struct viv_field[]){
            VIV_F_STRUCT(nvme, pci, viv_pci_dev_state),
            VIV_F_STRUCT(nvme, front, viv_front_state),
            VIV_F_CONFIG(nvme, region),
            VIV_F_CONFIG(nvme, queues),
            VIV_F_CONFIG(nvme, vectors),
            VIV_F_CONFIG(nvme, fw_path),
            VIV_F_INT(nvme, intm),
            VIV_F_INT(nvme, cc),
            VIV_F_INT(nvme, csts),
            VIV_F_INT(nvme, aqa),
            VIV_F_INT(nvme, asq),
            VIV_F_INT(nvme, acq),
            VIV_F_DERIVED(nvme, stopping, "false: commands are under way then, and it is idle when it is saved"),
            VIV_F_INTS(nvme, features),
            VIV_F_INT(nvme, read_bytes),
            VIV_F_INT(nvme, written_bytes),
            VIV_F_INT(nvme, reads),
            VIV_F_INT(nvme, writes),
            VIV_F_INTS(nvme, aer),
            VIV_F_INT(nvme, aers),
            VIV_F_INT(nvme, error),
            VIV_F_INT(nvme, error_masked),
            VIV_F_INT(nvme, changed),
            VIV_F_INT(nvme, change_masked),
            VIV_F_CUSTOM(nvme, sq, nvme_save_queues, nvme_load_queues),
            VIV_F_DERIVED(nvme, cq, "saved with sq"),
            VIV_F_DERIVED(nvme, starved, "true after a load: it only says to look"),
            VIV_F_DERIVED(nvme, turn, "any number"),
            VIV_F_CUSTOM(nvme, reqs, nvme_save_reqs, nvme_load_reqs),
            VIV_F_DERIVED(nvme, held, "in reqs; done anew after a load"),
            VIV_F_DERIVED(nvme, loaded, "in reqs"),
            VIV_F_END,
        },
    .post_load = nvme_post_load,
};

static const struct viv_opt_def props[] = {
    VIV_FRONT_PROPS,
    {.name = "max_ioqpairs", .type = VIV_OPT_INT, .def = "64", .min = 1, .max = NVME_QUEUES_MOST, .help = "pairs of I/O queues"},
    {.name = "cmb_size_mb", .type = VIV_OPT_REFUSED, .help = "there is no controller memory; leave it out"},
    {.name = "num_queues", .type = VIV_OPT_REFUSED, .help = "an old name: use max_ioqpairs"},
    {.name = "mdts", .type = VIV_OPT_REFUSED, .help = "commands are of up to 512 KiB (mdts 7); leave it out"},
    {.name = "subsys", .type = VIV_OPT_REFUSED, .help = "each drive has a controller of its own: give drive="},
    VIV_PCI_PROPS,
    VIV_OPT_END,
};

const struct viv_dev_class viv_dev_nvme = {
    .name = "nvme",
    .desc = "NVMe disk",
    .bus = VIV_BUS_PCI,
    .size = sizeof(struct nvme),
    .props = props,
    .state = &nvme_state,
    .realize = nvme_realize,
    .reset = nvme_reset,
    .unrealize = nvme_unrealize,
    .vm_running = nvme_running,
    .idle = nvme_is_idle,
    .hotplug = &viv_pci_hotplug,
};
