#include "machine/loader.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/units.h"
#include "host/open.h"
#include "machine/loader_int.h"
#include "mem/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES 8192 /* multiboot's header lies within the first 8 KiB */

/* By its path at the first time only: after that a daemon is in another folder, -chroot and -runas have taken the file out of
 * reach, who started the machine has deleted it, or another one is there. */
static int open_once(GHashTable *kept, const char *path, struct viv_err *err)
{
    gpointer old;
    int fd;

    if (kept && g_hash_table_lookup_extended(kept, path, NULL, &old))
        return GPOINTER_TO_INT(old);
    fd = viv_open(path, O_RDONLY, 0, err);
    if (kept && fd >= 0)
        g_hash_table_insert(kept, g_strdup(path), GINT_TO_POINTER(fd));
    return fd;
}

int viv_boot_open(struct viv_boot_file *f, GHashTable *kept, const char *option, const char *path, struct viv_err *err)
{
    struct stat st;
    int fd = open_once(kept, path, err);

    if (fd < 0) {
        viv_err_prefix(err, "%s", option);
        return fd;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (!kept)
            close(fd);
        return viv_fail(err, EINVAL, "%s %s: not a regular file", option, path);
    }
    *f = (struct viv_boot_file){.path = path, .option = option, .fd = fd, .kept = kept, .size = (uint64_t)st.st_size};
    return 0;
}

void viv_boot_close(struct viv_boot_file *f)
{
    if (f->path && !f->kept)
        close(f->fd);
    f->path = NULL;
}

int viv_boot_pread(const struct viv_boot_file *f, uint64_t off, void *buf, size_t len, struct viv_err *err)
{
    uint8_t *p = buf;

    if (!viv_range_inside(off, len, f->size))
        return viv_fail(err, ENOEXEC, "%s %s: file is truncated (%" G_GUINT64_FORMAT " bytes, needs %"
                        G_GUINT64_FORMAT " at offset %" G_GUINT64_FORMAT ")", f->option, f->path, f->size,
                        (uint64_t)len, off);
    while (len) {
        ssize_t n = pread(f->fd, p, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return viv_fail_os(err, errno, "%s %s: cannot read", f->option, f->path);
        if (n == 0)
            return viv_fail(err, EIO, "%s %s: file became shorter", f->option, f->path);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* Is all of it in RAM as the memory map tells the guest? */
static bool in_ram(const struct viv_boot_info *info, uint64_t start, uint64_t len)
{
    for (unsigned i = 0; i < info->map_count; i++) {
        const struct viv_e820 *m = &info->map[i];

        if (m->type == VIV_E820_RAM && start >= m->base &&
            viv_range_inside(start - m->base, len, m->len))
            return true;
    }
    return false;
}

int viv_loader_take(struct viv_loader *l, uint64_t start, uint64_t len, const char *what, struct viv_err *err)
{
    uint64_t end;

    if (!len)
        return 0;
    if (!viv_add_u64(start, len, &end) || !in_ram(l->info, start, len))
        return viv_fail(err, ENOMEM, "-kernel %s: its %s wants %" G_GUINT64_FORMAT " KiB at 0x%"
                        G_GINT64_MODIFIER "x, where the guest has no RAM (RAM ends at 0x%" G_GINT64_MODIFIER
                        "x%s)", l->info->kernel, what, (len + 1023) / 1024, start, l->info->low_end,
                        start < VIV_MIB ? "; that below 640 KiB and from 1 MiB on is a kernel's" : "; give more with -m?");
    for (unsigned i = 0; i < l->taken_count; i++)
        if (start < l->taken[i].end && l->taken[i].start < end)
            return viv_fail(err, ENOEXEC, "-kernel %s: its %s at 0x%" G_GINT64_MODIFIER
                            "x overlaps its %s", l->info->kernel, what, start, l->taken[i].what);
    if (l->taken_count == G_N_ELEMENTS(l->taken))
        return viv_fail(err, ENOEXEC, "-kernel %s: more than %zu segments", l->info->kernel,
                        G_N_ELEMENTS(l->taken));
    l->taken[l->taken_count].start = start;
    l->taken[l->taken_count].end = end;
    l->taken[l->taken_count++].what = what;
    return 0;
}

uint64_t viv_loader_find_high(const struct viv_loader *l, uint64_t len, uint64_t limit)
{
    uint64_t top = MIN(limit, l->info->low_end) & VIV_PAGE_MASK;

    for (;;) {
        uint64_t start, end, next = top;

        if (len > top || top - len < VIV_MIB)
            return 0;
        start = (top - len) & VIV_PAGE_MASK;
        end = start + len;
        if (start < VIV_MIB)
            return 0;
        for (unsigned i = 0; i < l->taken_count; i++)
            if (start < l->taken[i].end && l->taken[i].start < end)
                next = MIN(next, l->taken[i].start & VIV_PAGE_MASK);
        if (next == top)
            return start;
        top = next;
    }
}

uint64_t viv_loader_find_low(const struct viv_loader *l, uint64_t len)
{
    uint64_t start = VIV_BOOT_LOW_FREE, last;

    do {
        last = start;
        for (unsigned i = 0; i < l->taken_count; i++)
            if (l->taken[i].start < start + len && start < l->taken[i].end)
                start = (l->taken[i].end + 15) & ~15ull;
    } while (start != last && start < VIV_BOOT_LOW_END);
    return viv_range_inside(start, len, VIV_BOOT_LOW_END) ? start : 0;
}

/* Calls fn on each stretch of host memory behind [gpa, gpa + len). */
static int each_stretch(struct viv_loader *l, uint64_t gpa, uint64_t len, struct viv_err *err,
                        int (*fn)(void *opaque, uint8_t *hva, uint64_t done, uint64_t n,
                                  struct viv_err *err), void *opaque)
{
    uint64_t done = 0;

    while (done < len) {
        uint64_t n = len - done;
        void *hva = viv_dma_map(l->info->mem, gpa + done, &n, true);
        int ret;

        if (!hva || !n)
            return viv_fail(err, EFAULT, "-kernel %s: no RAM at 0x%" G_GINT64_MODIFIER "x",
                            l->info->kernel, gpa + done);
        ret = fn(opaque, hva, done, n, err);
        viv_dma_unmap(hva, n, n);
        if (ret)
            return ret;
        done += n;
    }
    return 0;
}

struct read_job {
    const struct viv_boot_file *f;
    uint64_t off;
};

static int read_stretch(void *opaque, uint8_t *hva, uint64_t done, uint64_t n, struct viv_err *err)
{
    struct read_job *j = opaque;

    return viv_boot_pread(j->f, j->off + done, hva, n, err);
}

int viv_loader_read(struct viv_loader *l, const struct viv_boot_file *f, uint64_t off, uint64_t gpa,
                    uint64_t len, struct viv_err *err)
{
    struct read_job j = {f, off};

    if (!viv_range_inside(off, len, f->size))
        return viv_fail(err, ENOEXEC, "%s %s: file is truncated", f->option, f->path);
    return each_stretch(l, gpa, len, err, read_stretch, &j);
}

static int write_stretch(void *opaque, uint8_t *hva, uint64_t done, uint64_t n, struct viv_err *err)
{
    memcpy(hva, (const uint8_t *)opaque + done, n);
    return 0;
}

int viv_loader_write(struct viv_loader *l, uint64_t gpa, const void *buf, uint64_t len, struct viv_err *err)
{
    return each_stretch(l, gpa, len, err, write_stretch, (void *)buf);
}

/* Fresh RAM is zero already: reading it first keeps untouched pages unallocated on the host. */
static int zero_stretch(void *opaque, uint8_t *hva, uint64_t done, uint64_t n, struct viv_err *err)
{
    static const uint8_t zeros[VIV_PAGE_SIZE];

    while (n) {
        uint64_t k = MIN(n, sizeof(zeros));

        if (memcmp(hva, zeros, k))
            memset(hva, 0, k);
        hva += k;
        n -= k;
    }
    return 0;
}

int viv_loader_zero(struct viv_loader *l, uint64_t gpa, uint64_t len, struct viv_err *err)
{
    return each_stretch(l, gpa, len, err, zero_stretch, NULL);
}

int viv_loader_cmdline(struct viv_loader *l, const char *text, uint32_t max, uint64_t *gpa, struct viv_err *err)
{
    size_t len = text ? strlen(text) : 0;
    int ret;

    *gpa = 0;
    if (!text)
        return 0;
    max = MIN(max, VIV_BOOT_CMDLINE_MAX - 1);
    if (len > max)
        return viv_fail(err, E2BIG, "-append: %zu bytes, this kernel takes at most %u", len, max);
    ret = viv_loader_take(l, VIV_BOOT_CMDLINE, len + 1, "command line", err);
    if (!ret)
        ret = viv_loader_write(l, VIV_BOOT_CMDLINE, text, len + 1, err);
    if (!ret)
        *gpa = VIV_BOOT_CMDLINE;
    return ret;
}

/* A GDT for the entry protocols, where flat code (64-bit: L) and data behind it begin at viv_boot_code(). The hidden parts of the
 * segment registers are set beside it; the table is there for kernels that reload them. */
static int write_gdt(struct viv_loader *l, enum viv_boot_kind kind, struct viv_err *err)
{
    unsigned code = viv_boot_code(kind) / 8;
    uint64_t gdt[4] = {0};
    uint8_t bytes[sizeof(gdt)];
    int ret;

    gdt[code] = kind == VIV_BOOT_LINUX64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull;
    gdt[code + 1] = 0x00cf93000000ffffull;
    for (int i = 0; i < 4; i++)
        viv_st_le64(bytes + 8 * i, gdt[i]);
    ret = viv_loader_take(l, VIV_BOOT_GDT, sizeof(bytes), "descriptor table", err);
    return ret ? ret : viv_loader_write(l, VIV_BOOT_GDT, bytes, sizeof(bytes), err);
}

/* Identity map of the first 4 GiB with 2 MiB pages. */
static int write_page_tables(struct viv_loader *l, struct viv_err *err)
{
    g_autofree uint8_t *t = g_malloc0(6 * VIV_PAGE_SIZE);
    int ret;

    viv_st_le64(t, (VIV_BOOT_PAGES + VIV_PAGE_SIZE) | 7);
    for (unsigned i = 0; i < 4; i++)
        viv_st_le64(t + VIV_PAGE_SIZE + 8 * i, (VIV_BOOT_PAGES + (2 + i) * VIV_PAGE_SIZE) | 7);
    for (unsigned i = 0; i < 2048; i++)
        viv_st_le64(t + 2 * VIV_PAGE_SIZE + 8 * i, (uint64_t)i << 21 | 0x83);
    ret = viv_loader_take(l, VIV_BOOT_PAGES, 6 * VIV_PAGE_SIZE, "page tables", err);
    return ret ? ret : viv_loader_write(l, VIV_BOOT_PAGES, t, 6 * VIV_PAGE_SIZE, err);
}

static int load(struct viv_loader *l, struct viv_boot_entry *out, struct viv_err *err)
{
    uint8_t head[HEAD_BYTES];
    size_t len = MIN(l->kernel.size, sizeof(head));
    int ret = viv_boot_pread(&l->kernel, 0, head, len, err);

    if (ret)
        return ret;
    ret = viv_load_linux(l, head, len, out, err);
    if (ret == -ENOEXEC && !err->code)
        ret = viv_load_multiboot(l, head, len, out, err);
    if (ret == -ENOEXEC && !err->code)
        ret = viv_load_pvh(l, head, len, out, err);
    if (ret == -ENOEXEC && !err->code)
        return viv_fail(err, ENOEXEC, "-kernel %s: not a bzImage, an ELF with a PVH note or a multiboot image",
                        l->kernel.path);
    if (ret)
        return ret;
    ret = write_gdt(l, out->kind, err);
    if (!ret && out->kind == VIV_BOOT_LINUX64)
        ret = write_page_tables(l, err);
    return ret;
}

int viv_boot_load(const struct viv_boot_info *info, struct viv_boot_entry *out, struct viv_err *err)
{
    struct viv_loader l = {.info = info};
    struct viv_boot_entry e = {.kind = VIV_BOOT_NONE};
    struct viv_err local = VIV_ERR_INIT;
    int ret;

    if (!info->kernel && info->initrd)
        return viv_fail(err, EINVAL, "-initrd without -kernel");
    if (!info->kernel && info->append)
        return viv_fail(err, EINVAL, "-append without -kernel");
    if (!info->kernel) {
        *out = e;
        return 0;
    }
    ret = viv_boot_open(&l.kernel, info->files, "-kernel", info->kernel, err);
    if (ret)
        return ret;
    ret = load(&l, &e, &local);
    viv_boot_close(&l.kernel);
    if (ret)
        return viv_fail(err, -ret, "%s", local.text);
    *out = e;
    return 0;
}
