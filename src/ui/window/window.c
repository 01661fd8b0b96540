/* A window: its module, its thread, and the state that both sides know. */
#include "ui/window/window_int.h"

#include "base/log.h"
#include "host/clock.h"
#include "host/library.h"
#include "host/loop.h"
#include "host/sandbox.h"
#include "host/thread.h"
#include "ui/keys.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 30
#define LOOKER_NS 1000000000 /* how soon a console that came or went is seen */
#define OPEN_S    30         /* what a desktop may take to show a window */
#define CLOSE_S   2          /* to take it away; then it is left behind */

/* ---- modules ---- */

static const struct viv_toolkit *sdl, *gtk, *curses;
/* viv_library fills functions by name; the module's only symbol is filled in the same way. */
static const struct viv_library_symbol sdl_symbol = {"viv_toolkit", 0}, gtk_symbol = {"viv_toolkit", 0}, curses_symbol = {"viv_toolkit", 0};

static struct {
    const char *kind, *build;
    struct viv_library lib;
} modules[] = {
    {"sdl", "libsdl2-dev", {.need = "-display sdl needs", .title = "SDL 2", .package = "libsdl2-2.0-0", .api = &sdl, .symbols = &sdl_symbol,
                            .count = 1, .lock = PTHREAD_MUTEX_INITIALIZER}},
    {"gtk", "libgtk-3-dev", {.need = "-display gtk needs", .title = "GTK 3", .package = "libgtk-3-0", .api = &gtk, .symbols = &gtk_symbol,
                             .count = 1, .lock = PTHREAD_MUTEX_INITIALIZER}},
    {"curses", "libncurses-dev", {.need = "-display curses needs", .title = "ncurses", .package = "libncursesw6", .api = &curses,
                                  .symbols = &curses_symbol, .count = 1, .lock = PTHREAD_MUTEX_INITIALIZER}},
};

/* Beside the program: in a build, and where it is installed. */
static char *find_module(const char *kind)
{
    static const char *const folders[] = {"../ui/window", "../lib/vivarium"};
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *file = g_strdup_printf("viv-ui-%s.so", kind);

    for (size_t i = 0; dir && i < G_N_ELEMENTS(folders); i++) {
        char *path = g_build_filename(dir, folders[i], file, NULL);

        if (access(path, R_OK) == 0)
            return path;
        g_free(path);
    }
    return NULL;
}

static const struct viv_toolkit *load(const char *kind, struct viv_err *err)
{
    const struct viv_toolkit *t;
    size_t i = 0;

    while (strcmp(modules[i].kind, kind))
        i++;
    if (!modules[i].lib.names[0])
        modules[i].lib.names[0] = find_module(kind);
    if (!modules[i].lib.names[0]) {
        viv_fail(err, ENOENT, "-display %s: viv-ui-%s.so is not there: it is built where %s is installed (Debian)", kind, kind, modules[i].build);
        return NULL;
    }
    if (viv_library_load(&modules[i].lib, err) < 0)
        return NULL;
    t = *(const struct viv_toolkit *const *)modules[i].lib.api;
    if (t->version == VIV_TOOLKIT_VERSION)
        return t;
    viv_fail(err, EINVAL, "-display %s: %s is of another version of ours (%u, not %u)", kind, modules[i].lib.names[0], t->version,
             VIV_TOOLKIT_VERSION);
    return NULL;
}

bool viv_window_available(const char *kind, struct viv_err *err)
{
    return load(kind, err);
}

/* ---- what the toolkit sees ---- */

static bool host_take(struct viv_window *w, struct viv_window_news *n)
{
    eventfd_t unused;
    bool pixels, state;

    eventfd_read(w->wake_fd, &unused);
    pixels = viv_look_take(w->look, &n->look);
    pthread_mutex_lock(&w->lock);
    state = w->state.new_state;
    if (state) {
        struct viv_look_news look = n->look;

        *n = w->state;
        n->look = look;
        w->state.new_state = false;
    } else {
        n->new_state = false;
    }
    pthread_mutex_unlock(&w->lock);
    if (!pixels) { /* nothing new in it */
        n->look.new_surface = n->look.new_cursor = n->look.new_text = false;
        n->look.text = NULL;
        n->look.first = UINT_MAX;
        n->look.last = 0;
    }
    return pixels || state;
}

static enum viv_window_action host_key(struct viv_window *w, unsigned code, bool down)
{
    unsigned tab = 0;
    enum viv_window_action a = window_key(&w->keys, code, down, &tab);
    struct viv_window_event e = {.kind = VIV_WIN_TAB, .x = (int)tab};

    if (a == VIV_WIN_ACT_TAB)
        window_send(w, &e);
    return a;
}

static void host_keys_up(struct viv_window *w)
{
    w->keys = (struct window_keys){.mod = w->opts.grab_mod};
}

static const char *const grab_names[] = {
    [VIV_GRAB_LCTRL_LALT] = "Ctrl-Alt", [VIV_GRAB_LSHIFT_LCTRL_LALT] = "Shift-Ctrl-Alt", [VIV_GRAB_RCTRL] = "Right-Ctrl"};
static const char *grab_name = "Ctrl-Alt";

static void host_title(const struct viv_window_news *n, bool grabbed, char *out, size_t size)
{
    g_snprintf(out, size, "%s%s%s%s%s", n->title, n->paused ? " [Paused]" : "", grabbed ? " - Press " : "", grabbed ? grab_name : "",
               grabbed ? "-G to release the mouse and keyboard" : "");
}

/* ---- state, told to the toolkit ---- */

void window_wake(struct viv_window *w)
{
    eventfd_write(w->wake_fd, 1);
}

static void on_news(void *opaque)
{
    window_wake(opaque);
}

static void lock_state(struct viv_window *w)
{
    pthread_mutex_lock(&w->lock);
    w->state.new_state = true;
}

static void unlock_state(struct viv_window *w)
{
    pthread_mutex_unlock(&w->lock);
    window_wake(w);
}

static void on_input(void *opaque)
{
    struct viv_window *w = opaque;
    struct viv_console *c = viv_look_console(w->look);
    int n = c && !viv_console_is_text(c) ? (int)viv_console_number(c) : -1;

    lock_state(w);
    w->state.leds = viv_input_leds();
    w->state.absolute = viv_input_is_absolute(n);
    unlock_state(w);
}

void viv_window_set_paused(struct viv_window *w, bool paused)
{
    lock_state(w);
    w->state.paused = paused;
    unlock_state(w);
}

/* Which consoles there are; the one that was shown stays, if it can. */
void window_update_tabs(struct viv_window *w)
{
    struct viv_console *now = viv_look_console(w->look), *c = viv_console_at(w->tab);

    if (now)
        w->tab = viv_console_number(now);
    else if (c)
        viv_look_at(w->look, c);
    viv_look_set_period(w->look, w->hidden ? 0 : PERIOD_MS);
    now = viv_look_console(w->look);
    lock_state(w);
    w->state.tab = w->tab;
    w->state.text = now && viv_console_is_text(now);
    w->state.tabs = 0;
    for (unsigned n = 0; n < VIV_WINDOW_TABS; n++) {
        c = viv_console_at(n);
        if (!c)
            continue;
        while (w->state.tabs < n)
            w->state.tab_name[w->state.tabs++][0] = '\0';
        g_strlcpy(w->state.tab_name[w->state.tabs++], viv_console_name(c), sizeof(w->state.tab_name[0]));
    }
    unlock_state(w);
    w->console_changes = viv_console_changes();
    on_input(w);
}

void window_show_tab(struct viv_window *w, unsigned tab)
{
    struct viv_console *c = viv_console_at(tab);

    window_release(w);
    if (c && c != viv_look_console(w->look)) {
        w->tab = tab;
        viv_look_at(w->look, c);
    }
    window_update_tabs(w);
}

static void on_looker(void *opaque)
{
    struct viv_window *w = opaque;

    if (w->console_changes != viv_console_changes())
        window_update_tabs(w);
    viv_timer_set(w->looker, viv_clock_ns(VIV_CLOCK_HOST) + LOOKER_NS);
}

/* ---- the thread ---- */

static void set_phase(struct viv_window *w, int phase)
{
    pthread_mutex_lock(&w->lock);
    w->phase = phase;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void *window_thread(void *opaque)
{
    struct viv_window *w = opaque;
    char why[sizeof(w->why)] = "";

    if (!w->toolkit->open(w, &w->host, why, sizeof(why))) {
        g_strlcpy(w->why, why, sizeof(w->why));
        set_phase(w, WINDOW_FAILED);
        return NULL;
    }
    set_phase(w, WINDOW_OPEN);
    w->toolkit->run();
    set_phase(w, WINDOW_ENDED);
    return NULL;
}

/* False: it is still in `phase` after so long. */
static bool wait_while(struct viv_window *w, int phase, int seconds)
{
    struct timespec end;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    pthread_mutex_lock(&w->lock);
    while ((int)w->phase == phase && !rc)
        rc = pthread_cond_timedwait(&w->cond, &w->lock, &end);
    pthread_mutex_unlock(&w->lock);
    return !rc;
}

static int open_window(struct viv_window *w, const char *kind, struct viv_err *err)
{
    int rc = viv_thread_start(&w->thread, "window", window_thread, w, err);

    if (rc < 0)
        return rc;
    if (!wait_while(w, WINDOW_OPENING, OPEN_S)) {
        pthread_detach(w->thread);
        viv_sandbox_cannot("the window that the desktop has not answered may open files and start threads of its own any time", err);
        return viv_fail(err, ETIMEDOUT, "-display %s: the desktop has not answered for %d s; -display none goes without it", kind, OPEN_S);
    }
    if (w->phase == WINDOW_OPEN)
        return 0;
    pthread_join(w->thread, NULL);
    return viv_fail(err, ENODEV, "-display %s: %s", kind, w->why);
}

/* ---- making one ---- */

static struct viv_window *make(const struct viv_toolkit *t, const char *guest)
{
    struct viv_window *w = g_new0(struct viv_window, 1);

    w->toolkit = t;
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->events = g_array_new(FALSE, FALSE, sizeof(struct viv_window_event));
    w->look = viv_look_new(t->wants_text, on_news, w);
    w->host = (struct viv_window_host){.opts = &w->opts, .wake_fd = w->wake_fd, .take = host_take, .send = window_send, .key = host_key,
                                       .keys_up = host_keys_up, .title = host_title, .code_of_usb = viv_key_from_usb, .warn = viv_warn};
    g_snprintf(w->state.title, sizeof(w->state.title), "%s%sVivarium", guest ? guest : "", guest ? " - " : "");
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    return w;
}

/* What is left when there is no thread. */
static void drop(struct viv_window *w)
{
    viv_look_free(w->look);
    viv_keymap_free(w->map);
    g_array_free(w->events, TRUE);
    close(w->wake_fd);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    g_free(w);
}

static void start_input(struct viv_window *w)
{
    w->typist = viv_typist_new(w->map);
    w->timer = viv_timer_new(VIV_CLOCK_HOST, window_serve, w);
    w->looker = viv_timer_new(VIV_CLOCK_HOST, on_looker, w);
    w->watch = viv_input_watch(on_input, w);
    window_update_tabs(w);
    on_looker(w);
}

static void stop_input(struct viv_window *w)
{
    viv_input_unwatch(w->watch);
    viv_timer_free(w->timer);
    viv_timer_free(w->looker);
    viv_typist_free(w->typist);
    viv_loop_forget(w);
}

/* From here on the thread's events are dropped: nobody is left who would take them. */
static void tell_quit(struct viv_window *w)
{
    lock_state(w);
    w->state.quit = true;
    unlock_state(w);
}

static bool left_behind; /* a thread that waits for its desktop */

int viv_window_new(struct viv_opts *o, const char *layout, const char *guest, bool full_screen, const struct viv_window_vm *vm,
                   struct viv_window **out, struct viv_err *err)
{
    const char *kind = viv_opts_str(o, "type");
    const struct viv_toolkit *t = load(kind, err);
    /* A terminal has no key codes: keysyms it is. */
    bool by_meaning = layout || (t && t->wants_text);
    struct viv_window *w;
    int rc = 0;

    if (!t)
        return -ENOENT;
    viv_sandbox_need(VIV_SANDBOX_WINDOW);
    w = make(t, guest);
    w->vm = vm;
    window_read_options(o, &w->opts);
    w->opts.full_screen |= full_screen;
    w->opts.layout_named = by_meaning;
    w->keys.mod = w->opts.grab_mod;
    grab_name = grab_names[w->opts.grab_mod];
    if (by_meaning)
        rc = viv_keymap_load(layout ? layout : "en-us", &w->map, err);
    if (rc < 0) {
        drop(w);
        return rc;
    }
    start_input(w);
    rc = open_window(w, kind, err);
    if (rc < 0) {
        tell_quit(w);
        stop_input(w);
        viv_look_at(w->look, NULL);
        if (rc != -ETIMEDOUT)
            drop(w);
        else /* its thread still uses it: a desktop that answers after all finds that it is to close the window */
            left_behind = true;
        return rc;
    }
    *out = w;
    return 0;
}

bool viv_window_free(struct viv_window *w)
{
    if (!w)
        return !left_behind;
    tell_quit(w);
    stop_input(w);
    viv_look_at(w->look, NULL);
    if (!wait_while(w, WINDOW_OPEN, CLOSE_S))
        return false;
    pthread_join(w->thread, NULL);
    drop(w);
    return true;
}
