/* The header and the BAT: read, checked, believed only then; and how they are written back. */
#include "block/fmt/parallels/parallels_int.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int bad(struct parallels *p, struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "'%s': invalid parallels image: %s", p->node->filename, what);
}

int prl_corrupt(struct parallels *p, const char *why, uint64_t offset)
{
    if (p->broken)
        return -EIO;
    p->broken = true;
    viv_error("'%s': %s at offset 0x%" PRIx64
              ": the image is corrupt and is not written any more; stop its user and "
              "run 'viv-img check -r all'",
              p->node->filename, why, offset);
    return -EIO;
}

bool prl_data_ok(const struct parallels *p, uint64_t host)
{
    return host >= p->data_off && host < viv_node_size(p->file);
}

int prl_set_in_use(struct parallels *p, bool in_use)
{
    uint8_t le[4];
    int ret;

    viv_st_le32(le, in_use ? PRL_IN_USE : 0);
    ret = viv_node_pwrite(p->file, PRL_H_IN_USE, le, sizeof(le));
    return ret ? ret : viv_node_flush(p->file);
}

static int read_size(struct parallels *p, const uint8_t *head, bool ext, struct viv_err *err)
{
    uint64_t sectors = ext ? viv_ld_le64(head + PRL_H_SECTORS) : viv_ld_le32(head + PRL_H_SECTORS);
    uint32_t tracks = viv_ld_le32(head + PRL_H_TRACKS);

    if (!tracks)
        return bad(p, err, "the cluster size is 0");
    if (tracks > PRL_CLUSTER_MAX / PRL_SECTOR)
        return bad(p, err, "the cluster size is over 1 GiB");
    if (sectors > (1ull << 62) / PRL_SECTOR)
        return bad(p, err, "the disk is too large");
    p->cluster = (uint64_t)tracks * PRL_SECTOR;
    p->unit = ext ? p->cluster : PRL_SECTOR;
    p->node->size = sectors * PRL_SECTOR;
    p->entries = (sectors + tracks - 1) / tracks;
    if (p->entries > viv_ld_le32(head + PRL_H_ENTRIES))
        return bad(p, err, "the disk is larger than the table can map");
    if (p->entries > PRL_ENTRIES_MAX)
        return bad(p, err, "the table is too long");
    if (!viv_range_inside(PRL_H_LENGTH, p->entries * 4, viv_node_size(p->file)))
        return bad(p, err, "the table does not lie in the file");
    return 0;
}

/* data_off 0: "the end of BAT table plus some padding to ensure sector size alignment". */
static int read_data_offset(struct parallels *p, const uint8_t *head, struct viv_err *err)
{
    uint64_t bat_end = PRL_H_LENGTH + viv_ld_le32(head + PRL_H_ENTRIES) * 4ull,
             size = viv_node_size(p->file);

    p->data_off = viv_ld_le32(head + PRL_H_DATA_OFF) * (uint64_t)PRL_SECTOR;
    if (p->data_off && p->data_off < PRL_H_LENGTH + p->entries * 4)
        return bad(p, err, "the data begins inside the table");
    if (!p->data_off)
        p->data_off = viv_align_down(bat_end + PRL_SECTOR - 1, PRL_SECTOR);
    /* An entry has to be able to say where a cluster lies. */
    p->first = (p->data_off + p->unit - 1) / p->unit * p->unit;
    if (size > INT64_MAX - 2ull * PRL_CLUSTER_MAX)
        return bad(p, err, "the file is too large");
    p->end = p->first;
    if (size > p->first)
        p->end += (size - p->first + p->cluster - 1) / p->cluster * p->cluster;
    return 0;
}

static int read_bat(struct parallels *p, struct viv_err *err)
{
    int ret;

    p->bat = g_try_new(uint32_t, p->entries + 1);
    p->dirty = g_try_malloc0(p->entries / PRL_BAT_PAGE + 1);
    if (!p->bat || !p->dirty)
        return viv_fail(err, ENOMEM, "no memory for the table of '%s'", p->node->filename);
    ret = viv_node_pread(p->file, PRL_H_LENGTH, p->bat, p->entries * 4);
    if (ret)
        return viv_fail_os(err, -ret, "Could not read the table of '%s'", p->node->filename);
    for (uint64_t i = 0; i < p->entries; i++) {
        uint64_t host = prl_host(p, p->bat[i] = GUINT32_FROM_LE(p->bat[i]));

        /* The last cluster may be longer than the file. */
        if (prl_data_ok(p, host) && host + p->cluster > p->end)
            p->end += p->cluster;
    }
    return 0;
}

int prl_read_header(struct parallels *p, struct viv_err *err)
{
    uint8_t head[PRL_H_LENGTH];
    int ret = viv_node_pread(p->file, 0, head, sizeof(head));
    bool ext;

    if (ret)
        return viv_fail_os(err, -ret, "Could not read '%s'", p->node->filename);
    ext = memcmp(head, PRL_MAGIC_EXT, 16) == 0;
    if (!ext && memcmp(head, PRL_MAGIC, 16) != 0)
        return bad(p, err, "it begins with neither '" PRL_MAGIC "' nor '" PRL_MAGIC_EXT "'");
    if (viv_ld_le32(head + PRL_H_VERSION) != PRL_VERSION)
        return viv_fail(err, ENOTSUP,
                        "'%s': parallels images of version %" PRIu32
                        " are unknown; version 2 works",
                        p->node->filename, viv_ld_le32(head + PRL_H_VERSION));
    p->was_in_use = viv_ld_le32(head + PRL_H_IN_USE) == PRL_IN_USE;
    p->extension = viv_ld_le64(head + PRL_H_EXT_OFF) != 0;
    ret = read_size(p, head, ext, err);
    if (!ret)
        ret = read_data_offset(p, head, err);
    return ret ? ret : read_bat(p, err);
}

void prl_bat_dirty(struct parallels *p, uint64_t index)
{
    p->dirty[index / PRL_BAT_PAGE] = 1;
    p->any_dirty = true;
}

static int write_bat(struct parallels *p)
{
    uint32_t le[PRL_BAT_PAGE];
    int ret = 0;

    for (uint64_t page = 0; page <= p->entries / PRL_BAT_PAGE && !ret; page++) {
        uint64_t first = page * PRL_BAT_PAGE, count = MIN(PRL_BAT_PAGE, p->entries - first);

        if (!p->dirty[page] || !count)
            continue;
        for (uint64_t i = 0; i < count; i++)
            le[i] = GUINT32_TO_LE(p->bat[first + i]);
        ret = viv_node_pwrite(p->file, PRL_H_LENGTH + first * 4, le, count * 4);
        if (!ret)
            p->dirty[page] = 0;
    }
    if (!ret)
        p->any_dirty = false;
    return ret;
}

/* Data; barrier; table; barrier. */
int prl_flush_all(struct parallels *p)
{
    bool table = p->any_dirty;
    int ret = p->broken ? -EIO : viv_node_flush(p->file);

    if (!ret && table)
        ret = write_bat(p);
    if (!ret && table)
        ret = viv_node_flush(p->file);
    return ret;
}
