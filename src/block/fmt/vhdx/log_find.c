/* Which entries of a log have to be replayed ([MS-VHDX] 2.3.1, 2.3.3).
 *
 * The log is a ring of 4 KiB sectors. Any of them may begin an entry. Entries that follow each other without a gap, their numbers rising
 * by one, are a sequence; it is valid when its last entry's tail is the beginning of one of its own. The valid sequence with the highest
 * number is the active one, and it is replayed from that tail on: a torn or missing last entry just makes it shorter.
 *
 * An image may hold a log that was made to cost time: what an entry says of itself is looked at before its bytes are summed, each sector
 * is judged once, and the bytes that are summed in all have a limit. */
#include "block/fmt/vhdx/vhdx_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>

#define SECTOR VHDX_LOG_SECTOR

static bool header_ok(const struct vhdx_ring *r, const uint8_t *e)
{
    uint32_t len = viv_ld_le32(e + VHDX_L_LENGTH), tail = viv_ld_le32(e + VHDX_L_TAIL);

    return memcmp(e, "loge", 4) == 0 && memcmp(e + VHDX_L_GUID, r->guid, 16) == 0 && len && len % SECTOR == 0 && len <= r->len &&
           tail % SECTOR == 0 && tail < r->len && viv_ld_le64(e + VHDX_L_SEQUENCE) &&
           viv_ld_le32(e + VHDX_L_COUNT) <= (len - VHDX_L_DESC) / VHDX_D_LEN;
}

/* Descriptors, and how many sectors of data they announce. */
static bool descriptors_ok(const uint8_t *e, uint32_t *sectors)
{
    uint64_t sequence = viv_ld_le64(e + VHDX_L_SEQUENCE), end;

    *sectors = 0;
    for (uint32_t i = 0; i < viv_ld_le32(e + VHDX_L_COUNT); i++) {
        const uint8_t *d = e + VHDX_L_DESC + (size_t)i * VHDX_D_LEN;
        bool zero = memcmp(d, "zero", 4) == 0;
        uint64_t len = zero ? viv_ld_le64(d + VHDX_D_LEADING) : SECTOR, at = viv_ld_le64(d + VHDX_D_OFFSET);

        if ((!zero && memcmp(d, "desc", 4) != 0) || viv_ld_le64(d + VHDX_D_SEQUENCE) != sequence || at % SECTOR || len % SECTOR ||
            !viv_add_u64(at, len, &end))
            return false;
        *sectors += !zero;
    }
    return true;
}

static bool data_ok(const uint8_t *e, const uint8_t *data, uint32_t sectors)
{
    uint64_t sequence = viv_ld_le64(e + VHDX_L_SEQUENCE);

    for (uint32_t i = 0; i < sectors; i++, data += SECTOR)
        if (memcmp(data, "data", 4) != 0 || viv_ld_le32(data + 4) != sequence >> 32 ||
            viv_ld_le32(data + SECTOR - 4) != (uint32_t)sequence)
            return false;
    return true;
}

static bool judge(struct vhdx_ring *r, const uint8_t *e)
{
    uint32_t len = viv_ld_le32(e + VHDX_L_LENGTH), sectors, head;

    if (!header_ok(r, e) || !descriptors_ok(e, &sectors))
        return false;
    head = vhdx_desc_bytes(viv_ld_le32(e + VHDX_L_COUNT));
    /* An entry may be longer than it needs to be: its writer's disk may have larger sectors. */
    if (head + (uint64_t)sectors * SECTOR > len || !data_ok(e, e + head, sectors))
        return false;
    if (len > r->budget) {
        r->budget = 0;
        return false;
    }
    r->budget -= len;
    return vhdx_sealed(e, len);
}

static bool is_entry(struct vhdx_ring *r, uint32_t at)
{
    int8_t *known = &r->known[at / SECTOR];

    if (!*known)
        *known = judge(r, r->data + at) ? 1 : -1;
    return *known > 0;
}

struct sequence {
    uint32_t start, bytes, entries;
    uint32_t head; /* the last entry */
    uint64_t number;
};

static struct sequence walk(struct vhdx_ring *r, uint32_t start)
{
    struct sequence s = {.start = start};
    uint32_t pos = start;

    while (s.bytes < r->len && is_entry(r, pos)) {
        uint32_t len = viv_ld_le32(r->data + pos + VHDX_L_LENGTH);
        uint64_t number = viv_ld_le64(r->data + pos + VHDX_L_SEQUENCE);

        if (len > r->len - s.bytes || (s.entries && number != s.number + 1))
            break;
        s.entries++;
        s.bytes += len;
        s.head = pos;
        s.number = number;
        pos = (pos + len) % r->len;
    }
    return s;
}

/* How many of its entries have to be replayed, and from where on; 0: it is not valid. */
static uint32_t from_tail(const struct vhdx_ring *r, const struct sequence *s, uint32_t *first)
{
    uint32_t pos = s->start;

    if (s->entries)
        *first = viv_ld_le32(r->data + s->head + VHDX_L_TAIL);
    for (uint32_t i = 0; i < s->entries; i++) {
        if (pos == *first)
            return s->entries - i;
        pos = (pos + viv_ld_le32(r->data + pos + VHDX_L_LENGTH)) % r->len;
    }
    return 0;
}

int vhdx_log_find(struct vhdx_ring *r, uint32_t *first, uint32_t *count)
{
    uint64_t best = 0;

    *count = 0;
    for (uint32_t at = 0; at < r->len;) {
        struct sequence s = walk(r, at);
        uint32_t tail, entries = from_tail(r, &s, &tail);

        if (!r->budget)
            return -ELOOP;
        if (entries && s.number > best) {
            best = s.number;
            *first = tail;
            *count = entries;
        }
        at += entries ? s.bytes : SECTOR;
    }
    return 0;
}
