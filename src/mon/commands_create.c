/* blockdev-create: a job that stays in the list until it is dismissed. What refuses a job before it has started (an option that does not exist) is an error of the command;
 * all that is found out later is the job's.
 *
 * Image options are those of viv-img create, with QMP's names for them ("cluster-size" for cluster_size). */
#include "mon/mon_int.h"
#include "mon/schema.h"

#include "block/build.h"
#include "block/graph.h"
#include "block/image.h"
#include "block/job.h"
#include "block/proto/file/file.h"

#include <errno.h>
#include <string.h>

#define RAW(name) static int name(struct viv_raw_opts *raw, json_t **result, struct viv_err *err)

struct job {
    char *id;
    const struct viv_blk_driver *drv;
    struct viv_opts *opts; /* against the driver's create_opts, or file_opts */
    char *file;            /* node-name of the file that becomes an image, */
    struct viv_raw_opts *file_opts; /* or its description */
    struct viv_node *node;
    struct viv_node_user *user;
    int early; /* what went wrong before there was a thread */
    struct viv_err err;
};

static void job_free(struct job *j)
{
    if (j->user)
        viv_node_detach(j->node, &j->user);
    viv_node_put(&j->node);
    viv_opts_free(j->opts);
    viv_raw_free(j->file_opts);
    g_free(j->file);
    g_free(j->id);
    g_free(j);
}

/* --- the work --- */

static int fill(const struct job *j, struct viv_node *node, uint64_t size, struct viv_err *err)
{
    struct viv_create c = {.size = size, .opts = j->opts};
    const char *prealloc = viv_create_knows(j->drv, "preallocation") ? viv_opts_str(j->opts, "preallocation") : NULL;
    int ret;

    if (prealloc)
        viv_prealloc_parse(prealloc, &c.prealloc); /* the schema has checked it */
    if (viv_create_knows(j->drv, "backing_file")) {
        c.backing_file = viv_opts_str(j->opts, "backing_file");
        c.backing_fmt = viv_opts_str(j->opts, "backing_fmt");
    }
    ret = j->drv->create(&c, node, err);
    if (!ret && (ret = viv_node_flush(node)) != 0)
        viv_fail_os(err, -ret, "'%s' could not be written completely", node->filename);
    return ret;
}

/* driver=file: a new file has its name when it is whole; one that is there becomes an empty one of this size. */
static int make_file(const struct job *j, struct viv_err *err)
{
    const char *path = viv_opts_str(j->opts, "filename");
    uint64_t size = viv_opts_size(j->opts, "size");
    struct viv_node_opts o = {0};
    struct viv_file_new *new = NULL;
    struct viv_node *node = NULL;
    struct viv_err own = VIV_ERR_INIT;
    enum viv_prealloc prealloc;
    int ret = viv_file_new(path, &o, &new, &node, &own);

    if (ret == -EEXIST)
        ret = viv_file_open(path, &o, &node, err);
    else if (ret)
        viv_fail(err, -ret, "%s", own.text);
    viv_prealloc_parse(viv_opts_str(j->opts, "preallocation"), &prealloc);
    if (!ret)
        ret = viv_node_truncate(node, 0, VIV_PREALLOC_OFF, err);
    if (!ret)
        ret = viv_node_truncate(node, size, prealloc, err);
    if (!ret && new)
        ret = viv_file_publish(new, err);
    viv_node_put(&node);
    viv_file_new_free(new);
    return ret;
}

/* The job's thread. */
static int work(void *opaque, struct viv_err *err)
{
    struct job *j = opaque;
    int ret = j->early;

    if (ret)
        return viv_fail(err, -ret, "%s", j->err.text);
    ret = j->drv == &viv_blk_file ? make_file(j, err) : fill(j, j->node, viv_opts_size(j->opts, "size"), err);
    if (j->user)
        viv_node_detach(j->node, &j->user);
    if (viv_node_put(&j->node) && !ret)
        ret = viv_fail(err, EIO, "the image could not be written completely");
    return ret;
}

static void ended(void *opaque)
{
    job_free(opaque);
}

/* --- starting it --- */

/* The file, which nobody else may use. */
static int take_file(struct job *j, struct viv_err *err)
{
    g_autofree char *user = g_strdup_printf("job '%s'", j->id);
    struct viv_node_opts wish = {0};
    int ret;

    if (j->drv == &viv_blk_file)
        return 0;
    if (j->file_opts)
        return viv_node_build(j->file_opts, false, &wish, &j->node, err);
    j->node = viv_node_find(j->file);
    if (!j->node)
        return viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", j->file, j->file);
    viv_node_get(j->node);
    if (j->node->parents)
        return viv_fail(err, EBUSY, "node '%s' is below another image", j->file);
    ret = viv_node_wake_writable(j->node, err);
    if (ret)
        return ret;
    return viv_node_attach(j->node, user, VIV_PERM_WRITE | VIV_PERM_RESIZE, 0, &j->user, err);
}

static int check_size(const struct job *j, struct viv_err *err)
{
    uint64_t size = viv_opts_size(j->opts, "size");

    if (size > INT64_MAX - 511)
        return viv_fail(err, EFBIG, "Image size is too large");
    return size % 512 && !j->drv->any_size && j->drv != &viv_blk_file
               ? viv_fail(err, EINVAL, "Image size must be a multiple of 512 bytes")
               : 0;
}

/* Takes the job. */
static int start(struct job *j, struct viv_err *err)
{
    struct viv_job_opts o = {.id = j->id, .no_auto_dismiss = true};

    g_autofree char *id = g_strdup(j->id); /* the job may be gone before we are */
    bool early;
    int ret;

    j->early = check_size(j, &j->err);
    if (!j->early)
        j->early = take_file(j, &j->err);
    early = j->early;
    ret = viv_job_start_simple(&o, VIV_JOB_CREATE, work, ended, j, err);
    if (!ret && early) /* that is known before the answer */
        viv_job_wait_end(id);
    return ret;
}

/* --- blockdev-create --- */

static const char *const preallocs[] = {"off", "falloc", "full", NULL};
static const struct viv_opt_def file_opts[] = {
    {"filename", VIV_OPT_STR, "path of the new file", .required = true},
    {"size", VIV_OPT_SIZE, "bytes"},
    {"preallocation", VIV_OPT_ENUM, "room on the host", "off", preallocs},
    VIV_OPT_END,
};

static bool has_option(const struct viv_opt_def *defs, const char *name)
{
    while (defs->name && strcmp(defs->name, name) != 0)
        defs++;
    return defs->name;
}

/* QMP's name and value of an option as viv-img create has them. */
static int rename_option(const struct viv_opt_def *defs, const char *key, const char *value, struct viv_raw_opts *out, struct viv_err *err)
{
    g_autofree char *name = g_strdelimit(g_strdup(key), "-", '_');

    if (strcmp(key, "version") == 0 && has_option(defs, "compat")) {
        if (strcmp(value, "v2") != 0 && strcmp(value, "v3") != 0)
            return viv_fail(err, EINVAL, "Parameter 'options.version' does not accept value '%s' (v2 or v3)", value);
        viv_raw_set(out, "compat", value[1] == '2' ? "0.10" : "1.1");
        return 0;
    }
    if (strcmp(key, "data-file") == 0 || strchr(key, '_') || (!has_option(defs, key) && !has_option(defs, name)))
        return viv_fail(err, EINVAL, "Parameter 'options.%s' is unexpected", key);
    viv_raw_set(out, has_option(defs, key) ? key : name, value);
    return 0;
}

/* `raw` without what is not the image's own. */
static int read_options(struct job *j, const struct viv_raw_opts *raw, struct viv_err *err)
{
    const struct viv_opt_def *defs = j->drv == &viv_blk_file ? file_opts : j->drv->create_opts;
    struct viv_raw_opts *own = viv_raw_new("blockdev-create");
    int ret = 0;

    for (size_t i = 0; i < viv_raw_count(raw) && !ret; i++) {
        const char *key, *value;

        viv_raw_at(raw, i, &key, &value);
        ret = rename_option(defs, key, value, own, err);
    }
    if (!ret && !viv_raw_get(own, "size"))
        ret = viv_fail(err, EINVAL, "Parameter 'options.size' is missing");
    if (!ret)
        ret = viv_opts_from_raw("blockdev-create", defs, own, &j->opts, err);
    viv_raw_free(own);
    return ret;
}

static int take_driver(struct job *j, struct viv_raw_opts *options, struct viv_err *err)
{
    g_autofree char *name = viv_raw_take(options, "driver");

    if (!name)
        return viv_fail(err, EINVAL, "Parameter 'options.driver' is missing");
    j->drv = viv_blk_driver_find(name);
    if (!j->drv)
        return viv_fail(err, EINVAL, "Parameter 'driver' does not accept value '%s'", name);
    if (j->drv == &viv_blk_file)
        return 0;
    if (!j->drv->create || j->drv == viv_blk_driver_find("raw")) /* a raw image is made as a file */
        return viv_fail(err, ENOTSUP, "Driver does not support blockdev-create");
    j->file = viv_raw_take(options, "file");
    j->file_opts = viv_raw_take_below(options, "file", "blockdev-create file");
    return !j->file == !j->file_opts ? viv_fail(err, EINVAL, "Parameter 'options.file' is missing") : 0;
}

RAW(blockdev_create)
{
    struct job *j = g_new0(struct job, 1);
    struct viv_raw_opts *options = viv_raw_take_below(raw, "options", "blockdev-create");
    const char *more = NULL, *value;
    int ret = 0;

    j->id = viv_raw_take(raw, "job-id");
    if (viv_raw_count(raw))
        viv_raw_at(raw, 0, &more, &value);
    if (more)
        ret = viv_fail(err, EINVAL, "Parameter '%s' is unexpected", more);
    else if (!j->id || !options)
        ret = viv_fail(err, EINVAL, "Parameter '%s' is missing", j->id ? "options" : "job-id");
    if (!ret)
        ret = take_driver(j, options, err);
    if (!ret)
        ret = read_options(j, options, err);
    viv_raw_free(options);
    if (!ret)
        return start(j, err);
    job_free(j);
    return ret;
}

/* --- the same as types --- */

#define DRIVERS_MAX 64

/* The opposite of rename_option(). */
static const struct viv_opt_def *qmp_names(const struct viv_opt_def *d, bool file)
{
    static const char *const versions[] = {"v2", "v3", NULL};
    const struct viv_opt_def below = {"file", VIV_OPT_STR, "the node that becomes an image", .required = true};
    GArray *a = g_array_new(TRUE, TRUE, sizeof(*d));

    if (!file)
        g_array_append_val(a, below);
    for (; d->name; d++) {
        struct viv_opt_def o = *d;

        if (!strcmp(d->name, "data_file"))
            continue;
        o.required |= !strcmp(d->name, "size");
        if (!strcmp(d->name, "compat"))
            o = (struct viv_opt_def){"version", VIV_OPT_ENUM, .values = versions};
        else
            o.name = g_strdelimit(g_strdup(d->name), "_", '-');
        g_array_append_val(a, o);
    }
    return (struct viv_opt_def *)g_array_free(a, FALSE);
}

static const struct viv_opt_def *create_opts(unsigned i, const char **name)
{
    static const struct viv_opt_def *tables[DRIVERS_MAX];
    static const struct viv_blk_driver *makers[DRIVERS_MAX];
    static unsigned count;
    static bool made;

    for (unsigned k = 0; !made && viv_blk_drivers[k]; k++) {
        const struct viv_blk_driver *d = viv_blk_drivers[k];
        bool file = d == &viv_blk_file;

        g_assert(count < DRIVERS_MAX);
        if (file || (d->create && d != viv_blk_driver_find("raw"))) {
            tables[count] = qmp_names(file ? file_opts : d->create_opts, file);
            makers[count++] = d;
        }
    }
    made = true;
    if (i >= count)
        return NULL;
    *name = makers[i]->name;
    return tables[i];
}

void viv_mon_create_types(void)
{
    const char *name;

    viv_schema_use_union("BlockdevCreateOptions", "driver: cases", "driver", create_opts);
    for (unsigned i = 0; create_opts(i, &name); i++) {
        g_autofree char *type = g_strdup_printf("BlockdevCreateOptions %s", name);

        if (strcmp(name, viv_blk_file.name))
            viv_schema_retype(type, "file", "BlockdevRef", false);
    }
}

const struct viv_mon_cmd viv_mon_create[] = {
    {.qmp = "blockdev-create", .help = "start a job that makes an image", .raw = blockdev_create, .takes = "BlockdevCreateArguments"},
    {0},
};
