/* The fw_cfg device: items by key, named files, DMA. (The interface as documented in Linux's
 * Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg and drivers/firmware, uapi/linux/qemu_fw_cfg.h.)
 *
 * Ports: 510h selector (16 bits, little-endian), 511h data (a byte a read), 514h DMA address (64 bits, big-endian;
 * writing the low half starts it). A write is all or nothing, and only of items that a device offers for it. */
#include "dev/misc/fw_cfg.h"

#include "base/bytes.h"
#include "base/log.h"
#include "bus/isa.h"
#include "mem/dma.h"

#include <errno.h>
#include <glib.h>
#include <linux/qemu_fw_cfg.h>
#include <string.h>

#define KEYS      0x200 /* generic keys; the architecture's own have bit 15 set */
#define KEY_MASK  0x3fff
#define ID_BITS   (FW_CFG_VERSION | FW_CFG_VERSION_DMA)
#define DMA_MAGIC 0x51454d5520434647ull /* "QEMU CFG": what the ports read as */

struct item {
    uint8_t *data;
    uint32_t len;
    void (*written)(void *opaque); /* not NULL: the guest may write it, and it is that device's */
    void (*asked)(void *opaque);   /* not NULL: it is that device's, which makes it when it is selected */
    void *opaque;
};

struct fw_cfg {
    struct viv_dev dev;
    uint16_t key;
    uint32_t offset;   /* in the selected item */
    uint64_t dma_addr; /* what was written of it */
    bool loaded;       /* and nothing was read since: what is selected has not been asked for in this process */

    struct item item[KEYS];
    struct item arch[KEYS];
    GPtrArray *names; /* of files, by key - FILE_FIRST */
    struct viv_region *ports, *dma_ports;
};

static struct item *item_of(struct fw_cfg *f, uint16_t key)
{
    unsigned n = key & KEY_MASK;

    if (n >= KEYS)
        return NULL;
    return key & FW_CFG_ARCH_LOCAL ? &f->arch[n] : &f->item[n];
}

/* ---- for boards ---- */

void viv_fw_cfg_add(struct viv_dev *d, uint16_t key, const void *data, size_t len)
{
    struct item *i = item_of((struct fw_cfg *)d, key);

    g_assert(i && len <= UINT32_MAX && !i->written && !i->asked);
    g_free(i->data);
    i->data = g_memdup2(data, len);
    i->len = (uint32_t)len;
}

void viv_fw_cfg_add_u16(struct viv_dev *d, uint16_t key, uint16_t v)
{
    v = htole16(v);
    viv_fw_cfg_add(d, key, &v, sizeof(v));
}

void viv_fw_cfg_add_u32(struct viv_dev *d, uint16_t key, uint32_t v)
{
    v = htole32(v);
    viv_fw_cfg_add(d, key, &v, sizeof(v));
}

void viv_fw_cfg_add_u64(struct viv_dev *d, uint16_t key, uint64_t v)
{
    v = htole64(v);
    viv_fw_cfg_add(d, key, &v, sizeof(v));
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct fw_cfg_file *const *)a)->name,
                  (*(const struct fw_cfg_file *const *)b)->name);
}

/* Count, then the entries sorted by name, big-endian. */
static void write_directory(struct fw_cfg *f)
{
    unsigned n = f->names->len;
    struct fw_cfg_file *files = g_new0(struct fw_cfg_file, n);
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint32_t count = htobe32(n);

    for (unsigned i = 0; i < n; i++) {
        uint16_t key = (uint16_t)(VIV_FW_CFG_FILE_FIRST + i);

        files[i].size = htobe32(f->item[key].len);
        files[i].select = htobe16(key);
        g_strlcpy(files[i].name, f->names->pdata[i], sizeof(files[i].name));
        g_ptr_array_add(sorted, &files[i]);
    }
    g_ptr_array_sort(sorted, by_name);
    g_byte_array_append(out, (const uint8_t *)&count, sizeof(count));
    for (unsigned i = 0; i < n; i++)
        g_byte_array_append(out, sorted->pdata[i], sizeof(struct fw_cfg_file));
    viv_fw_cfg_add(&f->dev, VIV_FW_CFG_FILE_DIR, out->data, out->len);
    g_free(files);
}

bool viv_fw_cfg_has_file(struct viv_dev *d, const char *name)
{
    return g_ptr_array_find_with_equal_func(((struct fw_cfg *)d)->names, name, g_str_equal, NULL);
}

int viv_fw_cfg_add_file(struct viv_dev *d, const char *name, const void *data, size_t len,
                        uint16_t *key, struct viv_err *err)
{
    struct fw_cfg *f = (struct fw_cfg *)d;
    unsigned i;

    if (!*name || strlen(name) >= FW_CFG_MAX_FILE_PATH)
        return viv_fail(err, EINVAL, "fw_cfg file '%s': a name has 1 to %d characters", name,
                        FW_CFG_MAX_FILE_PATH - 1);
    if (len > UINT32_MAX)
        return viv_fail(err, EFBIG, "fw_cfg file '%s' has 4 GiB or more", name);
    for (i = 0; i < f->names->len && strcmp(f->names->pdata[i], name); i++)
        ;
    if (VIV_FW_CFG_FILE_FIRST + i >= KEYS)
        return viv_fail(err, ENOSPC, "fw_cfg file '%s': no key is left", name);
    if (i == f->names->len)
        g_ptr_array_add(f->names, g_strdup(name));
    viv_fw_cfg_add(d, (uint16_t)(VIV_FW_CFG_FILE_FIRST + i), data, len);
    if (key)
        *key = (uint16_t)(VIV_FW_CFG_FILE_FIRST + i);
    write_directory(f);
    return 0;
}

static int add_borrowed(struct viv_dev *d, const char *name, const struct item *item, struct viv_err *err)
{
    uint16_t key;
    struct item *i;
    int r = viv_fw_cfg_add_file(d, name, item->data, item->len, &key, err);

    if (r < 0)
        return r;
    i = item_of((struct fw_cfg *)d, key);
    g_free(i->data);
    *i = *item;
    return 0;
}

int viv_fw_cfg_add_writable(struct viv_dev *d, const char *name, void *data, size_t len, void (*written)(void *opaque), void *opaque,
                            struct viv_err *err)
{
    return add_borrowed(d, name, &(struct item){.data = data, .len = (uint32_t)len, .written = written, .opaque = opaque}, err);
}

int viv_fw_cfg_add_asked(struct viv_dev *d, const char *name, void *data, size_t len, void (*asked)(void *opaque), void *opaque,
                         struct viv_err *err)
{
    return add_borrowed(d, name, &(struct item){.data = data, .len = (uint32_t)len, .asked = asked, .opaque = opaque}, err);
}

struct viv_dev *viv_fw_cfg_find(void)
{
    struct viv_dev *d = viv_dev_first();

    while (d && d->cls != &viv_dev_fw_cfg)
        d = d->next;
    return d;
}

/* ---- selector and data ---- */

static void select_key(struct fw_cfg *f, uint16_t key)
{
    const struct item *i = item_of(f, key);

    f->key = key;
    f->offset = 0;
    f->loaded = false;
    if (i && i->asked)
        i->asked(i->opaque);
}

static const struct item *selected(struct fw_cfg *f)
{
    const struct item *i = item_of(f, f->key);

    if (f->loaded && i && i->asked)
        i->asked(i->opaque); /* not at load: its device may have been loaded later */
    f->loaded = false;
    return i;
}

static uint8_t next_byte(struct fw_cfg *f)
{
    const struct item *i = selected(f);

    return i && f->offset < i->len ? i->data[f->offset++] : 0;
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    return off == 1 && size == 1 ? next_byte(opaque) : 0;
}

static void port_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    if (off == 0 && size == 2)
        select_key(opaque, (uint16_t)v);
}

/* ---- DMA ---- */

static int copy_out(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
    static const uint8_t zeros[4096];
    struct viv_space *mem = f->dev.board->mem;
    const struct item *i = selected(f);
    uint32_t have = i && f->offset < i->len ? MIN(len, i->len - f->offset) : 0;
    int r = 0;

    if (have)
        r = viv_dma_write(mem, gpa, i->data + f->offset, have);
    f->offset += have;
    gpa += have;
    len -= have;
    /* Past the item's end zeros are read. A hole in memory ends it: len is the guest's. */
    while (r == 0 && len) {
        uint32_t n = MIN(len, (uint32_t)sizeof(zeros));

        r = viv_dma_write(mem, gpa, zeros, n);
        gpa += n;
        len -= n;
    }
    return r;
}

static int copy_in(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
    struct item *i = item_of(f, f->key);
    g_autofree uint8_t *copy = NULL;
    int r;

    if (!i || !i->written)
        return -EROFS;
    if (f->offset > i->len || len > i->len - f->offset)
        return -EINVAL;
    if (!len)
        return 0;
    copy = g_malloc(len);
    r = viv_dma_read(f->dev.board->mem, gpa, copy, len);
    if (r < 0)
        return r;
    memcpy(i->data + f->offset, copy, len);
    f->offset += len;
    i->written(i->opaque);
    return 0;
}

static void dma_run(struct fw_cfg *f)
{
    struct viv_space *mem = f->dev.board->mem;
    struct fw_cfg_dma_access a;
    uint64_t gpa = f->dma_addr;
    uint32_t control, len;
    int r = 0;

    f->dma_addr = 0;
    if (viv_dma_read(mem, gpa, &a, sizeof(a)) < 0) {
        viv_guest_error("fw_cfg", "DMA descriptor at %llx is not in memory",
                        (unsigned long long)gpa);
        return;
    }
    control = be32toh(a.control);
    len = be32toh(a.length);
    if (control & FW_CFG_DMA_CTL_SELECT)
        select_key(f, (uint16_t)(control >> 16));
    if (control & FW_CFG_DMA_CTL_READ)
        r = copy_out(f, be64toh(a.address), len);
    else if (control & FW_CFG_DMA_CTL_WRITE)
        r = copy_in(f, be64toh(a.address), len);
    else if (control & FW_CFG_DMA_CTL_SKIP)
        f->offset = len > UINT32_MAX - f->offset ? UINT32_MAX : f->offset + len;
    a.control = htobe32(r < 0 ? FW_CFG_DMA_CTL_ERROR : 0);
    viv_dma_write(mem, gpa, &a.control, sizeof(a.control));
}

static uint64_t dma_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t be = htobe64(DMA_MAGIC) >> (8 * off); /* byte 0 of the port is the most significant */

    return size == 8 ? be : be & ((1ull << (8 * size)) - 1);
}

static void dma_write(void *opaque, uint64_t off, uint64_t v, unsigned size)
{
    struct fw_cfg *f = opaque;

    if (size == 8) {
        f->dma_addr = be64toh(v);
        dma_run(f);
    } else if (size == 4 && off == 0) {
        f->dma_addr = (uint64_t)be32toh((uint32_t)v) << 32;
    } else if (size == 4 && off == 4) {
        f->dma_addr = (f->dma_addr & ~0xffffffffull) | be32toh((uint32_t)v);
        dma_run(f);
    }
}

/* ---- class ---- */

static int fw_cfg_realize(struct viv_dev *d, struct viv_opts *opts, struct viv_err *err)
{
    static const struct viv_region_ops port = {port_read, port_write, 1, 2, false, false};
    static const struct viv_region_ops dma = {dma_read, dma_write, 1, 8, false, false};
    struct fw_cfg *f = (struct fw_cfg *)d;

    f->names = g_ptr_array_new_with_free_func(g_free);
    viv_fw_cfg_add(d, VIV_FW_CFG_SIGNATURE, "QEMU", 4);
    viv_fw_cfg_add_u32(d, VIV_FW_CFG_ID, ID_BITS);
    write_directory(f);
    f->ports = viv_isa_add_ports(d, "fw_cfg", 0x510, 2, &port);
    f->dma_ports = viv_isa_add_ports(d, "fw_cfg-dma", 0x514, 8, &dma);
    return 0;
}

static void fw_cfg_unrealize(struct viv_dev *d)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    for (unsigned i = 0; i < KEYS; i++) {
        if (!f->item[i].written && !f->item[i].asked)
            g_free(f->item[i].data);
        g_free(f->arch[i].data);
    }
    g_ptr_array_free(f->names, TRUE);
    viv_region_free(f->ports);
    viv_region_free(f->dma_ports);
}

static void fw_cfg_reset(struct viv_dev *d)
{
    struct fw_cfg *f = (struct fw_cfg *)d;

    select_key(f, 0);
    f->dma_addr = 0;
}

static int fw_cfg_post_load(void *obj, int version, struct viv_err *err)
{
    ((struct fw_cfg *)obj)->loaded = true;
    return 0;
}

static const struct viv_state_table fw_cfg_state = {
    .name = "fw_cfg",
    .ctype = "fw_cfg",
    .version = 1,
    .min_version = 1,
    .fields =
        (const struct viv_field[]){
            VIV_F_CONFIG(fw_cfg, dev),
            VIV_F_INT(fw_cfg, key),
            VIV_F_INT(fw_cfg, offset),
            VIV_F_INT(fw_cfg, dma_addr),
            VIV_F_DERIVED(fw_cfg, loaded, "set by loading"),
            VIV_F_CONFIG(fw_cfg, item),
            VIV_F_CONFIG(fw_cfg, arch),
            VIV_F_CONFIG(fw_cfg, names),
            VIV_F_CONFIG(fw_cfg, ports),
            VIV_F_CONFIG(fw_cfg, dma_ports),
            VIV_F_END,
        },
    .post_load = fw_cfg_post_load,
};

const struct viv_dev_class viv_dev_fw_cfg = {
    .name = "fw_cfg",
    .desc = "items for firmware and guest (fw_cfg)",
    .bus = VIV_BUS_ISA,
    .internal = true,
    .size = sizeof(struct fw_cfg),
    .state = &fw_cfg_state,
    .realize = fw_cfg_realize,
    .reset = fw_cfg_reset,
    .unrealize = fw_cfg_unrealize,
};
