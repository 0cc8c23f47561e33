//! Times as people and machines read them.

use grantlog_domain::Timestamp;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const HUMAN: &[BorrowedFormatItem<'static>] =
    format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute] UTC");

/// One point in time, for a `<time>` element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339, for `datetime`.
    pub machine: String,
    /// For people, in UTC: the server does not know the time zone of the browser.
    pub human: String,
}

impl From<Timestamp> for Moment {
    /// A time outside of the years 0 to 9999 is shown as its number.
    fn from(at: Timestamp) -> Self {
        let date = OffsetDateTime::from_unix_timestamp(at.0).ok();
        let text = |formatted: Option<String>| formatted.unwrap_or_else(|| at.to_string());
        Self {
            machine: text(date.and_then(|date| date.format(&Rfc3339).ok())),
            human: text(date.and_then(|date| date.format(HUMAN).ok())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_for_people_and_for_machines() {
        let moment = Moment::from(Timestamp(1_800_000_000));
        assert_eq!(moment.machine, "2027-01-15T08:00:00Z");
        assert_eq!(moment.human, "15 Jan 2027, 08:00 UTC");
    }

    #[test]
    fn an_impossible_time_is_its_number() {
        assert_eq!(Moment::from(Timestamp(i64::MAX)).human, i64::MAX.to_string());
    }
}
