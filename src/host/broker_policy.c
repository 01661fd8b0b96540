/* What the broker may be asked for.
 *
 * Grants are places: real names, without links. Those of the start (what the process opened while it still had its rights, before the
 * guest ran) are exact: this place, for reading or for writing. Words of a monitor are text in which a name must occur as a whole, and
 * there are none where there is no monitor. The words come through the process that is confined, so that one which a guest took over
 * can invent some: wherever a name leads they never reach hidden files and folders (~/.ssh, ~/.bashrc), never change what belongs to
 * the system, never touch a disk that is mounted here, and neither name nor change a program that may be started. */
#include "host/broker_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRANTS_MAX 4096u /* by words; the oldest go */
#define WORDS_MAX  (256u << 10) /* bytes; the oldest go */

static GPtrArray *grants; /* kind letter and path; those of the start first, which stay */
static guint of_start;
static GQueue words = G_QUEUE_INIT;
static size_t words_bytes;
static bool takes_words;

void broker_take_words(bool on)
{
    takes_words = on;
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
    if (granted(kind, path))
        return;
    g_ptr_array_add(grants, g_strdup_printf("%c%s", kind, path));
    if (!broker_asked.sealed)
        of_start = grants->len;
    else if (grants->len - of_start > GRANTS_MAX)
        g_ptr_array_remove_index(grants, of_start);
}

void broker_each_name(void (*fn)(const char *name))
{
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if ((g[0] == GRANT_WRITE || g[0] == GRANT_LISTEN) && g[1] == '/')
            fn(g + 1);
    }
}

void broker_grant_words(const char *text)
{
    size_t len = strlen(text);
    char *copy, *to;

    if (!len || len > WORDS_MAX || !takes_words)
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

bool broker_is_named(const char *name)
{
    for (GList *l = words.head; l; l = l->next) {
        if (occurs(l->data, name))
            return true;
    }
    return false;
}

/* As it came, from the root, or by where its folder is. */
static bool in_words(const char *said, const struct broker_place *p)
{
    g_autofree char *full = g_canonicalize_filename(said, NULL);

    return broker_is_named(said) || broker_is_named(full) || broker_is_named(p->name);
}

/* Does a name in `text` lead from `here` to `full`? */
static bool leads_to(const char *text, const char *here, const char *full)
{
    size_t len;

    for (const char *p = text; *p; p += MAX(len, 1)) {
        g_autofree char *name = NULL, *leads = NULL;

        for (len = 0; of_name(p[len]);)
            len++;
        if (!len)
            continue;
        name = g_strndup(p, len);
        leads = g_canonicalize_filename(name, here);
        if (!strcmp(leads, full))
            return true;
    }
    return false;
}

/* Sockets are asked for by their full names even where another was said, because -daemonize leaves the folder. */
static bool named_otherwise(const char *said)
{
    g_autofree char *here = g_get_current_dir(), *full = g_canonicalize_filename(said, here);
    size_t len = strlen(here);
    const char *rest = len > 1 && !strncmp(full, here, len) && full[len] == '/' ? full + len + 1 : NULL;

    for (GList *l = words.head; l; l = l->next) {
        if ((rest && occurs(l->data, rest)) || leads_to(l->data, here, full))
            return true;
    }
    return false;
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
    return strchr(path, '/') ? g_build_filename(dir, base + 1, NULL) : g_strdup(base + 1); /* words have it without a folder, too */
}

/* A nameless file goes where a granted one lies, to the folder of temporary files, or where a monitor may name one. */
static bool may_hold_new(const char *dir)
{
    const char *tmp = g_getenv("TMPDIR");

    if (!strcmp(dir, tmp && *tmp ? tmp : "/var/tmp") || (takes_words && !broker_is_hidden(dir) && !broker_is_system(dir)))
        return true;
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];
        g_autofree char *parent = g[0] == GRANT_WRITE ? g_path_get_dirname(g + 1) : NULL;

        if (parent && !strcmp(parent, dir))
            return true;
    }
    return false;
}

static bool either(bool (*is)(const char *), const struct broker_place *p)
{
    return is(p->name) || is(p->real);
}

static bool is_program(const struct broker_place *p)
{
    return granted(GRANT_PROGRAM, p->name) || granted(GRANT_PROGRAM, p->real);
}

/* Those that commands use without naming them. */
static bool goes_without_saying(const char *path)
{
    return takes_words && (!strcmp(path, "/dev/net/tun") || !strcmp(path, "/dev/vhost-net"));
}

static int by_words(const char *said, const struct broker_place *p, bool writes, char *text)
{
    g_autofree char *dir = g_path_get_dirname(said);
    const char *path = p->name, *why;

    if (!in_words(said, p) && (writes || !broker_is_named(dir)) && !goes_without_saying(p->real))
        return refuse(text, "open", path, "neither the command line nor a monitor's command has named it; -sandbox off lifts this");
    if (either(broker_is_hidden, p))
        return refuse(text, "open", path, "the monitor reaches no hidden files and folders; name it on the command line, pass a descriptor "
                                          "(getfd), or use -sandbox off");
    if (either(broker_is_others, p))
        return refuse(text, "open", path, "the monitor reaches nothing of other processes");
    if (writes && either(broker_is_system, p))
        return refuse(text, "write to", path, "the monitor reaches nothing of the system's for writing; name it on the command line, "
                                              "pass a descriptor (getfd), or use -sandbox off");
    if (broker_is_private(p->real))
        return refuse(text, "open", path, "the monitor reaches nothing of the system's that is not for everybody; name it on the command "
                                          "line, pass a descriptor (getfd), or use -sandbox off");
    if (writes && is_program(p))
        return refuse(text, "write to", path, "it is a program that the sandbox may start");
    why = broker_device_refusal(p->real, writes);
    return why ? refuse(text, writes ? "write to" : "open", path, why) : 0;
}

/* Does this grant let it be written to? What was opened for reading may be where there is a monitor: "commit" does that. */
static bool grants_open(const char *g, bool writes)
{
    return g[0] == GRANT_WRITE || (g[0] == GRANT_READ && (!writes || (takes_words && !broker_is_system(g + 1))));
}

static bool is_granted(const char *path, bool writes)
{
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if (grants_open(g, writes) && !strcmp(g + 1, path))
            return true;
    }
    return false;
}

/* Is it below a folder of this kind? */
static bool is_inside(char kind, const char *real)
{
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if (g[0] == kind && broker_is_below(real, (const char *const[]){g + 1, NULL}))
            return true;
    }
    return false;
}

/* The same of a file that gets its name at the end: what counts is that name. */
static int new_by_words(const char *said, const char *whole, char *text)
{
    g_autofree char *said_whole = whole_name(said);
    struct broker_place p = {.name = (char *)whole, .real = (char *)whole};

    return by_words(said_whole ? said_whole : whole, &p, true, text);
}

int broker_may_open(const char *said, const struct broker_place *p, int flags, char *text)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    g_autofree char *whole = whole_name(p->real);
    int rc;

    if ((flags & O_TMPFILE) == O_TMPFILE)
        return may_hold_new(p->real) ? 0 : refuse(text, "make a file in", p->name, "nothing that the command line or a monitor named lies there");
    if (!writes && is_inside(GRANT_FOLDER, p->real))
        return 0;
    if (is_granted(p->real, writes) || (whole && granted(GRANT_WRITE, whole)))
        return 0;
    rc = whole ? new_by_words(said, whole, text) : by_words(said, p, writes, text);
    if (!rc)
        broker_grant(writes ? GRANT_WRITE : GRANT_READ, p->real);
    return rc;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The name alone would not do: a folder on the way may have become a link to one that has a file of that name. */
static bool lies_there(const char *place, const struct stat *is)
{
    struct stat st;
    bool does;
    int fd;

    if (lstat(place, &st) < 0 || !same_file(is, &st))
        return false;
    fd = broker_open_place(place, O_PATH, 0);
    does = fd >= 0 && fstat(fd, &st) == 0 && same_file(is, &st);
    if (fd >= 0)
        close(fd);
    return does;
}

/* The name may be another than the granted one (links), or gone: what counts is which file it is. */
int broker_may_use_fd(int fd, int flags, char *text)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
    struct stat is;

    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
        return -EINVAL;
    if (fstat(fd, &is) < 0)
        return -errno;
    for (guint i = 0; grants && i < grants->len; i++) {
        const char *g = grants->pdata[i];

        if (grants_open(g, writes) && lies_there(g + 1, &is))
            return 0;
    }
    snprintf(text, BROKER_TEXT, "the sandbox does not open a file again for %s that the command line or a monitor did not name",
             writes ? "writing" : "reading");
    return -EACCES;
}

/* `name` as of a place: a file's begins with '/'. */
static bool is_mac_claim(const char *name)
{
    const char *digits = name + strlen("@" VIV_MAC_CLAIM);

    return g_str_has_prefix(name, "@" VIV_MAC_CLAIM) && strlen(digits) == 12 && strspn(digits, "0123456789abcdef") == 12;
}

/* Who connected at the start may do so again, but not take the server's place. Listening makes the name, connecting goes where it leads:
 * a link in place of the server's socket leads to one that nobody listened at. */
int broker_may_connect(const char *said, const struct broker_place *p, bool listens, char *text)
{
    const char *place = listens ? p->name : p->real;
    bool abstract = *p->name == '@'; /* what is said may begin so and be a file's name */

    if (listens && is_mac_claim(p->name))
        return 0;
    if (granted(GRANT_LISTEN, place) || (!listens && granted(GRANT_SOCKET, place)))
        return 0;
    if (!(abstract && broker_is_named(said + 1)) && !in_words(said, p) && (abstract || !named_otherwise(said)))
        return refuse(text, "use the socket", p->name, "neither the command line nor a monitor's command has named it; -sandbox off lifts this");
    if (either(broker_is_hidden, p) || either(broker_is_agent, p) || (listens && !abstract && either(broker_is_system, p)))
        return refuse(text, "use the socket", p->name, "the monitor reaches no sockets of the system's, of agents and desktops, and no hidden "
                                                       "ones; name it on the command line, or use -sandbox off");
    if (listens && is_program(p))
        return refuse(text, "use the socket", p->name, "it is a program that the sandbox may start");
    broker_grant(listens ? GRANT_LISTEN : GRANT_SOCKET, place);
    return 0;
}

int broker_may_change(const char *said, const struct broker_place *p, char *text)
{
    g_autofree char *whole = whole_name(p->name);
    const char *name = whole ? whole : p->name;
    /* The name is what changes, wherever it leads. */
    struct broker_place here = {.name = p->name, .real = p->name};

    if (granted(GRANT_WRITE, name) || granted(GRANT_LISTEN, name))
        return 0;
    return whole ? new_by_words(said, whole, text) : by_words(said, &here, true, text);
}

bool broker_in_share(const char *real)
{
    return is_inside(GRANT_SHARE, real);
}

/* Scripts of the shell's that do not quote their arguments take nothing apart that has none of its characters. */
static bool is_harmless(const char *word)
{
    for (; *word; word++) {
        if (!g_ascii_isalnum(*word) && !strchr("._-:=/,@%+", *word) && (unsigned char)*word < 0x80)
            return false;
    }
    return true;
}

int broker_may_run(char *const *argv, const struct broker_place *p, char *text)
{
    if (!p->real || !granted(GRANT_PROGRAM, p->real))
        return refuse(text, "start", argv[0], "only programs that the command line named, or that are there for it, are started; say "
                                              "script=, helper= in a -netdev at start, or use -sandbox off");
    if (broker_in_share(p->real))
        return refuse(text, "start", argv[0], "it lies in a folder that the guest may write to");
    for (char *const *word = argv + 1; *word; word++) {
        if (!is_harmless(*word))
            return refuse(text, "start", argv[0], "an argument has characters that a shell could take for its own");
    }
    return 0;
}
