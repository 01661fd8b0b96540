/* Items become bytes at addresses. */
#include "seq.h"

/* The first item that has this id or a later one; the last when there is none. */
static unsigned find(const struct seq *q, unsigned id)
{
    for (unsigned n = 0; n < q->items; n++) {
        if (q->item[n].id >= id)
            return n;
    }
    return q->items - 1;
}

/* Offsets of all items; where code goes on in another chunk, or the last one does not end, room for a jump is left. */
static void assign(struct seq *q)
{
    uint32_t next[4];

    memcpy(next, q->chunk_at, sizeof(next));
    for (unsigned n = 0; n < q->items; n++) {
        const struct item *it = &q->item[n];

        q->at[n] = next[it->chunk];
        q->len[n] = it->len;
        next[it->chunk] += it->len;
        if (n + 1 < q->items && q->item[n + 1].chunk != it->chunk && !it->ends)
            next[it->chunk] += 5;
    }
}

static int64_t distance(const struct seq *q, unsigned n)
{
    const struct item *it = &q->item[n];
    uint32_t end = CODE_A + q->at[n] + it->len;

    if (it->patch == PATCH_ADDR32)
        return (int64_t)it->addr - end;
    return (int64_t)CODE_A + q->at[find(q, it->target)] + it->addend - end;
}

/* Short branches that do not reach get their long form. JRCXZ and LOOP have none: they go to the next instruction. */
static bool lengthen(struct seq *q)
{
    bool changed = false;

    for (unsigned n = 0; n < q->items; n++) {
        struct item *it = &q->item[n];
        int64_t d = distance(q, n);

        if (it->patch != PATCH_REL8 || d == (int8_t)d || (it->b[0] & 0xfc) == 0xe0 || it->b[0] == 0x67)
            continue;
        if (it->b[0] == 0xeb) {
            it->b[0] = 0xe9;
            it->patch_at = 1;
        } else {
            it->b[1] = it->b[0] + 0x10;
            it->b[0] = 0x0f;
            it->patch_at = 2;
        }
        it->patch = PATCH_REL32;
        it->len = it->patch_at + 4;
        changed = true;
    }
    return changed;
}

static void fill_in(struct seq *q, unsigned n, uint8_t *b)
{
    const struct item *it = &q->item[n];
    int64_t d = distance(q, n);
    uint64_t address = CODE_A + q->at[find(q, it->target)] + (uint64_t)it->addend;
    int32_t d32 = (int32_t)d;

    switch (it->patch) {
    case PATCH_REL8: b[it->patch_at] = d == (int8_t)d ? (uint8_t)d : 0; break;
    case PATCH_REL32: case PATCH_ADDR32: memcpy(b + it->patch_at, &d32, 4); break;
    case PATCH_ABS32: memcpy(b + it->patch_at, &address, 4); break;
    case PATCH_ABS64: memcpy(b + it->patch_at, &address, 8); break;
    default: break;
    }
}

static void put_code(struct seq *q, uint32_t at, const uint8_t *b, unsigned len)
{
    if (at >= CODE_BYTES)
        return;
    q->fixup[at] = (uint8_t)len;
    memcpy(q->code + at, b, at + len > CODE_BYTES ? CODE_BYTES - at : len);
}

void place_seq(struct seq *q)
{
    assign(q);
    for (unsigned tries = 0; lengthen(q) && tries < 32; tries++)
        assign(q);
    memset(q->code, 0xf4, sizeof(q->code));
    memset(q->fixup, 0, sizeof(q->fixup));
    for (unsigned n = 0; n < q->items; n++) {
        const struct item *it = &q->item[n];
        uint8_t b[16];

        memcpy(b, it->b, sizeof(b));
        fill_in(q, n, b);
        put_code(q, q->at[n], b, it->len);
        if (n + 1 < q->items && q->item[n + 1].chunk != it->chunk && !it->ends) {
            uint32_t at = q->at[n] + it->len;
            int32_t d = (int32_t)(q->at[n + 1] - (at + 5));

            b[0] = 0xe9;
            memcpy(b + 1, &d, 4);
            put_code(q, at, b, 5);
        }
    }
}
