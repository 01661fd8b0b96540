/* "Did you mean": the nearest of a list of words. */
#include "opt/opt.h"

#include <string.h>
#include <strings.h>

#define LONGEST 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c | 32 : c;
}

/* Edit distance in which a swap of two neighbours costs one (optimal string alignment). */
static unsigned distance(const char *a, size_t la, const char *b, size_t lb)
{
    unsigned rows[3][LONGEST + 1];
    unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];

    for (size_t j = 0; j <= lb; j++)
        prev[j] = j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *spare = before;

        cur[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);

            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < cur[j])
                cur[j] = before[j - 2] + 1;
        }
        before = prev;
        prev = cur;
        cur = spare;
    }
    return prev[lb];
}

/* Tens: a word that the candidate begins or ends with is nearer than its length says. */
static unsigned score(const char *word, size_t lw, const char *cand, size_t lc)
{
    unsigned d = distance(word, lw, cand, lc) * 10;

    if (lw >= 3 && lc > lw) {
        if (!strncasecmp(word, cand, lw))
            return d < 15 ? d : 15;
        if (!strcasecmp(word, cand + lc - lw))
            return d < 18 ? d : 18;
    }
    return d;
}

const char *viv_nearest(const char *word, const char *const *candidates)
{
    size_t lw = strlen(word);
    unsigned limit = lw < 4 ? 10 : lw < 7 ? 20 : 30;
    unsigned best = limit + 1;
    const char *found = NULL;

    if (!lw || lw > LONGEST)
        return NULL;
    for (; *candidates; candidates++) {
        size_t lc = strlen(*candidates);
        unsigned s;

        if (!lc || lc > LONGEST)
            continue;
        s = score(word, lw, *candidates, lc);
        /* A candidate of which nothing is left is no suggestion. */
        if (s < best && s < lc * 10) {
            best = s;
            found = *candidates;
        }
    }
    return found;
}
