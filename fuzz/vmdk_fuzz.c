/* Hostile VMDK descriptors and extents.
 *
 * Input: length of the text (2 bytes), a descriptor's text, then records {file, offset (2 bytes), length - 1, bytes} that change the
 * files it may name: "a" (flat), "b" (sparse), "c" (COWD), "d" (a stream), "e" (sparse, compressed). A text of length 0: the image
 * is "b", "d" or "e" alone, as the next byte says. fuzz/vmdk runs it. */
#include "block/fmt/vmdk/made_test.h"
#include "block/cow_test.h"
#include "block/tables_test.h"
#include "fuzz/fuzz.h"

#include "base/bytes.h"

#include <unistd.h>

enum { FILES = 5, TEXT_MAX = 4096 };

static struct file {
    const char *name;
    struct mem pristine;
    uint8_t *data;
} files[FILES] = {{"a"}, {"b"}, {"c"}, {"d"}, {"e"}};

static void make_sparse(struct mem *m, const char *opts)
{
    static struct viv_blk_driver small;
    struct variant v = {"fuzz", opts, 1 << 20, 0};
    uint8_t buf[9000] = {1};
    struct viv_node *n;

    small = viv_blk_vmdk;
    small.create = small_create;
    make(&small, &v, m);
    n = open_with(&viv_blk_vmdk, m, (struct viv_node_opts){0});
    for (uint64_t at = 0; at + sizeof(buf) <= v.size; at += v.size / 3)
        g_assert_cmpint(viv_node_pwrite(n, at, buf, sizeof(buf)), ==, 0);
    g_assert_cmpint(viv_node_put(&n), ==, 0);
}

/* In an empty folder: other names are those of files that are not there. */
static void prepare(void)
{
    char dir[] = "/tmp/viv-fuzz-XXXXXX";

    g_assert(mkdtemp(dir) && chdir(dir) == 0 && rmdir(dir) == 0);
    mem_init(&files[0].pristine);
    mem_grow(&files[0].pristine, 300000);
    make_sparse(&files[1].pristine, "zeroed_grain=on");
    make_cowd(&files[2].pristine);
    make_sparse(&files[3].pristine, "subformat=streamOptimized");
    make_stream(&files[3].pristine);
    make_sparse(&files[4].pristine, "subformat=streamOptimized");
    for (unsigned i = 0; i < FILES; i++)
        files[i].data = g_malloc(files[i].pristine.size);
}

static void change(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < FILES; i++)
        memcpy(files[i].data, files[i].pristine.data, files[i].pristine.size);
    while (size > 4) {
        struct file *f = &files[data[0] % FILES];
        size_t at = viv_ld_le16(data + 1), len = MIN(data[3] % 16u + 1, size - 4);

        /* The tail of a stream is as far from its start as it likes. */
        if (data[0] & 0x80)
            at = f->pristine.size - 1536 + at % 1536;
        if (at + len <= f->pristine.size)
            memcpy(f->data + at, data + 4, len);
        data += 4 + len;
        size -= 4 + len;
    }
}

static struct viv_node *node_of(unsigned i)
{
    struct viv_node *n = cow_node(files[i].data, files[i].pristine.size);

    g_free(n->filename);
    n->filename = g_strdup(files[i].name);
    return n;
}

static void open_once(const uint8_t *text, size_t len, unsigned single, unsigned way)
{
    static const unsigned alone[] = {1, 3, 4};
    struct viv_node_opts o = exercise_opts(way);
    struct viv_node *made[FILES], *file, *n = NULL;
    struct viv_err err = VIV_ERR_INIT;

    o.made = made;
    for (unsigned i = 0; i < FILES; i++) {
        const char quoted[] = {'"', *files[i].name, '"'};

        if (memmem(text, len, quoted, sizeof(quoted)))
            made[o.made_count++] = node_of(i);
    }
    file = len ? cow_node(text, len) : node_of(alone[single % G_N_ELEMENTS(alone)]);
    if (!viv_node_open_format(&viv_blk_vmdk, file, &o, &n, &err))
        exercise_node(n, way);
    else
        g_assert(err.code && *err.text); /* every refusal says why */
    viv_node_put(&n);
    for (unsigned i = 0; i < o.made_count; i++)
        viv_node_put(&made[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len;

    if (size < 3)
        return 0;
    if (!files[0].data)
        prepare();
    len = MIN(viv_ld_le16(data) % TEXT_MAX, size - 3);
    change(data + 3 + len, size - 3 - len);
    for (unsigned way = 0; way < EXERCISE_WAYS; way++)
        open_once(data + 3, len, data[2], way);
    return 0;
}
