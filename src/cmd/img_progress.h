/* How far a long verb has come, and how fast it may go. */
#ifndef VIV_CMD_IMG_PROGRESS_H
#define VIV_CMD_IMG_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* One thread at a time. Zeroed with `on` unset it prints nothing. */
struct img_progress {
    bool on;
    uint64_t total, done;
    int shown; /* hundredths of a percent, plus 1 */
};

void img_progress_start(struct img_progress *p, bool on, uint64_t total);
void img_progress_advance(struct img_progress *p, uint64_t bytes);
/* Ends the line; with `whole` it says 100 % first. */
void img_progress_end(struct img_progress *p, bool whole);

/* -r: bytes a second; 0: no limit. */
struct img_rate {
    uint64_t limit;
    uint64_t start_us, done;
};

/* How long to wait, in microseconds, after `bytes` more. */
uint64_t img_rate_delay(struct img_rate *r, uint64_t bytes);

#endif
