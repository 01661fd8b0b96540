/* Block jobs and other jobs: starting them, steering them, what they tell. */
#include "mon/job_args.h"
#include "mon/mon_int.h"

#include "block/blk.h"
#include "block/job.h"
#include "block/node.h"
#include "block/registry.h"

#include <errno.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

/* --- events --- */

static json_t *block_data(const struct viv_job_info *i)
{
    json_t *d = json_pack("{s:s, s:s, s:I, s:I, s:I}", "type", i->type, "device", i->id, "len", (json_int_t)i->len, "offset",
                          (json_int_t)i->offset, "speed", (json_int_t)i->speed);

    if (i->error)
        json_object_set_new(d, "error", viv_mon_text(i->error));
    return d;
}

static void on_event(enum viv_job_event event, const struct viv_job_info *i)
{
    static const char *const names[] = {[VIV_JOB_EVENT_STATUS] = "JOB_STATUS_CHANGE", [VIV_JOB_EVENT_READY] = "BLOCK_JOB_READY",
                                        [VIV_JOB_EVENT_PENDING] = "BLOCK_JOB_PENDING", [VIV_JOB_EVENT_COMPLETED] = "BLOCK_JOB_COMPLETED",
                                        [VIV_JOB_EVENT_CANCELLED] = "BLOCK_JOB_CANCELLED", [VIV_JOB_EVENT_ERROR] = "BLOCK_JOB_ERROR"};
    json_t *d;
    char *text;

    if (event == VIV_JOB_EVENT_STATUS)
        d = json_pack("{s:s, s:s}", "id", i->id, "status", viv_job_status_name(i->status));
    else if (event == VIV_JOB_EVENT_PENDING)
        d = json_pack("{s:s, s:s}", "type", i->type, "id", i->id);
    else if (event == VIV_JOB_EVENT_ERROR)
        d = json_pack("{s:s, s:s, s:s}", "device", i->id, "operation", i->error_operation, "action", i->error_action);
    else
        d = block_data(i);
    if (event == VIV_JOB_EVENT_CANCELLED)
        json_object_del(d, "error");
    text = json_dumps(d, 0);
    viv_mon_event(names[event], text);
    json_decref(d);
    free(text);
}

#define JOB_FIELDS "type: JobType, device: str, len: int, offset: int, speed: int"

static const struct viv_mon_event_def events[] = {
    {"JOB_STATUS_CHANGE", "id: str, status: JobStatus", "a job has another status"},
    {"BLOCK_JOB_READY", JOB_FIELDS, "a block job waits for block-job-complete"},
    {"BLOCK_JOB_PENDING", "type: JobType, id: str", "a block job waits for block-job-finalize"},
    {"BLOCK_JOB_COMPLETED", JOB_FIELDS ", error?: str", "a block job has ended"},
    {"BLOCK_JOB_CANCELLED", JOB_FIELDS, "a block job has been ended"},
    {"BLOCK_JOB_ERROR", "device: str, operation: IoOperationType, action: BlockErrorAction", "a block job could not read or write"},
    {0},
};

void viv_mon_use_block(void)
{
    viv_mon_use(viv_mon_nodes);
    viv_mon_use(viv_mon_graph);
    viv_mon_use(viv_mon_disk_snapshots);
    viv_mon_use(viv_mon_backups);
    viv_mon_use(viv_mon_transactions);
    viv_mon_use(viv_mon_bitmaps);
    viv_mon_use(viv_mon_jobs);
    viv_mon_use(viv_mon_mirrors);
    viv_mon_use(viv_mon_create);
    viv_mon_use_alarms();
    viv_mon_use_events(events);
    viv_mon_use_types(viv_mon_block_types);
    viv_mon_use_types(viv_mon_create_types);
    viv_jobs_on_event(on_event);
}

/* --- what there is --- */

COMMAND(query_jobs)
{
    struct viv_job_info i;

    *result = json_array();
    for (struct viv_job *j = NULL; (j = viv_job_next(j)) != NULL;) {
        json_t *row;

        viv_job_info(j, &i);
        row = json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", i.id, "type", i.type, "status", viv_job_status_name(i.status), "current-progress",
                        (json_int_t)i.offset, "total-progress", (json_int_t)i.len);
        if (i.error)
            json_object_set_new(row, "error", viv_mon_text(i.error));
        json_array_append_new(*result, row);
    }
    return 0;
}

COMMAND(query_block_jobs)
{
    struct viv_job_info i;

    *result = json_array();
    for (struct viv_job *j = NULL; (j = viv_job_next(j)) != NULL;) {
        json_t *row;

        viv_job_info(j, &i);
        if (!i.block)
            continue;
        row = block_data(&i);
        json_object_update_new(row, json_pack("{s:b, s:b, s:s, s:b, s:s, s:b, s:b}", "busy", i.busy, "paused", i.paused, "io-status",
                                              i.io_status, "ready", i.ready, "status", viv_job_status_name(i.status), "auto-finalize",
                                              i.auto_finalize, "auto-dismiss", i.auto_dismiss));
        json_array_append_new(*result, row);
    }
    return 0;
}

static void show_block_jobs(const json_t *r, GString *out)
{
    size_t i;
    json_t *j;

    if (!json_array_size(r))
        g_string_append(out, "No active jobs\n");
    json_array_foreach((json_t *)r, i, j) {
        const char *type = json_string_value(json_object_get(j, "type")), *device = json_string_value(json_object_get(j, "device"));

        if (!strcmp(type, "stream"))
            g_string_append_printf(out, "Streaming device %s", device);
        else
            g_string_append_printf(out, "Type %s, device %s", type, device);
        g_string_append_printf(out, ": Completed %lld of %lld bytes, speed limit %lld bytes/s\n",
                               (long long)json_integer_value(json_object_get(j, "offset")),
                               (long long)json_integer_value(json_object_get(j, "len")),
                               (long long)json_integer_value(json_object_get(j, "speed")));
    }
}

/* --- steering --- */

static const struct viv_opt_def id_args[] = {
    {.name = "id", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};
static const struct viv_opt_def device_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    VIV_OPT_END,
};
static const struct viv_opt_def cancel_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "force", .type = VIV_OPT_BOOL},
    VIV_OPT_END,
};
static const struct viv_opt_def speed_args[] = {
    {.name = "device", .type = VIV_OPT_STR, .required = true},
    {.name = "speed", .type = VIV_OPT_INT, .required = true},
    VIV_OPT_END,
};

static int read_speed(struct viv_opts *o, uint64_t *speed, struct viv_err *err)
{
    int64_t v = viv_opts_int(o, "speed");

    *speed = v;
    return v < 0 ? viv_fail(err, EINVAL, "Parameter 'speed' expects a non-negative value") : 0;
}

static int steer_job(struct viv_opts *o, enum viv_job_verb verb, struct viv_err *err)
{
    struct viv_job *j = viv_job_find(viv_opts_str(o, "id"));

    return j ? viv_job_do(j, verb, true, 0, err) : viv_fail(err, ENOENT, "Job not found");
}

static int steer_block_named(const char *id, enum viv_job_verb verb, bool force, uint64_t speed, struct viv_err *err)
{
    struct viv_job *j = viv_job_find(id);
    struct viv_job_info i = {0};

    if (j)
        viv_job_info(j, &i);
    if (!i.block) {
        viv_mon_error_class("DeviceNotActive");
        return viv_fail(err, ENOENT, "Block job '%s' not found", id);
    }
    return viv_job_do(j, verb, force, speed, err);
}

static int steer_block(struct viv_opts *o, enum viv_job_verb verb, bool force, uint64_t speed, struct viv_err *err)
{
    return steer_block_named(viv_opts_str(o, "device"), verb, force, speed, err);
}

COMMAND(job_pause) { return steer_job(o, VIV_JOB_PAUSE, err); }
COMMAND(job_resume) { return steer_job(o, VIV_JOB_RESUME, err); }
COMMAND(job_cancel) { return steer_job(o, VIV_JOB_CANCEL, err); }
COMMAND(job_complete) { return steer_job(o, VIV_JOB_COMPLETE, err); }
COMMAND(job_finalize) { return steer_job(o, VIV_JOB_FINALIZE, err); }
COMMAND(job_dismiss) { return steer_job(o, VIV_JOB_DISMISS, err); }
COMMAND(block_dismiss) { return steer_block_named(viv_opts_str(o, "id"), VIV_JOB_DISMISS, true, 0, err); }
COMMAND(block_finalize) { return steer_block_named(viv_opts_str(o, "id"), VIV_JOB_FINALIZE, true, 0, err); }
COMMAND(block_pause) { return steer_block(o, VIV_JOB_PAUSE, false, 0, err); }
COMMAND(block_resume) { return steer_block(o, VIV_JOB_RESUME, false, 0, err); }
COMMAND(block_complete) { return steer_block(o, VIV_JOB_COMPLETE, false, 0, err); }
COMMAND(block_cancel) { return steer_block(o, VIV_JOB_CANCEL, viv_opts_bool(o, "force"), 0, err); }

COMMAND(block_set_speed)
{
    uint64_t speed;
    int ret = read_speed(o, &speed, err);

    return ret ? ret : steer_block(o, VIV_JOB_SET_SPEED, false, speed, err);
}

/* --- starting: what they have in common --- */

const char *const viv_mon_syncs[] = {"full", "top", "none", "incremental", "bitmap", NULL};           /* enum viv_job_sync */
const char *const viv_mon_on_errors[] = {"report", "ignore", "stop", "enospc", "auto", NULL};         /* enum viv_job_on_error */

static const struct viv_opt_def commit_args[] = {
    VIV_MON_JOB_ARGS,
    {.name = "base-node", .type = VIV_OPT_STR},
    {.name = "base", .type = VIV_OPT_STR},
    {.name = "top-node", .type = VIV_OPT_STR},
    {.name = "top", .type = VIV_OPT_STR},
    {.name = "backing-file", .type = VIV_OPT_STR},
    {.name = "on-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"},
    VIV_OPT_END,
};
static const struct viv_opt_def stream_args[] = {
    VIV_MON_JOB_ARGS,
    {.name = "base-node", .type = VIV_OPT_STR},
    {.name = "base", .type = VIV_OPT_STR},
    {.name = "bottom", .type = VIV_OPT_STR},
    {.name = "backing-file", .type = VIV_OPT_STR},
    {.name = "on-error", .type = VIV_OPT_ENUM, .values = viv_mon_on_errors, .def = "report"},
    VIV_OPT_END,
};

unsigned viv_mon_choice(struct viv_opts *o, const char *key, const char *const *values)
{
    const char *v = viv_opts_str(o, key);
    unsigned i = 0;

    while (v && strcmp(values[i], v) != 0)
        i++;
    return i;
}

/* auto: as a disk of a machine does by default. */
enum viv_job_on_error viv_mon_on_error(struct viv_opts *o, const char *key)
{
    unsigned i = viv_mon_choice(o, key, viv_mon_on_errors);

    return i == 4 ? VIV_ON_ERROR_ENOSPC : i;
}

static int find_node(const char *name, struct viv_node **out, struct viv_err *err)
{
    *out = viv_mon_find_node(name);
    return *out ? 0 : viv_fail(err, ENOENT, "Cannot find device='%s' nor node-name='%s'", name, name);
}

/* A job without a name has that of the drive which it works for; what -device drive=NODE made is none that a user named. */
static const char *drive_of(const struct viv_node *n)
{
    for (struct viv_drive *d = viv_drive_next(NULL); d; d = viv_drive_next(d))
        if (d->blk && viv_blk_node(d->blk) == n && g_strcmp0(d->id, n->name) != 0)
            return d->id;
    return "";
}

int viv_mon_read_job(struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err)
{
    int ret = read_speed(o, &b->job.speed, err);

    b->job.id = viv_opts_str(o, "job-id");
    b->job.no_auto_finalize = !viv_opts_bool(o, "auto-finalize");
    b->job.no_auto_dismiss = !viv_opts_bool(o, "auto-dismiss");
    if (!ret)
        ret = find_node(viv_opts_str(o, "device"), &b->node, err);
    if (!b->job.id)
        b->job.id = b->node ? drive_of(b->node) : "";
    return ret;
}

static struct viv_node *find_by_file(struct viv_node *top, const char *filename)
{
    for (struct viv_node *n = top; n; n = n->backing)
        if (strcmp(n->filename, filename) == 0)
            return n;
    return NULL;
}

/* A layer of the chain by node-name (`node_key`) or by file name (`file_key`). *out stays NULL when neither was said. */
static int find_layer(struct viv_opts *o, struct viv_node *top, const char *node_key, const char *file_key, struct viv_node **out,
                      struct viv_err *err)
{
    const char *name = viv_opts_str(o, node_key), *file = file_key ? viv_opts_str(o, file_key) : NULL;

    if (name && file)
        return viv_fail(err, EINVAL, "'%s' and '%s' cannot be specified at the same time", node_key, file_key);
    if (name && (*out = viv_node_find(name)) == NULL)
        return viv_fail(err, ENOENT, "Cannot find device='' nor node-name='%s'", name);
    if (file && (*out = find_by_file(top, file)) == NULL)
        return viv_fail(err, ENOENT, "Can't find '%s' in the backing chain", file);
    return 0;
}

/* What copies into another node has besides. */
int viv_mon_read_copy(struct viv_opts *o, struct viv_block_job_opts *b, struct viv_err *err)
{
    int ret = viv_mon_read_job(o, b, err);

    if (!ret)
        ret = find_node(viv_opts_str(o, "target"), &b->target, err);
    if (ret)
        return ret;
    b->sync = viv_mon_choice(o, "sync", viv_mon_syncs);
    b->on_source = viv_mon_on_error(o, "on-source-error");
    b->on_target = viv_mon_on_error(o, "on-target-error");
    return 0;
}

/* --- each --- */

COMMAND(block_commit)
{
    struct viv_block_job_opts b = {0};
    int ret = viv_mon_read_job(o, &b, err);

    if (!ret)
        ret = find_layer(o, b.node, "top-node", "top", &b.top, err);
    if (!ret)
        ret = find_layer(o, b.node, "base-node", "base", &b.base, err);
    if (ret)
        return ret;
    for (struct viv_node *n = b.node; !viv_opts_str(o, "base-node") && !viv_opts_str(o, "base") && n; n = n->backing)
        b.base = n;
    b.backing_file = viv_opts_str(o, "backing-file");
    b.on_target = viv_mon_on_error(o, "on-error");
    return viv_job_commit(&b, err);
}

COMMAND(block_stream)
{
    struct viv_block_job_opts b = {0};
    struct viv_node *bottom = NULL;
    int ret = viv_mon_read_job(o, &b, err);

    if (!ret)
        ret = find_layer(o, b.node, "base-node", "base", &b.base, err);
    if (!ret)
        ret = find_layer(o, b.node, "bottom", NULL, &bottom, err);
    if (ret)
        return ret;
    if (b.base && bottom)
        return viv_fail(err, EINVAL, "'bottom' and 'base' cannot be specified at the same time");
    if (bottom)
        b.base = bottom->backing;
    b.backing_file = viv_opts_str(o, "backing-file");
    b.on_target = viv_mon_on_error(o, "on-error");
    return viv_job_stream(&b, err);
}

const struct viv_mon_cmd viv_mon_jobs[] = {
    {.qmp = "query-jobs", .help = "list the jobs", .fn = query_jobs, .returns = "[JobInfo]"},
    {.hmp = "info block-jobs", .show = show_block_jobs, .qmp = "query-block-jobs", .help = "list the block jobs", .fn = query_block_jobs, .returns = "[BlockJobInfo]"},
    {.qmp = "job-pause", .help = "pause a job", .args = id_args, .fn = job_pause},
    {.qmp = "job-resume", .help = "let a paused job go on", .args = id_args, .fn = job_resume},
    {.qmp = "job-cancel", .help = "end a job, at once", .args = id_args, .fn = job_cancel},
    {.qmp = "job-complete", .help = "let a job that is ready finish its work", .args = id_args, .fn = job_complete},
    {.qmp = "job-finalize", .help = "let a pending job finish its changes", .args = id_args, .fn = job_finalize},
    {.qmp = "job-dismiss", .help = "forget a concluded job", .args = id_args, .fn = job_dismiss},
    {.hmp = "block_job_pause", .hmp_args = "device:job", .qmp = "block-job-pause", .help = "pause a block job", .args = device_args, .fn = block_pause},
    {.hmp = "block_job_resume", .hmp_args = "device:job", .qmp = "block-job-resume", .help = "let a paused block job go on", .args = device_args, .fn = block_resume},
    {.hmp = "block_job_cancel", .hmp_args = "[-f] device:job", .qmp = "block-job-cancel", .help = "end a block job", .args = cancel_args, .fn = block_cancel},
    {.hmp = "block_job_complete", .hmp_args = "device:job", .qmp = "block-job-complete", .help = "let a block job that is ready finish its work", .args = device_args, .fn = block_complete},
    {.qmp = "block-job-finalize", .help = "let a pending block job finish its changes", .args = id_args, .fn = block_finalize},
    {.qmp = "block-job-dismiss", .help = "forget a concluded block job", .args = id_args, .fn = block_dismiss},
    {.qmp = "block-job-set-speed", .help = "set how many bytes a second a block job may move; 0: any number", .args = speed_args, .fn = block_set_speed},
    {.qmp = "block-commit", .help = "move layers of a backing chain down into their base", .args = commit_args, .fn = block_commit},
    {.qmp = "block-stream", .help = "copy what the backing chain holds up into the image", .args = stream_args, .fn = block_stream},
    {0},
};
