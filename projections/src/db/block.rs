//! Many rows in one piece of memory, as PostgreSQL's binary COPY has them; those of SQLite are brought into the same form.
//!
//! A row of a driver is an object with a few allocations of its own, and with a million rows that is most of the work.

use super::DbError;

/// PostgreSQL documentation, COPY, "Binary Format": the file header's signature.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Rows of one block.
const ROWS: usize = 4096;
/// A block ends at this size even when it has fewer rows.
const BYTES: usize = 4 << 20;

/// Rows that were read together.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<u32>,
}

impl Block {
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// All rows: the count of the fields, then each with its length; the same for both databases.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn is_full(&self) -> bool {
        self.ends.len() >= ROWS || self.bytes.len() >= BYTES
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = Fields<'_>> {
        (0..self.ends.len()).map(|at| {
            let from = if at == 0 { 0 } else { self.ends[at - 1] as usize };
            // The count of the fields is that of the statement.
            Fields(self.bytes.get(from + 2..self.ends[at] as usize).unwrap_or_default())
        })
    }

    /// Takes in one message of COPY, which holds one row; the first one has the header before it.
    pub(super) fn push_copy_data(&mut self, mut data: &[u8]) -> Result<(), DbError> {
        if let Some(rest) = data.strip_prefix(SIGNATURE) {
            // Flags, then the length of an extension.
            let length = rest.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            data = length.and_then(|length| rest.get(8 + length as usize..)).ok_or_else(|| malformed("header"))?;
        }
        // The trailer has a count of -1.
        if data.is_empty() || data == [0xff, 0xff] {
            return Ok(());
        }
        self.bytes.extend_from_slice(data);
        self.end_row()
    }

    /// Begins a row that is written field by field.
    pub(super) fn begin_row(&mut self, fields: usize) {
        self.bytes.extend_from_slice(&u16::try_from(fields).unwrap_or(u16::MAX).to_be_bytes());
    }

    pub(super) fn push_field(&mut self, field: Option<&[u8]>) {
        let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap_or(i32::MAX));
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(field.unwrap_or_default());
    }

    pub(super) fn end_row(&mut self) -> Result<(), DbError> {
        self.ends.push(u32::try_from(self.bytes.len()).map_err(|_| malformed("size"))?);
        Ok(())
    }
}

/// The fields of one row, taken one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, DbError> {
        let (length, rest) = self.0.split_first_chunk().ok_or_else(|| malformed("field"))?;
        self.0 = rest;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Ok(None) };
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(|| malformed("field"))?;
        self.0 = rest;
        Ok(Some(field))
    }

    pub(crate) fn opt_str(&mut self) -> Result<Option<&'a str>, DbError> {
        let text = self.next()?.map(std::str::from_utf8).transpose();
        text.map_err(|_| DbError::Malformed("a text is not UTF-8".to_owned()))
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, DbError> {
        self.opt_str()?.ok_or_else(|| malformed("null"))
    }

    pub(crate) fn opt_int(&mut self) -> Result<Option<i64>, DbError> {
        self.next()?.map(|bytes| bytes.try_into().map(i64::from_be_bytes).map_err(|_| malformed("bigint"))).transpose()
    }

    pub(crate) fn int(&mut self) -> Result<i64, DbError> {
        self.opt_int()?.ok_or_else(|| malformed("null"))
    }

    /// A flag kept as 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, DbError> {
        Ok(self.int()? != 0)
    }

    /// A text as the type that it spells.
    pub(crate) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, DbError> {
        self.str()?.parse().map_err(|_| malformed("text"))
    }

    pub(crate) fn opt_parse<T: std::str::FromStr>(&mut self) -> Result<Option<T>, DbError> {
        self.opt_str()?.map(|text| text.parse().map_err(|_| malformed("text"))).transpose()
    }
}

fn malformed(what: &str) -> DbError {
    DbError::Malformed(format!("a row of many: its {what} is not what was expected"))
}
