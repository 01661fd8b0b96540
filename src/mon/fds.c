/* Descriptors by name: getfd takes one that came beside the command (SCM_RIGHTS on QMP's unix socket), others name it (add_client,
 * fd=NAME). They belong to the process, whichever monitor took them. */
#include "mon/fds.h"

#include "mon/command.h"
#include "mon/mon_int.h"

#include <errno.h>
#include <unistd.h>

#define NAMES_MOST 64

#define COMMAND(name) static int name(struct viv_opts *o, json_t **result, struct viv_err *err)

static GHashTable *named; /* name to descriptor, plus 1 */

static const struct viv_opt_def name_args[] = {
    {.name = "fdname", .type = VIV_OPT_STR, .required = true, .help = "not a number"},
    VIV_OPT_END,
};

int viv_mon_take_fd(const char *name, struct viv_err *err)
{
    int fd = named ? GPOINTER_TO_INT(g_hash_table_lookup(named, name)) - 1 : -1;

    if (fd < 0)
        return viv_fail(err, ENOENT, "File descriptor named '%.60s' has not been found; getfd gives one a name", name);
    g_hash_table_remove(named, name);
    return fd;
}

COMMAND(get_fd)
{
    const char *name = viv_opts_str(o, "fdname");
    struct viv_chr *c = viv_mon_current();
    struct viv_err ignored = VIV_ERR_INIT;
    int fd = c ? viv_chr_take_fd(c) : -1, old;

    if (fd < 0)
        return viv_fail(err, EINVAL, "No file descriptor supplied via SCM_RIGHTS");
    if (!named)
        named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    old = viv_mon_take_fd(name, &ignored); /* another of that name is replaced */
    if (old >= 0)
        close(old);
    if (!*name || g_ascii_isdigit(*name) || g_hash_table_size(named) >= NAMES_MOST) {
        close(fd);
        return viv_fail(err, EINVAL, "fdname: '%.60s': a name begins with no digit, and there are %d at most", name, NAMES_MOST);
    }
    g_hash_table_insert(named, g_strdup(name), GINT_TO_POINTER(fd + 1));
    return 0;
}

COMMAND(close_fd)
{
    int fd = viv_mon_take_fd(viv_opts_str(o, "fdname"), err);

    return fd < 0 ? fd : (close(fd), 0);
}

const struct viv_mon_cmd viv_mon_fds[] = {
    {NULL, "getfd", NULL, name_args, "give a passed descriptor a name", get_fd},
    {NULL, "closefd", NULL, name_args, "close a named descriptor", close_fd},
    {0},
};
