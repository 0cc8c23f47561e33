//! Writing an archive file, event by event.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use zstd::stream::write::Encoder;

use super::format::{
    ArchivedEvent, CHUNK_EVENTS, Chunk, Header, LEVEL, LINE_BYTES_MAX, Line, SEAL_HEAD, Sha256, Totals, Trailer,
};

pub(super) struct Writer {
    /// `None` only while one frame ends and the next begins.
    frame: Option<Encoder<'static, Hashed>>,
    chunk: Sha256,
    chunk_events: u64,
    all: Sha256,
    totals: Totals,
    line: Vec<u8>,
}

/// What was written.
pub(super) struct Written {
    pub(super) trailer: Trailer,
    pub(super) bytes: u64,
    /// Of the whole file, in hex.
    pub(super) sha256: String,
}

impl Writer {
    /// Begins the file anew.
    pub(super) fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        // It holds what the log holds.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = Hashed { out: BufWriter::new(options.open(path)?), sha256: Sha256::new(), bytes: 0 };
        let mut writer = Self {
            frame: Some(frame(file)?),
            chunk: Sha256::new(),
            chunk_events: 0,
            all: Sha256::new(),
            totals: Totals::default(),
            line: Vec::new(),
        };
        writer.put(&Line::Header(header.clone()))?;
        writer.next_frame()?;
        Ok(writer)
    }

    pub(super) fn event(&mut self, event: ArchivedEvent) -> io::Result<()> {
        self.totals.add(&event);
        self.put(&Line::Event(event))?;
        self.chunk.update(&self.line);
        self.all.update(&self.line);
        self.chunk_events += 1;
        if self.chunk_events >= CHUNK_EVENTS { self.end_chunk() } else { Ok(()) }
    }

    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Ends the file; it is on disk when this returns.
    pub(super) fn finish(mut self, over_since: i64) -> io::Result<Written> {
        if self.chunk_events > 0 {
            self.end_chunk()?;
        }
        let events_sha256 = std::mem::replace(&mut self.all, Sha256::new()).hex();
        let trailer = Trailer { totals: self.totals, over_since, events_sha256 };
        self.put(&Line::Trailer(trailer.clone()))?;
        let mut file = self.open_frame()?.finish()?;
        // The seal is over the bytes before it; the checksum of the file is over the seal too.
        let seal = file.sha256.clone().finish();
        file.write_all(&SEAL_HEAD)?;
        file.write_all(seal.as_ref())?;
        file.flush()?;
        file.out.get_ref().sync_all()?;
        Ok(Written { trailer, bytes: file.bytes, sha256: file.sha256.hex() })
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let sha256 = std::mem::replace(&mut self.chunk, Sha256::new()).hex();
        let events = std::mem::take(&mut self.chunk_events);
        self.put(&Line::Chunk(Chunk { events, sha256 }))?;
        self.next_frame()
    }

    fn put(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        if self.line.len() as u64 > LINE_BYTES_MAX {
            return Err(io::Error::other("an event is longer than an archive takes"));
        }
        match &mut self.frame {
            Some(frame) => frame.write_all(&self.line),
            None => Err(no_frame()),
        }
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let file = self.open_frame()?.finish()?;
        self.frame = Some(frame(file)?);
        Ok(())
    }

    fn open_frame(&mut self) -> io::Result<Encoder<'static, Hashed>> {
        self.frame.take().ok_or_else(no_frame)
    }
}

fn frame(file: Hashed) -> io::Result<Encoder<'static, Hashed>> {
    let mut encoder = Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// After a frame could not be ended.
fn no_frame() -> io::Error {
    io::Error::other("the file could not be written before")
}

/// A file whose bytes are counted and hashed on their way.
struct Hashed {
    out: BufWriter<File>,
    sha256: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
