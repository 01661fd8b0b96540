/* -add-fd: descriptors that the process was started with, for names like /dev/fdset/N. */
#include "cmd/vm_args.h"

#include "host/fdname.h"
#include "host/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

const struct viv_opt_def vm_add_fd_opts[] = {
    {.name = "fd", .type = VIV_OPT_INT, .help = "the descriptor; not 0, 1 or 2"},
    {.name = "set", .type = VIV_OPT_INT, .help = "the N of /dev/fdset/N"},
    {.name = "opaque", .type = VIV_OPT_STR, .help = "what query-fdsets tells of it"},
    VIV_OPT_END,
};

static int check(const struct vm_item *it, struct viv_opts *o, struct viv_err *err)
{
    int64_t fd = viv_opts_given(o, "fd") ? viv_opts_int(o, "fd") : -1;
    int64_t set = viv_opts_given(o, "set") ? viv_opts_int(o, "set") : -1;
    const char *why = NULL;

    if (fd < 0)
        why = "fd option is required and must be non-negative";
    else if (fd <= STDERR_FILENO)
        why = "fd cannot be a standard I/O stream";
    else if (!viv_fd_inherited(fd))
        why = "fd is not valid or already in use";
    else if (set < 0)
        why = "set option is required and must be non-negative";
    return why ? viv_fail(err, EINVAL, "%s %s: %s", it->option, it->text, why) : 0;
}

static int add(const struct vm_item *it, GArray *taken, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(it->option, vm_add_fd_opts, NULL, it->text, &o, err), fd, own;
    int64_t set;

    if (rc < 0)
        return rc;
    rc = check(it, o, err);
    if (!rc) {
        fd = (int)viv_opts_int(o, "fd");
        set = viv_opts_int(o, "set");
        own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        rc = own < 0 ? viv_fail_os(err, errno, "%s %s", it->option, it->text) : viv_fdset_add(own, &set, viv_opts_str(o, "opaque"), err);
        g_array_append_val(taken, fd);
    }
    viv_opts_free(o);
    return rc;
}

int vm_add_fds(struct vm_args *a, struct viv_err *err)
{
    g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(int));
    int rc = 0;

    FOR_ITEMS(a->add_fds, it)
    {
        if (!rc)
            rc = add(it, taken, err);
    }
    for (guint i = 0; i < taken->len; i++)
        close(g_array_index(taken, int, i)); /* the same one may stand in several sets */
    return rc;
}
