/* A new image: extents first, then the descriptor that makes them one (inside of a sparse extent: its header comes last). */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define GRAIN         128u /* sectors */
#define GTES          512u
#define TABLE_SECTORS (GTES * 4 / VMDK_SECTOR)
#define DESC_AT       1u /* sector */
#define DESC_SECTORS  20u
#define PART          (1ull << 31) /* bytes of an extent of the 2 GB types */

static const char *const adapters[] = {"ide", "lsilogic", "buslogic", "legacyESX", NULL};
static const char *const subformats[] = {"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                         "streamOptimized", NULL};
static const char *const formats[] = {"vmdk", NULL};

const struct viv_opt_def vmdk_create_opts[] = {
    {"adapter_type", VIV_OPT_ENUM, "Virtual adapter type, ide unless given", NULL, adapters},
    {"backing_file", VIV_OPT_STR, "File name of a base image"},
    {"backing_fmt", VIV_OPT_ENUM, "Format of the base image", NULL, formats},
    {"compat6", VIV_OPT_BOOL, "VMDK version 6 image", "off"},
    {"hwversion", VIV_OPT_STR, "VMDK hardware version", "undefined"},
    {"size", VIV_OPT_SIZE, "Virtual disk size"},
    {"subformat", VIV_OPT_ENUM, "VMDK flat extent format, monolithicSparse unless given", NULL, subformats},
    {"toolsversion", VIV_OPT_STR, "VMware guest tools version"},
    {"zeroed_grain", VIV_OPT_BOOL, "Enable efficient zero writes using the zeroed-grain GTE feature"},
    VIV_OPT_END,
};

const char *const vmdk_create_shown[] = {"size",      "adapter_type", "backing_file", "backing_fmt",  "compat6",
                                         "hwversion", "toolsversion", "subformat",    "zeroed_grain", NULL};

struct plan {
    const struct viv_create *c;
    const char *type, *adapter, *tools, *hardware;
    bool flat, split, stored, zeroed;
    uint32_t parent_cid;
    char *name;     /* without its folder */
    GString *lines; /* of extents */
};

/* --- options --- */

/* Text that goes between quotes, and that no reader is to take for more. */
static int check_text(const char *what, const char *text, struct viv_err *err)
{
    if (!strpbrk(text, "\"\n\r"))
        return 0;
    return viv_fail(err, EINVAL, "%s '%s' holds a quote or a line break, which a VMDK descriptor has no way to write", what,
                    text);
}

static int check_options(struct plan *p, struct viv_err *err)
{
    const struct viv_create *c = p->c;
    const char *hardware = viv_opts_str(c->opts, "hwversion");
    bool compat6 = viv_opts_bool(c->opts, "compat6"), given = strcmp(hardware, "undefined") != 0;
    int ret;

    if (compat6 && given)
        return viv_fail(err, EINVAL, "compat6 cannot be enabled with hwversion set");
    p->hardware = given ? hardware : compat6 ? "6" : "4";
    p->adapter = viv_opts_str(c->opts, "adapter_type");
    p->adapter = p->adapter ? p->adapter : "ide";
    p->tools = viv_opts_str(c->opts, "toolsversion");
    p->tools = p->tools ? p->tools : "2147483647";
    p->zeroed = viv_opts_bool(c->opts, "zeroed_grain");
    p->type = viv_opts_str(c->opts, "subformat");
    p->type = p->type ? p->type : "monolithicSparse";
    p->flat = g_str_has_suffix(p->type, "Flat");
    p->split = g_str_has_prefix(p->type, "twoGb");
    p->stored = strcmp(p->type, "streamOptimized") == 0;
    if (p->flat && c->backing_file)
        return viv_fail(err, EINVAL, "Flat image can't have backing file");
    if (p->flat && p->zeroed)
        return viv_fail(err, EINVAL, "Flat image can't enable zeroed grain");
    ret = check_text("hwversion", p->hardware, err);
    if (!ret)
        ret = check_text("toolsversion", p->tools, err);
    if (!ret && c->backing_file)
        ret = check_text("the backing file's name", c->backing_file, err);
    return ret ? ret : check_text("the image's name", p->name, err);
}

static int check_size(const struct plan *p, struct viv_err *err)
{
    uint64_t most = p->split ? PART * VMDK_EXTENTS_MAX : (uint64_t)VMDK_TABLES_MAX * GTES * GRAIN * VMDK_SECTOR;

    if (p->c->size <= most || (p->flat && !p->split))
        return 0;
    return viv_fail(err, EFBIG, "The image size is too large for file format 'vmdk' (%s): at most %" PRIu64 " bytes (%" PRIu64
                    " TiB)", p->type, most, most >> 40);
}

/* The child notes the parent's identity. */
static int find_parent(struct plan *p, const char *image, struct viv_err *err)
{
    struct viv_node_opts o = {.read_only = true, .force_share = true, .no_backing = true};
    g_autofree char *full = NULL;
    struct viv_node *n = NULL;
    int ret;

    p->parent_cid = VMDK_NO_PARENT;
    if (!p->c->backing_file)
        return 0;
    if (p->c->backing_fmt && strcmp(p->c->backing_fmt, "vmdk") != 0)
        return viv_fail(err, EINVAL, "backing_file must be a vmdk image");
    full = viv_blk_backing_path(image, p->c->backing_file);
    ret = viv_node_open_image(full, NULL, &o, &n, err);
    if (ret)
        return ret;
    if (n->drv == &viv_blk_vmdk)
        p->parent_cid = ((struct vmdk *)n->state)->desc.cid;
    else
        ret = viv_fail(err, EINVAL, "backing_file must be a vmdk image ('%s' is %s)", full, n->drv->name);
    viv_node_put(&n);
    return ret;
}

/* --- descriptor --- */

static int make_descriptor(const struct plan *p, GString **out)
{
    unsigned heads = strcmp(p->adapter, "ide") == 0 ? 16 : 255;
    GString *s;
    uint32_t cid;
    int ret = vmdk_new_cid(8, &cid);

    if (ret)
        return ret;
    s = *out = g_string_new(NULL);
    g_string_append_printf(s, "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n", cid,
                           p->parent_cid, p->type);
    if (p->c->backing_file)
        g_string_append_printf(s, "parentFileNameHint=\"%s\"\n", p->c->backing_file);
    else
        g_string_append(s, "\n");
    g_string_append_printf(s, "# Extent description\n%s\n# The Disk Data Base\n#DDB\n\n", p->lines->str);
    g_string_append_printf(s,
                           "ddb.virtualHWVersion = \"%s\"\nddb.geometry.cylinders = \"%" PRIu64 "\"\n"
                           "ddb.geometry.heads = \"%u\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"%s\"\n"
                           "ddb.toolsVersion = \"%s\"\n",
                           p->hardware, p->c->size / (63u * heads * VMDK_SECTOR), heads, p->adapter, p->tools);
    return 0;
}

/* --- sparse extents --- */

struct layout {
    uint32_t tables, gd_sectors, copy, gd, end; /* sectors */
};

static struct layout layout_of(uint64_t bytes)
{
    uint64_t reach = (uint64_t)GTES * GRAIN * VMDK_SECTOR;
    struct layout l = {.tables = bytes / reach + (bytes % reach != 0), .copy = DESC_AT + DESC_SECTORS};

    l.gd_sectors = (l.tables * 4ull + VMDK_SECTOR - 1) / VMDK_SECTOR;
    l.gd = l.copy + l.gd_sectors + l.tables * TABLE_SECTORS;
    l.end = viv_align_down(l.gd + l.gd_sectors + l.tables * TABLE_SECTORS + GRAIN - 1, GRAIN);
    return l;
}

static void make_header(const struct plan *p, const struct layout *l, uint64_t bytes, uint8_t *h)
{
    memset(h, 0, VMDK_H_LEN);
    memcpy(h, VMDK_MAGIC, 4);
    viv_st_le32(h + VMDK_H_VERSION, p->stored ? 3 : p->zeroed ? 2 : 1);
    viv_st_le32(h + VMDK_H_FLAGS, VMDK_F_NEWLINES | VMDK_F_COPY | (p->zeroed ? VMDK_F_ZEROED : 0) |
                                      (p->stored ? VMDK_F_COMPRESSED | VMDK_F_MARKERS : 0));
    viv_st_le64(h + VMDK_H_CAPACITY, bytes / VMDK_SECTOR);
    viv_st_le64(h + VMDK_H_GRAIN, GRAIN);
    viv_st_le64(h + VMDK_H_DESC, DESC_AT);
    viv_st_le64(h + VMDK_H_DESC_SIZE, DESC_SECTORS);
    viv_st_le32(h + VMDK_H_GTES, GTES);
    viv_st_le64(h + VMDK_H_RGD, l->copy);
    viv_st_le64(h + VMDK_H_GD, l->gd);
    viv_st_le64(h + VMDK_H_OVERHEAD, l->end);
    memcpy(h + VMDK_H_NEWLINES, VMDK_NEWLINES, 4);
    viv_st_le16(h + VMDK_H_COMPRESSION, p->stored ? VMDK_DEFLATE : 0);
}

/* Tables follow their directory, one after the other; they are zeroes, as the file is. */
static int make_directory(struct viv_node *file, const struct layout *l, uint32_t at)
{
    uint32_t first = at + l->gd_sectors, step = MIN(l->tables, 1u << 16);
    g_autofree uint32_t *le = g_try_new(uint32_t, MAX(step, 1));
    int ret = le ? 0 : -ENOMEM;

    for (uint32_t i = 0; !ret && i < l->tables; i += step) {
        step = MIN(step, l->tables - i);
        for (uint32_t k = 0; k < step; k++)
            le[k] = GUINT32_TO_LE(first + (i + k) * TABLE_SECTORS);
        ret = viv_node_pwrite(file, at * (uint64_t)VMDK_SECTOR + i * 4ull, le, step * 4ull);
    }
    return ret;
}

/* text NULL: the descriptor is elsewhere, and its room stays empty. */
static int make_sparse(const struct plan *p, struct viv_node *file, uint64_t bytes, const GString *text)
{
    struct layout l = layout_of(bytes);
    uint8_t h[VMDK_H_LEN];
    int ret = viv_node_truncate(file, l.end * (uint64_t)VMDK_SECTOR, VIV_PREALLOC_OFF, NULL);

    if (!ret)
        ret = make_directory(file, &l, l.copy);
    if (!ret)
        ret = make_directory(file, &l, l.gd);
    if (!ret && text)
        ret = viv_node_pwrite(file, DESC_AT * VMDK_SECTOR, text->str, text->len);
    if (!ret)
        ret = viv_node_flush(file);
    make_header(p, &l, bytes, h);
    if (!ret)
        ret = viv_node_pwrite(file, 0, h, sizeof(h));
    return ret ? ret : viv_node_flush(file);
}

/* --- extents in files of their own --- */

/* disk.vmdk: disk-flat.vmdk, or disk-f001.vmdk and disk-s001.vmdk. g_free. */
static char *part_name(const struct plan *p, unsigned number)
{
    const char *dot = strrchr(p->name, '.');
    int stem = dot ? dot - p->name : (int)strlen(p->name);

    if (!p->split)
        return g_strdup_printf("%.*s-flat%s", stem, p->name, dot ? dot : "");
    return g_strdup_printf("%.*s-%c%03u%s", stem, p->name, p->flat ? 'f' : 's', number, dot ? dot : "");
}

static int make_part(const struct plan *p, unsigned number, uint64_t bytes, struct viv_err *err)
{
    g_autofree char *name = part_name(p, number);
    struct viv_node *file;
    int ret = p->c->new_file(p->c->opaque, name, &file, err);

    if (ret)
        return ret;
    g_string_append_printf(p->lines, "RW %" PRIu64 " %s \"%s\"%s\n", bytes / VMDK_SECTOR, p->flat ? "FLAT" : "SPARSE", name,
                           p->flat ? " 0" : "");
    if (!p->flat)
        ret = make_sparse(p, file, bytes, NULL);
    else if ((ret = viv_node_truncate(file, bytes, VIV_PREALLOC_OFF, NULL)) == 0)
        ret = viv_node_flush(file);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}

static int make_parts(const struct plan *p, struct viv_err *err)
{
    uint64_t part = p->split ? PART : p->c->size;
    int ret = 0;

    if (!p->c->new_file)
        return viv_fail(err, ENOTSUP, "a VMDK image of several files (%s) cannot be made here; monolithicSparse can", p->type);
    for (uint64_t at = 0, i = 1; !ret && at < p->c->size; at += part, i++)
        ret = make_part(p, i, MIN(part, p->c->size - at), err);
    return ret;
}

static int make_image(struct plan *p, struct viv_node *file, struct viv_err *err)
{
    bool inside = !p->flat && !p->split;
    GString *text = NULL;
    int ret = 0;

    if (inside)
        g_string_append_printf(p->lines, "RW %" PRIu64 " SPARSE \"%s\"\n", p->c->size / VMDK_SECTOR, p->name);
    else
        ret = make_parts(p, err);
    if (ret)
        return ret;
    ret = make_descriptor(p, &text);
    if (!ret && inside && text->len > DESC_SECTORS * VMDK_SECTOR)
        ret = viv_fail(err, ENAMETOOLONG, "the backing file's name is too long for the descriptor");
    else if (!ret && inside)
        ret = make_sparse(p, file, p->c->size, text);
    else if (!ret)
        ret = viv_node_pwrite(file, 0, text->str, text->len);
    if (!ret && !inside)
        ret = viv_node_flush(file);
    if (text)
        g_string_free(text, TRUE);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", file->filename) : 0;
}

int vmdk_create(const struct viv_create *c, struct viv_node *file, struct viv_err *err)
{
    struct plan p = {.c = c, .name = g_path_get_basename(file->filename), .lines = g_string_new(NULL)};
    int ret = check_options(&p, err);

    if (!ret && !file->zero_init)
        ret = viv_fail(err, ENOTSUP, "'%s' is a device: VMDK images are files that grow; raw and qcow2 can be made there",
                       file->filename);
    if (!ret)
        ret = check_size(&p, err);
    if (!ret)
        ret = find_parent(&p, file->filename, err);
    if (!ret) /* an image that is there is none from here on */
        ret = viv_node_truncate(file, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = make_image(&p, file, err);
    g_string_free(p.lines, TRUE);
    g_free(p.name);
    return ret;
}
