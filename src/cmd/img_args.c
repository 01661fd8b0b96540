/* What the verbs' command lines have in common, and how their images are opened. */
#include "cmd/img.h"

#include "cmd/objects.h"

#include <errno.h>
#include <string.h>

#define LONGS_MAX 32

/* Long options of everybody, each with the short one that a verb must have for it (0: every verb has it). */
static const struct {
    struct option option;
    char with;
} common_longs[] = {
    {{"help", no_argument, NULL, 'h'}, 0},
    {{"object", required_argument, NULL, IMG_OPT_OBJECT}, 0},
    {{"image-opts", no_argument, NULL, IMG_OPT_IMAGE_OPTS}, 0},
    {{"force-share", no_argument, NULL, 'U'}, 'U'},
    {{"format", required_argument, NULL, 'f'}, 'f'},
};

static void join_longs(const struct img_syntax *s, struct option *out)
{
    unsigned n = 0;

    for (const struct option *o = s->longs; o && o->name; o++)
        out[n++] = *o;
    for (unsigned i = 0; i < G_N_ELEMENTS(common_longs); i++)
        if (!common_longs[i].with || strchr(s->shorts, common_longs[i].with))
            out[n++] = common_longs[i].option;
    if (s->output)
        out[n++] = (struct option){"output", required_argument, NULL, IMG_OPT_OUTPUT};
    g_assert(n < LONGS_MAX);
    out[n] = (struct option){0};
}

/* --object TYPE,id=...: before any image is opened, as options are read in order. */
static int take_object(const char *text)
{
    struct viv_err err = VIV_ERR_INIT;

    return viv_object_add_text("--object", text, &err) ? img_error("%s", err.text) : 0;
}

/* Joined by a comma to those that came before. One at either end, unless doubled, would join others than were written. */
static int take_create(GString *all, const char *text)
{
    size_t end = strlen(text), commas = 0;

    while (commas < end && text[end - 1 - commas] == ',')
        commas++;
    if (!end || *text == ',' || commas % 2)
        return img_error("Invalid option list: %s", text);
    g_string_append_printf(all, "%s%s", all->len ? "," : "", text);
    return 0;
}

/* -1: not one that everybody has. */
static int take_common(struct img_common *common, int c)
{
    switch (c) {
    case 'f':
        common->format = optarg;
        return 0;
    case 'U':
        common->o.force_share = true;
        return 0;
    case 'q':
        common->quiet = true;
        return 0;
    case 'p':
        common->progress = true;
        return 0;
    case 'o':
        return common->create ? take_create(common->create, optarg) : -1;
    case IMG_OPT_OUTPUT:
        return img_parse_output(optarg, &common->json);
    case IMG_OPT_IMAGE_OPTS:
        common->image_opts = true;
        return 0;
    case IMG_OPT_OBJECT:
        return take_object(optarg);
    default:
        return -1;
    }
}

/* The option as it was written: getopt may have stopped in the middle of a word ("-qz"). */
static int complain(int c, char **argv)
{
    char letter[3] = {'-', optopt, 0};
    const char *word = optopt > 0 && optopt < IMG_OPT_OBJECT ? letter : argv[optind - 1];

    return c == ':' ? img_usage("missing argument for option '%s'", argv[optind - 1])
                    : img_usage("unrecognized option '%s'", word);
}

int img_read_options(struct img_common *common, const struct img_syntax *s, void *args, int argc, char **argv)
{
    struct option longs[LONGS_MAX];
    int c, ret = 0;

    join_longs(s, longs);
    while (!ret && (c = getopt_long(argc, argv, s->shorts, longs, NULL)) != -1) {
        if (c == 'h')
            return 1 + img_print_help();
        if (c == ':' || c == '?')
            return 1 + complain(c, argv);
        ret = take_common(common, c);
        if (ret < 0)
            ret = s->take(args, c);
    }
    if (common->quiet)
        common->progress = false;
    if (!ret && common->image_opts && common->format)
        ret = img_error("--image-opts and --format are mutually exclusive");
    return ret ? 1 + MAX(ret, s->bad_value) : 0;
}

int img_open(const struct img_common *common, const char *name, const char *format, const struct viv_node_opts *o,
             struct viv_node **out, struct viv_err *err)
{
    int ret;

    if (o->force_share && !o->read_only)
        ret = viv_fail(err, EINVAL, "-U (--force-share) takes no locks: it is for images that are only read");
    else if (common->image_opts)
        ret = viv_node_open_options("--image-opts", name, format, o, out, err);
    else
        ret = viv_node_open_image(name, format, o, out, err);
    if (ret)
        viv_err_prefix(err, "Could not open '%s'", name);
    return ret;
}

int img_close(struct viv_node **n, int ret, struct viv_err *err)
{
    char *name = *n ? g_strdup((*n)->filename) : NULL;
    int r = viv_node_put(n);

    if (r && !ret)
        ret = viv_fail_os(err, -r, "'%s' could not be written completely", name);
    g_free(name);
    return ret;
}
