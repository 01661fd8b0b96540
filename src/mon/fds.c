/* Descriptors by name: getfd takes one that came beside the command (SCM_RIGHTS on QMP's unix socket), others name it (add_client,
 * fd=NAME). They belong to the process, whichever monitor took them. */
#include "host/fdname.h"
#include "host/fdset.h"
#include "mon/command.h"
#include "mon/mon_int.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static const struct viv_opt_def name_args[] = {
    {.name = "fdname", .type = VIV_OPT_STR, .required = true, .help = "not a number"},
    VIV_OPT_END,
};

COMMAND(get_fd)
{
    struct viv_chr *c = viv_mon_current();
    int fd = c ? viv_chr_take_fd(c) : -1;

    return fd < 0 ? viv_fail(err, EINVAL, "No file descriptor supplied via SCM_RIGHTS") : viv_fdname_add(viv_opts_str(o, "fdname"), fd, err);
}

COMMAND(close_fd)
{
    int fd = viv_fdname_take(viv_opts_str(o, "fdname"), err);

    return fd < 0 ? fd : (close(fd), 0);
}

/* --- sets (host/fdset.h) --- */

static const struct viv_opt_def add_args[] = {
    {.name = "fdset-id", .type = VIV_OPT_INT, .help = "none: a new set"},
    {.name = "opaque", .type = VIV_OPT_STR, .help = "text for query-fdsets"},
    VIV_OPT_END,
};
static const struct viv_opt_def remove_args[] = {
    {.name = "fdset-id", .type = VIV_OPT_INT, .required = true},
    {.name = "fd", .type = VIV_OPT_INT, .help = "none: all of the set"},
    VIV_OPT_END,
};

COMMAND(add_fd)
{
    struct viv_chr *c = viv_mon_current();
    int fd = c ? viv_chr_take_fd(c) : -1, rc;
    int64_t set = viv_opts_given(o, "fdset-id") ? viv_opts_int(o, "fdset-id") : VIV_FDSET_NEW;

    if (fd < 0)
        return viv_fail(err, EINVAL, "No file descriptor supplied via SCM_RIGHTS");
    if (viv_opts_given(o, "fdset-id") && set < 0) {
        close(fd);
        return viv_fail(err, EINVAL, "Parameter 'fdset-id' expects a non-negative value");
    }
    rc = viv_fdset_add(fd, &set, viv_opts_str(o, "opaque"), err);
    if (!rc)
        *result = json_pack("{s:I, s:i}", "fdset-id", (json_int_t)set, "fd", fd);
    return rc;
}

COMMAND(remove_fd)
{
    int64_t set = viv_opts_int(o, "fdset-id"), fd = viv_opts_given(o, "fd") ? viv_opts_int(o, "fd") : -1;

    if (viv_opts_given(o, "fd") && (fd < 0 || fd > INT_MAX))
        return viv_fail(err, ENOENT, "File descriptor named 'fdset-id:%lld, fd:%lld' not found", (long long)set, (long long)fd);
    return viv_fdset_remove(set, (int)fd, err);
}

static void add_row(void *opaque, int64_t set, int fd, const char *text)
{
    json_t *list = opaque, *last = json_array_get(list, json_array_size(list) - 1), *row = json_pack("{s:i}", "fd", fd);

    if (text)
        json_object_set_new(row, "opaque", viv_mon_text(text));
    if (!last || json_integer_value(json_object_get(last, "fdset-id")) != set) {
        last = json_pack("{s:I, s:[]}", "fdset-id", (json_int_t)set, "fds");
        json_array_append_new(list, last);
    }
    json_array_append_new(json_object_get(last, "fds"), row);
}

COMMAND(query_fdsets)
{
    *result = json_array();
    viv_fdset_each(add_row, *result);
    return 0;
}

const struct viv_mon_cmd viv_mon_fds[] = {
    {.qmp = "add-fd", .help = "put a passed descriptor into a set, for names like /dev/fdset/N", .args = add_args, .fn = add_fd,
     .returns = "AddfdInfo"},
    {.qmp = "remove-fd", .help = "take descriptors out of a set", .args = remove_args, .fn = remove_fd},
    {.qmp = "query-fdsets", .help = "list the sets of descriptors", .fn = query_fdsets, .returns = "[FdsetInfo]"},
    {NULL, "getfd", NULL, name_args, "give a passed descriptor a name", get_fd},
    {NULL, "closefd", NULL, name_args, "close a named descriptor", close_fd},
    {0},
};
