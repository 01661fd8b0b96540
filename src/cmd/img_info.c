/* viv-img info: one image or its whole backing chain. */
#include "cmd/img.h"
#include "cmd/img_snapshots.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define CHAIN_MAX 200

struct args {
    struct img_common common;
    const char *path;
    bool chain;
};

enum { OPT_CHAIN = IMG_OPT_OWN };

static int take(void *args, int c)
{
    ((struct args *)args)->chain |= c == OPT_CHAIN;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"backing-chain", no_argument, NULL, OPT_CHAIN}, {0}};
    static const struct img_syntax syntax = {":hf:U", longs, .output = true, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    a->path = argv[optind];
    return 0;
}

/* What `info` tells of one layer. */
struct layer {
    struct viv_node *n;
    struct viv_img_info info;
    struct viv_snapshot *snapshot;
    unsigned snapshots;
    char *full; /* the backing file's path; NULL: none */
};

/* All files of the image. */
static uint64_t disk_size(const struct viv_node *n)
{
    uint64_t sum = viv_file_allocated(n->file);

    for (unsigned i = 0; i < n->children; i++)
        sum += viv_file_allocated(n->child[i]);
    return sum;
}

static void print_human(const struct layer *l)
{
    const struct viv_img_info *i = &l->info;
    struct viv_node *n = l->n;
    char virtual[32], disk[32];

    viv_size_text(viv_node_size(n), virtual, sizeof(virtual));
    if (n->file->drv == &viv_blk_file)
        viv_size_text(disk_size(n), disk, sizeof(disk));
    else
        g_strlcpy(disk, "unavailable", sizeof(disk));
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           n->filename, n->drv->name, virtual, viv_node_size(n), disk);
    if (i->encrypted)
        printf("encrypted: yes\n");
    if (i->dirty)
        printf("cleanly shut down: no\n");
    if (i->cluster_size)
        printf("cluster_size: %" PRIu64 "\n", i->cluster_size);
    if (i->backing_file) {
        printf("backing file: %s", i->backing_file);
        if (strcmp(l->full, i->backing_file) != 0)
            printf(" (actual path: %s)", l->full);
        printf("\n");
        if (i->backing_fmt)
            printf("backing file format: %s\n", i->backing_fmt);
    }
    img_snapshots_print(l->snapshot, l->snapshots);
    viv_img_facts_human(stdout, i);
}

static void json_text(const char *in, const char *key, const char *value)
{
    if (!value)
        return;
    printf("%s    \"%s\": ", in, key);
    img_json_string(stdout, value);
    printf(",\n");
}

static void print_json(const struct layer *l, const char *in)
{
    const struct viv_img_info *i = &l->info;
    struct viv_node *n = l->n;

    printf("%s{\n", in);
    img_snapshots_json(l->snapshot, l->snapshots, in);
    json_text(in, "backing-filename-format", i->backing_fmt);
    printf("%s    \"virtual-size\": %" PRIu64 ",\n", in, viv_node_size(n));
    json_text(in, "filename", n->filename);
    if (i->cluster_size)
        printf("%s    \"cluster-size\": %" PRIu64 ",\n", in, i->cluster_size);
    printf("%s    \"format\": \"%s\"", in, n->drv->name);
    if (n->file->drv == &viv_blk_file)
        printf(",\n%s    \"actual-size\": %" PRIu64, in, disk_size(n));
    printf("%s\n", i->no_basics ? "" : ",");
    img_facts_json(i, n->drv->name, in);
    if (i->backing_file) {
        json_text(in, "full-backing-filename", l->full);
        json_text(in, "backing-filename", i->backing_file);
    }
    if (i->encrypted)
        printf("%s    \"encrypted\": true,\n", in);
    if (!i->no_basics)
        printf("%s    \"dirty-flag\": %s\n", in, img_bool(i->dirty));
    printf("%s}", in);
}

/* Opens; an image in use is looked at all the same, and that is said. */
static int open_image(const struct img_common *common, const char *path, const char *format, struct viv_node **n,
                      struct viv_err *err)
{
    struct viv_node_opts o = common->o;
    int ret = img_open(common, path, format, &o, n, err);

    if (ret != -EAGAIN)
        return ret;
    viv_warn("'%s' is in use and may change while it is read (as with -U): %s", path, err->text);
    viv_err_clear(err);
    o.force_share = true;
    return img_open(common, path, format, &o, n, err);
}

/* Prints one layer; *next and *next_fmt become its backing file's, to be freed. */
static int show(const struct args *a, const char *path, const char *format, unsigned depth,
                char **next, char **next_fmt)
{
    struct viv_err err = VIV_ERR_INIT;
    struct layer l = {0};
    int ret = open_image(&a->common, path, format, &l.n, &err);

    if (!ret)
        ret = img_snapshots_list(l.n, &l.snapshot, &l.snapshots, &err);
    if (ret) {
        viv_node_put(&l.n);
        return img_error("%s", err.text);
    }
    if (l.n->drv->info)
        l.n->drv->info(l.n, &l.info);
    if (l.info.backing_file)
        l.full = viv_blk_backing_path(l.n->filename, l.info.backing_file);
    if (depth)
        printf(a->common.json ? ",\n" : "\n");
    if (a->common.json)
        print_json(&l, a->chain ? "    " : "");
    else
        print_human(&l);
    viv_node_put(&l.n);
    viv_snapshot_free(l.snapshot, l.snapshots);
    *next = l.full;
    *next_fmt = g_strdup(l.info.backing_fmt);
    viv_img_info_free(&l.info);
    return 0;
}

int img_info(int argc, char **argv)
{
    struct args a = {.common.o = {.read_only = true, .no_backing = true, .for_check = true, .no_data = true}};
    char *path, *format, *next = NULL, *next_fmt = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    path = g_strdup(a.path);
    format = g_strdup(a.common.format);
    if (a.common.json && a.chain)
        printf("[\n");
    for (unsigned depth = 0; path && !ret; depth++) {
        ret = show(&a, path, format, depth, &next, &next_fmt);
        g_free(path);
        g_free(format);
        path = ret ? NULL : next;
        format = ret ? NULL : next_fmt;
        if (!a.chain)
            break;
        if (path && depth >= CHAIN_MAX)
            ret = img_error("'%s': more than %d backing files (a loop?)", a.path, CHAIN_MAX);
    }
    g_free(path);
    g_free(format);
    if (a.common.json && !ret)
        printf("%s\n", a.chain ? "\n]" : "");
    return ret;
}
