/* Multiboot 1 (specification 0.6.96): ELF32 images and images with address fields ("a.out kludge").
 *
 * -initrd "FILE ARGS,FILE2 ..." gives modules; each one's string is its whole text, as QEMU and GRUB have it. The command
 * line begins with the kernel's path. Modules lie behind the image,
 * the information structure in low memory: kernels begin their heap where their image ends. */
#include "machine/loader_int.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define HEADER_MAGIC 0x1badb002u
#define MAX_MODULES  64

enum {
    HDR_PAGE_ALIGN = 1 << 0, HDR_MEMORY = 1 << 1, HDR_VIDEO = 1 << 2, HDR_ADDRESSES = 1 << 16,
    INFO_MEMORY = 1 << 0, INFO_BOOTDEV = 1 << 1, INFO_CMDLINE = 1 << 2, INFO_MODS = 1 << 3, INFO_MMAP = 1 << 6,
    INFO_LOADER = 1 << 9,
    INFO_BYTES = 116, MMAP_ENTRY = 24, MOD_ENTRY = 16,
};

struct image {
    uint32_t flags;
    uint32_t header_addr, load_addr, load_end, bss_end, entry_addr;
    uint32_t offset; /* of the header in the file */
    uint64_t entry, high; /* first byte behind the image */
};

struct module {
    uint32_t start, end;
    char *text;
};

static bool find_header(const uint8_t *head, size_t len, struct image *m)
{
    for (size_t at = 0; at + 12 <= len; at += 4) {
        uint32_t flags = viv_ld_le32(head + at + 4);

        if (viv_ld_le32(head + at) != HEADER_MAGIC)
            continue;
        if ((uint32_t)(HEADER_MAGIC + flags + viv_ld_le32(head + at + 8)) != 0)
            continue;
        if ((flags & HDR_ADDRESSES) && at + 32 > len)
            continue;
        m->flags = flags;
        m->offset = (uint32_t)at;
        if (flags & HDR_ADDRESSES) {
            m->header_addr = viv_ld_le32(head + at + 12);
            m->load_addr = viv_ld_le32(head + at + 16);
            m->load_end = viv_ld_le32(head + at + 20);
            m->bss_end = viv_ld_le32(head + at + 24);
            m->entry_addr = viv_ld_le32(head + at + 28);
        }
        return true;
    }
    return false;
}

/* 3.1.3: text at load_addr comes from the file offset where header_addr would be the header. */
static int load_kludge(struct viv_loader *l, struct image *m, struct viv_err *err)
{
    uint32_t delta = m->header_addr - m->load_addr;
    uint64_t off, len, mem;
    int ret;

    if (m->header_addr < m->load_addr || delta > m->offset)
        return viv_fail(err, ENOEXEC, "-kernel %s: multiboot header_addr and load_addr do not fit the file",
                        l->kernel.path);
    off = m->offset - delta;
    if (m->load_end && m->load_end < m->load_addr)
        return viv_fail(err, ENOEXEC, "-kernel %s: multiboot load_end_addr below load_addr", l->kernel.path);
    len = m->load_end ? m->load_end - m->load_addr : l->kernel.size - off;
    if (m->bss_end && m->bss_end < m->load_addr + len)
        return viv_fail(err, ENOEXEC, "-kernel %s: multiboot bss_end_addr below load_end_addr", l->kernel.path);
    mem = m->bss_end ? m->bss_end - m->load_addr : len;
    ret = viv_loader_take(l, m->load_addr, mem, "image", err);
    if (!ret)
        ret = viv_loader_read(l, &l->kernel, off, m->load_addr, len, err);
    if (!ret)
        ret = viv_loader_zero(l, m->load_addr + len, mem - len, err);
    m->entry = m->entry_addr;
    m->high = m->load_addr + mem;
    return ret;
}

static int load_elf(struct viv_loader *l, struct image *m, struct viv_err *err)
{
    struct viv_elf e;
    int ret = viv_elf_open(&l->kernel, &e, err);

    if (ret)
        return ret;
    if (e.is64)
        return viv_fail(err, ENOEXEC, "-kernel %s: a 64-bit ELF; multiboot takes 32-bit ELF images "
                        "(objcopy -O elf32-i386) or address fields in the header", l->kernel.path);
    ret = viv_elf_load(l, &e, err);
    m->entry = e.entry;
    m->high = e.high;
    return ret;
}

static int load_module(struct viv_loader *l, const char *text, uint64_t *next, struct module *mod,
                       struct viv_err *err)
{
    g_autofree char *path = g_strndup(text, strcspn(text, " "));
    struct viv_boot_file f;
    int ret;

    if (!*path)
        return viv_fail(err, EINVAL, "-initrd: an empty module name in \"%s\"", l->info->initrd);
    ret = viv_boot_open(&f, l->info->files, "-initrd", path, err);
    if (ret)
        return ret;
    *next = (*next + VIV_PAGE_SIZE - 1) & VIV_PAGE_MASK;
    if (*next + f.size > UINT32_MAX)
        ret = viv_fail(err, ENOMEM, "-initrd %s: does not fit below 4 GiB", path);
    if (!ret)
        ret = viv_loader_take(l, *next, f.size, "module", err);
    if (!ret && f.size)
        ret = viv_loader_read(l, &f, 0, *next, f.size, err);
    viv_boot_close(&f);
    if (ret)
        return ret;
    mod->start = (uint32_t)*next;
    mod->end = (uint32_t)(*next + f.size);
    mod->text = g_strdup(text);
    *next += f.size;
    return 0;
}

/* At single commas: two are one that belongs to the text, as everywhere in options. */
static GPtrArray *split(const char *text)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    GString *s = g_string_new(NULL);

    for (;; text++) {
        if (*text && (*text != ',' || text[1] == ',')) {
            text += *text == ',';
            g_string_append_c(s, *text);
            continue;
        }
        g_ptr_array_add(list, g_string_free(s, FALSE));
        if (!*text)
            return list;
        s = g_string_new(NULL);
    }
}

static int load_modules(struct viv_loader *l, uint64_t *next, struct module *mods, unsigned *count,
                        struct viv_err *err)
{
    g_autoptr(GPtrArray) list = NULL;

    if (!l->info->initrd)
        return 0;
    list = split(l->info->initrd);
    for (unsigned i = 0; i < list->len; i++) {
        int ret;

        if (i == MAX_MODULES)
            return viv_fail(err, E2BIG, "-initrd: more than %d modules", MAX_MODULES);
        ret = load_module(l, g_strchug(list->pdata[i]), next, &mods[i], err);
        if (ret)
            return ret;
        *count = i + 1;
    }
    return 0;
}

/* Appends to the block, returns the offset. */
static uint32_t add(GByteArray *b, const void *data, size_t len)
{
    uint32_t at = b->len;

    g_byte_array_append(b, data, (guint)len);
    return at;
}

static uint32_t add_string(GByteArray *b, const char *s)
{
    return add(b, s, strlen(s) + 1);
}

static void add_mmap(GByteArray *b, const struct viv_boot_info *info, uint32_t base)
{
    uint32_t at = b->len;

    for (unsigned i = 0; i < info->map_count; i++) {
        uint8_t e[MMAP_ENTRY];

        viv_st_le32(e, MMAP_ENTRY - 4); /* does not count itself */
        viv_st_le64(e + 4, info->map[i].base);
        viv_st_le64(e + 12, info->map[i].len);
        viv_st_le32(e + 20, info->map[i].type);
        add(b, e, sizeof(e));
    }
    viv_st_le32(b->data + 44, b->len - at);
    viv_st_le32(b->data + 48, base + at);
}

static void add_mods(GByteArray *b, const struct module *mods, unsigned count, uint32_t base)
{
    g_autofree uint8_t *list = g_malloc0((size_t)MOD_ENTRY * count + 1);
    uint32_t at;

    for (unsigned i = 0; i < count; i++) {
        viv_st_le32(list + MOD_ENTRY * i, mods[i].start);
        viv_st_le32(list + MOD_ENTRY * i + 4, mods[i].end);
        viv_st_le32(list + MOD_ENTRY * i + 8, base + add_string(b, mods[i].text));
    }
    while (b->len % 4)
        add(b, "", 1);
    at = add(b, list, (size_t)MOD_ENTRY * count);
    viv_st_le32(b->data + 20, count);
    viv_st_le32(b->data + 24, base + at);
}

/* 3.3: the block begins with the information structure. */
static GByteArray *build_info(const struct viv_boot_info *info, uint32_t base, const struct module *mods, unsigned count)
{
    GByteArray *b = g_byte_array_new();
    g_autofree char *cmdline = g_strdup_printf("%s%s%s", info->kernel, info->append ? " " : "",
                                               info->append ? info->append : "");
    uint8_t head[INFO_BYTES] = {0};
    uint32_t s;

    viv_st_le32(head, INFO_MEMORY | INFO_BOOTDEV | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_LOADER);
    viv_st_le32(head + 4, VIV_BOOT_LOW_END / VIV_KIB);
    viv_st_le32(head + 8, (uint32_t)((info->low_end - VIV_MIB) / VIV_KIB));
    viv_st_le32(head + 12, 0x8000ffff); /* first hard disk, no partition */
    add(b, head, sizeof(head));
    s = add_string(b, cmdline);
    viv_st_le32(b->data + 16, base + s);
    s = add_string(b, "Vivarium");
    viv_st_le32(b->data + 64, base + s);
    add_mods(b, mods, count, base);
    add_mmap(b, info, base);
    return b;
}

/* In low memory, or, should there be no room, behind the modules. */
static int write_info(struct viv_loader *l, uint64_t behind, const struct module *mods, unsigned count,
                      struct viv_boot_entry *out, struct viv_err *err)
{
    g_autoptr(GByteArray) sized = build_info(l->info, 0, mods, count), b = NULL;
    uint64_t at = viv_loader_find_low(l, sized->len);
    int ret;

    if (!at)
        at = (behind + VIV_PAGE_SIZE - 1) & VIV_PAGE_MASK;
    b = build_info(l->info, (uint32_t)at, mods, count);
    ret = viv_loader_take(l, at, b->len, "multiboot information", err);
    if (!ret)
        ret = viv_loader_write(l, at, b->data, b->len, err);
    out->info = at;
    return ret;
}

int viv_load_multiboot(struct viv_loader *l, const uint8_t *head, size_t len,
                       struct viv_boot_entry *out, struct viv_err *err)
{
    struct module mods[MAX_MODULES] = {0};
    struct image m = {0};
    unsigned count = 0;
    uint64_t next;
    int ret;

    if (!find_header(head, len, &m))
        return -ENOEXEC;
    if (m.flags & 0xfff8)
        return viv_fail(err, ENOEXEC, "-kernel %s: multiboot header requires features 0x%x that are not known",
                        l->kernel.path, m.flags & 0xfff8);
    if (m.flags & HDR_VIDEO)
        viv_warn("-kernel %s: asks for a video mode; none is set", l->kernel.path);
    ret = m.flags & HDR_ADDRESSES ? load_kludge(l, &m, err) : load_elf(l, &m, err);
    next = MAX(m.high, VIV_MIB);
    if (!ret)
        ret = load_modules(l, &next, mods, &count, err);
    if (!ret) {
        out->kind = VIV_BOOT_MULTIBOOT;
        out->rip = m.entry;
        ret = write_info(l, next, mods, count, out, err);
    }
    for (unsigned i = 0; i < count; i++)
        g_free(mods[i].text);
    return ret;
}
