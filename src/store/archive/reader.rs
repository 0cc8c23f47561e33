//! Reading an archive file, and finding everything that is wrong with it. Needs no database; believes nothing.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use zstd::stream::read::Decoder;

use super::format::{
    ArchivedEvent, CHUNK_EVENTS, FORMAT, Header, LINE_BYTES_MAX, Line, SEAL_BYTES, SEAL_HEAD, Sha256, Totals, Trailer,
};

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Why a file is not a whole archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFileError {
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    /// What is wrong with it.
    #[error("{0}")]
    Damaged(String),
    #[error("it has format {0}, this Grantlog reads format {FORMAT}")]
    OtherFormat(u32),
}

/// A file that was read to its end without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub header: Header,
    pub trailer: Trailer,
    pub bytes: u64,
    /// SHA-256 of the whole file in hex, as sha256sum prints it.
    pub sha256: String,
}

/// The events of a file, in the order of grant and sequence.
pub struct Reader {
    lines: BufReader<Decoder<'static, BufReader<io::Take<File>>>>,
    header: Header,
    bytes: u64,
    file_sha256: String,
    chunk: Sha256,
    chunk_events: u64,
    all: Sha256,
    totals: Totals,
    last: Option<(String, i64)>,
    trailer: Option<Trailer>,
    line: Vec<u8>,
}

impl Reader {
    /// Checks the seal over the whole file and reads the header.
    ///
    /// # Errors
    /// [`ArchiveFileError`].
    pub fn open(path: &Path) -> Result<Self, ArchiveFileError> {
        let mut file = File::open(path)?;
        let (bytes, file_sha256) = check_seal(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let frames = BufReader::with_capacity(BUFFER, file.take(bytes - SEAL_BYTES));
        let mut reader = Self {
            lines: BufReader::with_capacity(BUFFER, Decoder::with_buffer(frames)?),
            header: Header::default(),
            bytes,
            file_sha256,
            chunk: Sha256::new(),
            chunk_events: 0,
            all: Sha256::new(),
            totals: Totals::default(),
            last: None,
            trailer: None,
            line: Vec::new(),
        };
        match reader.read_line()? {
            Some(Line::Header(header)) if header.format == FORMAT => reader.header = header,
            Some(Line::Header(header)) => return Err(ArchiveFileError::OtherFormat(header.format)),
            _ => return Err(damaged("it does not begin with the header of an archive")),
        }
        Ok(reader)
    }

    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next event; `None` when all were read and everything about the file is as it says.
    ///
    /// # Errors
    /// [`ArchiveFileError`].
    pub fn next_event(&mut self) -> Result<Option<ArchivedEvent>, ArchiveFileError> {
        while self.trailer.is_none() {
            match self.read_line()? {
                Some(Line::Event(event)) => {
                    self.take_in(&event)?;
                    return Ok(Some(event));
                }
                Some(Line::Chunk(chunk)) => {
                    let events = std::mem::take(&mut self.chunk_events);
                    let sha256 = std::mem::replace(&mut self.chunk, Sha256::new()).hex();
                    if events == 0 || (events, sha256) != (chunk.events, chunk.sha256) {
                        return Err(damaged("the checksum of a part does not match"));
                    }
                }
                Some(Line::Trailer(trailer)) => self.end(trailer)?,
                Some(Line::Header(_)) | None => return Err(damaged("it ends before its end")),
            }
        }
        Ok(None)
    }

    /// Reads what remains.
    ///
    /// # Errors
    /// [`ArchiveFileError`].
    pub fn verify(mut self) -> Result<Verified, ArchiveFileError> {
        while self.next_event()?.is_some() {}
        let trailer = self.trailer.ok_or_else(|| damaged("it has no end"))?;
        Ok(Verified { header: self.header, trailer, bytes: self.bytes, sha256: self.file_sha256 })
    }

    /// Counts and checks an event: in order, of the range, each grant from its first event on.
    fn take_in(&mut self, event: &ArchivedEvent) -> Result<(), ArchiveFileError> {
        self.chunk.update(&self.line);
        self.all.update(&self.line);
        self.chunk_events += 1;
        self.totals.add(event);
        let follows = match &self.last {
            Some((id, sequence)) if *id == event.aggregate_id => event.sequence == sequence + 1,
            Some((id, _)) => *id < event.aggregate_id && event.sequence == 1,
            None => event.sequence == 1,
        };
        let header = &self.header;
        let in_range = header.id_from.as_ref().is_none_or(|from| *from <= event.aggregate_id)
            && event.aggregate_id < header.id_to
            && event.aggregate_type == header.aggregate_type;
        if !follows || !in_range || self.chunk_events > CHUNK_EVENTS {
            return Err(damaged(&format!("{} {} is out of place", event.aggregate_id, event.sequence)));
        }
        self.last = Some((event.aggregate_id.clone(), event.sequence));
        Ok(())
    }

    fn end(&mut self, trailer: Trailer) -> Result<(), ArchiveFileError> {
        let events_sha256 = std::mem::replace(&mut self.all, Sha256::new()).hex();
        if self.chunk_events != 0
            || self.totals != trailer.totals
            || self.totals != self.header.totals
            || events_sha256 != trailer.events_sha256
        {
            return Err(damaged("it does not hold what it says it holds"));
        }
        if self.read_line()?.is_some() {
            return Err(damaged("it goes on behind its end"));
        }
        self.trailer = Some(trailer);
        Ok(())
    }

    fn read_line(&mut self) -> Result<Option<Line>, ArchiveFileError> {
        self.line.clear();
        (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            return Err(damaged("a line has no end"));
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|error| damaged(&format!("a line is not of an archive: {error}")))
    }
}

/// Length and SHA-256 of the file, whose last frame holds the SHA-256 of what is before it.
fn check_seal(file: &mut File) -> Result<(u64, String), ArchiveFileError> {
    let bytes = file.metadata()?.len();
    let Some(sealed) = bytes.checked_sub(SEAL_BYTES) else { return Err(damaged("it is too short for an archive")) };
    let (mut sha256, mut buffer, mut left) = (Sha256::new(), vec![0; BUFFER], sealed);
    while left > 0 {
        let count = file.read(&mut buffer[..usize::try_from(left).unwrap_or(BUFFER).min(BUFFER)])?;
        if count == 0 {
            return Err(damaged("it became shorter meanwhile"));
        }
        sha256.update(&buffer[..count]);
        left -= count as u64;
    }
    let mut seal = [0; SEAL_HEAD.len() + 32];
    file.read_exact(&mut seal)?;
    let (head, digest) = seal.split_at(SEAL_HEAD.len());
    if head != SEAL_HEAD || sha256.clone().finish().as_ref() != digest {
        return Err(damaged("its checksum does not match: it is not an archive, not whole, or was changed"));
    }
    sha256.update(&seal);
    Ok((bytes, sha256.hex()))
}

fn damaged(what: &str) -> ArchiveFileError {
    ArchiveFileError::Damaged(what.to_owned())
}
