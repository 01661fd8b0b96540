/* viv-img snapshot: the disk's earlier states inside an image. And how other verbs tell and find them. */
#include "cmd/img.h"
#include "cmd/img_snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

struct args {
    struct img_common common;
    const char *path, *name;
    int action; /* its letter; 0: none */
};

/* --- telling --- */

void img_snapshots_print(const struct viv_snapshot *s, unsigned count)
{
    g_autofree char *heading = viv_snapshot_heading();

    if (!count)
        return;
    printf("Snapshot list:\n%s", heading);
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *line = viv_snapshot_line(&s[i], s[i].id);

        fputs(line, stdout);
    }
}

void img_snapshots_json(const struct viv_snapshot *s, unsigned count, const char *in)
{
    if (!count)
        return;
    printf("%s    \"snapshots\": [\n", in);
    for (unsigned i = 0; i < count; i++) {
        printf("%s        {\n", in);
        if (s[i].icount != UINT64_MAX)
            printf("%s            \"icount\": %" PRIu64 ",\n", in, s[i].icount);
        printf("%s            \"vm-clock-nsec\": %" PRIu64 ",\n", in, s[i].vm_clock_nsec % 1000000000);
        printf("%s            \"name\": ", in);
        img_json_string(stdout, s[i].name);
        printf(",\n%s            \"date-sec\": %u,\n%s            \"date-nsec\": %u,\n", in, s[i].date_sec, in,
               s[i].date_nsec);
        printf("%s            \"vm-clock-sec\": %" PRIu64 ",\n", in, s[i].vm_clock_nsec / 1000000000);
        printf("%s            \"id\": ", in);
        img_json_string(stdout, s[i].id);
        printf(",\n%s            \"vm-state-size\": %" PRIu64 "\n%s        }%s\n", in, s[i].vm_state_size, in,
               i + 1 < count ? "," : "");
    }
    printf("%s    ],\n", in);
}

/* --- finding --- */

int img_snapshots_list(struct viv_node *n, struct viv_snapshot **out, unsigned *count, struct viv_err *err)
{
    *out = NULL;
    *count = 0;
    return n->drv->snapshots ? n->drv->snapshots->list(n, out, count, err) : 0;
}

/* NULL matches any. */
static const struct viv_snapshot *find(const struct viv_snapshot *s, unsigned count, const char *id, const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if ((!id || strcmp(s[i].id, id) == 0) && (!name || strcmp(s[i].name, name) == 0))
            return &s[i];
    return NULL;
}

static const struct viv_opt_def param_opts[] = {
    {"snapshot.id", VIV_OPT_STR, "a snapshot's number"},
    {"snapshot.name", VIV_OPT_STR, "a snapshot's name"},
    VIV_OPT_END,
};

static int find_param(struct viv_node *n, const char *param, char **id, struct viv_err *err)
{
    struct viv_snapshot *list;
    struct viv_opts *o = NULL;
    const struct viv_snapshot *s = NULL;
    unsigned count;
    int ret = 0;

    if (!n->drv->snapshots)
        return viv_fail(err, ENOTSUP, "Failed to load snapshot: %s images have no internal snapshots", n->drv->name);
    if (g_str_has_prefix(param, "snapshot."))
        ret = viv_opts_parse("-l", param_opts, NULL, param, &o, err);
    if (!ret)
        ret = img_snapshots_list(n, &list, &count, err);
    if (ret) {
        viv_opts_free(o);
        return ret;
    }
    if (o)
        s = find(list, count, viv_opts_str(o, "snapshot.id"), viv_opts_str(o, "snapshot.name"));
    else if (!(s = find(list, count, param, NULL)))
        s = find(list, count, NULL, param);
    if (s)
        *id = g_strdup(s->id);
    else
        ret = viv_fail(err, ENOENT, "Failed to load snapshot: Can't find snapshot");
    viv_snapshot_free(list, count);
    viv_opts_free(o);
    return ret;
}

int img_open_snapshot(const struct img_common *common, const char *name, const char *param, struct viv_node **out,
                      struct viv_err *err)
{
    struct viv_node_opts o = common->o;
    struct viv_node *n = NULL;
    char *id = NULL;
    int ret;

    if (!param)
        return img_open(common, name, common->format, &o, out, err);
    o.no_backing = true;
    ret = img_open(common, name, common->format, &o, &n, err);
    if (!ret)
        ret = find_param(n, param, &id, err);
    viv_node_put(&n);
    o.no_backing = common->o.no_backing;
    o.snapshot = id;
    if (!ret)
        ret = img_open(common, name, common->format, &o, out, err);
    g_free(id);
    return ret;
}

/* --- the verb --- */

static int take(void *args, int c)
{
    struct args *a = args;

    if (a->action)
        return img_usage("Cannot mix '-l', '-a', '-c', '-d'");
    a->action = c;
    a->name = c == 'l' ? NULL : optarg;
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct img_syntax syntax = {":hla:c:d:qU", .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    a->path = argv[optind];
    return 0;
}

static int list(struct viv_node *n, struct viv_err *err)
{
    struct viv_snapshot *s;
    unsigned count;
    int ret = img_snapshots_list(n, &s, &count, err);

    if (ret)
        return ret;
    img_snapshots_print(s, count);
    viv_snapshot_free(s, count);
    return 0;
}

static int create(struct viv_node *n, const char *name, struct viv_err *err)
{
    struct timespec now;
    struct viv_snapshot s = {.name = (char *)name, .disk_size = viv_node_size(n)};
    int ret;

    clock_gettime(CLOCK_REALTIME, &now);
    s.date_sec = now.tv_sec;
    s.date_nsec = now.tv_nsec;
    ret = n->drv->snapshots ? n->drv->snapshots->create(n, &s, err)
                            : viv_fail(err, ENOTSUP, "-%d (Operation not supported): %s images have no internal snapshots",
                                       ENOTSUP, n->drv->name);
    if (ret)
        viv_err_prefix(err, "Could not create snapshot '%s'", name);
    return ret;
}

static int apply(struct viv_node *n, const char *which, struct viv_err *err)
{
    int ret = n->drv->snapshots ? n->drv->snapshots->apply(n, which, err)
                                : viv_fail(err, ENOTSUP, "%s images have no internal snapshots", n->drv->name);

    if (ret)
        viv_err_prefix(err, "Could not apply snapshot '%s'", which);
    return ret;
}

/* By name alone: a number is a name here, as qemu-img has it. */
static int remove_named(struct viv_node *n, const char *name, struct viv_err *err)
{
    struct viv_snapshot *s;
    const struct viv_snapshot *found;
    unsigned count;
    int ret = img_snapshots_list(n, &s, &count, err);

    if (ret)
        return ret;
    found = find(s, count, NULL, name);
    ret = found ? n->drv->snapshots->remove(n, found->id, err) : viv_fail(err, ENOENT, "snapshot not found");
    if (ret)
        viv_err_prefix(err, "Could not delete snapshot '%s'", name);
    viv_snapshot_free(s, count);
    return ret;
}

static int run(const struct args *a, struct viv_node *n, struct viv_err *err)
{
    switch (a->action) {
    case 'a':
        return apply(n, a->name, err);
    case 'c':
        return create(n, a->name, err);
    case 'd':
        return remove_named(n, a->name, err);
    case 'l':
        return list(n, err);
    default:
        return 0; /* nothing was asked for */
    }
}

int img_snapshot(int argc, char **argv)
{
    struct args a = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    a.common.o.read_only = !a.action || a.action == 'l';
    a.common.o.no_backing = a.common.o.read_only;
    a.common.o.unmap = true; /* room that a deleted snapshot held goes back to the host */
    ret = img_open(&a.common, a.path, NULL, &a.common.o, &n, &err);
    if (!ret)
        ret = run(&a, n, &err);
    ret = img_close(&n, ret, &err);
    return ret ? img_error("%s", err.text) : 0;
}
