/* What the broker may be asked for.
 *
 * Grants are names. Those of the start (what the process opened while it still had its rights, before the guest ran) are exact: this
 * path, for reading or for writing. Words of a monitor are text in which a name must occur as a whole. The words come through the
 * process that is confined, so that one which a guest took over can invent some: they never reach hidden files and folders
 * (~/.ssh, ~/.bashrc), never change what belongs to the system, never touch a disk that is mounted here, and never name a program. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRANTS_MAX 4096u
#define WORDS_MAX  (256u << 10) /* bytes; the oldest go */

static GPtrArray *grants; /* kind letter and path */
static GQueue words = G_QUEUE_INIT;
static size_t words_bytes;

char *broker_canonical(const char *said)
{
    return g_canonicalize_filename(said, NULL);
}

static bool granted(char kind, const char *path)
{
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if (g[0] == kind && !strcmp(g + 1, path))
            return true;
    }
    return false;
}

void broker_grant(char kind, const char *path)
{
    if (!grants)
        grants = g_ptr_array_new_with_free_func(g_free);
    if (granted(kind, path) || grants->len >= GRANTS_MAX)
        return;
    g_ptr_array_add(grants, g_strdup_printf("%c%s", kind, path));
}

void broker_grant_words(const char *text)
{
    size_t len = strlen(text);
    char *copy, *to;

    if (!len || len > WORDS_MAX)
        return;
    g_queue_push_tail(&words, g_strdup(text));
    words_bytes += len;
    if (strstr(text, ",,")) { /* a comma in a value of an option */
        copy = to = g_strdup(text);
        for (const char *p = text; *p; p++) {
            *to++ = *p;
            p += p[0] == ',' && p[1] == ',';
        }
        *to = '\0';
        g_queue_push_tail(&words, copy);
        words_bytes += (size_t)(to - copy);
    }
    while (words_bytes > WORDS_MAX) {
        char *old = g_queue_pop_head(&words);

        words_bytes -= strlen(old);
        g_free(old);
    }
}

/* Could this byte be more of the name beside it? */
static bool of_name(char c)
{
    return g_ascii_isalnum(c) || (c && strchr("/._-+~@%", c)) || (unsigned char)c >= 0x80;
}

/* Does `name` stand in `text` as a whole? "file:///a" names /a. */
static bool occurs(const char *text, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = strstr(text, name); p && *name; p = strstr(p + 1, name)) {
        bool begins = p == text || !of_name(p[-1]) || (*name == '/' && p - text >= 2 && p[-1] == '/' && p[-2] == '/');

        if (begins && !of_name(p[len]))
            return true;
    }
    return false;
}

static bool in_words(const char *name)
{
    for (GList *l = words.head; l; l = l->next) {
        if (occurs(l->data, name))
            return true;
    }
    return false;
}

static bool is_below(const char *path, const char *const *places)
{
    for (; *places; places++) {
        size_t len = strlen(*places);

        if (!strncmp(path, *places, len) && (!path[len] || path[len] == '/'))
            return true;
    }
    return false;
}

static bool is_system(const char *path)
{
    static const char *const places[] = {"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/proc", "/sys",
                                         "/var/spool", "/var/lib", "/root/bin", NULL};
    static const char *const images[] = {"/var/lib/libvirt/images", "/var/lib/viv", "/var/lib/vz", NULL};

    return is_below(path, places) && !is_below(path, images);
}

static bool is_hidden(const char *path)
{
    return strstr(path, "/.") != NULL;
}

static bool is_mounted_disk(const char *path)
{
    struct stat st;
    int fd;

    if (stat(path, &st) || !S_ISBLK(st.st_mode))
        return false;
    fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == EBUSY;
}

static int refuse(char *text, const char *what, const char *path, const char *why)
{
    snprintf(text, BROKER_TEXT, "the sandbox does not %s '%.160s': %s", what, path, why);
    return -EACCES;
}

/* "DIR/.NAME.xxxxxx.part" of a granted DIR/NAME, as new files are called while they are made. */
static char *whole_name(const char *path)
{
    g_autofree char *base = g_path_get_basename(path), *dir = g_path_get_dirname(path);
    size_t len = strlen(base);

    if (base[0] != '.' || len < sizeof(".x.xxxxxx.part") - 1 || strcmp(base + len - 5, ".part") || base[len - 12] != '.')
        return NULL;
    base[len - 12] = '\0';
    return g_build_filename(dir, base + 1, NULL);
}

/* A nameless file goes where a granted one lies, or to the folder of temporary files. */
static bool may_hold_new(const char *dir)
{
    const char *tmp = g_getenv("TMPDIR");

    if (!strcmp(dir, tmp && *tmp ? tmp : "/var/tmp"))
        return true;
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];
        g_autofree char *parent = g[0] == GRANT_WRITE ? g_path_get_dirname(g + 1) : NULL;

        if (parent && !strcmp(parent, dir))
            return true;
    }
    for (GList *l = words.head; l; l = l->next) {
        const char *at = strstr(l->data, dir);

        if (at && at[strlen(dir)] == '/' && !is_hidden(dir) && !is_system(dir))
            return true;
    }
    return false;
}

static int by_words(const char *said, const char *path, bool writes, char *text)
{
    g_autofree char *dir = g_path_get_dirname(said);

    if (!in_words(said) && !in_words(path) && (writes || !in_words(dir)))
        return refuse(text, "open", path, "neither the command line nor a monitor's command has named it; -sandbox off lifts this");
    if (is_hidden(path))
        return refuse(text, "open", path, "the monitor reaches no hidden files and folders; name it on the command line, pass a descriptor "
                                          "(getfd), or use -sandbox off");
    if (writes && is_system(path))
        return refuse(text, "write to", path, "the monitor reaches nothing of the system's for writing; name it on the command line, "
                                              "pass a descriptor (getfd), or use -sandbox off");
    if (writes && is_mounted_disk(path))
        return refuse(text, "write to", path, "it is a disk that is in use here (mounted, or part of another device)");
    return 0;
}

int broker_may_open(const char *said, int flags, char *text)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    g_autofree char *path = broker_canonical(said), *whole = whole_name(path);
    int rc;

    if ((flags & O_TMPFILE) == O_TMPFILE)
        return may_hold_new(path) ? 0 : refuse(text, "make a file in", path, "nothing that the command line or a monitor named lies there");
    if (granted(GRANT_WRITE, path) || (whole && granted(GRANT_WRITE, whole)))
        return 0;
    if (granted(GRANT_READ, path) && (!writes || !is_system(path)))
        return 0;
    rc = whole ? by_words(whole, whole, writes, text) : by_words(said, path, writes, text);
    if (!rc)
        broker_grant(writes ? GRANT_WRITE : GRANT_READ, path);
    return rc;
}

/* The name may be another than the granted one (links), or gone: what counts is which file it is. */
int broker_may_use_fd(int fd, int flags, char *text)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    struct stat is, st;

    if (fstat(fd, &is) < 0)
        return -errno;
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if ((g[0] == GRANT_WRITE || (g[0] == GRANT_READ && (!writes || !is_system(g + 1)))) && stat(g + 1, &st) == 0 &&
            st.st_dev == is.st_dev && st.st_ino == is.st_ino)
            return 0;
    }
    snprintf(text, BROKER_TEXT, "the sandbox does not open a file again for %s that the command line or a monitor did not name",
             writes ? "writing" : "reading");
    return -EACCES;
}

int broker_may_connect(const char *said, char *text)
{
    g_autofree char *path = *said == '@' ? g_strdup(said) : broker_canonical(said);

    if (granted(GRANT_SOCKET, path))
        return 0;
    if (!in_words(*said == '@' ? said + 1 : said) && !in_words(path))
        return refuse(text, "use the socket", path, "neither the command line nor a monitor's command has named it; -sandbox off lifts this");
    if (is_hidden(path) || is_below(path, (const char *const[]){"/run", "/var/run", "/tmp/.X11-unix", NULL}))
        return refuse(text, "use the socket", path, "the monitor reaches no sockets of the system's and no hidden ones; name it on the "
                                                    "command line, or use -sandbox off");
    broker_grant(GRANT_SOCKET, path);
    return 0;
}

int broker_may_change(const char *said, char *text)
{
    g_autofree char *path = broker_canonical(said), *whole = whole_name(path);
    const char *name = whole ? whole : path;

    if (granted(GRANT_WRITE, name) || granted(GRANT_SOCKET, name))
        return 0;
    return by_words(whole ? whole : said, name, true, text);
}

int broker_may_run(const char *program, char *text)
{
    g_autofree char *path = broker_canonical(program);

    if (granted(GRANT_PROGRAM, path))
        return 0;
    return refuse(text, "start", path, "only programs that the command line named, or that are there for it, are started; say script=, "
                                       "helper= in a -netdev at start, or use -sandbox off");
}

bool broker_is_public(const char *path, int flags)
{
    static const char *const places[] = {"/usr", "/etc", "/lib", "/lib64", "/proc/sys", "/proc/filesystems", "/proc/cpuinfo", "/proc/meminfo",
                                         "/proc/stat", "/proc/version", "/sys/devices/system", "/dev/null", "/dev/zero",
                                         "/dev/full", "/dev/random", "/dev/urandom", "/var/lib/ca-certificates", NULL};

    /* A new pair for the person; others' sides have other names. */
    if (!strcmp(path, "/dev/ptmx"))
        return !(flags & (O_CREAT | O_EXCL));
    if (!strcmp(path, "/dev/null") || !strcmp(path, "/dev/zero") || !strcmp(path, "/dev/full"))
        return !(flags & (O_CREAT | O_EXCL));
    return (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == O_RDONLY && (flags & O_TMPFILE) != O_TMPFILE && is_below(path, places);
}

/* Whoever asks could read it without being anybody. */
int broker_public_fd(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_uid == 0 && st.st_mode & S_IROTH ? 0 : -EACCES;
}
