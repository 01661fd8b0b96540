#include "cmd/img_parts.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

/* UEFI 2.10, table 5-5: the header, little endian. */
enum {
    GPT_SIGNATURE = 0,
    GPT_HEADER_SIZE = 12,
    GPT_CRC = 16,
    GPT_MY_LBA = 24,
    GPT_OTHER_LBA = 32,
    GPT_FIRST_USABLE = 40,
    GPT_LAST_USABLE = 48,
    GPT_ENTRIES_LBA = 72,
    GPT_ENTRIES = 80,
    GPT_ENTRY_SIZE = 84,
    GPT_ENTRIES_CRC = 88,
    GPT_HEADER_MIN = 92,
};
/* Table 5-6: an entry. */
enum { ENTRY_TYPE = 0, ENTRY_FIRST = 32, ENTRY_LAST = 40, ENTRY_MIN = 128 };
/* Table 5-1: the MBR's four records of 16 bytes. */
enum { MBR_RECORDS = 446, MBR_TYPE = 4, MBR_FIRST = 8, MBR_SECTORS = 12, MBR_MAGIC = 510 };

#define ENTRIES_BYTES_MAX (1u << 20)
#define ALIGNMENT         (1u << 20)

static uint8_t *mbr_record(uint8_t *mbr, unsigned i)
{
    return mbr + MBR_RECORDS + i * 16;
}

static uint32_t header_crc(const uint8_t *header, uint32_t size)
{
    uint8_t copy[512];

    memcpy(copy, header, sizeof(copy));
    viv_st_le32(copy + GPT_CRC, 0);
    return crc32(0, copy, size);
}

/* --- reading --- */

static int bad_gpt(struct viv_err *err, const char *what)
{
    return viv_fail(err, EINVAL, "the disk's GPT is damaged (%s): mend it first, with 'sgdisk -e' or gdisk in the guest", what);
}

static int read_entries(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    uint64_t count = viv_ld_le32(p->header + GPT_ENTRIES), at = viv_ld_le64(p->header + GPT_ENTRIES_LBA);

    p->entry_size = viv_ld_le32(p->header + GPT_ENTRY_SIZE);
    if (p->entry_size < ENTRY_MIN || p->entry_size > 4096 || (p->entry_size & (p->entry_size - 1)))
        return bad_gpt(err, "size of its entries");
    p->entries_bytes = count * p->entry_size;
    if (!count || p->entries_bytes > ENTRIES_BYTES_MAX || !viv_mul_u64(at, p->sector, &at) ||
        !viv_range_inside(at, p->entries_bytes, viv_node_size(n)))
        return bad_gpt(err, "place of its entries");
    p->entries = g_malloc(p->entries_bytes);
    if (viv_node_pread(n, at, p->entries, p->entries_bytes))
        return viv_fail(err, EIO, "the partition table cannot be read");
    if (crc32(0, p->entries, p->entries_bytes) != viv_ld_le32(p->header + GPT_ENTRIES_CRC))
        return bad_gpt(err, "checksum of its entries");
    return 0;
}

static int read_gpt(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    uint32_t size = viv_ld_le32(p->header + GPT_HEADER_SIZE);
    uint64_t disk = viv_node_size(n) / p->sector;
    uint64_t first = viv_ld_le64(p->header + GPT_FIRST_USABLE), last = viv_ld_le64(p->header + GPT_LAST_USABLE);

    if (size < GPT_HEADER_MIN || size > sizeof(p->header) || header_crc(p->header, size) != viv_ld_le32(p->header + GPT_CRC))
        return bad_gpt(err, "checksum of its header");
    if (viv_ld_le64(p->header + GPT_MY_LBA) != 1)
        return bad_gpt(err, "header's own place");
    p->old_backup = viv_ld_le64(p->header + GPT_OTHER_LBA);
    if (first > last || last >= disk || p->old_backup <= last || p->old_backup >= disk)
        return bad_gpt(err, "it reaches beyond the disk");
    p->kind = PARTS_GPT;
    return read_entries(n, p, err);
}

static int find_gpt(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    static const uint32_t sectors[] = {512, 4096};
    int ret = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(sectors) && !ret && p->kind != PARTS_GPT; i++) {
        p->sector = sectors[i];
        if (viv_node_size(n) < 2ull * p->sector || viv_node_pread(n, p->sector, p->header, sizeof(p->header)))
            continue;
        if (memcmp(p->header, "EFI PART", 8) == 0)
            ret = read_gpt(n, p, err);
    }
    return ret;
}

static void last_of_gpt(struct parts *p)
{
    uint64_t end = 0;

    for (uint64_t i = 0; i * p->entry_size < p->entries_bytes; i++) {
        const uint8_t *e = p->entries + i * p->entry_size;
        uint64_t first = viv_ld_le64(e + ENTRY_FIRST), last = viv_ld_le64(e + ENTRY_LAST);
        bool used = viv_ld_le64(e) || viv_ld_le64(e + 8);

        if (!used || last < first || last < end || last > UINT64_MAX / p->sector - 1)
            continue;
        end = last;
        p->last.number = i + 1;
        p->last.start = first * p->sector;
        p->last.len = (last - first + 1) * p->sector;
    }
}

static void last_of_mbr(struct parts *p)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *r = mbr_record(p->mbr, i);
        uint64_t first = viv_ld_le32(r + MBR_FIRST), count = viv_ld_le32(r + MBR_SECTORS);

        if (!r[MBR_TYPE] || !count || first + count <= end)
            continue;
        end = first + count;
        p->last.number = i + 1;
        p->last.start = first * 512;
        p->last.len = count * 512;
    }
}

/* A boot sector of a file system on the whole disk ends with the MBR's magic too: its "records" are code. */
static bool is_mbr(const uint8_t *mbr, uint64_t disk)
{
    bool any = false;

    if (mbr[MBR_MAGIC] != 0x55 || mbr[MBR_MAGIC + 1] != 0xaa)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *r = mbr + MBR_RECORDS + i * 16;
        uint64_t first = viv_ld_le32(r + MBR_FIRST), count = viv_ld_le32(r + MBR_SECTORS);

        if ((r[0] & 0x7f) || (r[MBR_TYPE] && (!count || !first || first + count > disk / 512)))
            return false;
        any |= r[MBR_TYPE] != 0;
    }
    return any;
}

int parts_read(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    int ret;

    *p = (struct parts){.sector = 512};
    if (viv_node_size(n) < sizeof(p->mbr))
        return 0;
    ret = viv_node_pread(n, 0, p->mbr, sizeof(p->mbr));
    if (ret)
        return viv_fail_os(err, -ret, "the partition table cannot be read");
    ret = find_gpt(n, p, err);
    if (ret)
        return ret;
    if (p->kind == PARTS_GPT) {
        last_of_gpt(p);
    } else if (is_mbr(p->mbr, viv_node_size(n))) {
        p->kind = PARTS_MBR;
        p->sector = 512;
        last_of_mbr(p);
    }
    p->last.new_len = p->last.len;
    return 0;
}

void parts_fini(struct parts *p)
{
    g_clear_pointer(&p->entries, g_free);
}

/* --- growing --- */

/* Where a partition that may reach `limit` ends: on a MiB when there is one behind its old end. */
static uint64_t aligned_end(uint64_t old_end, uint64_t limit)
{
    uint64_t end = viv_align_down(limit, ALIGNMENT);

    return end > old_end ? end : MAX(limit, old_end);
}

static int write_sectors(struct viv_node *n, uint64_t offset, const void *buf, size_t len, struct viv_err *err)
{
    int ret = viv_node_pwrite(n, offset, buf, len);

    return ret ? viv_fail_os(err, -ret, "the partition table cannot be written") : 0;
}

static int flush(struct viv_node *n, struct viv_err *err)
{
    int ret = viv_node_flush(n);

    return ret ? viv_fail_os(err, -ret, "the partition table cannot be written") : 0;
}

/* Windows keeps its recovery partition last: growing that would help nobody. */
static const char *unfit_gpt(const uint8_t *entry)
{
    static const uint8_t recovery[16] = {0xa4, 0xbb, 0x94, 0xde, 0xd1, 0x06, 0x40, 0x4d,
                                         0xa1, 0x6a, 0xbf, 0xd5, 0x01, 0x79, 0xd6, 0xac};

    return memcmp(entry, recovery, 16) == 0 ? "it is a Windows recovery partition" : NULL;
}

static void grow_last_entry(struct parts *p, uint64_t last_usable)
{
    struct parts_last *l = &p->last;
    uint8_t *e = l->number ? p->entries + (l->number - 1) * p->entry_size : NULL;
    uint64_t end;

    if (!e)
        return;
    l->left_because = unfit_gpt(e);
    if (l->left_because)
        return;
    end = aligned_end(l->start + l->len, (last_usable + 1) * p->sector);
    viv_st_le64(e + ENTRY_LAST, end / p->sector - 1);
    l->new_len = end - l->start;
}

/* One of the two headers: where it is, where the other one is, where its entries are. */
static void seal_header(struct parts *p, uint8_t *header, uint64_t mine, uint64_t other, uint64_t entries)
{
    viv_st_le64(header + GPT_MY_LBA, mine);
    viv_st_le64(header + GPT_OTHER_LBA, other);
    viv_st_le64(header + GPT_ENTRIES_LBA, entries);
    viv_st_le32(header + GPT_ENTRIES_CRC, crc32(0, p->entries, p->entries_bytes));
    viv_st_le32(header + GPT_CRC, header_crc(header, viv_ld_le32(header + GPT_HEADER_SIZE)));
}

static int write_gpt(struct viv_node *n, struct parts *p, uint8_t *header, uint64_t mine, uint64_t other, uint64_t entries,
                     struct viv_err *err)
{
    int ret;

    seal_header(p, header, mine, other, entries);
    ret = write_sectors(n, entries * p->sector, p->entries, p->entries_bytes, err);
    if (!ret)
        ret = write_sectors(n, mine * p->sector, header, sizeof(p->header), err);
    return ret ? ret : flush(n, err);
}

/* The protective MBR tells old programs that the whole disk is taken (5.2.3). */
static int grow_protective(struct viv_node *n, struct parts *p, uint64_t disk, struct viv_err *err)
{
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *r = mbr_record(p->mbr, i);
        uint64_t first = viv_ld_le32(r + MBR_FIRST), old = viv_ld_le32(r + MBR_SECTORS);

        if (r[MBR_TYPE] == 0xee && first == 1 && old + 1 >= p->old_backup)
            viv_st_le32(r + MBR_SECTORS, MIN(disk - 1, UINT32_MAX));
    }
    return write_sectors(n, 0, p->mbr, sizeof(p->mbr), err);
}

static int grow_gpt(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    uint64_t disk = viv_node_size(n) / p->sector, backup = disk - 1;
    uint64_t sectors = (p->entries_bytes + p->sector - 1) / p->sector, last_usable = backup - sectors - 1;
    uint64_t primary = viv_ld_le64(p->header + GPT_ENTRIES_LBA), old_backup = p->old_backup;
    uint8_t header[512];
    int ret;

    if (backup <= old_backup || last_usable < viv_ld_le64(p->header + GPT_LAST_USABLE))
        return 0; /* not a sector more, or a table that leaves less room behind it than it takes */
    viv_st_le64(p->header + GPT_LAST_USABLE, last_usable);
    grow_last_entry(p, last_usable);
    memcpy(header, p->header, sizeof(header));
    /* A cut in the middle of the backup leaves the primary as it was, one in the middle of the primary the new backup. */
    ret = write_gpt(n, p, header, backup, 1, backup - sectors, err);
    if (!ret)
        ret = write_gpt(n, p, p->header, 1, backup, primary, err);
    if (!ret)
        ret = grow_protective(n, p, disk, err);
    /* What is left of the old backup would be found by programs that look for lost tables. */
    if (!ret && old_backup < backup - sectors && viv_node_write_zeroes(n, old_backup * p->sector, p->sector, 0))
        ret = viv_fail(err, EIO, "the old backup of the partition table cannot be cleared");
    return ret ? ret : flush(n, err);
}

static const char *unfit_mbr(uint8_t type)
{
    switch (type) {
    case 0x05:
    case 0x0f:
    case 0x85: return "it is an extended partition with logical ones in it";
    case 0x27: return "it is a Windows recovery partition";
    case 0xee: return "it protects a GPT that is not there";
    default: return NULL;
    }
}

static int grow_mbr(struct viv_node *n, struct parts *p, struct viv_err *err)
{
    struct parts_last *l = &p->last;
    uint8_t *r = mbr_record(p->mbr, l->number - 1);
    uint64_t limit = MIN(viv_node_size(n), (uint64_t)UINT32_MAX * 512), end;
    int ret;

    l->left_because = unfit_mbr(r[MBR_TYPE]);
    if (!l->left_because && limit <= l->start + l->len)
        l->left_because = "an MBR reaches no further than 2 TiB";
    if (l->left_because)
        return 0;
    end = aligned_end(l->start + l->len, limit);
    l->new_len = end - l->start;
    viv_st_le32(r + MBR_SECTORS, l->new_len / 512);
    memcpy(r + 5, "\xfe\xff\xff", 3); /* CHS end: beyond what it can say */
    ret = write_sectors(n, 0, p->mbr, sizeof(p->mbr), err);
    return ret ? ret : flush(n, err);
}

int parts_grow(struct viv_node *n, struct parts *p, uint64_t old, struct viv_err *err)
{
    if (viv_node_size(n) <= old || p->kind == PARTS_NONE)
        return 0;
    return p->kind == PARTS_GPT ? grow_gpt(n, p, err) : grow_mbr(n, p, err);
}

/* --- contents --- */

const char *parts_content(struct viv_node *n, uint64_t offset, uint64_t len)
{
    static const struct {
        const char *name;
        uint32_t at;
        const char *magic;
        uint8_t len;
    } known[] = {
        {"ext4", 0x438, "\x53\xef", 2},   {"xfs", 0, "XFSB", 4},           {"btrfs", 0x10040, "_BHRfS_M", 8},
        {"NTFS", 3, "NTFS    ", 8},       {"LVM", 0x218, "LVM2 001", 8},   {"LUKS", 0, "LUKS\xba\xbe", 6},
        {"swap", 0xff6, "SWAPSPACE2", 10}, {"FAT", 0x52, "FAT32", 5},
    };
    uint8_t buf[16];

    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++)
        if (known[i].at + sizeof(buf) <= len && !viv_node_pread(n, offset + known[i].at, buf, known[i].len) &&
            memcmp(buf, known[i].magic, known[i].len) == 0)
            return known[i].name;
    return NULL;
}
