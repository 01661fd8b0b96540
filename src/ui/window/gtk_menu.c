/* The menu bar and the tabs. Keys for what they do are hotkeys.c's; here they are only shown. */
#include "ui/window/gtk_int.h"

/* ---- what is chosen ---- */

static void send(int kind, bool down)
{
    vgtk_send(&(struct viv_window_event){.kind = kind, .down = down});
}

static bool active(GtkWidget *item)
{
    return gtk_check_menu_item_get_active(GTK_CHECK_MENU_ITEM(item));
}

static void on_pause(GtkWidget *item, gpointer unused)
{
    if (!vgtk.setting)
        send(VIV_WIN_PAUSE, active(item));
}

static void on_machine(GtkWidget *item, gpointer kind)
{
    send(GPOINTER_TO_INT(kind), true);
}

static void on_full(GtkWidget *item, gpointer unused)
{
    if (!vgtk.setting)
        vgtk_full_screen(active(item));
}

static void on_scale(GtkWidget *item, gpointer percent)
{
    vgtk_scale(GPOINTER_TO_INT(percent) / 100.0);
}

static void on_zoom(GtkWidget *item, gpointer unused)
{
    vgtk_fit_window();
    gtk_widget_queue_draw(vgtk.area);
}

static void on_grab(GtkWidget *item, gpointer unused)
{
    if (!vgtk.setting)
        vgtk_grab(active(item));
}

static void on_show_tabs(GtkWidget *item, gpointer unused)
{
    gtk_widget_set_visible(vgtk.tabs, active(item));
    vgtk_fit_window();
}

static void choose_console(unsigned n)
{
    vgtk_send(&(struct viv_window_event){.kind = VIV_WIN_TAB, .x = (int)n});
}

static void on_console(GtkWidget *item, gpointer n)
{
    if (!vgtk.setting && active(item))
        choose_console(GPOINTER_TO_UINT(n));
}

static void on_tab(GtkNotebook *tabs, GtkWidget *page, guint n, gpointer unused)
{
    if (!vgtk.setting)
        choose_console(n);
}

/* ---- making them ---- */

static GtkWidget *add(GtkWidget *menu, GtkWidget *item, const char *signal, GCallback fn, gpointer data)
{
    gtk_menu_shell_append(GTK_MENU_SHELL(menu), item);
    g_signal_connect(item, signal, fn, data);
    return item;
}

static GtkWidget *add_item(GtkWidget *menu, const char *label, GCallback fn, gpointer data)
{
    return add(menu, gtk_menu_item_new_with_mnemonic(label), "activate", fn, data);
}

static GtkWidget *add_check(GtkWidget *menu, const char *label, bool on, GCallback fn)
{
    GtkWidget *item = gtk_check_menu_item_new_with_mnemonic(label);

    gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(item), on);
    return add(menu, item, "toggled", fn, NULL);
}

static GtkWidget *add_menu(const char *label)
{
    GtkWidget *item = gtk_menu_item_new_with_mnemonic(label), *menu = gtk_menu_new();

    gtk_menu_item_set_submenu(GTK_MENU_ITEM(item), menu);
    gtk_menu_shell_append(GTK_MENU_SHELL(vgtk.bar), item);
    return menu;
}

static void nothing(GtkWidget *item, gpointer unused)
{
}

void vgtk_make_menu(void)
{
    const struct viv_window_opts *o = vgtk.host->opts;

    vgtk.bar = gtk_menu_bar_new();
    vgtk.machine = add_menu("_Machine");
    vgtk.pause = add_check(vgtk.machine, "_Pause", false, G_CALLBACK(on_pause));
    add_item(vgtk.machine, "_Reset", G_CALLBACK(on_machine), GINT_TO_POINTER(VIV_WIN_RESET));
    add_item(vgtk.machine, "Power _Down", G_CALLBACK(on_machine), GINT_TO_POINTER(VIV_WIN_POWERDOWN));
    add_item(vgtk.machine, "_Quit", G_CALLBACK(on_machine), GINT_TO_POINTER(VIV_WIN_QUIT));
    vgtk.view = add_menu("_View");
    vgtk.full = add_check(vgtk.view, "_Full Screen (Ctrl-Alt-F)", false, G_CALLBACK(on_full));
    add_item(vgtk.view, "Zoom _In (Ctrl-Alt-+)", G_CALLBACK(on_scale), GINT_TO_POINTER(125));
    add_item(vgtk.view, "Zoom _Out (Ctrl-Alt--)", G_CALLBACK(on_scale), GINT_TO_POINTER(80));
    add_item(vgtk.view, "_Best Fit (Ctrl-Alt-U)", G_CALLBACK(on_scale), GINT_TO_POINTER(0));
    vgtk.zoom = add_check(vgtk.view, "Zoom To Fi_t", o->zoom_to_fit, G_CALLBACK(on_zoom));
    vgtk.hover = add_check(vgtk.view, "Grab On _Hover", o->grab_on_hover, G_CALLBACK(nothing));
    vgtk.grab = add_check(vgtk.view, "_Grab Input (Ctrl-Alt-G)", false, G_CALLBACK(on_grab));
    vgtk.show_tabs = add_check(vgtk.view, "Show _Tabs", o->show_tabs, G_CALLBACK(on_show_tabs));
    gtk_menu_shell_append(GTK_MENU_SHELL(vgtk.view), gtk_separator_menu_item_new());
}

/* Tabs without pages of their own: the area below shows what is chosen. */
void vgtk_make_tabs(void)
{
    vgtk.tabs = gtk_notebook_new();
    gtk_widget_set_can_focus(vgtk.tabs, FALSE);
    gtk_notebook_set_scrollable(GTK_NOTEBOOK(vgtk.tabs), TRUE);
    g_signal_connect_after(vgtk.tabs, "switch-page", G_CALLBACK(on_tab), NULL);
}

/* ---- from the news ---- */

static void remake_consoles(void)
{
    GSList *group = NULL;

    for (unsigned i = 0; i < vgtk.consoles; i++) {
        gtk_widget_destroy(vgtk.console[i]);
        gtk_notebook_remove_page(GTK_NOTEBOOK(vgtk.tabs), -1);
    }
    vgtk.consoles = vgtk.news.tabs;
    for (unsigned i = 0; i < vgtk.consoles; i++) {
        g_autofree char *label = g_strdup_printf("%s (Ctrl-Alt-%u)", vgtk.news.tab_name[i], i + 1);
        GtkWidget *page = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);

        vgtk.console[i] = gtk_radio_menu_item_new_with_label(group, label);
        group = gtk_radio_menu_item_get_group(GTK_RADIO_MENU_ITEM(vgtk.console[i]));
        add(vgtk.view, vgtk.console[i], "toggled", G_CALLBACK(on_console), GUINT_TO_POINTER(i));
        gtk_widget_show(vgtk.console[i]);
        gtk_widget_show(page);
        gtk_notebook_append_page(GTK_NOTEBOOK(vgtk.tabs), page, gtk_label_new(vgtk.news.tab_name[i]));
    }
}

static bool consoles_changed(void)
{
    static char known[VIV_WINDOW_TABS][sizeof(vgtk.news.tab_name[0])];

    if (vgtk.consoles == vgtk.news.tabs && !memcmp(known, vgtk.news.tab_name, sizeof(known)))
        return false;
    memcpy(known, vgtk.news.tab_name, sizeof(known));
    return true;
}

void vgtk_update_menu(void)
{
    vgtk.setting = true;
    if (consoles_changed())
        remake_consoles();
    gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(vgtk.pause), vgtk.news.paused);
    gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(vgtk.full), vgtk.full_screen);
    gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(vgtk.grab), vgtk.grabbed);
    if (vgtk.news.tab < vgtk.consoles) {
        gtk_check_menu_item_set_active(GTK_CHECK_MENU_ITEM(vgtk.console[vgtk.news.tab]), TRUE);
        gtk_notebook_set_current_page(GTK_NOTEBOOK(vgtk.tabs), (int)vgtk.news.tab);
    }
    vgtk.setting = false;
}
