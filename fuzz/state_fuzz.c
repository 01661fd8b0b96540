/* The reader of saved state (state/state.c), with an object that has a field of each kind, two versions and a table below. An input is a
 * stream as it is, or changes to a good one. What is taken has to be written, and read again, as the same. */
#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "host/clock.h"
#include "host/lock.h"
#include "state/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define PATH "pci.0/03.0"

struct part {
    uint16_t word;
    bool flag;
    int8_t small;
};

struct whole {
    uint8_t byte;
    uint16_t words[3];
    uint32_t late;
    uint64_t wide;
    bool flags[4];
    uint8_t blob[5];
    struct part one, many[2];
    uint8_t *var;
    uint32_t var_len;
    struct viv_timer *timer;
    uint32_t custom;
};

static int part_loaded(void *obj, int version, struct viv_err *err)
{
    struct part *p = obj;

    return p->small < -100 ? viv_fail(err, EINVAL, "small is %d", p->small) : 0;
}

static const struct viv_field part_fields[] = {VIV_F_INT(part, word), VIV_F_INT(part, flag), VIV_F_INT(part, small), VIV_F_END};
static const struct viv_state_table part_state = {.name = "part", .ctype = "part", .version = 3, .min_version = 2, .fields = part_fields,
                                                  .post_load = part_loaded};

static void custom_save(struct viv_state_writer *w, const void *obj)
{
    viv_state_put_u32(w, ((const struct whole *)obj)->custom);
}

static int custom_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    return viv_state_get_u32(r, &((struct whole *)obj)->custom, err);
}

static const struct viv_field whole_fields[] = {
    VIV_F_INT(whole, byte),
    VIV_F_INTS(whole, words),
    {.name = "late", .kind = VIV_FIELD_INT, .offset = offsetof(struct whole, late), .size = 4, .count = 1, .since = 2},
    VIV_F_INT(whole, wide),
    VIV_F_INTS(whole, flags),
    VIV_F_BYTES(whole, blob),
    VIV_F_STRUCT(whole, one, part_state),
    VIV_F_STRUCTS(whole, many, part_state),
    VIV_F_VARBYTES(whole, var, var_len, 16),
    VIV_F_DERIVED(whole, var_len, "with var"),
    VIV_F_TIMER(whole, timer),
    VIV_F_CUSTOM(whole, custom, custom_save, custom_load),
    VIV_F_END,
};
static const struct viv_state_table whole_state = {.name = "whole", .ctype = "whole", .version = 2, .min_version = 1, .fields = whole_fields};

static void nothing(void *opaque)
{
}

static void make(struct whole *o)
{
    *o = (struct whole){.late = 7};
    o->timer = viv_timer_new(VIV_CLOCK_GUEST, nothing, NULL);
}

static void drop(struct whole *o)
{
    viv_timer_free(o->timer);
    g_free(o->var);
}

static uint8_t *save(struct whole *o, size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_state_save(w, PATH, &whole_state, o);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

static bool load(const uint8_t *data, size_t len, struct whole *o)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r = viv_state_reader_new(data, len);
    g_autofree char *next = viv_state_peek_section(r, &err);
    int rc;

    viv_err_clear(&err);
    rc = viv_state_load(r, PATH, &whole_state, o, &err);
    g_assert(!rc || *err.text); /* every refusal says why */
    g_assert(rc || (next && !strcmp(next, PATH)));
    viv_state_reader_free(r);
    viv_err_clear(&err);
    r = viv_state_reader_new(data, len);
    g_assert(rc || !viv_state_check(r, PATH, &whole_state, &err)); /* what can be loaded is passed over as well */
    viv_state_reader_free(r);
    return !rc;
}

static void check(const uint8_t *data, size_t len)
{
    g_autofree uint8_t *first = NULL, *second = NULL;
    size_t first_len, second_len;
    struct whole a, b;

    make(&a);
    make(&b);
    if (load(data, len, &a)) {
        first = save(&a, &first_len);
        g_assert(load(first, first_len, &b));
        second = save(&b, &second_len);
        g_assert(first_len == second_len && !memcmp(first, second, first_len));
    }
    drop(&a);
    drop(&b);
}

/* Three bytes each: where, and what; the end comes where the last one says, if its third byte is odd. */
static void change(uint8_t *stream, size_t *len, const uint8_t *data, size_t size)
{
    for (; size >= 3; data += 3, size -= 3) {
        size_t at = viv_ld_le16(data) % *len;

        if (size < 6 && data[2] & 1)
            *len = at;
        else
            stream[at] = data[2];
        if (!*len)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *stream = NULL;
    struct whole good;
    size_t len;

    if (size < 2)
        return 0;
    viv_dev_lock();
    if (data[0] & 3) {
        make(&good);
        good.byte = data[0];
        good.var = g_memdup2("variable", good.var_len = data[0] >> 2 & 7);
        viv_timer_set(good.timer, data[0] & 0x80 ? INT64_MAX : 1000 * data[1]);
        stream = save(&good, &len);
        drop(&good);
        change(stream, &len, data + 2, MIN(size - 2, 3u * (data[1] & 7)));
        check(stream, len);
    } else {
        check(data + 1, size - 1);
    }
    viv_dev_unlock();
    return 0;
}
