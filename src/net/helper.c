/* Running a bridge helper: `HELPER --use-vnet --fd=N --br=BRIDGE`, which answers with one byte and a descriptor (SCM_RIGHTS) on the
 * socket N. viv-bridge-helper and qemu-bridge-helper both do. */
#include "net/tap.h"

#include "host/broker.h"
#include "host/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FD   3
#define ANSWER_SEC 30

static char *standard_helper(struct viv_err *err)
{
    static const char *const places[] = {"/usr/lib/viv/viv-bridge-helper", "/usr/libexec/viv-bridge-helper",
                                         "/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"};
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
    char *beside = dir ? g_build_filename(dir, "viv-bridge-helper", NULL) : NULL;

    if (beside && g_file_test(beside, G_FILE_TEST_IS_EXECUTABLE))
        return beside;
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (g_file_test(places[i], G_FILE_TEST_IS_EXECUTABLE)) {
            g_free(beside);
            return g_strdup(places[i]);
        }
    }
    viv_fail(err, ENOENT, "there is no viv-bridge-helper beside this program or in /usr/lib/viv, and no qemu-bridge-helper; helper= "
             "names another place");
    g_free(beside);
    return NULL;
}

/* The helper's words as typed, and those of ours that it does not have yet. No shell looks at them. */
static char **command(const char *helper, const char *br, struct viv_err *err)
{
    g_auto(GStrv) said = NULL;
    g_autoptr(GError) why = NULL;
    GPtrArray *argv;
    bool has_fd = false, has_br = false, has_vnet = false;

    if (!g_shell_parse_argv(helper, NULL, &said, &why)) {
        viv_fail(err, EINVAL, "helper=%s: %s", helper, why->message);
        return NULL;
    }
    argv = g_ptr_array_new();
    for (char **w = said; *w; w++) {
        has_fd |= g_str_has_prefix(*w, "--fd");
        has_br |= g_str_has_prefix(*w, "--br");
        has_vnet |= !strcmp(*w, "--use-vnet");
        g_ptr_array_add(argv, g_strdup(*w));
    }
    if (!has_vnet)
        g_ptr_array_add(argv, g_strdup("--use-vnet"));
    if (!has_fd)
        g_ptr_array_add(argv, g_strdup_printf("--fd=%d", CHILD_FD));
    if (!has_br)
        g_ptr_array_add(argv, g_strdup_printf("--br=%s", br));
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* The descriptor that came, or a negative errno; -ENODATA: the helper ended without one. */
static int take_fd(int sock)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c;
    ssize_t got;
    int fd;

    do
        got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 ? -errno : -ENODATA;
    c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        return -ENODATA;
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

/* Runs it to its end, and takes what it left in the socket. */
static int run(char **argv, int *status, struct viv_err *err)
{
    int pair[2], fd;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return viv_fail_os(err, errno, "cannot make a pair of sockets");
    fd = viv_spawn(argv, pair[1], ANSWER_SEC, status, err);
    close(pair[1]);
    if (!fd)
        fd = take_fd(pair[0]);
    close(pair[0]);
    return fd;
}

void viv_net_note_programs(void)
{
    g_autofree char *helper = standard_helper(NULL);

    for (size_t i = 0; tap_ups[i]; i++)
        viv_broker_note_program(tap_ups[i]);
    for (size_t i = 0; tap_downs[i]; i++)
        viv_broker_note_program(tap_downs[i]);
    if (helper)
        viv_broker_note_program(helper);
}

int tap_from_helper(const char *helper, const char *br, struct viv_err *err)
{
    g_autofree char *standard = helper ? NULL : standard_helper(err);
    g_autofree char *quoted = standard ? g_shell_quote(standard) : NULL;
    g_auto(GStrv) argv = helper || standard ? command(helper ? helper : quoted, br, err) : NULL;
    struct viv_err why = VIV_ERR_INIT;
    int status = 0, fd;

    if (!argv)
        return -EINVAL;
    viv_broker_note_program(argv[0]);
    viv_dev_unlock();
    fd = run(argv, &status, &why);
    viv_dev_lock();
    if (fd >= 0 && WIFEXITED(status) && !WEXITSTATUS(status))
        return fd;
    if (fd >= 0)
        close(fd);
    if (fd == -ETIMEDOUT)
        return viv_fail(err, ETIMEDOUT, "helper %s gave no answer for %d s", argv[0], ANSWER_SEC);
    if (why.code)
        return viv_fail(err, why.code, "helper: %s", why.text);
    return viv_fail(err, EACCES, "helper %s gave no interface on bridge '%s' (it says why above); %s", argv[0], br,
                    "it must be set-uid root or have cap_net_admin, and /etc/viv/bridge.conf, else /etc/qemu/bridge.conf, must "
                    "allow the bridge");
}
