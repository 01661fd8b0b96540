/* Headers of sparse extents: nothing in them is believed. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int bad(const struct vmdk_sparse *s, struct viv_err *err, const char *what, uint64_t value, const char *works)
{
    return viv_fail(err, EINVAL, "'%s': %s %" PRIu64 " (%s)", s->file->filename, what, value, works);
}

static int check_geometry(struct vmdk_sparse *s, uint64_t sectors, uint64_t grain, struct viv_err *err)
{
    uint64_t reach, tables;

    if (!grain || (grain & (grain - 1)) || grain > VMDK_GRAIN_MAX / VMDK_SECTOR)
        return bad(s, err, "grains of a number of sectors that cannot be:", grain,
                   "a power of two up to 131072 can, 128 is usual");
    if (s->gtes < 128 || s->gtes % 128 || s->gtes > VMDK_GTES_MAX)
        return bad(s, err, "a wrong number of entries in a grain table:", s->gtes, "a multiple of 128 up to 4096 works, "
                   "512 is usual");
    if (!viv_mul_u64(sectors, VMDK_SECTOR, &s->capacity) || s->capacity > INT64_MAX)
        return bad(s, err, "too many sectors:", sectors, "2^54 are possible");
    s->grain = grain * VMDK_SECTOR;
    reach = s->grain * s->gtes;
    tables = s->capacity / reach + (s->capacity % reach != 0);
    if (tables > VMDK_TABLES_MAX)
        return bad(s, err, "too many grain tables:", tables, "at most 2^23 work");
    s->tables = tables;
    return 0;
}

static int place(const struct vmdk_sparse *s, uint64_t sector, uint64_t bytes, const char *what, uint64_t *at,
                 struct viv_err *err)
{
    uint64_t offset;

    if (!sector || !viv_mul_u64(sector, VMDK_SECTOR, &offset) || !viv_range_inside(offset, bytes, viv_node_size(s->file)))
        return viv_fail(err, EINVAL, "'%s': the image is truncated or corrupt: %s (sector %" PRIu64 ") is not in the file",
                        s->file->filename, what, sector);
    *at = offset;
    return 0;
}

static int check_flags(struct vmdk_sparse *s, const uint8_t *h, struct viv_err *err)
{
    uint32_t version = viv_ld_le32(h + VMDK_H_VERSION), flags = viv_ld_le32(h + VMDK_H_FLAGS);

    if (version > 3)
        return viv_fail(err, ENOTSUP, "'%s': unsupported VMDK version %u (1 to 3 work)", s->file->filename, version);
    if ((flags & VMDK_F_NEWLINES) && memcmp(h + VMDK_H_NEWLINES, VMDK_NEWLINES, 4) != 0)
        return viv_fail(err, EINVAL, "'%s' is damaged: a transfer has changed its ends of lines as if it were text",
                        s->file->filename);
    s->zeroed = flags & VMDK_F_ZEROED;
    s->compressed = flags & VMDK_F_COMPRESSED;
    s->markers = flags & VMDK_F_MARKERS;
    if (s->compressed && viv_ld_le16(h + VMDK_H_COMPRESSION) != VMDK_DEFLATE)
        return viv_fail(err, ENOTSUP, "'%s': compression algorithm %u is not known; deflate (1) works", s->file->filename,
                        viv_ld_le16(h + VMDK_H_COMPRESSION));
    return 0;
}

/* The end of a stream: a marker, the header once more with the place of the directory in it, a marker of zeroes. */
static int read_footer(struct vmdk_sparse *s, uint8_t *h, struct viv_err *err)
{
    uint64_t size = viv_node_size(s->file);
    uint8_t end[3 * VMDK_SECTOR];
    int ret;

    if (size < 4 * VMDK_SECTOR)
        return viv_fail(err, EINVAL, "'%s': the image is truncated: its footer is missing", s->file->filename);
    ret = viv_node_pread(s->file, size - sizeof(end), end, sizeof(end));
    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", s->file->filename);
    if (viv_ld_le32(end + VMDK_M_SIZE) || viv_ld_le32(end + VMDK_M_TYPE) != VMDK_MARKER_FOOTER ||
        memcmp(end + VMDK_SECTOR, VMDK_MAGIC, 4) != 0 || viv_ld_le32(end + 2 * VMDK_SECTOR + VMDK_M_SIZE) ||
        viv_ld_le32(end + 2 * VMDK_SECTOR + VMDK_M_TYPE))
        return viv_fail(err, EINVAL,
                        "'%s': the image is truncated or corrupt: its grain directory is to be found by a footer, and the "
                        "file does not end in one",
                        s->file->filename);
    memcpy(h, end + VMDK_SECTOR, VMDK_H_LEN);
    s->streamed = true;
    if (viv_ld_le64(h + VMDK_H_GD) == VMDK_GD_AT_END)
        return viv_fail(err, EINVAL, "'%s': the image is corrupt: its footer does not say where the grain directory is",
                        s->file->filename);
    return 0;
}

static int read_hosted(struct vmdk_sparse *s, struct viv_err *err)
{
    uint8_t h[VMDK_H_LEN];
    uint64_t desc, desc_size;
    int ret = viv_node_pread(s->file, 0, h, sizeof(h));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", s->file->filename);
    if (memcmp(h, VMDK_MAGIC, 4) != 0)
        return viv_fail(err, EINVAL, "'%s' is no sparse extent of VMDK", s->file->filename);
    ret = check_flags(s, h, err);
    if (!ret && viv_ld_le64(h + VMDK_H_GD) == VMDK_GD_AT_END) {
        ret = read_footer(s, h, err);
        if (!ret)
            ret = check_flags(s, h, err);
    }
    if (ret)
        return ret;
    s->gtes = viv_ld_le32(h + VMDK_H_GTES);
    ret = check_geometry(s, viv_ld_le64(h + VMDK_H_CAPACITY), viv_ld_le64(h + VMDK_H_GRAIN), err);
    if (ret)
        return ret;
    if (s->compressed && s->grain > VMDK_STORED_MAX)
        return bad(s, err, "compressed grains of too many bytes:", s->grain, "up to 2 MiB work");
    desc = viv_ld_le64(h + VMDK_H_DESC);
    desc_size = viv_ld_le64(h + VMDK_H_DESC_SIZE);
    if (desc && desc_size) {
        if (desc_size > VMDK_DESC_MAX / VMDK_SECTOR)
            return bad(s, err, "a descriptor of too many sectors:", desc_size, "8192 are possible");
        s->desc_bytes = desc_size * VMDK_SECTOR;
        ret = place(s, desc, s->desc_bytes, "the descriptor", &s->desc_at, err);
    }
    if (!ret && s->tables)
        ret = place(s, viv_ld_le64(h + VMDK_H_GD), s->tables * 4ull, "the grain directory", &s->gd_at, err);
    if (!ret && s->tables && (viv_ld_le32(h + VMDK_H_FLAGS) & VMDK_F_COPY))
        ret = place(s, viv_ld_le64(h + VMDK_H_RGD), s->tables * 4ull, "the copy of the grain directory", &s->copy_at, err);
    return ret;
}

static int read_cowd(struct vmdk_sparse *s, struct viv_err *err)
{
    uint8_t h[VMDK_H_LEN];
    uint32_t version;
    int ret = viv_node_pread(s->file, 0, h, sizeof(h));

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", s->file->filename);
    if (memcmp(h, VMDK_COWD_MAGIC, 4) != 0)
        return viv_fail(err, EINVAL, "'%s' is no sparse extent of ESX (COWD)", s->file->filename);
    version = viv_ld_le32(h + COWD_H_VERSION);
    if (version != 1)
        return viv_fail(err, ENOTSUP, "'%s': unsupported COWD version %u (1 works)", s->file->filename, version);
    s->gtes = COWD_GTES;
    ret = check_geometry(s, viv_ld_le32(h + COWD_H_SECTORS), viv_ld_le32(h + COWD_H_GRAIN), err);
    if (!ret && viv_ld_le32(h + COWD_H_TABLES) < s->tables)
        ret = bad(s, err, "the grain directory is too short:", viv_ld_le32(h + COWD_H_TABLES), "its disk is larger");
    if (!ret && s->tables)
        ret = place(s, viv_ld_le32(h + COWD_H_GD), s->tables * 4ull, "the grain directory", &s->gd_at, err);
    return ret;
}

static int read_directory(struct vmdk_sparse *s, uint64_t at, uint32_t **out, struct viv_err *err)
{
    uint32_t *gd = g_try_new(uint32_t, MAX(s->tables, 1));
    int ret = gd ? viv_node_pread(s->file, at, gd, s->tables * 4ull) : -ENOMEM;

    if (ret) {
        g_free(gd);
        return viv_fail_os(err, -ret, "Could not read the grain directory of '%s'", s->file->filename);
    }
    for (uint32_t i = 0; i < s->tables; i++)
        gd[i] = GUINT32_FROM_LE(gd[i]);
    *out = gd;
    return 0;
}

int vmdk_sparse_open(struct vmdk *v, struct viv_node *file, bool cowd, struct vmdk_sparse **out, struct viv_err *err)
{
    struct vmdk_sparse *s = g_new0(struct vmdk_sparse, 1);
    int ret;

    s->v = v;
    s->file = file;
    s->cowd = cowd;
    s->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    ret = cowd ? read_cowd(s, err) : read_hosted(s, err);
    if (!ret)
        ret = read_directory(s, s->gd_at, &s->gd, err);
    if (!ret && s->copy_at)
        ret = read_directory(s, s->copy_at, &s->copy, err);
    s->virgin = viv_align_down(viv_node_size(file) + s->grain - 1, MAX(s->grain, 1));
    s->next = s->virgin;
    if (ret) {
        vmdk_sparse_free(s);
        return ret;
    }
    *out = s;
    return 0;
}

void vmdk_sparse_free(struct vmdk_sparse *s)
{
    if (!s)
        return;
    if (s->meta)
        g_array_free(s->meta, TRUE);
    g_array_free(s->spare, TRUE);
    g_free(s->gd);
    g_free(s->copy);
    g_free(s);
}

/* --- where the metadata lies --- */

static int by_first(gconstpointer a, gconstpointer b)
{
    const struct vmdk_span *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void append(GArray *spans, uint64_t at, uint64_t bytes)
{
    struct vmdk_span s = {at / VMDK_SECTOR, (at + bytes + VMDK_SECTOR - 1) / VMDK_SECTOR};

    if (bytes)
        g_array_append_val(spans, s);
}

static int append_tables(struct vmdk_sparse *s, const uint32_t *gd, const char *what, GArray *spans, struct viv_err *err)
{
    for (uint32_t i = 0; i < s->tables; i++) {
        if (!gd[i])
            continue;
        if (!vmdk_table_ok(s, gd[i]))
            return viv_fail(err, EINVAL,
                            "'%s': the image is corrupt: %s %u (sector %u) is not in the file; opening it read-only works, "
                            "'viv-img check -r all' mends what can be mended",
                            s->file->filename, what, i, gd[i]);
        append(spans, gd[i] * (uint64_t)VMDK_SECTOR, vmdk_table_bytes(s));
    }
    return 0;
}

/* Ascending, neighbours made one; -EINVAL when two overlap. */
static int join(struct vmdk_sparse *s, GArray *spans, struct viv_err *err)
{
    struct vmdk_span *v = (struct vmdk_span *)(void *)spans->data;
    guint used = 0;

    g_array_sort(spans, by_first);
    for (guint i = 1; i < spans->len; i++) {
        if (v[i].first < v[used].end)
            return viv_fail(err, EINVAL,
                            "'%s': the image is corrupt: two parts of its metadata lie at sector %" PRIu64
                            "; opening it read-only works",
                            s->file->filename, v[i].first);
        if (v[i].first == v[used].end)
            v[used].end = v[i].end;
        else
            v[++used] = v[i];
    }
    g_array_set_size(spans, spans->len ? used + 1 : 0);
    return 0;
}

int vmdk_sparse_prepare(struct vmdk_sparse *s, struct viv_err *err)
{
    GArray *spans = g_array_new(FALSE, FALSE, sizeof(struct vmdk_span));
    int ret;

    append(spans, 0, VMDK_H_LEN);
    append(spans, s->desc_at, s->desc_bytes);
    append(spans, s->gd_at, s->tables * 4ull);
    append(spans, s->copy_at, s->copy ? s->tables * 4ull : 0);
    ret = append_tables(s, s->gd, "grain table", spans, err);
    if (!ret && s->copy)
        ret = append_tables(s, s->copy, "the copy of grain table", spans, err);
    if (!ret)
        ret = join(s, spans, err);
    if (ret)
        g_array_free(spans, TRUE);
    else
        s->meta = spans;
    return ret;
}
