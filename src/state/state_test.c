#include "state/state.h"

#include "host/clock.h"
#include "host/lock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

struct inner {
    uint16_t a;
    bool flag;
    int8_t s;
};

enum colour { RED, GREEN, BLUE };

struct outer {
    uint8_t byte;
    uint16_t words[3];
    uint64_t wide;
    enum colour colour;
    bool flags[4];
    uint8_t blob[5];
    struct inner one;
    struct inner many[2];
    uint8_t *var;
    uint32_t var_len;
    struct viv_timer *timer;
    int custom;
    int derived;
    void *config;
};

static int inner_check(void *obj, int version, struct viv_err *err)
{
    struct inner *i = obj;

    if (i->s < -100)
        return viv_fail(err, EINVAL, "inner.s is %d", i->s);
    return 0;
}

static const struct viv_state_table inner_state = {
    .name = "inner",
    .ctype = "inner",
    .version = 3,
    .min_version = 3,
    .fields =
        (const struct viv_field[]){
            VIV_F_INT(inner, a),
            VIV_F_INT(inner, flag),
            VIV_F_INT(inner, s),
            VIV_F_END,
        },
    .post_load = inner_check,
};

static void custom_save(struct viv_state_writer *w, const void *obj)
{
    viv_state_put_u64(w, ((const struct outer *)obj)->custom);
}

static int custom_load(struct viv_state_reader *r, void *obj, int version, struct viv_err *err)
{
    uint64_t v;
    int rc = viv_state_get_u64(r, &v, err);

    if (rc == 0)
        ((struct outer *)obj)->custom = (int)v;
    return rc;
}

static void outer_pre_save(void *obj)
{
    ((struct outer *)obj)->derived = -1;
}

static int outer_post_load(void *obj, int version, struct viv_err *err)
{
    struct outer *o = obj;

    if (o->colour > BLUE)
        return viv_fail(err, EINVAL, "colour %d", o->colour);
    o->derived = o->byte + 1;
    return 0;
}

static const struct viv_field outer_fields[] = {
    VIV_F_INT(outer, byte),
    VIV_F_INTS(outer, words),
    VIV_F_INT(outer, wide),
    VIV_F_INT(outer, colour),
    VIV_F_INTS(outer, flags),
    VIV_F_BYTES(outer, blob),
    VIV_F_STRUCT(outer, one, inner_state),
    VIV_F_STRUCTS(outer, many, inner_state),
    VIV_F_VARBYTES(outer, var, var_len, 100),
    VIV_F_DERIVED(outer, var_len, "length of var"),
    VIV_F_TIMER(outer, timer),
    VIV_F_CUSTOM(outer, custom, custom_save, custom_load),
    VIV_F_DERIVED(outer, derived, "post_load"),
    VIV_F_CONFIG(outer, config),
    VIV_F_END,
};

static const struct viv_state_table outer_state = {
    .name = "outer",
    .ctype = "outer",
    .version = 2,
    .min_version = 1,
    .fields = outer_fields,
    .pre_save = outer_pre_save,
    .post_load = outer_post_load,
};

static void noop(void *opaque)
{
}

static void outer_init(struct outer *o)
{
    memset(o, 0, sizeof(*o));
    o->timer = viv_timer_new(VIV_CLOCK_GUEST, noop, NULL);
}

static void outer_fini(struct outer *o)
{
    viv_timer_free(o->timer);
    g_free(o->var);
}

static void outer_fill(struct outer *o)
{
    outer_init(o);
    o->byte = 200;
    o->words[0] = 0x1234;
    o->words[2] = 0xffff;
    o->wide = 0x123456789abcdef0;
    o->colour = BLUE;
    o->flags[1] = true;
    memcpy(o->blob, "hello", 5);
    o->one = (struct inner){7, true, -5};
    o->many[1] = (struct inner){8, false, 127};
    o->var = (uint8_t *)g_strdup("variable");
    o->var_len = 8;
    viv_timer_set(o->timer, 123456789012);
    o->custom = 4711;
    o->config = o;
}

static uint8_t *save(struct outer *o, size_t *len)
{
    struct viv_state_writer *w = viv_state_writer_new();
    uint8_t *data;

    viv_state_save(w, "dev/outer", &outer_state, o);
    data = viv_state_writer_finish(w, len);
    viv_state_writer_free(w);
    return data;
}

static int load(const uint8_t *data, size_t len, struct outer *o, struct viv_err *err)
{
    /* A copy of exactly len bytes, so that the sanitizer sees a read past its end. */
    uint8_t *copy = g_memdup2(data, len);
    struct viv_state_reader *r = viv_state_reader_new(copy, len);
    int rc = viv_state_load(r, "dev/outer", &outer_state, o, err);

    viv_state_reader_free(r);
    g_free(copy);
    return rc;
}

static void test_roundtrip(void)
{
    struct outer a, b;
    struct viv_err err = VIV_ERR_INIT;
    size_t len, len2;
    uint8_t *data, *again;

    outer_fill(&a);
    outer_init(&b);
    data = save(&a, &len);
    g_assert_cmpint(load(data, len, &b, &err), ==, 0);
    g_assert_cmpuint(b.words[2], ==, 0xffff);
    g_assert_cmphex(b.wide, ==, a.wide);
    g_assert_cmpint(b.colour, ==, BLUE);
    g_assert_true(b.flags[1]);
    g_assert_cmpint(b.one.s, ==, -5);
    g_assert_cmpint(b.many[1].a, ==, 8);
    g_assert_cmpmem(b.var, b.var_len, "variable", 8);
    g_assert_cmpint(viv_timer_expiry_ns(b.timer), ==, 123456789012);
    g_assert_cmpint(b.custom, ==, 4711);
    g_assert_cmpint(b.derived, ==, 201);
    g_assert_null(b.config);
    g_assert_cmpint(a.derived, ==, -1);
    again = save(&b, &len2);
    g_assert_cmpmem(data, len, again, len2);
    g_free(data);
    g_free(again);
    outer_fini(&a);
    outer_fini(&b);
}

static void test_truncated_everywhere(void)
{
    struct outer a;
    size_t len;
    uint8_t *data;

    outer_fill(&a);
    data = save(&a, &len);
    for (size_t cut = 0; cut < len; cut++) {
        struct viv_err err = VIV_ERR_INIT;
        struct outer b;

        outer_init(&b);
        g_assert_cmpint(load(data, cut, &b, &err), ==, -EINVAL);
        g_assert_cmpstr(err.text, !=, "");
        outer_fini(&b);
    }
    g_free(data);
    outer_fini(&a);
}

/* The section's own length shortened: the fields then end too early, whatever follows. */
static void test_short_section(void)
{
    struct outer a;
    size_t len, at = 1 + 2 + strlen("dev/outer");
    uint8_t *data;

    outer_fill(&a);
    data = save(&a, &len);
    for (uint32_t body = 0; body < len - at - 4; body++) {
        struct viv_err err = VIV_ERR_INIT;
        struct outer b;

        memcpy(data + at, &body, 4);
        outer_init(&b);
        g_assert_cmpint(load(data, len, &b, &err), ==, -EINVAL);
        outer_fini(&b);
    }
    g_free(data);
    outer_fini(&a);
}

/* Any one byte changed: accepted or refused, but never a crash, and bools stay bools. */
static void test_flipped(void)
{
    struct outer a;
    size_t len;
    uint8_t *data;

    outer_fill(&a);
    data = save(&a, &len);
    for (size_t i = 0; i < len * 8; i++) {
        struct viv_err err = VIV_ERR_INIT;
        struct outer b;

        data[i / 8] ^= 1 << (i % 8);
        outer_init(&b);
        if (load(data, len, &b, &err) == 0) {
            g_assert_cmpint(*(uint8_t *)&b.one.flag, <=, 1);
            g_assert_cmpint(b.colour, <=, BLUE);
            g_assert_cmpint(b.one.s, >=, -100);
        }
        outer_fini(&b);
        data[i / 8] ^= 1 << (i % 8);
    }
    g_free(data);
    outer_fini(&a);
}

static void test_wrong_place(void)
{
    struct outer a, b;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_reader *r;
    size_t len;
    uint8_t *data, *more;

    outer_fill(&a);
    outer_init(&b);
    data = save(&a, &len);
    r = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_state_load(r, "dev/other", &outer_state, &b, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "dev/outer"));
    g_assert_nonnull(strstr(err.text, "dev/other"));
    viv_state_reader_free(r);

    viv_err_clear(&err);
    r = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_state_load(r, "dev/outer", &inner_state, &b.one, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "inner"));
    viv_state_reader_free(r);

    /* One byte more than the fields want. */
    viv_err_clear(&err);
    more = g_malloc0(len + 1);
    memcpy(more, data, len);
    more[1 + 2 + 9]++;
    g_assert_cmpint(load(more, len + 1, &b, &err), ==, -EINVAL);
    g_assert_nonnull(strstr(err.text, "1 bytes that nobody knows"));
    g_free(more);
    g_free(data);
    outer_fini(&a);
    outer_fini(&b);
}

static void test_versions(void)
{
    struct small {
        uint32_t old, added;
    } a = {1, 2}, b = {10, 20};
    struct viv_field fields[] = {VIV_F_INT(small, old), VIV_F_INT(small, added), VIV_F_END};
    struct viv_state_table v1 = {"small", "small", 1, 1, fields + 0, NULL, NULL}, v2 = v1;
    const struct viv_field only_old[] = {VIV_F_INT(small, old), VIV_F_END};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_state_writer *w = viv_state_writer_new();
    struct viv_state_reader *r;
    uint8_t *data;
    size_t len;

    fields[1].since = 2;
    v1.fields = only_old;
    v2.version = 2;
    viv_state_save(w, "x", &v1, &a);
    viv_state_save(w, "x", &v2, &a);
    data = viv_state_writer_finish(w, &len);
    viv_state_writer_free(w);

    r = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_state_load(r, "x", &v2, &b, &err), ==, 0);
    g_assert_cmpuint(b.old, ==, 1);
    g_assert_cmpuint(b.added, ==, 20);
    g_assert_cmpint(viv_state_load(r, "x", &v2, &b, &err), ==, 0);
    g_assert_cmpuint(b.added, ==, 2);
    viv_state_reader_free(r);

    r = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_state_load(r, "x", &v1, &b, &err), ==, 0);
    g_assert_cmpint(viv_state_load(r, "x", &v1, &b, &err), ==, -EINVAL); /* newer than we know */
    viv_state_reader_free(r);

    viv_err_clear(&err);
    v2.min_version = 2;
    r = viv_state_reader_new(data, len);
    g_assert_cmpint(viv_state_load(r, "x", &v2, &b, &err), ==, -EINVAL); /* too old */
    viv_state_reader_free(r);
    g_free(data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    viv_dev_lock(); /* timers are made and freed under it */
    g_test_add_func("/state/roundtrip", test_roundtrip);
    g_test_add_func("/state/truncated", test_truncated_everywhere);
    g_test_add_func("/state/short-section", test_short_section);
    g_test_add_func("/state/flipped", test_flipped);
    g_test_add_func("/state/wrong-place", test_wrong_place);
    g_test_add_func("/state/versions", test_versions);
    argc = g_test_run();
    viv_dev_unlock();
    return argc;
}
