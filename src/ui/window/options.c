/* What -display sdl, gtk and curses take. */
#include "ui/window/window_int.h"

#include "base/log.h"

#include <string.h>

static const char *const grab_mods[] = {"lctrl-lalt", "lshift-lctrl-lalt", "rctrl", NULL};
static const char *const charsets[] = {"CP437", "cp437", NULL};
static const char *const gl_modes[] = {"off", "on", "core", "es", NULL};
#define COMMON                                                                                                               \
    {.name = "type", .type = VIV_OPT_STR, .required = true, .help = "sdl, gtk or curses"},                                   \
    {.name = "full-screen", .type = VIV_OPT_BOOL, .help = "begins with the whole screen (Ctrl-Alt-F)"},                      \
    {.name = "window-close", .type = VIV_OPT_BOOL, .def = "on", .help = "closing the window ends the machine"},              \
    {.name = "show-cursor", .type = VIV_OPT_BOOL, .help = "the host's pointer is shown over the guest's picture"},           \
    {.name = "gl", .type = VIV_OPT_ENUM, .values = gl_modes, .def = "off", .help = "has no effect: there is no OpenGL"}

static const struct viv_opt_def default_opts[] = {COMMON, VIV_OPT_END};
static const struct viv_opt_def sdl_opts[] = {
    COMMON,
    {.name = "grab-mod", .type = VIV_OPT_ENUM, .values = grab_mods, .def = "lctrl-lalt", .help = "what is held for the window's own keys"},
    VIV_OPT_END,
};
static const struct viv_opt_def gtk_opts[] = {
    COMMON,
    {.name = "grab-on-hover", .type = VIV_OPT_BOOL, .help = "the keyboard is the guest's while the pointer is over its picture"},
    {.name = "show-tabs", .type = VIV_OPT_BOOL, .help = "tabs for screens and text consoles"},
    {.name = "show-menubar", .type = VIV_OPT_BOOL, .def = "on", .help = "the menu bar"},
    {.name = "zoom-to-fit", .type = VIV_OPT_BOOL, .help = "the picture fills the window"},
    VIV_OPT_END,
};
static const struct viv_opt_def curses_opts[] = {
    {.name = "type", .type = VIV_OPT_STR, .required = true, .help = "curses"},
    {.name = "charset", .type = VIV_OPT_ENUM, .values = charsets, .def = "CP437", .help = "of the guest's text mode"},
    VIV_OPT_END,
};

const char *const *viv_window_kinds(void)
{
    static const char *const kinds[] = {"gtk", "sdl", "curses", NULL};

    return kinds;
}

const struct viv_opt_def *viv_window_options(const char *kind)
{
    if (!strcmp(kind, "sdl"))
        return sdl_opts;
    if (!strcmp(kind, "gtk"))
        return gtk_opts;
    if (!strcmp(kind, "default"))
        return default_opts;
    return strcmp(kind, "curses") ? NULL : curses_opts;
}

static enum viv_grab_mod grab_mod(const char *text)
{
    unsigned i = 0;

    while (strcmp(grab_mods[i], text))
        i++;
    return (enum viv_grab_mod)i;
}

void window_read_options(struct viv_opts *o, struct viv_window_opts *out)
{
    const char *kind = viv_opts_str(o, "type");

    if (!strcmp(kind, "curses")) {
        viv_opts_str(o, "charset"); /* that one: text modes come as Unicode from the adapter */
        return;
    }
    out->full_screen = viv_opts_bool(o, "full-screen");
    out->window_close = viv_opts_bool(o, "window-close");
    out->show_cursor = viv_opts_bool(o, "show-cursor");
    if (strcmp(viv_opts_str(o, "gl"), "off"))
        viv_warn("-display %s,gl=%s has no effect: there is no OpenGL; the picture is drawn without", kind, viv_opts_str(o, "gl"));
    if (!strcmp(kind, "sdl")) {
        out->grab_mod = grab_mod(viv_opts_str(o, "grab-mod"));
        return;
    }
    out->grab_on_hover = viv_opts_bool(o, "grab-on-hover");
    out->show_tabs = viv_opts_bool(o, "show-tabs");
    out->show_menubar = viv_opts_bool(o, "show-menubar");
    out->zoom_to_fit = viv_opts_bool(o, "zoom-to-fit");
}
