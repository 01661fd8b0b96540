/* VHDX's log: entries made by hand, as another program may have left them, and our own under power cuts. */
#include "block/fmt/vhdx/vhdx_int.h"
#include "block/tables_test.h"

#include "base/bytes.h"

/* Sectors of the BAT's region that a disk this small has no entries in: what the log says of them changes nothing else. */
enum { LOG = 1 << 20, LOG_LEN = 1 << 20, TARGET = (2 << 20) + 4096, TARGETS = 40, S = VHDX_LOG_SECTOR };

static const struct variant plain = {"plain", "block_size=1M", 4 << 20, 0};
static const uint8_t guid[16] = "a log of a test", other_guid[16] = "not this log...";

static void name_log(struct mem *m, const uint8_t *g)
{
    for (unsigned i = 1; i <= 2; i++) {
        memcpy(m->data + VHDX_HEADER_AT * i + VHDX_H_LOG_GUID, g, 16);
        vhdx_seal(m->data + VHDX_HEADER_AT * i, VHDX_HEADER_LEN);
    }
}

static void make_image(struct mem *m)
{
    make(&viv_blk_vhdx, &plain, m);
    name_log(m, guid);
}

/* --- entries by hand --- */

struct change {
    unsigned target, count; /* sectors */
    uint64_t stamp;         /* 0: a descriptor of zeroes, of `count` sectors; else of data, one */
};

struct entry {
    uint32_t at; /* in the log */
    uint64_t sequence;
    uint32_t tail;
    struct change change[8]; /* ends at count 0 */
    uint32_t pad;            /* bytes behind what it needs */
    uint64_t last;           /* 0: as long as the file is */
};

static uint64_t target_at(unsigned t)
{
    return TARGET + (uint64_t)t * S;
}

static void put_change(const struct change *c, uint64_t sequence, uint8_t *d, uint8_t *data)
{
    memcpy(d, c->stamp ? "desc" : "zero", 4);
    viv_st_le64(d + VHDX_D_OFFSET, target_at(c->target));
    viv_st_le64(d + VHDX_D_SEQUENCE, sequence);
    if (!c->stamp) {
        viv_st_le64(d + VHDX_D_LEADING, c->count * S);
        return;
    }
    for (unsigned i = 0; i < S; i += 8)
        viv_st_le64(data + i, c->stamp);
    viv_st_le64(d + VHDX_D_LEADING, c->stamp);
    memcpy(d + VHDX_D_TRAILING, data + S - 4, 4);
    memcpy(data, "data", 4);
    viv_st_le32(data + 4, sequence >> 32);
    viv_st_le32(data + S - 4, (uint32_t)sequence);
}

/* Returns its length; `e` has room for it. */
static uint32_t make_entry(const struct entry *p, uint64_t flushed, uint8_t *e)
{
    uint32_t count = 0, len;

    memset(e, 0, 16 * S);
    while (p->change[count].count)
        count++;
    len = vhdx_desc_bytes(count);
    for (uint32_t i = 0; i < count; i++) {
        put_change(&p->change[i], p->sequence, e + VHDX_L_DESC + i * VHDX_D_LEN, e + len);
        len += p->change[i].stamp ? S : 0;
    }
    len += p->pad;
    memcpy(e, "loge", 4);
    viv_st_le32(e + VHDX_L_LENGTH, len);
    viv_st_le32(e + VHDX_L_TAIL, p->tail);
    viv_st_le64(e + VHDX_L_SEQUENCE, p->sequence);
    viv_st_le32(e + VHDX_L_COUNT, count);
    memcpy(e + VHDX_L_GUID, guid, 16);
    viv_st_le64(e + VHDX_L_FLUSHED, flushed);
    viv_st_le64(e + VHDX_L_LAST, p->last ? p->last : flushed);
    vhdx_seal(e, len);
    return len;
}

static void put_log(struct mem *m, uint32_t at, const uint8_t *e, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        m->data[LOG + (at + i) % LOG_LEN] = e[i];
}

static void put_entry(struct mem *m, const struct entry *p)
{
    uint8_t e[16 * S];

    put_log(m, p->at, e, make_entry(p, m->size, e));
}

/* --- what has to come of it --- */

struct want {
    uint64_t stamp[TARGETS]; /* 0: zeroes, as it was */
};

static void want_entry(struct want *w, const struct entry *p)
{
    for (const struct change *c = p->change; c->count; c++)
        for (unsigned i = 0; i < c->count; i++)
            w->stamp[c->target + i] = c->stamp;
}

static void expect_targets(struct viv_node *file, const struct want *w)
{
    for (unsigned t = 0; t < TARGETS; t++) {
        uint8_t got[S];

        g_assert_cmpint(viv_node_pread(file, target_at(t), got, S), ==, 0);
        for (unsigned i = 0; i < S; i += 8)
            g_assert_cmphex(viv_ld_le64(got + i), ==, w->stamp[t]);
    }
}

/* The log's GUID in the current header. */
static const uint8_t *named_log(const struct mem *m)
{
    const uint8_t *h[2] = {m->data + VHDX_HEADER_AT, m->data + 2 * VHDX_HEADER_AT};
    bool second = vhdx_sealed(h[1], VHDX_HEADER_LEN) && (!vhdx_sealed(h[0], VHDX_HEADER_LEN) ||
                  viv_ld_le64(h[1] + VHDX_H_SEQUENCE) > viv_ld_le64(h[0] + VHDX_H_SEQUENCE));

    return h[second] + VHDX_H_LOG_GUID;
}

static void expect_log_empty(const struct mem *m)
{
    g_assert_true(vhdx_guid_is_zero(named_log(m)));
}

static void expect_in(struct mem *m, const struct want *w, bool read_only)
{
    struct viv_node *n = open_with(&viv_blk_vhdx, m, (struct viv_node_opts){.read_only = read_only});

    g_assert_nonnull(n);
    expect_targets(n->file, w);
    expect_check(n, false);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* A power cut at any write of the replay, and random sectors of what was not flushed. */
static void expect_cuts(const struct mem *start, const struct mem *record, const struct want *w)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    struct mem now, stable, trial;
    guint last_flush = 0;

    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&now, start);
    mem_copy(&stable, start);
    for (guint cut = 0; cut <= record->log->len; cut++) {
        mem_copy(&trial, &now);
        expect_in(&trial, w, cut % 2);
        expect_in(&trial, w, false);
        mem_copy(&trial, &stable);
        for (guint i = last_flush; i < cut; i++)
            mem_replay(&trial, &g_array_index(record->log, struct mem_entry, i), r);
        expect_in(&trial, w, false);
        if (cut == record->log->len)
            break;
        mem_replay(&now, &g_array_index(record->log, struct mem_entry, cut), NULL);
        if (g_array_index(record->log, struct mem_entry, cut).op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            last_flush = cut + 1;
        }
    }
    mem_fini(&now);
    mem_fini(&stable);
    mem_fini(&trial);
    g_rand_free(r);
}

/* Read-only nothing changes in the file and all is seen; opened for writing it is in its place, whenever the power is cut. */
static void expect_replay(struct mem *m, const struct want *w)
{
    struct mem start;

    mem_init(&start);
    mem_copy(&start, m);
    expect_in(m, w, true);
    g_assert_cmpuint(m->size, ==, start.size);
    g_assert_cmpint(memcmp(m->data, start.data, m->size), ==, 0);
    m->log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    expect_in(m, w, false);
    expect_log_empty(m);
    expect_cuts(&start, m, w);
    mem_fini(&start);
}

static void expect_refusal(struct mem *m, const char *says)
{
    for (int ro = 0; ro < 2; ro++) {
        struct viv_node_opts o = {.read_only = ro};
        struct viv_err err = VIV_ERR_INIT;
        struct viv_node *n = NULL;

        g_assert_cmpint(viv_node_open_format(&viv_blk_vhdx, mem_node(m), &o, &n, &err), !=, 0);
        if (!strstr(err.text, says))
            g_error("'%s' is not '%s'", err.text, says);
    }
}

/* --- logs --- */

#define E(place, number, its_tail, ...) {.at = (place) * S, .sequence = number, .tail = (its_tail) * S, .change = {__VA_ARGS__}}

struct log_case {
    const char *name;
    struct entry entry[6]; /* ends at sequence 0 */
    unsigned from, to;     /* which of them are replayed, in this order: [from, to) */
};

static const struct log_case cases[] = {
    {"data", {E(0, 1, 0, {0, 1, 0x1111}, {5, 1, 0x2222}, {1, 1, 0x3333})}, 0, 1},
    {"zeroes", {E(9, 7, 9, {0, 1, 1}, {1, 1, 2}, {2, 1, 3}, {1, 9, 0}, {3, 1, 4})}, 0, 1},
    {"nothing", {E(3, 1, 3, {0})}, 0, 1},
    {"in-order", {E(0, 3, 0, {0, 4, 0}, {1, 1, 0xa}), E(2, 4, 0, {1, 1, 0xb}, {2, 1, 0xc}), E(5, 5, 0, {1, 1, 0xd})}, 0, 3},
    {"from-tail", {E(0, 3, 0, {0, 1, 9}), E(2, 4, 2, {1, 1, 8}), E(4, 5, 2, {2, 1, 7})}, 1, 3},
    {"wrapped-sequence", {E(252, 8, 252, {0, 1, 1}), E(254, 9, 252, {0, 1, 2}), E(0, 10, 252, {1, 1, 3})}, 0, 3},
    {"wrapped-entry", {E(254, 8, 254, {0, 1, 1}, {1, 1, 2}, {2, 1, 3}), E(2, 9, 254, {1, 1, 4})}, 0, 2},
    {"wrapped-header-last", {E(255, 8, 255, {0, 1, 1}, {1, 1, 2}, {2, 1, 3})}, 0, 1},
    /* The highest valid one counts, wherever it lies. */
    {"two-sequences", {E(100, 20, 100, {0, 1, 1}), E(10, 30, 10, {1, 1, 2})}, 1, 2},
    {"two-sequences-turned", {E(100, 30, 100, {0, 1, 1}), E(10, 20, 10, {1, 1, 2})}, 0, 1},
    {"long-and-old", {E(0, 5, 0, {0, 1, 1}), E(2, 6, 0, {1, 1, 2}), E(4, 7, 0, {2, 1, 3}), E(50, 90, 50, {3, 1, 4})}, 3, 4},
    /* Its tail is none of its own: it lost its beginning. */
    {"no-tail", {E(10, 5, 10, {0, 1, 1}), E(30, 9, 28, {1, 1, 2})}, 0, 1},
    {"tail-inside", {E(10, 5, 10, {0, 1, 1}), E(30, 9, 30, {1, 1, 2}, {2, 1, 3}), E(33, 10, 31, {3, 1, 4})}, 0, 1},
    {"tail-alone", {E(10, 5, 10, {0, 1, 1}), E(30, 9, 10, {1, 1, 2})}, 0, 1},
    /* Numbers that leave one out, and that repeat. */
    {"gap", {E(10, 5, 10, {0, 1, 1}), E(12, 7, 12, {1, 1, 2})}, 1, 2},
    {"gap-before-tail", {E(10, 5, 10, {0, 1, 1}), E(12, 7, 10, {1, 1, 2})}, 0, 1},
    {"same-number", {E(10, 5, 10, {0, 1, 1}), E(12, 5, 10, {1, 1, 2})}, 0, 1},
    {"high-numbers", {E(0, 0xffffffffu, 0, {0, 1, 1}), E(2, 0x100000000, 0, {0, 1, 2})}, 0, 2},
    {"padded", {{.at = 0, .sequence = 1, .tail = 0, .change = {{0, 1, 1}}, .pad = 5 * S}, E(7, 2, 0, {1, 1, 2})}, 0, 2},
};

static void test_log(gconstpointer opaque)
{
    const struct log_case *c = opaque;
    struct want w = {0};
    struct mem m;

    make_image(&m);
    for (const struct entry *e = c->entry; e->sequence; e++)
        put_entry(&m, e);
    for (unsigned i = c->from; i < c->to; i++)
        want_entry(&w, &c->entry[i]);
    expect_replay(&m, &w);
    mem_fini(&m);
}

/* --- entries that are not whole --- */

static const struct entry first = E(10, 5, 10, {0, 1, 1}, {1, 1, 2}), second = E(13, 6, 10, {1, 1, 3}, {2, 1, 4}, {5, 2, 0}),
                          third = E(16, 7, 10, {1, 1, 5});

static void make_three(struct mem *m)
{
    make_image(m);
    put_entry(m, &first);
    put_entry(m, &second);
    put_entry(m, &third);
}

/* One wrong bit anywhere: the sequence ends before that entry, and what comes behind does not count. */
static void test_wrong_bits(void)
{
    static const unsigned bits[] = {0, 4, 8, 12, 16, 24, 28, 32, 47, 48, 56, 64, 68, 72, 80, 88, 96, 200, S - 1, S, S + 4, S + 8, 2 * S - 1,
                                    2 * S, 3 * S - 1};

    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
        struct want w = {0};
        struct mem m;

        make_three(&m);
        m.data[LOG + 13 * S + bits[i]] ^= 0x10;
        want_entry(&w, &first);
        expect_in(&m, &w, true);
        expect_in(&m, &w, false);
        expect_log_empty(&m);
        mem_fini(&m);
    }
}

/* Sectors of the last entry that did not arrive: there is what lay there before. */
static void test_torn(void)
{
    for (unsigned lost = 1; lost < 1 << 6; lost++) {
        uint8_t e[16 * S];
        struct want w = {0};
        struct mem m;

        make_image(&m);
        put_entry(&m, &first);
        make_entry(&second, m.size, e);
        for (unsigned half = 0; half < 6; half++) /* halves of its three sectors */
            if (!(lost >> half & 1))
                put_log(&m, 13 * S + half * S / 2, e + half * S / 2, S / 2);
        want_entry(&w, &first);
        /* Lost halves of descriptors that were zeroes anyhow: then it is whole. */
        if (lost == 2)
            want_entry(&w, &second);
        expect_in(&m, &w, true);
        expect_in(&m, &w, false);
        mem_fini(&m);
    }
}

/* Rules that a sum does not catch: the entry is sealed as it is. */
static void test_invalid(void)
{
    static const struct {
        unsigned at, len;
        uint64_t value;
    } bad[] = {
        {VHDX_L_LENGTH, 4, 0},           {VHDX_L_LENGTH, 4, 4095},         {VHDX_L_LENGTH, 4, S},
        {VHDX_L_LENGTH, 4, LOG_LEN + S}, {VHDX_L_LENGTH, 4, 0xfffff000},   {VHDX_L_TAIL, 4, 5},
        {VHDX_L_TAIL, 4, LOG_LEN},       {VHDX_L_SEQUENCE, 8, 0},          {VHDX_L_COUNT, 4, UINT32_MAX},
        {VHDX_L_COUNT, 4, 5},            {VHDX_L_GUID, 1, 'X'},            {VHDX_L_DESC, 4, 0x12345678},
        {VHDX_L_DESC + 16, 8, 100},      {VHDX_L_DESC + 24, 8, 8},         {VHDX_L_DESC + 64 + 8, 8, 100},
        {VHDX_L_DESC + 64 + 8, 8, ~0ull << 12}, {S, 4, 0},                 {S + 4, 4, 1},
        {2 * S - 4, 4, 7},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint8_t e[16 * S];
        struct want w = {0};
        uint32_t len;
        struct mem m;

        make_image(&m);
        put_entry(&m, &first);
        len = make_entry(&second, m.size, e);
        for (unsigned k = 0; k < bad[i].len; k++)
            e[bad[i].at + k] = bad[i].value >> (8 * k);
        vhdx_seal(e, len);
        put_log(&m, second.at, e, len);
        want_entry(&w, &first);
        g_test_message("rule %u", i);
        expect_in(&m, &w, true);
        expect_in(&m, &w, false);
        mem_fini(&m);
    }
}

static void test_other_guid(void)
{
    struct want w = {0};
    struct mem m;

    make_three(&m);
    name_log(&m, other_guid);
    expect_replay(&m, &w); /* none of its own: nothing was begun */
    mem_fini(&m);
    make_three(&m);
    name_log(&m, (const uint8_t[16]){0});
    expect_in(&m, &w, true);
    expect_in(&m, &w, false);
    mem_fini(&m);
}

/* --- files that do not fit their log --- */

static void test_file_length(void)
{
    struct entry longer = E(0, 1, 0, {0, 1, 1});
    struct want w = {0};
    uint8_t e[16 * S];
    uint64_t size;
    struct mem m;

    make_image(&m);
    size = m.size;
    put_log(&m, 0, e, make_entry(&longer, size + S, e));
    expect_refusal(&m, "the file has been truncated");
    longer.last = size + (3 << 20);
    put_log(&m, 0, e, make_entry(&longer, size, e));
    want_entry(&w, &longer);
    expect_replay(&m, &w);
    g_assert_cmpuint(m.size, ==, longer.last);
    mem_fini(&m);
    make_image(&m);
    longer.last = ~0ull << 20;
    put_log(&m, 0, e, make_entry(&longer, size, e));
    expect_refusal(&m, "the log makes the file");
    mem_fini(&m);
}

/* Zeroes behind what the file holds cost nothing: there may be more of them than the disk has room for. */
static void test_far_zeroes(void)
{
    struct entry p = E(0, 1, 0, {0, 200, 0}, {0, 1, 0x55}, {0, 3, 0});
    struct want w = {0};
    uint8_t e[16 * S];
    uint64_t size;
    uint32_t len;
    struct mem m;

    make_image(&m);
    size = m.size;
    p.last = size + (4 << 20);
    len = make_entry(&p, size, e);
    for (unsigned i = 0; i < 3; i++)
        viv_st_le64(e + VHDX_L_DESC + i * VHDX_D_LEN + VHDX_D_OFFSET, size - 2 * S + i * 3 * S);
    vhdx_seal(e, len);
    put_log(&m, 0, e, len);
    expect_in(&m, &w, true);
    m.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    expect_in(&m, &w, false);
    g_assert_cmpuint(m.size, ==, p.last);
    g_assert_cmphex(viv_ld_le64(m.data + size + S), ==, 0x55);
    for (guint i = 0; i < m.log->len; i++) {
        const struct mem_entry *x = &g_array_index(m.log, struct mem_entry, i);

        g_assert_false(x->op == MEM_ZERO && x->offset + x->len > size);
    }
    mem_fini(&m);
}

/* Header, log, the end: places that no entry may change. */
static void test_targets(void)
{
    static const uint64_t places[] = {0, VHDX_HEADER_AT, 2 * VHDX_HEADER_AT, LOG, LOG + LOG_LEN - S, 1ull << 40, ~0ull << 12};

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(places); i++) {
        struct entry p = E(0, 1, 0, {0, 1, i % 2});
        uint8_t e[16 * S];
        uint32_t len;
        struct mem m;

        if (i == 2 * G_N_ELEMENTS(places) - 1 || i == 2 * G_N_ELEMENTS(places) - 2)
            continue; /* the sum of offset and length wraps: not an entry, test_invalid */
        make_image(&m);
        len = make_entry(&p, m.size, e);
        viv_st_le64(e + VHDX_L_DESC + VHDX_D_OFFSET, places[i / 2]);
        vhdx_seal(e, len);
        put_log(&m, 0, e, len);
        expect_refusal(&m, "where it must not");
        mem_fini(&m);
    }
}

/* Every sector begins an entry as long as the log: the time that this takes has a limit. */
static void test_costly(void)
{
    struct entry p = E(0, 1, 0, {0});
    gint64 start = g_get_monotonic_time();
    uint8_t e[16 * S];
    struct mem m;

    make_image(&m);
    for (uint32_t at = 0; at < LOG_LEN; at += S) {
        make_entry(&p, m.size, e);
        viv_st_le32(e + VHDX_L_LENGTH, LOG_LEN);
        put_log(&m, at, e, S);
    }
    expect_refusal(&m, "lie on each other");
    g_assert_cmpint(g_get_monotonic_time() - start, <, 20 * G_USEC_PER_SEC);
    mem_fini(&m);
}

/* A block of the disk that the log zeroes and fills is seen through a read-only node as well. */
static void test_payload(void)
{
    uint8_t buf[3 * S], e[16 * S];
    struct entry p = E(0, 1, 0, {0, 1, 0}, {0, 1, 0x77});
    struct viv_extent x;
    struct viv_node *n;
    struct mem m;
    uint32_t len;

    make(&viv_blk_vhdx, &plain, &m);
    n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){0});
    memset(buf, 0x33, sizeof(buf));
    g_assert_cmpint(viv_node_pwrite(n, 0, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    name_log(&m, guid);
    len = make_entry(&p, m.size, e);
    viv_st_le64(e + VHDX_L_DESC + VHDX_D_OFFSET, 4 << 20); /* block 0 */
    viv_st_le64(e + VHDX_L_DESC + VHDX_D_LEN + VHDX_D_OFFSET, (4 << 20) + S);
    vhdx_seal(e, len);
    put_log(&m, 0, e, len);
    for (int ro = 1; ro >= 0; ro--) {
        n = open_with(&viv_blk_vhdx, &m, (struct viv_node_opts){.read_only = ro});
        g_assert_cmpint(viv_node_pread(n, 0, buf, sizeof(buf)), ==, 0);
        g_assert_cmphex(viv_ld_le64(buf), ==, 0);
        g_assert_cmphex(viv_ld_le64(buf + S - 8), ==, 0);
        g_assert_cmphex(viv_ld_le64(buf + S), ==, 0x77);
        g_assert_cmphex(viv_ld_le64(buf + 2 * S - 8), ==, 0x77);
        g_assert_cmphex(viv_ld_le64(buf + 2 * S), ==, 0x3333333333333333);
        g_assert_cmpint(viv_node_pread(n, S - 4, buf, 8), ==, 0);
        g_assert_cmphex(viv_ld_le64(buf), ==, 0x77ull << 32);
        g_assert_cmpint(viv_node_status(n, 0, 1 << 20, &x), ==, 0);
        g_assert_cmpint(x.kind, ==, VIV_MAP_DATA);
        viv_node_put(&n);
    }
    mem_fini(&m);
}

/* --- our own entries --- */

struct batch {
    guint from, to; /* length of the record when it began and when it returned */
    uint64_t stamp[TARGETS];
};

static void write_batches(struct mem *m, GRand *r, GArray *batches)
{
    struct viv_node *n = open_with(&viv_blk_vhdx, m, (struct viv_node_opts){0});
    struct batch b = {0};

    g_array_append_val(batches, b);
    for (unsigned i = 1; i <= 60; i++) {
        struct vhdx *v = n->state;
        struct vhdx_sector s[TARGETS];
        uint64_t fill[TARGETS][S / 8];
        unsigned count = 0;

        for (unsigned t = 0; t < TARGETS; t++) {
            if (g_rand_int_range(r, 0, i % 9 == 0 ? 1 : 12))
                continue;
            b.stamp[t] = (uint64_t)i << 32 | t;
            for (unsigned k = 0; k < S / 8; k++)
                fill[count][k] = b.stamp[t];
            s[count] = (struct vhdx_sector){target_at(t), (uint8_t *)fill[count]};
            count++;
        }
        if (!count)
            continue;
        b.from = m->log->len;
        g_assert_cmpint(viv_node_flush(v->file), ==, 0);
        g_assert_cmpint(vhdx_begin_writing(v), ==, 0);
        g_assert_cmpint(vhdx_log_commit(v, s, count, viv_node_size(v->file)), ==, 0);
        b.to = m->log->len;
        g_array_append_val(batches, b);
        if (i % 25 == 24) {
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            n = open_with(&viv_blk_vhdx, m, (struct viv_node_opts){0});
        }
    }
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* A log that the header names has a whole entry: the specification calls it corrupt without one. */
static void expect_whole_log(const struct mem *m)
{
    struct vhdx_ring r = {.len = LOG_LEN, .guid = named_log(m), .budget = 1 << 30};
    uint32_t first, count;

    if (vhdx_guid_is_zero(r.guid))
        return;
    r.data = g_malloc(2 * LOG_LEN);
    r.known = g_malloc0(LOG_LEN / S);
    memcpy(r.data, m->data + LOG, LOG_LEN);
    memcpy(r.data + LOG_LEN, m->data + LOG, LOG_LEN);
    g_assert_cmpint(vhdx_log_find(&r, &first, &count), ==, 0);
    g_assert_cmpuint(count, >, 0);
    g_free(r.data);
    g_free(r.known);
}

/* All of a batch or nothing of it; nothing older than the last one that was reported. */
static void verify_batches(struct mem *file, const GArray *batches, guint cut, bool read_only)
{
    uint8_t got[TARGETS][S];
    struct viv_node *n;
    guint least = 0;

    expect_whole_log(file);
    n = open_with(&viv_blk_vhdx, file, (struct viv_node_opts){.read_only = read_only});
    g_assert_nonnull(n);
    for (unsigned t = 0; t < TARGETS; t++)
        g_assert_cmpint(viv_node_pread(n->file, target_at(t), got[t], S), ==, 0);
    for (guint i = 0; i < batches->len; i++)
        if (g_array_index(batches, struct batch, i).to <= cut)
            least = i;
    for (guint i = least; i < batches->len; i++) {
        const struct batch *b = &g_array_index(batches, struct batch, i);
        bool same = b->from <= cut;

        for (unsigned t = 0; t < TARGETS && same; t++)
            for (unsigned k = 0; k < S && same; k += 8)
                same = viv_ld_le64(got[t] + k) == b->stamp[t];
        if (same) {
            g_assert_cmpint(viv_node_put(&n), ==, 0);
            return;
        }
    }
    g_error("cut %u: what the log was to change is no state that it ever had", cut);
}

static void test_own_cuts(void)
{
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    GArray *batches = g_array_new(FALSE, FALSE, sizeof(struct batch));
    struct mem m, now, stable, trial;
    guint last_flush = 0, images = 0;

    make(&viv_blk_vhdx, &plain, &m);
    mem_init(&now);
    mem_init(&stable);
    mem_init(&trial);
    mem_copy(&now, &m);
    mem_copy(&stable, &m);
    m.log = g_array_new(FALSE, FALSE, sizeof(struct mem_entry));
    write_batches(&m, r, batches);
    for (guint cut = 0; cut <= m.log->len; cut++) {
        mem_copy(&trial, &now);
        verify_batches(&trial, batches, cut, cut % 2);
        mem_copy(&trial, &stable);
        for (guint i = last_flush; i < cut; i++)
            mem_replay(&trial, &g_array_index(m.log, struct mem_entry, i), r);
        verify_batches(&trial, batches, cut, cut % 2 == 0);
        images += 2;
        if (cut == m.log->len)
            break;
        mem_replay(&now, &g_array_index(m.log, struct mem_entry, cut), NULL);
        if (g_array_index(m.log, struct mem_entry, cut).op == MEM_FLUSH) {
            mem_copy(&stable, &now);
            last_flush = cut + 1;
        }
    }
    mem_tell_cuts(m.log->len, images);
    g_array_free(batches, TRUE);
    mem_fini(&m);
    mem_fini(&now);
    mem_fini(&stable);
    mem_fini(&trial);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strconcat("/block/vhdx-log/", cases[i].name, NULL);

        g_test_add_data_func(name, &cases[i], test_log);
    }
    g_test_add_func("/block/vhdx-log/wrong-bits", test_wrong_bits);
    g_test_add_func("/block/vhdx-log/torn", test_torn);
    g_test_add_func("/block/vhdx-log/invalid", test_invalid);
    g_test_add_func("/block/vhdx-log/other-guid", test_other_guid);
    g_test_add_func("/block/vhdx-log/file-length", test_file_length);
    g_test_add_func("/block/vhdx-log/far-zeroes", test_far_zeroes);
    g_test_add_func("/block/vhdx-log/targets", test_targets);
    g_test_add_func("/block/vhdx-log/costly", test_costly);
    g_test_add_func("/block/vhdx-log/payload", test_payload);
    g_test_add_func("/block/vhdx-log/own-cuts", test_own_cuts);
    return g_test_run();
}
