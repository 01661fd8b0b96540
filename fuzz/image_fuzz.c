/* Hostile disk images of formats whose files are too large for a fuzzer to invent: the input changes a sound image that was made here, in
 * places where the format keeps its tables; sums are made right again, or nothing behind them would be reached. Then the image is opened,
 * read, written, checked, resized.
 *
 * Input: a byte that chooses the image (of the format in the environment's VIV_FUZZ_FORMAT, or of all), a byte of switches, then records
 * {place, offset (2 bytes; the first alone, in words, unless the place is over 127), length - 1, bytes}. fuzz/image FORMAT runs it. */
#include "block/cow_test.h"
#include "block/crypt/luks_int.h"
#include "block/fmt/luks/luks.h"
#include "block/fmt/parallels/parallels.h"
#include "block/fmt/qcow/qcow.h"
#include "block/fmt/qed/qed.h"
#include "block/fmt/vdi/vdi.h"
#include "block/fmt/vhdx/vhdx_int.h"
#include "block/fmt/vpc/vpc_int.h"
#include "block/tables_test.h"
#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "crypto/secrets_test.h"

enum { KEEP_SUMS = 1, KEEP_COPY = 2, SHORTER = 4 }; /* switches */
enum { PLACES = 6, END = -1 };

struct span {
    uint64_t at, len;
};

struct image {
    const struct viv_blk_driver *drv;
    const char *opts, *secret;
    uint64_t size;
    int64_t place[PLACES]; /* of the file; END: its last 512 bytes */
    void (*seal)(uint8_t *data, uint64_t size, unsigned switches);
    bool always;               /* also with KEEP_SUMS */
    struct span sealed[4]; /* what seal() changes; ends at len 0 */
    void (*prepare)(uint8_t *data);
    uint8_t *pristine, *data; /* made at the first use */
    uint64_t bytes;
};

/* --- sums --- */

static void seal_vpc(uint8_t *d, uint64_t size, unsigned switches)
{
    if (size < 2048)
        return;
    viv_st_be32(d + VPC_F_SUM, vpc_sum(d, VPC_FOOTER_LEN, VPC_F_SUM));
    viv_st_be32(d + 512 + VPC_D_SUM, vpc_sum(d + 512, VPC_DYN_LEN, VPC_D_SUM));
    d += size - 512;
    viv_st_be32(d + VPC_F_SUM, vpc_sum(d, VPC_FOOTER_LEN, VPC_F_SUM));
}

enum { VHDX_LOG = 1 << 20, VHDX_META = 3 << 20 };

static void seal_vhdx(uint8_t *d, uint64_t size, unsigned switches)
{
    for (unsigned i = 1; i <= 2; i++)
        vhdx_seal(d + VHDX_HEADER_AT * i, VHDX_HEADER_LEN);
    vhdx_seal(d + VHDX_TABLE_AT, VHDX_TABLE_LEN);
    if (!(switches & KEEP_COPY))
        memcpy(d + VHDX_TABLE_AT + VHDX_TABLE_LEN, d + VHDX_TABLE_AT, VHDX_TABLE_LEN);
    for (uint32_t at = 0; at < 16 * VHDX_LOG_SECTOR; at += VHDX_LOG_SECTOR) {
        uint8_t *e = d + VHDX_LOG + at;
        uint32_t len = viv_ld_le32(e + VHDX_L_LENGTH);

        if (memcmp(e, "loge", 4) == 0 && len >= 64 && len <= (1u << 20) - at)
            vhdx_seal(e, len);
    }
}

/* Three entries, the last of them with a tail of its own; the second changes the table by both kinds of descriptors. */
static void prepare_vhdx(uint8_t *d)
{
    static const uint8_t guid[16] = "a fuzzer's log";

    for (unsigned i = 1; i <= 2; i++)
        memcpy(d + VHDX_HEADER_AT * i + VHDX_H_LOG_GUID, guid, 16);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t *e = d + VHDX_LOG + 2 * i * VHDX_LOG_SECTOR, *desc = e + VHDX_L_DESC, *data = e + VHDX_LOG_SECTOR;

        memset(e, 0, 2 * VHDX_LOG_SECTOR);
        memcpy(e, "loge", 4);
        viv_st_le32(e + VHDX_L_LENGTH, 2 * VHDX_LOG_SECTOR);
        viv_st_le32(e + VHDX_L_TAIL, i == 2 ? 4 * VHDX_LOG_SECTOR : 0);
        viv_st_le64(e + VHDX_L_SEQUENCE, i + 1);
        viv_st_le32(e + VHDX_L_COUNT, 2);
        memcpy(e + VHDX_L_GUID, guid, 16);
        viv_st_le64(e + VHDX_L_FLUSHED, 4 << 20);
        viv_st_le64(e + VHDX_L_LAST, 8 << 20);
        memcpy(desc, "zero", 4);
        viv_st_le64(desc + VHDX_D_LEADING, 4096);
        viv_st_le64(desc + VHDX_D_OFFSET, (2 << 20) + 8192);
        viv_st_le64(desc + VHDX_D_SEQUENCE, i + 1);
        memcpy(desc + 32, "desc", 4);
        viv_st_le64(desc + 32 + VHDX_D_LEADING, 4 << 20 | VHDX_PRESENT);
        viv_st_le64(desc + 32 + VHDX_D_OFFSET, 2 << 20);
        viv_st_le64(desc + 32 + VHDX_D_SEQUENCE, i + 1);
        memcpy(data, "data", 4);
        viv_st_le32(data + VHDX_LOG_SECTOR - 4, i + 1);
    }
    seal_vhdx(d, 0, 0);
}

/* Counts of iterations are free to be anything, and cost what they say: few of them. */
static void seal_luks(uint8_t *d, uint64_t size, unsigned switches)
{
    static const unsigned one[] = {LUKS_H_DIGEST_ITERATIONS, LUKS_H_SLOT + LUKS_S_ITERATIONS};

    for (unsigned i = 0; i < 1 + LUKS_SLOTS; i++) {
        uint8_t *at = d + one[i > 0] + (i ? i - 1 : 0) * LUKS_S_BYTES;

        if (viv_ld_be32(at) > 1000)
            viv_st_be32(at, 1000);
    }
}

/* --- images --- */

#define LUKS_KEY "key-secret=a,iter-time=0,cipher-alg=aes-128,"

static struct image images[] = {
    {.drv = &viv_blk_vdi, .opts = "", .size = 3 << 20, .place = {0, 256, 512}},
    {.drv = &viv_blk_vdi, .opts = "static=on", .size = 2 << 20, .place = {0, 256, 512}},
    {.drv = &viv_blk_vpc, .opts = "", .size = 5 << 20, .place = {0, 512, 1536, END}, .seal = seal_vpc,
     .sealed = {{0, 2048}}},
    {.drv = &viv_blk_vpc, .opts = "subformat=fixed,force_size=on", .size = 1 << 20, .place = {END, END}, .seal = seal_vpc,
     .sealed = {{0, 2048}}},
    {.drv = &viv_blk_qed, .opts = "cluster_size=4k,table_size=2", .size = 1 << 20, .place = {0, 4096, 8192, 12288, 16384}},
    {.drv = &viv_blk_qed, .opts = "cluster_size=64k", .size = 1 << 20, .place = {0, 65536, 5 << 16}},
    {.drv = &viv_blk_parallels, .opts = "cluster_size=4k", .size = 1 << 20, .place = {0, 64, 1024}},
    {.drv = &viv_blk_parallels, .opts = "cluster_size=63k", .size = 1 << 20, .place = {0, 64, 1024}},
    {.drv = &viv_blk_qcow, .opts = "", .size = 4 << 20, .place = {0, 48, 4096, 8192, 12288}},
    {.drv = &viv_blk_vhdx,
     .opts = "block_size=1M",
     .size = 3 << 20,
     .place = {VHDX_HEADER_AT, VHDX_TABLE_AT, VHDX_META, VHDX_META + 65536, 2 << 20},
     .seal = seal_vhdx,
     .sealed = {{VHDX_HEADER_AT, 5 * VHDX_HEADER_AT}, {VHDX_LOG, 16 * 4096}}},
    {.drv = &viv_blk_vhdx,
     .opts = "block_size=1M",
     .size = 3 << 20,
     .place = {VHDX_LOG, VHDX_LOG + 2 * 4096, VHDX_LOG + 4 * 4096, 2 * VHDX_HEADER_AT, VHDX_LOG + 255 * 4096},
     .seal = seal_vhdx,
     .sealed = {{VHDX_HEADER_AT, 5 * VHDX_HEADER_AT}, {VHDX_LOG, 16 * 4096}},
     .prepare = prepare_vhdx},
    {.drv = &viv_blk_luks,
     .opts = LUKS_KEY "cipher-mode=cbc,ivgen-alg=essiv",
     .secret = "a",
     .size = 1 << 16,
     .place = {0, LUKS_H_CIPHER, LUKS_H_PAYLOAD, LUKS_H_SLOT, 4096},
     .seal = seal_luks,
     .sealed = {{0, LUKS_H_BYTES}},
     .always = true},
    {.drv = &viv_blk_luks,
     .opts = LUKS_KEY "hash-alg=sha1",
     .secret = "a",
     .size = 1 << 16,
     .place = {0, LUKS_H_SLOT + LUKS_S_BYTES, LUKS_H_MODE, LUKS_H_HASH, 4096},
     .seal = seal_luks,
     .sealed = {{0, LUKS_H_BYTES}},
     .always = true},
};

/* A little data, so that tables of the second level exist. */
static void make_image(struct image *i)
{
    struct variant v = {"fuzz", i->opts, i->size, 0};
    uint8_t buf[4096] = {1};
    struct viv_node *n;
    struct mem m;

    if (i->secret) {
        viv_secret_del(i->secret, NULL); /* another image may have made it */
        secrets_test_add(i->secret, "password");
    }
    make(i->drv, &v, &m);
    n = open_with(i->drv, &m, (struct viv_node_opts){.key_secret = i->secret});
    for (uint64_t at = 0; at + sizeof(buf) <= i->size; at += i->size / 2)
        g_assert_cmpint(viv_node_pwrite(n, at, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
    if (i->prepare)
        i->prepare(m.data);
    i->bytes = m.size;
    i->data = g_memdup2(m.data, m.size);
    i->pristine = g_memdup2(m.data, m.size);
    mem_fini(&m);
}

static struct image *choose(unsigned number)
{
    struct image *mine[G_N_ELEMENTS(images)];
    const char *format = g_getenv("VIV_FUZZ_FORMAT");
    unsigned count = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(images); i++)
        if (!format || strcmp(images[i].drv->name, format) == 0)
            mine[count++] = &images[i];
    g_assert_cmpuint(count, >, 0);
    return mine[number % count];
}

/* Or what is there in a sound image, back again: to copy all of it each time is most of the time. */
static void change(struct image *i, const uint8_t *data, size_t size, bool back)
{
    while (size > 4) {
        unsigned at = data[0] % PLACES, len = data[3] % 16 + 1;
        uint64_t where = i->place[at] == END ? i->bytes - 512 : (uint64_t)i->place[at];

        where += data[0] & 0x80 ? viv_ld_le16(data + 1) : data[1] * 4;
        len = MIN(len, size - 4);
        if (where + len <= i->bytes)
            memcpy(i->data + where, back ? i->pristine + where : data + 4, len);
        data += 4 + len;
        size -= 4 + len;
    }
    for (const struct span *s = i->sealed; back && s->len; s++)
        memcpy(i->data + s->at, i->pristine + s->at, s->len);
    if (back && i->seal)
        memcpy(i->data + i->bytes - 512, i->pristine + i->bytes - 512, 512);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *i;
    uint64_t bytes;

    if (size < 2)
        return 0;
    i = choose(data[0]);
    if (!i->data)
        make_image(i);
    change(i, data + 2, size - 2, false);
    if (i->seal && (i->always || !(data[1] & KEEP_SUMS)))
        i->seal(i->data, i->bytes, data[1]);
    bytes = data[1] & SHORTER ? i->bytes - (data[1] >> 3) * i->bytes / 32 : i->bytes;
    for (unsigned way = 0; way < EXERCISE_WAYS; way++) {
        struct viv_node_opts o = exercise_opts(way);
        struct viv_node *file = cow_node(i->data, bytes), *n = NULL;
        struct viv_err err = VIV_ERR_INIT;

        o.key_secret = i->secret;
        if (!viv_node_open_format(i->drv, file, &o, &n, &err))
            exercise_node(n, way);
        else
            g_assert(err.code && *err.text); /* every refusal says why */
        viv_node_put(&n);
    }
    change(i, data + 2, size - 2, true);
    return 0;
}
