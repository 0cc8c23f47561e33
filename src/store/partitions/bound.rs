//! Where a partition begins or ends: a moment, and the ids of grants that are made from it on.

use grantlog_domain::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

use super::Range;

const DAY_MILLIS: i64 = 86_400_000;
/// The moment that the first 48 bits of a UUID version 7 can name last.
const MILLIS_MAX: i64 = (1 << 48) - 1;

/// A moment in Unix milliseconds, not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound(i64);

impl Bound {
    /// The end of the period of `days` that `millis` is in. Periods are counted from 1970-01-01.
    pub(super) fn after(millis: i64, days: u32) -> Self {
        let period = i64::from(days.max(1)) * DAY_MILLIS;
        Self((millis.clamp(0, MILLIS_MAX).div_euclid(period) + 1).saturating_mul(period).min(MILLIS_MAX))
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        Timestamp(self.0.div_euclid(1000))
    }

    /// The beginning of every id that is made in its millisecond; all earlier ids sort before it, all later ones behind.
    #[must_use]
    pub fn id(self) -> String {
        format!("{:08x}-{:04x}", self.0 >> 16, self.0 & 0xffff)
    }

    fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('-')?;
        let is_hex = |part: &str, digits| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex(high, 8) || !is_hex(low, 4) {
            return None;
        }
        i64::from_str_radix(&format!("{high}{low}"), 16).ok().map(Self)
    }

    /// `20261231`, for names; with the time of day where it is not midnight.
    pub(super) fn stamp(self) -> String {
        let at = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let text = match self.0 % DAY_MILLIS {
            0 => at.format(format_description!("[year][month][day]")),
            _ => at.format(format_description!("[year][month][day][hour][minute][second]")),
        };
        text.unwrap_or_default()
    }
}

impl Range {
    /// As PostgreSQL spells it: `FOR VALUES FROM ('0193…') TO ('0193…')`, also `FROM (MINVALUE)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.strip_prefix("FOR VALUES FROM (")?.strip_suffix(")")?.split_once(") TO (")?;
        let quoted = |text: &str| text.strip_prefix('\'')?.strip_suffix('\'').and_then(Bound::parse);
        let from = if from == "MINVALUE" { None } else { Some(quoted(from)?) };
        Some(Self { from, to: quoted(to)? })
    }

    pub(super) fn sql(&self) -> String {
        let from = self.from.map_or_else(|| "MINVALUE".to_owned(), |from| format!("'{}'", from.id()));
        format!("FOR VALUES FROM ({from}) TO ('{}')", self.to.id())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_sort_on_their_side_of_a_bound() {
        let bound = Bound::after(1_700_000_000_000, 7);
        let id = |millis: i64, rest: u8| {
            let millis = u64::try_from(millis).unwrap();
            uuid::Builder::from_unix_timestamp_millis(millis, &[rest; 10]).into_uuid()
        };
        let (last, first): (Uuid, Uuid) = (id(bound.millis() - 1, 0xff), id(bound.millis(), 0));
        assert!(last.to_string() < bound.id() && bound.id() < first.to_string());
        assert_eq!(bound.millis() % (7 * DAY_MILLIS), 0);
        assert!((1..=7 * DAY_MILLIS).contains(&(bound.millis() - 1_700_000_000_000)));
    }

    #[test]
    fn bounds_are_read_as_the_database_spells_them() {
        let range = Range { from: Some(Bound(0x0193_0000_0000)), to: Bound(0x0193_0a1b_2c3d) };
        assert_eq!(range.sql(), "FOR VALUES FROM ('01930000-0000') TO ('01930a1b-2c3d')");
        assert_eq!(Range::parse(&range.sql()), Some(range));
        let first = Range { from: None, ..range };
        assert_eq!(Range::parse(&first.sql()), Some(first));
        for other in ["DEFAULT", "FOR VALUES FROM ('x') TO ('y')", "FOR VALUES IN ('grant')"] {
            assert_eq!(Range::parse(other), None);
        }
    }

    #[test]
    fn names_tell_the_day() {
        assert_eq!(Bound(1_796_083_200_000).stamp(), "20261201");
    }
}
