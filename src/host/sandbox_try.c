#include "host/sandbox_try.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/wait.h>

const char *try_dir;

const struct viv_sandbox lenient = {.on = true, .elevateprivileges = true, .spawn = true, .resourcecontrol = true};
const struct viv_sandbox strict = {.on = true};

char *in_dir(const char *name)
{
    return g_build_filename(try_dir, name, NULL);
}

void seal(void)
{
    struct viv_err err = VIV_ERR_INIT;
    int rc = viv_sandbox_seal(-1, &err);

    if (rc)
        fprintf(stderr, "%s\n", err.text);
    if (rc < 0)
        _exit(99);
}

int confined(const struct viv_sandbox *s, void (*fn)(const void *), const void *arg, char **said)
{
    GString *text = g_string_new(NULL);
    char buf[512];
    int out[2], status;
    ssize_t n;
    pid_t pid;

    g_assert_cmpint(pipe2(out, O_CLOEXEC), ==, 0);
    pid = fork();
    if (pid == 0) {
        struct viv_err err = VIV_ERR_INIT;

        dup2(out[1], STDERR_FILENO);
        if (s && viv_sandbox_start(s, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            _exit(98);
        }
        fn(arg);
        _exit(0);
    }
    close(out[1]);
    while ((n = read(out[0], buf, sizeof(buf))) > 0)
        g_string_append_len(text, buf, n);
    close(out[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (said)
        *said = g_string_free(text, FALSE);
    else
        g_string_free(text, TRUE);
    return status;
}

static void remove_dir(void)
{
    g_autoptr(GDir) d = g_dir_open(try_dir, 0, NULL);

    for (const char *name; d && (name = g_dir_read_name(d));) {
        g_autofree char *path = in_dir(name);

        g_unlink(path);
    }
    g_rmdir(try_dir);
}

void sandbox_try_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    try_dir = g_dir_make_tmp("viv-sandbox-XXXXXX", NULL);
}

int sandbox_try_run(void)
{
    int ret = g_test_run();

    remove_dir();
    return ret;
}
