/* viv-img compare: do two images hold the same bytes? Exit codes: 0 yes, 1 no (or no such command line), 2 an image cannot be opened
 * as the options say, 3 its allocation cannot be read, 4 its data cannot be read. */
#include "cmd/img.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define CHUNK  (2u << 20)
#define SECTOR 512u

enum { EXIT_SAME = 0, EXIT_DIFFERENT = 1, EXIT_OPEN = 2, EXIT_STATUS = 3, EXIT_READ = 4 };

struct args {
    struct img_common common;
    const char *format2, *path[2];
    bool strict;
};

struct work {
    const struct args *a;
    struct viv_node *n[2];
    uint64_t size[2];
    uint8_t *buf[2];
    uint64_t total, done;
};

static int take(void *args, int c)
{
    struct args *a = args;
    bool ignored;

    if (c == 'T')
        return img_parse_cache("Invalid source cache option", optarg, &a->common.o, &ignored);
    if (c == 'F')
        a->format2 = optarg;
    else
        a->strict = true;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hf:F:T:pqsU", .bad_value = EXIT_OPEN, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 2)
        return 1 + img_usage("Expecting two image file names");
    a->path[0] = argv[optind];
    a->path[1] = argv[optind + 1];
    return 0;
}

static void say(const struct work *w, const char *fmt, uint64_t offset)
{
    if (w->a->common.progress)
        printf("\n");
    if (!w->a->common.quiet)
        printf(fmt, offset);
}

static void advance(struct work *w, uint64_t len)
{
    w->done += len;
    if (w->a->common.progress) {
        printf("    (%.2f/100%%)\r", w->total ? w->done * 100.0 / w->total : 100.0);
        fflush(stdout);
    }
}

static int status(struct work *w, int k, uint64_t at, uint64_t len, struct viv_extent *e)
{
    int ret = viv_node_status(w->n[k], at, len, e);

    if (!ret)
        return 0;
    img_error("compare: '%s': reading what lies at %" PRIu64 ": %s", w->a->path[k], at, strerror(-ret));
    return EXIT_STATUS;
}

static int read_piece(struct work *w, int k, bool zero, uint64_t at, size_t len)
{
    int ret = 0;

    if (zero)
        memset(w->buf[k], 0, len);
    else
        ret = viv_node_pread(w->n[k], at, w->buf[k], len);
    if (!ret)
        return 0;
    img_error("compare: '%s': reading %zu bytes at %" PRIu64 ": %s", w->a->path[k], len, at, strerror(-ret));
    return EXIT_READ;
}

/* Where they differ, in sectors, as a guest would find it. */
static int compare_bytes(struct work *w, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i += SECTOR) {
        if (memcmp(w->buf[0] + i, w->buf[1] + i, MIN(SECTOR, len - i)) == 0)
            continue;
        say(w, "Content mismatch at offset %" PRIu64 "!\n", at + i);
        return EXIT_DIFFERENT;
    }
    return 0;
}

static int compare_piece(struct work *w, const struct viv_extent e[2], uint64_t at, size_t len)
{
    int ret;

    if (e[0].kind == VIV_MAP_ZERO && e[1].kind == VIV_MAP_ZERO)
        return 0;
    ret = read_piece(w, 0, e[0].kind == VIV_MAP_ZERO, at, len);
    if (!ret)
        ret = read_piece(w, 1, e[1].kind == VIV_MAP_ZERO, at, len);
    return ret ? ret : compare_bytes(w, at, len);
}

static bool same_status(const struct viv_extent e[2])
{
    return e[0].kind == e[1].kind && e[0].allocated == e[1].allocated;
}

/* Past its end an image holds zeroes. */
static int compare_range(struct work *w, uint64_t at, uint64_t end)
{
    for (uint64_t len; at < end; at += len) {
        struct viv_extent e[2] = {{.kind = VIV_MAP_ZERO, .len = end - at}, {.kind = VIV_MAP_ZERO, .len = end - at}};
        int ret = 0;

        for (int k = 0; k < 2 && !ret; k++)
            if (at < w->size[k])
                ret = status(w, k, at, end - at, &e[k]);
        if (ret)
            return ret;
        if (w->a->strict && !same_status(e)) {
            say(w, "Strict mode: Offset %" PRIu64 " block status mismatch!\n", at);
            return EXIT_DIFFERENT;
        }
        len = MIN(e[0].len, e[1].len);
        if (e[0].kind != VIV_MAP_ZERO || e[1].kind != VIV_MAP_ZERO)
            len = MIN(len, CHUNK);
        ret = compare_piece(w, e, at, len);
        if (ret)
            return ret;
        advance(w, len);
    }
    return 0;
}

static int run(struct work *w)
{
    uint64_t common = MIN(w->size[0], w->size[1]);
    int ret;

    w->total = MAX(w->size[0], w->size[1]);
    if (w->a->strict && w->size[0] != w->size[1]) {
        say(w, "Strict mode: Image size mismatch!\n", 0);
        return EXIT_DIFFERENT;
    }
    ret = compare_range(w, 0, common);
    if (!ret && w->size[0] != w->size[1]) {
        say(w, "Warning: Image size mismatch!\n", 0);
        ret = compare_range(w, common, w->total);
    }
    if (!ret)
        say(w, "Images are identical.\n", 0);
    return ret;
}

int img_compare(int argc, char **argv)
{
    struct args a = {.common.o.read_only = true};
    struct viv_err err = VIV_ERR_INIT;
    struct work w = {.a = &a};
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    for (int k = 0; k < 2 && !ret; k++) {
        if (img_open(&a.common, a.path[k], k ? a.format2 : a.common.format, &a.common.o, &w.n[k], &err)) {
            img_error("%s", err.text);
            ret = EXIT_OPEN;
        } else {
            w.size[k] = viv_node_size(w.n[k]);
            w.buf[k] = g_malloc(CHUNK);
        }
    }
    if (!ret)
        ret = run(&w);
    for (int k = 0; k < 2; k++) {
        viv_node_put(&w.n[k]);
        g_free(w.buf[k]);
    }
    return ret;
}
