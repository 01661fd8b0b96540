/* The in-kernel 8259 pair and IO-APIC, messages, irqfd and ioeventfd: what struct viv_intc promises to devices.
 *
 * GSIs 0-23 keep the kernel's default routing (0-15 to both controllers, 16-23 to the IO-APIC); those above carry
 * messages of irqfds, one each. The PIT stays ours: the HPET's legacy replacement has to silence it, and saved
 * state is then the same with every accelerator. */
#include "accel/kvm/kvm_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define PINS      24
#define GSI_MAX   1024

struct route {
    int fd; /* -1: free */
    uint64_t addr;
    uint32_t data;
};

struct kvm_intc {
    struct viv_intc intc;
    pthread_mutex_t lock; /* routes */
    struct route routes[GSI_MAX - PINS];
    unsigned max;
};

static struct kvm_intc *chip;

static void set_gsi(struct viv_intc *c, unsigned gsi, int level)
{
    struct kvm_irq_level l = {.irq = gsi, .level = level != 0};

    viv_kvm_ioctl(viv_kvm->fd, KVM_IRQ_LINE, &l);
}

static void send_msi(struct viv_intc *c, uint64_t addr, uint32_t data)
{
    struct kvm_msi m = {.address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data};

    viv_kvm_ioctl(viv_kvm->fd, KVM_SIGNAL_MSI, &m);
}

static void pin_route(struct kvm_irq_routing_entry *e, unsigned gsi, unsigned irqchip, unsigned pin)
{
    e->gsi = gsi;
    e->type = KVM_IRQ_ROUTING_IRQCHIP;
    e->u.irqchip.irqchip = irqchip;
    e->u.irqchip.pin = pin;
}

/* The whole table at once: that is how the kernel takes it. */
static int set_routing(void)
{
    g_autofree struct kvm_irq_routing *t =
        g_malloc0(sizeof(*t) + (size_t)(16 + PINS + chip->max) * sizeof(t->entries[0]));
    struct kvm_irq_routing_entry *e = t->entries;

    for (unsigned i = 0; i < 16; i++)
        pin_route(e++, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i & 7);
    /* The PIT's line is pin 2 of the IO-APIC; pin 0 stays free (MADT override). */
    for (unsigned i = 0; i < PINS; i++)
        if (i != 2)
            pin_route(e++, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
    for (unsigned i = 0; i < chip->max; i++) {
        const struct route *r = &chip->routes[i];

        if (r->fd < 0)
            continue;
        e->gsi = PINS + i;
        e->type = KVM_IRQ_ROUTING_MSI;
        e->u.msi.address_lo = (uint32_t)r->addr;
        e->u.msi.address_hi = (uint32_t)(r->addr >> 32);
        e->u.msi.data = r->data;
        e++;
    }
    t->nr = (uint32_t)(e - t->entries);
    return viv_kvm_ioctl(viv_kvm->fd, KVM_SET_GSI_ROUTING, t);
}

static struct route *find_route(int fd)
{
    for (unsigned i = 0; i < chip->max; i++)
        if (chip->routes[i].fd == fd)
            return &chip->routes[i];
    return NULL;
}

static int assign(struct route *r, int fd, bool on)
{
    struct kvm_irqfd f = {
        .fd = (uint32_t)fd,
        .gsi = PINS + (uint32_t)(r - chip->routes),
        .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
    };

    return viv_kvm_ioctl(viv_kvm->fd, KVM_IRQFD, &f);
}

static int irqfd_locked(int fd, uint64_t addr, uint32_t data)
{
    struct route *r = find_route(fd);
    bool fresh = !r;
    int ret;

    if (!addr && !data) {
        if (!r)
            return -ENOENT;
        assign(r, fd, false);
        r->fd = -1;
        return set_routing();
    }
    if (fresh)
        r = find_route(-1);
    if (!r)
        return -ENOSPC;
    *r = (struct route){fd, addr, data};
    ret = set_routing();
    if (!ret && fresh)
        ret = assign(r, fd, true);
    if (ret < 0 && fresh)
        r->fd = -1;
    return ret;
}

static int msi_irqfd(struct viv_intc *c, int fd, uint64_t addr, uint32_t data)
{
    int ret;

    pthread_mutex_lock(&chip->lock);
    ret = irqfd_locked(fd, addr, data);
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

static int ioeventfd(struct viv_intc *c, int fd, bool port, uint64_t addr, unsigned size, bool add)
{
    struct kvm_ioeventfd e = {
        .addr = addr,
        .len = size,
        .fd = fd,
        .flags = (port ? KVM_IOEVENTFD_FLAG_PIO : 0) | (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    if (size == 0 && viv_kvm_cap(KVM_CAP_IOEVENTFD_ANY_LENGTH) <= 0)
        return -ENOTSUP;
    return viv_kvm_ioctl(viv_kvm->fd, KVM_IOEVENTFD, &e);
}

static const struct viv_intc_ops kvm_intc_ops = {
    .kernel_irqchip = true,
    .set_gsi = set_gsi,
    .send_msi = send_msi,
    .msi_irqfd = msi_irqfd,
    .ioeventfd = ioeventfd,
};

int viv_kvm_irq_init(struct viv_intc **intc, struct viv_err *err)
{
    int ret = viv_kvm_ioctl(viv_kvm->fd, KVM_CREATE_IRQCHIP, NULL);
    int gsis = viv_kvm_cap(KVM_CAP_IRQ_ROUTING);

    if (ret < 0)
        return viv_fail_os(err, -ret, "-accel kvm: cannot make the in-kernel interrupt controllers");
    if (gsis <= PINS || viv_kvm_cap(KVM_CAP_SIGNAL_MSI) <= 0 || viv_kvm_cap(KVM_CAP_IRQFD) <= 0)
        return viv_fail(err, ENOTSUP, "-accel kvm: this kernel's KVM has no interrupt routing");
    chip = g_new0(struct kvm_intc, 1);
    pthread_mutex_init(&chip->lock, NULL);
    chip->max = (unsigned)MIN(gsis, GSI_MAX) - PINS;
    for (unsigned i = 0; i < chip->max; i++)
        chip->routes[i].fd = -1;
    chip->intc.ops = &kvm_intc_ops;
    chip->intc.opaque = chip;
    ret = set_routing();
    if (ret < 0)
        return viv_fail_os(err, -ret, "-accel kvm: KVM_SET_GSI_ROUTING");
    *intc = &chip->intc;
    return 0;
}

/* As firmware leaves the controllers: what viv_firmware_pic() does where the 8259s have ports that the board can
 * write to. Lines 9 to 11 (SCI, PCI) are level-triggered. */
void viv_kvm_irq_reset(void)
{
    struct kvm_irqchip c = {0};

    c.chip.pic.elcr_mask = 0xf8;
    c.chip.pic.irq_base = 0x08;
    c.chip.pic.imr = 0xfa;
    c.chip_id = KVM_IRQCHIP_PIC_MASTER;
    viv_kvm_ioctl(viv_kvm->fd, KVM_SET_IRQCHIP, &c);
    c.chip.pic.elcr_mask = 0xde;
    c.chip.pic.elcr = 0x0e;
    c.chip.pic.irq_base = 0x70;
    c.chip.pic.imr = 0xff;
    c.chip_id = KVM_IRQCHIP_PIC_SLAVE;
    viv_kvm_ioctl(viv_kvm->fd, KVM_SET_IRQCHIP, &c);
    memset(&c, 0, sizeof(c));
    c.chip_id = KVM_IRQCHIP_IOAPIC;
    c.chip.ioapic.base_address = 0xfec00000;
    for (unsigned i = 0; i < PINS; i++)
        c.chip.ioapic.redirtbl[i].fields.mask = 1;
    viv_kvm_ioctl(viv_kvm->fd, KVM_SET_IRQCHIP, &c);
}

/* As the kernel's structures are: fixed ABI, little-endian like us. */
void viv_kvm_irq_save(struct viv_state_writer *w)
{
    for (uint32_t id = 0; id < 3; id++) {
        struct kvm_irqchip c = {.chip_id = id};

        viv_kvm_ioctl(viv_kvm->fd, KVM_GET_IRQCHIP, &c);
        viv_state_put(w, &c.chip, sizeof(c.chip));
    }
}

int viv_kvm_irq_load(struct viv_state_reader *r, struct viv_err *err)
{
    for (uint32_t id = 0; id < 3; id++) {
        struct kvm_irqchip c = {.chip_id = id};
        int ret = viv_state_get(r, &c.chip, sizeof(c.chip), err);

        if (ret)
            return ret;
        ret = viv_kvm_ioctl(viv_kvm->fd, KVM_SET_IRQCHIP, &c);
        if (ret < 0)
            return viv_fail_os(err, -ret, "KVM does not take the state of interrupt controller %u", id);
    }
    return 0;
}
