/* What is written, and what is seen then; and bytes at random, in any pieces. */
#include "ui/vc/term_int.h"

#include <glib.h>
#include <string.h>

static GString *said;

static void on_answer(void *opaque, const char *bytes, size_t len)
{
    g_string_append_len(said, bytes, (gssize)len);
}

static struct viv_term *make(unsigned columns, unsigned rows)
{
    if (said)
        g_string_truncate(said, 0);
    else
        said = g_string_new(NULL);
    return viv_term_new(columns, rows, on_answer, NULL);
}

static void write_text(struct viv_term *t, const char *text)
{
    viv_term_write(t, (const uint8_t *)text, strlen(text));
}

static void check_row(const struct viv_term *t, unsigned y, const char *want)
{
    const struct viv_term_cell *row = viv_term_row(t, y);
    g_autoptr(GString) have = g_string_new(NULL);
    gsize len = 0;

    for (unsigned x = 0; x < viv_term_columns(t); x++) {
        if (row[x].ch)
            g_string_append_unichar(have, row[x].ch);
        if (row[x].ch && row[x].ch != ' ')
            len = have->len;
    }
    g_string_truncate(have, len);
    g_assert_cmpstr(have->str, ==, want);
}

static void check_cursor(const struct viv_term *t, unsigned want_x, unsigned want_y)
{
    unsigned x, y;

    g_assert_true(viv_term_cursor(t, &x, &y));
    g_assert_cmpuint(x, ==, want_x);
    g_assert_cmpuint(y, ==, want_y);
}

/* A fresh terminal of 10 by 4, what is written, the rows then, and where the cursor is. */
static const struct {
    const char *name, *text, *row[4];
    unsigned x, y;
} cases[] = {
    {"plain", "ab\r\ncd", {"ab", "cd", "", ""}, 2, 1},
    {"wrap", "0123456789ab", {"0123456789", "ab", "", ""}, 2, 1},
    {"wrap waits", "0123456789", {"0123456789", "", "", ""}, 9, 0},
    {"wrap waits, return", "0123456789\rX", {"X123456789", "", "", ""}, 1, 0},
    {"no wrap", "\033[?7l0123456789ab", {"012345678b", "", "", ""}, 9, 0},
    {"scroll", "1\r\n2\r\n3\r\n4\r\n5", {"2", "3", "4", "5"}, 1, 3},
    {"backspace", "abc\b\bX", {"aXc", "", "", ""}, 2, 0},
    {"tab", "a\tb\tc", {"a       bc", "", "", ""}, 9, 0},
    {"goto", "\033[3;4HX\033[HY", {"Y", "", "   X", ""}, 1, 0},
    {"goto far", "\033[9999;9999HX", {"", "", "", "         X"}, 9, 3},
    {"moves", "\033[2;2H\033[AA\033[BB\033[2DC\033[CD", {" A", " CBD", "", ""}, 4, 1},
    {"column, line", "\033[5GX\033[3dY", {"    X", "", "     Y", ""}, 6, 2},
    {"erase to end", "abcdef\033[3D\033[K", {"abc", "", "", ""}, 3, 0},
    {"erase to here", "abcdef\033[3D\033[1K", {"    ef", "", "", ""}, 3, 0},
    {"erase below", "1\r\n2\r\n3\033[2;1H\033[J", {"1", "", "", ""}, 0, 1},
    {"erase above", "1\r\n2\r\n3\033[2;1H\033[1J", {"", "", "3", ""}, 0, 1},
    {"erase all", "1\r\n2\033[2J", {"", "", "", ""}, 1, 1},
    {"insert cells", "abcd\033[3D\033[2@", {"a  bcd", "", "", ""}, 1, 0},
    {"delete cells", "abcd\033[3D\033[2P", {"ad", "", "", ""}, 1, 0},
    {"erase cells", "abcd\033[3D\033[2X", {"a  d", "", "", ""}, 1, 0},
    {"insert mode", "abc\033[4h\r--\033[4lX", {"--Xbc", "", "", ""}, 3, 0},
    {"insert lines", "1\r\n2\r\n3\033[2;1H\033[L", {"1", "", "2", "3"}, 0, 1},
    {"delete lines", "1\r\n2\r\n3\r\n4\033[1;1H\033[2M", {"3", "4", "", ""}, 0, 0},
    {"region", "1\r\n2\r\n3\r\n4\033[2;3r\033[3;1H\nX", {"1", "3", "X", "4"}, 1, 2},
    {"region, up", "1\r\n2\r\n3\r\n4\033[2;3r\033[2;1H\033MX", {"1", "X", "2", "4"}, 1, 1},
    {"region, origin", "\033[2;3r\033[?6h\033[1;1HX\033[9;1HY", {"", "X", "Y", ""}, 1, 2},
    {"region, S and T", "1\r\n2\r\n3\r\n4\033[2;4r\033[S\033[2T", {"1", "", "", "3"}, 0, 0},
    {"save", "ab\0337\033[4;4HX\0338c", {"abc", "", "", "   X"}, 3, 0},
    {"alternate", "main\033[?1049h\033[Hother\033[?1049l!", {"main!", "", "", ""}, 5, 0},
    {"repeat", "a\033[4b", {"aaaaa", "", "", ""}, 5, 0},
    {"line drawing", "\033(0lqk\033(Bq", {"┌─┐q", "", "", ""}, 4, 0},
    {"shift out", "\033)0\016x\017x", {"│x", "", "", ""}, 2, 0},
    {"UTF-8", "äß€𝄞", {"äß€𝄞", "", "", ""}, 4, 0},
    {"wide", "漢x", {"漢x", "", "", ""}, 3, 0},
    {"wide at the end", "012345678漢", {"012345678", "漢", "", ""}, 2, 1},
    {"combining", "e\xcc\x81x", {"ex", "", "", ""}, 2, 0},
    {"broken UTF-8", "\xc3(\x80\xe2\x82|\xed\xa0\x80", {"\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd", "", "", ""}, 6, 0},
    {"overlong", "\xc0\xaf\xe0\x80\x80", {"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "", "", ""}, 3, 0},
    {"title", "\033]0;a title\a-\033]2;another\033\\+", {"-+", "", "", ""}, 2, 0},
    {"title broken off", "\033]0;a title\033[2;2HX", {"", " X", "", ""}, 2, 1},
    {"unknown", "\033[?99h\033[>1;2c\033[1 q\033P1$r0m\033\\X", {"X", "", "", ""}, 1, 0},
    {"too many parameters", "\033[1;2;3;4;5;6;7;8;9;1;2;3;4;5;6;7;8;9HX", {"X", "", "", ""}, 1, 0},
    {"huge numbers", "\033[99999999999999999999CX\033[4294967295DY", {"Y        X", "", "", ""}, 1, 0},
    {"control within", "\033[2\b;3HX", {"", "  X", "", ""}, 3, 1},
    {"cancelled", "\033[2;3\030HX", {"HX", "", "", ""}, 2, 0},
    {"reset", "abc\033[7m\033[2;3r\033cX", {"X", "", "", ""}, 1, 0},
    {"tab stops", "\033[3g\033[4G\033H\r\tX\033[Z\033[ZY", {"Y  X", "", "", ""}, 1, 0},
    {"alignment", "\033#8", {"EEEEEEEEEE", "EEEEEEEEEE", "EEEEEEEEEE", "EEEEEEEEEE"}, 0, 0},
};

static void test_written(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        /* In one piece, and byte by byte. */
        for (unsigned pieces = 0; pieces < 2; pieces++) {
            struct viv_term *t = make(10, 4);

            g_test_message("%s", cases[i].name);
            for (size_t n = 0; pieces && n < strlen(cases[i].text); n++)
                viv_term_write(t, (const uint8_t *)cases[i].text + n, 1);
            if (!pieces)
                write_text(t, cases[i].text);
            for (unsigned y = 0; y < 4; y++)
                check_row(t, y, cases[i].row[y]);
            check_cursor(t, cases[i].x, cases[i].y);
            viv_term_free(t);
        }
    }
}

static void test_answers(void)
{
    struct viv_term *t = make(10, 4);

    write_text(t, "\033[3;4H\033[6n");
    g_assert_cmpstr(said->str, ==, "\033[3;4R");
    g_string_truncate(said, 0);
    write_text(t, "\033[5n\033[c\033Z");
    g_assert_cmpstr(said->str, ==, "\033[0n\033[?62;6c\033[?62;6c");
    viv_term_free(t);
}

static void test_colours(void)
{
    static const struct {
        const char *sgr;
        uint8_t fg, bg, attrs;
    } want[] = {
        {"", 7, 0, 0}, {"31", 1, 0, 0}, {"1;33;44", 3, 4, VIV_TERM_BOLD}, {"97;101", 15, 9, 0}, {"7", 7, 0, VIV_TERM_REVERSE},
        {"4;7;27", 7, 0, VIV_TERM_UNDERLINE}, {"38;5;196", 196, 0, 0}, {"48;5;17;31", 1, 17, 0}, {"38;2;255;0;0", 196, 0, 0},
        {"48;2;8;8;8", 7, 232, 0}, {"38;2;999;0;9999", 201, 0, 0}, {"38:5:20", 20, 0, 0}, {"38;5", 7, 0, 0}, {"31;0", 7, 0, 0},
        {"31;42;39;49", 7, 0, 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(want); i++) {
        struct viv_term *t = make(10, 4);
        g_autofree char *text = g_strdup_printf("\033[%smX", want[i].sgr);
        const struct viv_term_cell *c;

        write_text(t, text);
        c = viv_term_row(t, 0);
        g_test_message("%s", want[i].sgr);
        g_assert_cmpuint(c->fg, ==, want[i].fg);
        g_assert_cmpuint(c->bg, ==, want[i].bg);
        g_assert_cmpuint(c->attrs, ==, want[i].attrs);
        viv_term_free(t);
    }
}

static void test_history(void)
{
    struct viv_term *t = make(10, 4);
    unsigned x, y;

    for (unsigned i = 0; i < 3000; i++) {
        char line[16];

        g_snprintf(line, sizeof(line), "%u\r\n", i);
        write_text(t, line);
    }
    check_row(t, 0, "2997");
    viv_term_scroll(t, 2);
    check_row(t, 0, "2995");
    check_row(t, 3, "2998");
    g_assert_false(viv_term_cursor(t, &x, &y));
    write_text(t, "new\r\n"); /* the look stays */
    check_row(t, 0, "2995");
    viv_term_scroll(t, 100000);
    check_row(t, 0, "1998"); /* 3 lines on the screen, 1000 above */
    viv_term_scroll(t, -3);
    check_row(t, 0, "2001");
    viv_term_scroll_end(t);
    check_row(t, 2, "new");
    check_cursor(t, 0, 3);
    viv_term_free(t);
}

static void test_resize(void)
{
    struct viv_term *t = make(10, 4);

    write_text(t, "1\r\n2\r\n3\r\n4\r\n5\r\n6");
    viv_term_resize(t, 5, 2);
    check_row(t, 0, "5");
    check_row(t, 1, "6");
    check_cursor(t, 1, 1);
    viv_term_scroll(t, 4);
    check_row(t, 0, "1");
    viv_term_scroll_end(t);
    viv_term_resize(t, 20, 6);
    check_row(t, 0, "5");
    check_cursor(t, 1, 1);
    write_text(t, "\033[6;20HX");
    check_row(t, 5, "                   X");
    viv_term_free(t);
}

static void test_dirty(void)
{
    struct viv_term *t = make(10, 4);

    viv_term_clean(t);
    for (unsigned y = 0; y < 4; y++)
        g_assert_false(viv_term_dirty(t, y));
    write_text(t, "\033[3;1H"); /* the cursor left one row and came to another */
    g_assert_true(viv_term_dirty(t, 0) && viv_term_dirty(t, 2) && !viv_term_dirty(t, 1));
    viv_term_clean(t);
    write_text(t, "x\033[?25l");
    g_assert_true(!viv_term_dirty(t, 0) && viv_term_dirty(t, 2));
    viv_term_free(t);
}

/* Bytes as programs send them, broken in all ways: nothing is read or written outside (ASan), and the cursor stays inside. */
static void test_random(void)
{
    static const char *const likely[] = {"\033[", "\033", ";", "?", "38;5;", "9999", "r", "H", "L", "M", "P", "@", "J", "K", "S", "T", "b", "h", "l",
                                         "1049", "47", "6", "7", "\n", "\r", "\t", "\b", "\xe6\xbc\xa2", "\033M", "\033D", "\0337", "\0338", "\033c", "x"};

    for (unsigned round = 0; round < 40; round++) {
        struct viv_term *t = make((unsigned)g_test_rand_int_range(1, 40), (unsigned)g_test_rand_int_range(1, 20));

        for (unsigned i = 0; i < 4000; i++) {
            uint8_t any = (uint8_t)g_test_rand_int_range(0, 256);
            unsigned x, y;

            if (g_test_rand_bit())
                viv_term_write(t, &any, 1);
            else
                write_text(t, likely[g_test_rand_int_range(0, G_N_ELEMENTS(likely))]);
            if (any == 1)
                viv_term_resize(t, (unsigned)g_test_rand_int_range(0, 50), (unsigned)g_test_rand_int_range(0, 30));
            if (any == 2)
                viv_term_scroll(t, g_test_rand_int_range(-20, 40));
            for (unsigned row = 0; row < viv_term_rows(t); row++)
                g_assert_cmpuint(viv_term_row(t, row)[viv_term_columns(t) - 1].ch, <=, 0x10ffff);
            viv_term_cursor(t, &x, &y);
            g_assert_cmpuint(t->x, <, t->columns);
            g_assert_cmpuint(t->y, <, t->rows);
            g_assert_cmpuint(t->region_bottom, <, t->rows);
        }
        viv_term_free(t);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/term/written", test_written);
    g_test_add_func("/term/answers", test_answers);
    g_test_add_func("/term/colours", test_colours);
    g_test_add_func("/term/history", test_history);
    g_test_add_func("/term/resize", test_resize);
    g_test_add_func("/term/dirty", test_dirty);
    g_test_add_func("/term/random", test_random);
    return g_test_run();
}
