/* -display and -vnc: who shows the screens that devices have made. */
#include "cmd/vm_args.h"

#include "base/log.h"
#include "chr/chr.h"
#include "machine/vm.h"
#include "ui/console.h"
#include "ui/keymap.h"
#include "ui/vc/vc.h"
#include "ui/vnc/vnc.h"
#include "ui/window/window.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* ---- text consoles: between chr and ui, which do not know each other ---- */

struct screen {
    struct viv_vc *vc;
    size_t (*typed)(void *opaque, const uint8_t *bytes, size_t len);
    void *opaque;
};

static size_t on_typed(void *opaque, const uint8_t *bytes, size_t len)
{
    struct screen *s = opaque;

    return s->typed(s->opaque, bytes, len);
}

static void *make_screen(const char *name, unsigned columns, unsigned rows, size_t (*typed)(void *, const uint8_t *, size_t), void *opaque)
{
    static const struct viv_vc_ops ops = {.typed = on_typed};
    struct screen *s = g_new0(struct screen, 1);

    s->typed = typed;
    s->opaque = opaque;
    s->vc = viv_vc_new(name, columns, rows, &ops, s);
    return s;
}

static void free_screen(void *screen)
{
    viv_vc_free(((struct screen *)screen)->vc);
    g_free(screen);
}

static void write_screen(void *screen, const uint8_t *buf, size_t len)
{
    viv_vc_write(((struct screen *)screen)->vc, buf, len);
}

static void screen_input_wanted(void *screen)
{
    viv_vc_input_wanted(((struct screen *)screen)->vc);
}

/* ---- the choice ---- */

static const struct {
    const char *name, *refusal;
} refused[] = {
    {"egl-headless", "there is no OpenGL yet; -display none"}, {"spice-app", "there is no SPICE yet; vnc=:0"},
    {"dbus", "there is no D-Bus display yet; vnc=:0"}, {"cocoa", "that is for macOS; sdl, gtk"},
};

static char *kind_of(const char *text)
{
    return g_strndup(text, strcspn(text, ","));
}

static void print_kinds(void)
{
    printf("Available display backend types:\nnone\nvnc\n");
    for (const char *const *k = viv_window_kinds(); *k; k++) {
        struct viv_err why = VIV_ERR_INIT;

        if (viv_window_available(*k, &why))
            printf("%s\n", *k);
    }
}

static int fail_unknown(const char *kind, struct viv_err *err)
{
    const char *names[] = {"none", "vnc", "sdl", "gtk", "curses", "default", NULL}, *near = viv_nearest(kind, names);

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (!strcmp(refused[i].name, kind))
            return viv_fail(err, ENOTSUP, "-display %s: %s works", kind, refused[i].refusal);
    }
    return viv_fail(err, EINVAL, "-display: there is no display '%.60s'%s%s%s; there are none, vnc=:0, sdl, gtk, curses, default", kind,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* Checked against the window's options, which are then read when it is made. */
static int parse_window(const char *text, struct viv_opts **out, struct viv_err *err)
{
    g_autofree char *kind = kind_of(text), *what = g_strdup_printf("-display %s", kind);

    return viv_opts_parse(what, viv_window_options(kind), "type", text, out, err);
}

/* -display default: as without a word about a display, but a window has these options. */
static void choose_default(struct vm_args *a, const char *options)
{
    a->display_none = false;
    a->window = NULL;
    a->window_options = options;
}

int vm_display_parse(struct vm_args *a, const char *text, struct viv_err *err)
{
    g_autofree char *kind = kind_of(text);
    const struct viv_opt_def *options = viv_window_options(kind);
    struct viv_opts *o;
    int rc;

    if (!strcmp(text, "help") || !strcmp(text, "?")) {
        print_kinds();
        return 1;
    }
    a->display_none = !strcmp(text, "none");
    a->window = a->display_none ? NULL : text;
    if (a->display_none) {
        a->given_display = true;
        return 0;
    }
    if (!strcmp(kind, "none"))
        return viv_fail(err, EINVAL, "-display none: it takes no options, and '%.60s' is one", text + strlen("none,"));
    if (!options)
        return fail_unknown(kind, err);
    if (!strcmp(text + strlen(kind), ",help")) {
        viv_opts_print_help(kind, options, stdout);
        return 1;
    }
    rc = parse_window(text, &o, err);
    if (rc < 0)
        return rc;
    viv_opts_free(o);
    if (!strcmp(kind, "default"))
        choose_default(a, text + strlen(kind));
    else
        a->given_display = true;
    return 0;
}

static bool is_available(const char *kind)
{
    struct viv_err why = VIV_ERR_INIT;
    bool yes = viv_window_available(kind, &why);

    viv_err_clear(&why);
    return yes;
}

/* A desktop that a window can be shown on: the first kind that is there. Under Wayland alone SDL comes first, as GTK ends the process
 * when the compositor goes. */
static const char *desktop_kind(void)
{
    bool x = g_getenv("DISPLAY");

    if (!x && !g_getenv("WAYLAND_DISPLAY"))
        return NULL;
    if (!x && is_available("sdl"))
        return "sdl";
    for (const char *const *k = viv_window_kinds(); *k; k++) {
        if (strcmp(*k, "curses") && is_available(*k))
            return *k;
    }
    return NULL;
}

int vm_choose_display(struct vm_args *a, struct viv_err *err)
{
    static const struct viv_chr_screens screens = {make_screen, free_screen, write_screen, screen_input_wanted};
    g_autofree char *kind = NULL;

    viv_chr_set_screens(&screens);
    if (!a->given_display && !a->nodefaults && !a->daemonize && vm_expects_head(a)) {
        const char *desktop = desktop_kind();

        a->window = desktop && a->window_options ? g_strconcat(desktop, a->window_options, NULL) : desktop;
        a->window_default = a->window;
    }
    if ((a->full_screen || a->no_quit) && !a->window)
        return viv_fail(err, EINVAL, "%s: there is no window; -display sdl or -display gtk makes one", a->full_screen ? "-full-screen" : "-no-quit");
    if (!a->window)
        return 0;
    if (a->daemonize)
        return viv_fail(err, EINVAL, "-daemonize and -display %s exclude each other: use -vnc :0", a->window);
    kind = kind_of(a->window);
    if (!viv_window_available(kind, err))
        return -ENOENT;
    if (!strcmp(kind, "curses"))
        viv_chr_stdio_refuse("-display curses: the screen has this terminal; use vc (Alt-2, Alt-3), pty, file:F or unix:P,server,nowait");
    return 0;
}

static bool serves_vnc(const struct vm_args *a)
{
    FOR_ITEMS(a->vncs, it) {
        if (strncmp(it->text, "none", 4))
            return true;
    }
    return false;
}

bool vm_has_screens(const struct vm_args *a)
{
    return !a->nographic && (a->window || serves_vnc(a));
}

/* ---- VNC ---- */

/* -k is checked even where nobody uses it. */
static int check_layout(const char *layout, struct viv_err *err)
{
    struct viv_keymap *m;
    int rc = viv_keymap_load(layout, &m, err);

    if (!rc)
        viv_keymap_free(m);
    return rc;
}

static int serve(struct vm_args *a, const char *option, const char *text, struct viv_err *err)
{
    struct viv_opts *o;
    int rc = viv_opts_parse(option, viv_vnc_opts, "vnc", text, &o, err);

    if (rc < 0)
        return rc;
    if (viv_opts_given(o, "audiodev"))
        rc = vm_audiodev_check(a, option, viv_opts_str(o, "audiodev"), err);
    if (!rc)
        rc = viv_vnc_new(o, a->layout, a->cfg.name, err);
    viv_opts_free(o);
    return rc;
}

/* One line for both: where the screen went (NULL: there is none), and serial port and monitor, when nobody said where. */
static void tell(const struct vm_args *a, const char *screen)
{
    const char *serial = vm_has_screens(a) ? "monitor and serial port are its consoles 2 and 3 (Ctrl-Alt-2, Ctrl-Alt-3)"
                                           : "serial port and monitor are on this terminal (Ctrl-A X ends, Ctrl-A H helps)";

    if (a->given_serial || a->given_monitor || a->nodefaults || a->daemonize)
        serial = NULL;
    if (screen || serial)
        viv_info("%s%s%s", screen ? screen : "", screen && serial ? "; " : "", serial ? serial : "");
}

/* Nobody said where the screen goes, and there is no desktop: to VNC viewers on this host. Without that the machine runs as well.
 * `why`: there is a desktop, but no window. */
static void serve_by_default(struct vm_args *a, const char *why)
{
    g_autofree char *line = NULL;
    struct viv_err err = VIV_ERR_INIT;
    json_t *about;

    if (serve(a, "-vnc", "127.0.0.1:0,to=99", &err) < 0) {
        viv_warn("the screen cannot be seen: %s; -display none says that it need not", err.text);
        viv_err_clear(&err);
        return;
    }
    about = viv_vnc_query();
    line = g_strdup_printf("%s%sthe screen is at 127.0.0.1:%s for VNC viewers of this host", why ? why : "", why ? "; " : "",
                           json_string_value(json_object_get(about, "service")));
    json_decref(about);
    tell(a, line);
}

/* ---- windows ---- */

static struct viv_window *window;

static void on_quit(void)
{
    viv_vm_quit(0, "host-ui");
}

static void on_reset(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_vm_ask_reset("host-ui", &err) < 0)
        viv_warn("%s", err.text);
}

static void on_powerdown(void)
{
    struct viv_err err = VIV_ERR_INIT;

    if (viv_vm_powerdown(&err) < 0)
        viv_warn("%s", err.text);
}

static void on_pause(bool on)
{
    struct viv_err err = VIV_ERR_INIT;

    if (on)
        viv_vm_pause();
    else if (viv_vm_cont(&err) < 0)
        viv_warn("%s", err.text);
}

static void on_vm_event(void *unused, const char *event, const char *data)
{
    if (!strcmp(event, "STOP") || !strcmp(event, "RESUME"))
        viv_window_set_paused(window, !strcmp(event, "STOP"));
}

static int make_window(struct vm_args *a, struct viv_err *err)
{
    static const struct viv_window_vm vm = {on_quit, on_reset, on_powerdown, on_pause};
    struct viv_opts *o = NULL;
    int rc = parse_window(a->window, &o, err);

    if (!strncmp(a->window, "curses", 6))
        viv_log_release(true); /* before it takes the terminal */
    if (!rc && a->no_quit)
        rc = viv_opts_set(o, "window-close", "off", err);
    if (!rc && a->show_cursor && strncmp(a->window, "curses", 6))
        rc = viv_opts_set(o, "show-cursor", "on", err);
    if (!rc)
        rc = viv_window_new(o, a->layout, a->cfg.name, a->full_screen, &vm, &window, err);
    if (!rc) {
        g_autofree char *kind = kind_of(a->window);
        struct viv_display_facts facts = {.full_screen = a->full_screen, .window_close = !strcmp(kind, "curses") || viv_opts_bool(o, "window-close")};

        g_strlcpy(facts.kind, kind, sizeof(facts.kind));
        viv_display_set_facts(&facts);
    }
    viv_opts_free(o);
    if (rc < 0)
        return rc;
    if (a->paused)
        viv_window_set_paused(window, true);
    viv_vm_listen(on_vm_event, NULL);
    return 0;
}

int vm_make_displays(struct vm_args *a, struct viv_err *err)
{
    struct viv_err why = VIV_ERR_INIT;
    int rc = a->layout ? check_layout(a->layout, err) : 0;

    FOR_ITEMS(a->vncs, it) {
        if (!rc)
            rc = serve(a, it->option, it->text, err);
    }
    if (rc < 0)
        return rc;
    if (a->window && !a->window_default)
        return make_window(a, err);
    if (a->window && make_window(a, &why) == 0)
        tell(a, "the screen is a window");
    else if (!a->given_display && !a->nodefaults && viv_console_at(0))
        serve_by_default(a, a->window ? why.text : NULL);
    else if (!a->given_display)
        tell(a, NULL);
    return 0;
}

bool vm_free_displays(void)
{
    bool ok;

    if (window)
        viv_vm_unlisten(on_vm_event, NULL);
    ok = viv_window_free(window);
    window = NULL;
    viv_vnc_free_all();
    return ok;
}
