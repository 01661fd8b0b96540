/* The balloon: its size, and its statistics, which lie behind qom-get and qom-set (QEMU's manual, "virtio balloon memory statistics"). */
#include "mon/mon_int.h"

#include "dev/virtio/virtio_balloon.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

#define INTERVAL "guest-stats-polling-interval"
#define STATS    "guest-stats"

static struct virtio_balloon *need_balloon(struct viv_err *err)
{
    struct virtio_balloon *b = viv_balloon(NULL);

    if (!b) {
        viv_mon_error_class("DeviceNotActive");
        viv_fail(err, ENODEV, "this machine has no balloon; -device virtio-balloon-pci gives it one");
    }
    return b;
}

static const struct viv_opt_def balloon_args[] = {
    {.name = "value", .type = VIV_OPT_INT, .required = true, .min = 1, .max = INT64_MAX, .help = "memory that the guest is to have, in bytes"},
    VIV_OPT_END,
};

COMMAND(balloon)
{
    struct virtio_balloon *b = need_balloon(err);

    return b ? viv_balloon_set(b, (uint64_t)viv_opts_int(o, "value"), err) : -ENODEV;
}

/* People say it in MiB. */
static const struct viv_opt_def hmp_balloon_args[] = {
    {.name = "value", .type = VIV_OPT_INT, .required = true, .min = 1, .max = INT64_MAX >> 20, .help = "in MiB"},
    VIV_OPT_END,
};

COMMAND(hmp_balloon)
{
    struct virtio_balloon *b = need_balloon(err);

    return b ? viv_balloon_set(b, (uint64_t)viv_opts_int(o, "value") << 20, err) : -ENODEV;
}

COMMAND(query_balloon)
{
    struct virtio_balloon *b = need_balloon(err);

    if (!b)
        return -ENODEV;
    *result = json_pack("{s:I}", "actual", (json_int_t)viv_balloon_actual(b));
    return 0;
}

static void show_balloon(const json_t *result, GString *out)
{
    g_string_append_printf(out, "balloon: actual=%" PRId64 "\n", (int64_t)json_integer_value(json_object_get(result, "actual")) >> 20);
}

/* ---- statistics ---- */

bool viv_mon_balloon_get(const struct viv_dev *d, const char *property, json_t **result)
{
    struct virtio_balloon *b = viv_balloon(d);
    const struct viv_balloon_stats *s;
    json_t *list;

    if (!b || (strcmp(property, STATS) && strcmp(property, INTERVAL)))
        return false;
    if (!strcmp(property, INTERVAL)) {
        *result = json_integer(viv_balloon_polling(b));
        return true;
    }
    s = viv_balloon_stats(b);
    list = json_object();
    for (unsigned i = 0; i < VIRTIO_BALLOON_STATS; i++) /* -1: never told */
        json_object_set_new(list, viv_balloon_stat_names[i], json_integer((json_int_t)s->value[i]));
    *result = json_pack("{s:o, s:I}", "stats", list, "last-update", (json_int_t)s->when);
    return true;
}

int viv_mon_balloon_set(const struct viv_dev *d, const char *property, int64_t value, struct viv_err *err)
{
    struct virtio_balloon *b = viv_balloon(d);

    if (!d || !b || strcmp(property, INTERVAL))
        return viv_fail(err, ENOENT, "Property '%.80s' cannot be set; a balloon's " INTERVAL " can", property);
    return viv_balloon_poll(b, value, err);
}

static const struct viv_mon_event_def balloon_events[] = {
    {"BALLOON_CHANGE", "actual: int", "the guest has given memory back, or taken it again", .slow = true},
    {0},
};

static const struct viv_mon_cmd balloon_cmds[] = {
    {NULL, "balloon", NULL, balloon_args, "asks the guest to give memory back, down to so many bytes", balloon},
    {"balloon", NULL, "value", hmp_balloon_args, "ask the guest to give memory back, down to so many MiB", hmp_balloon},
    {"info balloon", "query-balloon", NULL, NULL, "show how much memory the guest has", query_balloon, show_balloon, .returns = "BalloonInfo"},
    {0},
};

void viv_mon_use_balloon(void)
{
    viv_mon_use(balloon_cmds);
    viv_mon_use_events(balloon_events);
}
