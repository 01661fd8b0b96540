/* Keys and pointer of an SDL window. SDL's scan codes are HID's usages. */
#include "ui/window/sdl_int.h"

#include <linux/input-event-codes.h>
#include <xkbcommon/xkbcommon-keysyms.h>

#define WHEEL_LINES 3

void sdl_send(struct sdl *s, const struct viv_window_event *e)
{
    s->host->send(s->w, e);
}

/* ---- grab ---- */

void sdl_show_cursor(struct sdl *s)
{
    SDL_Cursor *c = s->arrow;

    if (!s->news.text && !s->host->opts->show_cursor && s->news.absolute)
        c = s->shape && s->news.look.cursor_visible ? s->shape : s->none;
    SDL_SetCursor(c);
}

void sdl_grab(struct sdl *s, bool on)
{
    on = on && !s->news.text;
    if (on != s->grabbed) {
        s->grabbed = on;
        SDL_SetWindowGrab(s->window, on);
        if (!on) /* a button that is held comes up unheard */
            sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_RELEASE});
    }
    SDL_SetRelativeMouseMode(on && !s->news.absolute);
    sdl_show_cursor(s);
    sdl_title(s);
}

/* ---- keys ---- */

/* Those beyond HID's keyboard page. */
static int media_code(SDL_Scancode n)
{
    switch (n) {
    case SDL_SCANCODE_AUDIONEXT:
        return KEY_NEXTSONG;
    case SDL_SCANCODE_AUDIOPREV:
        return KEY_PREVIOUSSONG;
    case SDL_SCANCODE_AUDIOSTOP:
        return KEY_STOPCD;
    case SDL_SCANCODE_AUDIOPLAY:
        return KEY_PLAYPAUSE;
    case SDL_SCANCODE_AUDIOMUTE:
        return KEY_MUTE;
    case SDL_SCANCODE_MAIL:
        return KEY_MAIL;
    case SDL_SCANCODE_CALCULATOR:
        return KEY_CALC;
    case SDL_SCANCODE_COMPUTER:
        return KEY_COMPUTER;
    case SDL_SCANCODE_SLEEP:
        return KEY_SLEEP;
    default:
        return 0;
    }
}

static unsigned code_of(const struct sdl *s, SDL_Scancode n)
{
    int code = n < 0xe8 ? s->host->code_of_usb(n) : media_code(n);

    return code < 0 ? 0 : (unsigned)code;
}

static uint32_t special_keysym(SDL_Keycode k)
{
    static const struct {
        SDL_Keycode key;
        uint32_t keysym;
    } keys[] = {
        {SDLK_RETURN, XKB_KEY_Return}, {SDLK_KP_ENTER, XKB_KEY_KP_Enter}, {SDLK_BACKSPACE, XKB_KEY_BackSpace}, {SDLK_TAB, XKB_KEY_Tab},
        {SDLK_ESCAPE, XKB_KEY_Escape}, {SDLK_HOME, XKB_KEY_Home}, {SDLK_END, XKB_KEY_End}, {SDLK_INSERT, XKB_KEY_Insert},
        {SDLK_DELETE, XKB_KEY_Delete}, {SDLK_PAGEUP, XKB_KEY_Prior}, {SDLK_PAGEDOWN, XKB_KEY_Next}, {SDLK_UP, XKB_KEY_Up},
        {SDLK_DOWN, XKB_KEY_Down}, {SDLK_LEFT, XKB_KEY_Left}, {SDLK_RIGHT, XKB_KEY_Right},
    };

    for (size_t i = 0; i < SDL_arraysize(keys); i++) {
        if (keys[i].key == k)
            return keys[i].keysym;
    }
    return k >= SDLK_F1 && k <= SDLK_F12 ? XKB_KEY_F1 + (uint32_t)(k - SDLK_F1) : 0;
}

static unsigned mods_of(uint16_t mod)
{
    return (mod & KMOD_SHIFT ? VIV_MOD_SHIFT : 0) | (mod & KMOD_CTRL ? VIV_MOD_CTRL : 0) | (mod & KMOD_LALT ? VIV_MOD_ALT : 0);
}

static uint32_t keysym_of_char(uint32_t ch)
{
    return ch < 0x100 ? ch : ch + 0x1000000;
}

/* A text console gets characters by SDL's text events, which do not come with Ctrl or Alt held. */
static void type_key(struct sdl *s, const SDL_Keysym *k)
{
    unsigned mods = mods_of(k->mod);
    uint32_t keysym = special_keysym(k->sym);

    if (!keysym && mods & (VIV_MOD_CTRL | VIV_MOD_ALT) && k->sym >= ' ' && k->sym < 0x7f)
        keysym = (uint32_t)k->sym;
    if (keysym)
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_TYPE, .keysym = keysym, .mods = mods});
}

static uint32_t first_char(const char *utf8)
{
    uint32_t ch = 0;

    SDL_iconv_t cd = SDL_iconv_open("UTF-32LE", "UTF-8");
    size_t in = SDL_strlen(utf8), out = sizeof(ch);
    char *to = (char *)&ch;

    SDL_iconv(cd, &utf8, &in, &to, &out);
    SDL_iconv_close(cd);
    return ch;
}

/* With -k: the character that this key press has made is the text event behind it. A key that would make one and has none is a dead
 * key, whose character comes with the next. */
static bool meaning(struct sdl *s, const SDL_Keysym *k, uint32_t *keysym)
{
    bool printable = k->sym >= ' ' && !(k->sym & SDLK_SCANCODE_MASK) && k->sym != SDLK_DELETE;
    SDL_Event next;

    *keysym = special_keysym(k->sym);
    if (*keysym || !printable)
        return true;
    if (SDL_PeepEvents(&next, 1, SDL_PEEKEVENT, SDL_TEXTINPUT, SDL_TEXTINPUT) == 1) {
        *keysym = keysym_of_char(first_char(next.text.text));
        return true;
    }
    *keysym = k->sym < 0x110000 ? keysym_of_char((uint32_t)k->sym) : 0;
    return k->mod & (KMOD_CTRL | KMOD_ALT | KMOD_GUI);
}

static void pass_key(struct sdl *s, const SDL_KeyboardEvent *e, unsigned code)
{
    struct viv_window_event k = {.kind = VIV_WIN_KEY, .code = code, .down = e->state == SDL_PRESSED};
    uint32_t *held = &s->keysym_of[e->keysym.scancode];

    if (s->host->opts->layout_named) {
        if (k.down && !e->repeat && !meaning(s, &e->keysym, held))
            return;
        k.keysym = *held;
    }
    sdl_send(s, &k);
}

static void act(struct sdl *s, enum viv_window_action a)
{
    switch (a) {
    case VIV_WIN_ACT_GRAB:
        sdl_grab(s, !s->grabbed);
        break;
    case VIV_WIN_ACT_FULL_SCREEN:
        sdl_full_screen(s, !s->full_screen);
        break;
    case VIV_WIN_ACT_NATURAL_SIZE:
        sdl_natural_size(s);
        break;
    case VIV_WIN_ACT_LARGER:
        sdl_scale(s, 125);
        break;
    case VIV_WIN_ACT_SMALLER:
        sdl_scale(s, 80);
        break;
    default:
        break;
    }
}

void sdl_key(struct sdl *s, const SDL_KeyboardEvent *e)
{
    bool down = e->state == SDL_PRESSED;
    unsigned code = code_of(s, e->keysym.scancode);
    enum viv_window_action a = s->host->key(s->w, code, down);

    if (a != VIV_WIN_ACT_PASS)
        act(s, a);
    else if (!s->news.text)
        pass_key(s, e, code);
    else if (down)
        type_key(s, &e->keysym);
}

void sdl_text(struct sdl *s, const char *utf8)
{
    SDL_Keymod mods = SDL_GetModState();

    if (!s->news.text || mods & (KMOD_CTRL | KMOD_LALT))
        return;
    while (*utf8) {
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_TYPE, .keysym = keysym_of_char(first_char(utf8))});
        do
            utf8++;
        while ((*utf8 & 0xc0) == 0x80);
    }
}

/* ---- pointer ---- */

/* A pixel of the picture; false: beside it. */
static bool to_picture(const struct sdl *s, int x, int y, struct viv_window_event *e)
{
    int w, h, out_w, out_h;

    if (!s->width || s->at.w <= 0 || s->at.h <= 0)
        return false;
    SDL_GetWindowSize(s->window, &w, &h); /* on a dense display pixels are more than the window's units */
    SDL_GetRendererOutputSize(s->renderer, &out_w, &out_h);
    if (w <= 0 || h <= 0)
        return false;
    x = x * out_w / w - s->at.x;
    y = y * out_h / h - s->at.y;
    if (x < 0 || y < 0 || x >= s->at.w || y >= s->at.h)
        return false;
    e->x = (int)((int64_t)x * s->width / s->at.w);
    e->y = (int)((int64_t)y * s->height / s->at.h);
    e->width = s->width;
    e->height = s->height;
    return true;
}

void sdl_motion(struct sdl *s, const SDL_MouseMotionEvent *m)
{
    struct viv_window_event e = {.kind = VIV_WIN_PLACE};

    if (s->news.text)
        return;
    if (s->news.absolute && to_picture(s, m->x, m->y, &e))
        sdl_send(s, &e);
    else if (!s->news.absolute && s->grabbed)
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_MOVE, .x = m->xrel, .y = m->yrel});
}

void sdl_button(struct sdl *s, const SDL_MouseButtonEvent *b)
{
    static const int buttons[] = {[SDL_BUTTON_LEFT] = VIV_BUTTON_LEFT, [SDL_BUTTON_MIDDLE] = VIV_BUTTON_MIDDLE,
                                  [SDL_BUTTON_RIGHT] = VIV_BUTTON_RIGHT, [SDL_BUTTON_X1] = VIV_BUTTON_SIDE,
                                  [SDL_BUTTON_X2] = VIV_BUTTON_EXTRA};
    struct viv_window_event e = {.kind = VIV_WIN_PLACE};
    bool down = b->state == SDL_PRESSED;

    if (s->news.text || b->button < SDL_BUTTON_LEFT || b->button > SDL_BUTTON_X2)
        return;
    if (!s->news.absolute && !s->grabbed) { /* the first click takes the pointer, and is not the guest's */
        if (down && b->button == SDL_BUTTON_LEFT)
            sdl_grab(s, true);
        return;
    }
    if (s->news.absolute && to_picture(s, b->x, b->y, &e))
        sdl_send(s, &e);
    else if (s->news.absolute && down)
        return;
    sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_BUTTON, .button = (unsigned)buttons[b->button], .down = down});
}

void sdl_wheel(struct sdl *s, const SDL_MouseWheelEvent *m)
{
    if (s->news.text)
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_SCROLL, .y = m->y * WHEEL_LINES});
    else if (s->news.absolute || s->grabbed)
        sdl_send(s, &(struct viv_window_event){.kind = VIV_WIN_WHEEL, .x = m->x, .y = m->y});
}
