/* viv-img map: which layer of a chain each range comes from, and where it lies there. */
#include "cmd/img.h"

#include <inttypes.h>
#include <string.h>

struct args {
    struct img_common common;
    const char *path;
    uint64_t start, len; /* len UINT64_MAX: to the end */
};

/* Neighbours of the same kind are told as one. */
struct piece {
    uint64_t start, len, offset;
    unsigned depth;
    bool present, zero, data, has_offset;
    const struct viv_node *layer;
};

static int take(void *args, int c)
{
    struct args *a = args;

    return c == 's' ? img_parse_size("start offset", optarg, &a->start)
                    : img_parse_size("max length", optarg, &a->len);
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"start-offset", required_argument, NULL, 's'},
                                          {"max-length", required_argument, NULL, 'l'},
                                          {0}};
    static const struct img_syntax syntax = {":hf:s:l:U", longs, .output = true, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    a->path = argv[optind];
    return 0;
}

/* A hole of the file under a format that has data there is both: room that reads as zeroes. What is encrypted lies nowhere as
 * the guest sees it. */
static void describe(const struct viv_node *n, const struct viv_extent *e, struct piece *p)
{
    p->present = true;
    p->zero = e->kind == VIV_MAP_ZERO;
    p->data = p->zero == e->hole;
    p->has_offset = (e->kind == VIV_MAP_DATA && !n->crypt) || (p->zero && e->allocated);
    p->offset = e->host;
}

static int look(struct viv_node *n, uint64_t start, uint64_t len, struct piece *p)
{
    *p = (struct piece){.start = start};
    for (;; n = n->backing, p->depth++) {
        struct viv_extent e;
        int ret = viv_node_status_layer(n, start, len, &e);

        if (ret)
            return ret;
        p->layer = n;
        p->len = len = MIN(len, e.len);
        if (e.kind != VIV_MAP_BACKING) {
            describe(n, &e, p);
            return 0;
        }
        if (!n->backing || start >= viv_node_size(n->backing)) {
            p->zero = true;
            p->has_offset = e.allocated; /* room was made there and nothing written */
            p->offset = e.host;
            return 0;
        }
        len = MIN(len, viv_node_size(n->backing) - start);
    }
}

static bool continues(const struct piece *a, const struct piece *b)
{
    return a->layer == b->layer && a->depth == b->depth && a->present == b->present && a->zero == b->zero &&
           a->data == b->data && a->has_offset == b->has_offset &&
           (!a->has_offset || a->offset + a->len == b->offset);
}

static int print(const struct args *a, const struct piece *p, bool first)
{
    if (a->common.json) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
               first ? "" : ",\n", p->start, p->len, p->depth, img_bool(p->present), img_bool(p->zero),
               img_bool(p->data));
        if (p->has_offset)
            printf(", \"offset\": %" PRIu64, p->offset);
        printf("}");
        return 0;
    }
    if (!p->data || p->zero)
        return 0;
    if (!p->has_offset)
        return img_error("File contains external, encrypted or compressed clusters.");
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", p->start, p->len, p->offset, p->layer->filename);
    return 0;
}

static int run(const struct args *a, struct viv_node *n)
{
    uint64_t at = a->start, end = viv_node_size(n);
    struct piece now = {0}, next;
    bool first = true;
    int ret = 0;

    if (a->len < end - MIN(at, end))
        end = at + a->len;
    if (a->common.json)
        printf("[");
    else
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    for (; at < end && !ret; at += next.len) {
        ret = look(n, at, end - at, &next);
        if (ret)
            return img_error("map: '%s': reading what lies at %" PRIu64 ": %s", a->path, at, strerror(-ret));
        if (now.len && continues(&now, &next)) {
            now.len += next.len;
            continue;
        }
        if (now.len) {
            ret = print(a, &now, first);
            first = false;
        }
        now = next;
    }
    if (now.len && !ret)
        ret = print(a, &now, first);
    if (a->common.json)
        printf("]\n");
    return ret;
}

int img_map(int argc, char **argv)
{
    struct args a = {.len = UINT64_MAX, .common.o.read_only = true};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    if (img_open(&a.common, a.path, a.common.format, &a.common.o, &n, &err))
        return img_error("%s", err.text);
    ret = run(&a, n);
    viv_node_put(&n);
    return ret;
}
