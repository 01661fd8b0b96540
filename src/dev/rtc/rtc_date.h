/* Calendar days and seconds, without time zones. */
#ifndef VIV_DEV_RTC_RTC_DATE_H
#define VIV_DEV_RTC_RTC_DATE_H

#include <stdint.h>

struct rtc_date {
    int year, month, day; /* 1-based */
    int hour, minute, second;
    int weekday; /* 1: Sunday, as in the chip */
};

/* Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant's civil-days method: the year
 * begins in March, so that the leap day is its last). */
static inline int64_t rtc_days(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static inline int64_t rtc_to_seconds(const struct rtc_date *d)
{
    return rtc_days(d->year, d->month, d->day) * 86400 + d->hour * 3600 + d->minute * 60 +
           d->second;
}

static inline struct rtc_date rtc_from_seconds(int64_t s)
{
    int64_t days = s / 86400 - (s % 86400 < 0), rest = s - days * 86400;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    struct rtc_date d = {
        .month = (int)(mp < 10 ? mp + 3 : mp - 9),
        .day = (int)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
        .weekday = (int)(((days + 4) % 7 + 7) % 7) + 1,
    };

    d.year = (int)(yoe + era * 400 + (d.month <= 2));
    return d;
}

#endif
