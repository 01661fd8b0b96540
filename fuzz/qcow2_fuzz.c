/* Hostile qcow2 images: the input changes a sound one, of many kinds (qcow2_images.h), where its tables are (qcow2_change.h), and says what
 * is done with it (qcow2_do.h). As long as nothing but the driver changed it, it has to be sound at the end.
 *
 * Input: a byte that chooses the image, a byte that says how it is opened (O_), records of 8 bytes, in order. */
#include "fuzz/fuzz.h"
#include "fuzz/qcow2_do.h"

#include <stdio.h>

enum { HEAD = 2, RECORDS_MAX = 8 };

static void tell(void *opaque, const char *text)
{
    if (!g_str_has_prefix(text, "Leaked"))
        fprintf(stderr, "%s\n", text);
}

static void expect_sound(struct work *w)
{
    struct viv_check c = {.report = tell};
    struct viv_err err = VIV_ERR_INIT;

    close_image(w);
    w->how = O_READ_ONLY | O_FOR_CHECK | O_NO_DATA;
    open_image(w);
    g_assert_false(w->refused);
    if (w->n->drv->check(w->n, &c, &err))
        g_error("check: %s", err.text);
    g_assert_cmpuint(c.corruptions + c.check_errors, ==, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct work w = {0};
    bool any = false;

    if (size < HEAD)
        return 0;
    w.image = image(data[0]);
    w.file = file_node(&w.image->file);
    w.how = data[1];
    w.untouched = !(w.image->has & (IS_DIRTY | IS_CORRUPT));
    fail_read = fail_write = 0;
    data += HEAD;
    size = MIN(size - HEAD, (size_t)RECORDS_MAX * RECORD);
    for (; size >= RECORD; data += RECORD, size -= RECORD) {
        if (data[R_KIND] & 0x80) {
            operate(&w, data);
            any = true;
            continue;
        }
        close_image(&w);
        change(w.file, data);
        w.untouched = false;
    }
    if (!any) {
        static const uint8_t status[RECORD] = {0x80 | 6};

        operate(&w, status);
    }
    if (w.untouched)
        expect_sound(&w);
    close_image(&w);
    viv_node_put(&w.file);
    viv_node_put(&w.data);
    return 0;
}

/* --- mutations of whole records, so that what follows one keeps its meaning --- */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room) __attribute__((weak)); /* not in programs without libFuzzer */

static uint64_t state;

static unsigned pick(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 20) % below;
}

/* Half of them operations; places near the start of tables. */
static void random_record(uint8_t *r)
{
    r[R_KIND] = pick(2) ? 0x80 | pick(OPS) : pick(CHANGES);
    r[R_WHICH] = pick(pick(2) ? 4 : 256);
    r[R_FIELD] = pick(pick(2) ? 24 : 256);
    r[R_HOW] = pick(36);
    viv_st_le32(r + R_VALUE, pick(pick(2) ? 64 : 1u << 24));
    if (pick(2))
        r[R_VALUE + 2] = pick(10);
}

static unsigned mutate_once(uint8_t *data, unsigned count, unsigned most)
{
    uint8_t *records = data + HEAD, *r = records + pick(count) * RECORD;
    unsigned index = (r - records) / RECORD;

    switch (pick(10)) {
    case 0:
    case 1:
    case 2: /* one more, new or again */
        if (count == most)
            return count;
        memmove(r + RECORD, r, (count - index) * RECORD);
        if (pick(3))
            random_record(r);
        return count + 1;
    case 3:
        if (count > 1) {
            memmove(r, r + RECORD, (count - index - 1) * RECORD);
            return count - 1;
        }
        return count;
    case 4:
        random_record(r);
        return count;
    case 5:
        memcpy(r, records + pick(count) * RECORD, 1 + pick(RECORD));
        return count;
    case 6:
        data[0] = pick(G_N_ELEMENTS(images));
        return count;
    case 7:
        data[1] ^= 1u << pick(8);
        return count;
    case 8:
        r[pick(RECORD)] = pick(256);
        return count;
    default:
        LLVMFuzzerMutate(r + R_VALUE, 4, 4);
        return count;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    unsigned most = room < HEAD + RECORD ? 0 : MIN((room - HEAD) / RECORD, RECORDS_MAX);
    unsigned count = size < HEAD + RECORD ? 0 : MIN((size - HEAD) / RECORD, most);

    state = seed * 0x9e3779b97f4a7c15ull | 1;
    pick(2);
    if (!most || seed % 8 == 0)
        return LLVMFuzzerMutate(data, size, room);
    if (!count) {
        memset(data + size, 0, HEAD + RECORD - MIN(size, HEAD + RECORD));
        random_record(data + HEAD);
        count = 1;
    }
    for (unsigned n = 1 + pick(3); n; n--)
        count = mutate_once(data, count, most);
    return HEAD + count * RECORD;
}

/* The first records of the one, the last ones of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t room, unsigned seed)
{
    unsigned a_count = a_size < HEAD ? 0 : (a_size - HEAD) / RECORD, b_count = b_size < HEAD ? 0 : (b_size - HEAD) / RECORD;
    unsigned most = room < HEAD ? 0 : MIN((room - HEAD) / RECORD, RECORDS_MAX), first, last;

    state = seed * 0x9e3779b97f4a7c15ull | 1;
    if (!a_count || !b_count)
        return 0;
    first = 1 + pick(a_count);
    first = MIN(first, most);
    last = 1 + pick(b_count);
    last = MIN(last, most - first);
    memcpy(out, a, HEAD + first * RECORD);
    memcpy(out + HEAD + first * RECORD, b + HEAD + (b_count - last) * RECORD, last * RECORD);
    return HEAD + (first + last) * RECORD;
}
