/* Changes inputs of the device target step by step: libFuzzer itself would cut steps in the middle, and what follows would be noise. */
#include "fuzz/device_rig.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out, size_t max, unsigned seed);

enum { MOST = 600 };

struct steps {
    size_t at[MOST + 1]; /* the last: the end */
    unsigned count;
};

static unsigned draw(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16 & 0x7fff;
}

static void find(const uint8_t *data, size_t size, struct steps *s)
{
    s->count = 0;
    s->at[0] = size < 1 ? size : 1; /* behind the byte that chooses */
    while (s->at[s->count] < size && s->count < MOST) {
        s->at[s->count + 1] = s->at[s->count] + fuzz_step_len(data + s->at[s->count], size - s->at[s->count]);
        s->count++;
    }
}

static size_t put(uint8_t *data, size_t size, size_t max, size_t at, const uint8_t *more, size_t len)
{
    if (size + len > max)
        return size;
    memmove(data + at + len, data + at, size - at);
    memcpy(data + at, more, len);
    return size + len;
}

/* One byte, or the number that begins there, to something near or far. */
static void change_argument(uint8_t *p, size_t len, unsigned *seed)
{
    static const uint8_t often[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 129, 254, 255};
    uint8_t *b = p + (len > 1 ? 1 + draw(seed) % (len - 1) : 0);
    unsigned how = draw(seed) % 6;

    if (how == 0)
        *b = often[draw(seed) % sizeof(often)];
    else if (how == 1)
        *b = (uint8_t)(*b + draw(seed) % 9 - 4);
    else if (how == 2)
        *b ^= (uint8_t)(1 << draw(seed) % 8);
    else if (how == 3)
        *b = (uint8_t)draw(seed);
    else if (how == 4)
        memset(b, draw(seed) & 1 ? 0xff : 0, (size_t)(p + len - b) < 4 ? (size_t)(p + len - b) : 4);
    else
        LLVMFuzzerMutate(p + 1, len - 1, len - 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    static const uint8_t controls[][4] = {{STEP_CTL, 0}, {STEP_CTL, 1}, {STEP_CTL, 2}, {STEP_CTL, 2}, {STEP_CTL, 4}, {STEP_BACK, 0}, {STEP_CTL, 3}};
    static struct steps s;
    uint8_t step[5 + 255];

    for (unsigned rounds = draw(&seed) % 4 + 1; rounds; rounds--) {
        unsigned from, count, how = draw(&seed) % 16;
        size_t len;

        find(data, size, &s);
        from = s.count ? draw(&seed) % s.count : 0;
        if (!s.count || how == 0) { /* any step */
            for (unsigned i = 0; i < 12; i++)
                step[i] = (uint8_t)draw(&seed);
            step[4] &= 7;
            size = put(data, size, max, s.at[from], step, fuzz_step_len(step, 12));
            continue;
        }
        len = s.at[from + 1] - s.at[from];
        if (how < 9) {
            change_argument(data + s.at[from], len, &seed);
        } else if (how == 9) { /* another size or kind */
            data[s.at[from]] ^= (uint8_t)(draw(&seed) & 0xf0);
        } else if (how < 12 && s.count > 1) { /* some are left out */
            count = draw(&seed) % 4 ? 1 : 1 + draw(&seed) % 8;
            count = from + count > s.count ? s.count - from : count;
            memmove(data + s.at[from], data + s.at[from + count], size - s.at[from + count]);
            size -= s.at[from + count] - s.at[from];
        } else if (how < 15 && len <= sizeof(step)) { /* again, somewhere or right here */
            memcpy(step, data + s.at[from], len);
            size = put(data, size, max, s.at[how == 12 ? from : draw(&seed) % (s.count + 1)], step, len);
        } else {
            memcpy(step, controls[draw(&seed) % (sizeof(controls) / 4)], 4);
            step[2] = (uint8_t)draw(&seed);
            step[3] = (uint8_t)draw(&seed);
            size = put(data, size, max, s.at[draw(&seed) % (s.count + 1)], step, 4);
        }
    }
    return size;
}

/* The beginning of one, steps of the other, the rest of the first. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_size, const uint8_t *two, size_t two_size, uint8_t *out, size_t max, unsigned seed)
{
    static struct steps a, b;
    unsigned cut, from, count;
    size_t len, middle;

    find(one, one_size, &a);
    find(two, two_size, &b);
    if (!a.count || !b.count || one_size > max)
        return 0;
    cut = draw(&seed) % (a.count + 1);
    from = draw(&seed) % b.count;
    count = 1 + draw(&seed) % (b.count - from);
    len = a.at[cut];
    memcpy(out, one, len);
    middle = b.at[from + count] - b.at[from];
    if (len + middle > max)
        return len;
    memcpy(out + len, two + b.at[from], middle);
    len += middle;
    middle = one_size - a.at[cut];
    if (len + middle > max)
        middle = 0;
    memcpy(out + len, one + a.at[cut], middle);
    return len + middle;
}
