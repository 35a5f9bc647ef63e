//! Dates as text.

/// RFC 3339 of milliseconds since 1970: `2026-11-22T13:49:44.123Z`.
pub fn date_time(ms: u64) -> String {
    let in_day = ms % 86_400_000;
    let (year, month, day) = ymd(ms);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    let milli = in_day % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Year, month and day of milliseconds since 1970, in UTC.
pub fn ymd(ms: u64) -> (i32, u8, u8) {
    // Days to civil date: the year starts in March, so that leap days come last.
    let z = ms / 86_400_000 + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    // 64 bits of milliseconds are 600 million years.
    (i32::try_from(year).unwrap_or(i32::MAX), month as u8, day as u8)
}

/// Milliseconds since 1970 of an RFC 3339 date; a date alone is its midnight in UTC. None if it is
/// none, or before 1970.
pub fn parse_date_time(text: &str) -> Option<u64> {
    let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let mut fields = date.split('-').map(number);
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let longest = *days_of.get(usize::try_from(month - 1).ok()?)?;
    if fields.next().is_some() || !(1970..=9999).contains(&year) || !(1..=longest).contains(&day) {
        return None;
    }
    // Civil date to days, as above.
    let (y, mp) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, yoe) = (y / 400, y % 400);
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + day - 1;
    let days = era * 146_097 + doe - 719_468;
    let at = days * 86_400_000 + time_of_day(time)?;
    u64::try_from(at).ok()
}

/// Milliseconds in UTC of `T12:34:56.789Z` or `T12:34:56+01:00`.
fn time_of_day(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let text = text.strip_prefix(['T', 't', ' '])?;
    let zone = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut fields = clock.split(':').map(number);
    let (hour, minute, second) = (fields.next()??, fields.next()??, fields.next()??);
    if fields.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let milli = number(format!("{fraction:0<3}").get(..3)?)?;
    number(fraction)?;
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let minutes = number(hours)? * 60 + number(minutes)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    Some(((hour * 60 + minute - offset) * 60 + second) * 1000 + milli)
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_back() {
        for ms in [0, 951_782_400_000, 1_763_819_384_123, 4_102_444_799_999] {
            assert_eq!(parse_date_time(&date_time(ms)), Some(ms));
        }
        for (text, expect) in [
            ("2000-02-29", Some(951_782_400_000)),
            ("2000-02-29T01:00:00+01:00", Some(951_782_400_000)),
            ("2000-02-28T23:00:00.5-01:00", Some(951_782_400_500)),
            ("1999-02-29", None),
            ("2000-13-01", None),
            ("2000-00-01", None),
            ("2000-01-01T25:00:00Z", None),
            ("2000-01-01T12:00:00", None),
            ("1969-12-31", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_date_time(text), expect, "{text}");
        }
    }

    #[test]
    fn dates_are_civil() {
        for (ms, expect) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_763_819_384_123, "2025-11-22T13:49:44.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date_time(ms), expect);
        }
    }
}
