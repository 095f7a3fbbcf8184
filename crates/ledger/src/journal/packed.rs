//! Packed segments: the same bytes as a plain one, in Zstandard frames.
//!
//! `zstd -d` of the file gives the plain segment back. The first frame is the header page alone, so that
//! headers are cheap to read; each of the others holds [`FRAME_RECORDS`] records with a checksum.

use std::io::{self, BufReader, Read};

use zstd::bulk::Compressor;
use zstd::stream::read::Decoder;
use zstd::zstd_safe::CParameter;

use super::segment::{Chain, HEADER_BYTES, Header};
use crate::disk::{Disk, File, UNFINISHED, read_up_to, write_all};
use crate::record::RECORD_BYTES;

/// Records of one frame: 1 MiB.
const FRAME_RECORDS: usize = 8192;
/// Beyond it a higher level takes much longer and saves little: most of a share is as random as its hash.
const LEVEL: i32 = 3;

/// Reads the unpacked bytes of a packed segment. Going back begins anew, so read onwards.
pub(crate) struct Unpack<F: File> {
    decoder: Option<Decoder<'static, BufReader<Stream<F>>>>,
    /// Offset of the next byte that the decoder gives.
    at: u64,
}

/// A file as a stream.
struct Stream<F: File> {
    file: F,
    at: u64,
}

impl<F: File> Read for Stream<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<F: File> Unpack<F> {
    pub(crate) fn new(file: F) -> io::Result<Self> {
        Ok(Self {
            decoder: Some(Decoder::new(Stream { file, at: 0 })?),
            at: 0,
        })
    }

    /// As [`read_up_to`].
    pub(crate) fn read_up_to(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if offset < self.at {
            self.rewind()?;
        }
        let Some(decoder) = &mut self.decoder else {
            return Err(io::Error::other("a packed segment could not be read again"));
        };
        let skipped = io::copy(&mut decoder.by_ref().take(offset - self.at), &mut io::sink());
        self.at += skipped.map_err(told)?;
        if self.at < offset {
            return Ok(0);
        }
        let mut done = 0;
        while done < into.len() {
            match decoder.read(&mut into[done..]).map_err(told)? {
                0 => break,
                read => done += read,
            }
        }
        self.at += done as u64;
        Ok(done)
    }

    fn rewind(&mut self) -> io::Result<()> {
        if let Some(decoder) = self.decoder.take() {
            let mut stream = decoder.finish().into_inner();
            stream.at = 0;
            self.decoder = Some(Decoder::new(stream)?);
            self.at = 0;
        }
        Ok(())
    }
}

/// What the library says of bytes that are not what was packed, as one kind of error.
fn told(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the packed bytes are damaged ({error})"),
        ),
    }
}

/// Writes the packed form of a segment whose records end before `end`, reads it back, and only then lets it take the
/// plain file's place.
///
/// # Errors
/// When the disk fails or anything differs; the plain file stays.
pub(crate) fn pack<D: Disk>(disk: &D, header: &Header, end: u64, chain: Chain) -> io::Result<()> {
    let (plain, packed) = (header.file_name(), header.packed_name());
    let fresh = format!("{packed}{UNFINISHED}");
    let source = disk.open_read(&plain)?;
    let mut target = disk.create(&fresh)?;
    write_frames(&source, &mut target, header.offset(end))?;
    target.sync_data()?;
    drop(target);
    if chain_of(Unpack::new(disk.open_read(&fresh)?)?, header, end)? != chain {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{plain} does not read back as it should once packed; it stays as it is"),
        ));
    }
    disk.rename(&fresh, &packed)?;
    disk.sync()?;
    disk.remove(&plain)?;
    disk.sync()
}

fn write_frames<F: File>(source: &F, target: &mut F, length: u64) -> io::Result<()> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    let mut chunk = vec![0; FRAME_RECORDS * RECORD_BYTES];
    let (mut from, mut to) = (0, 0);
    while from < length {
        let size = if from == 0 { HEADER_BYTES } else { chunk.len() };
        let wanted = (length - from).min(size as u64) as usize;
        let read = read_up_to(source, from, &mut chunk[..wanted])?;
        if read < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let frame = compressor.compress(&chunk[..wanted])?;
        write_all(target, to, &frame)?;
        from += wanted as u64;
        to += frame.len() as u64;
    }
    Ok(())
}

/// The chain behind all records of a segment, each held against its own checksum.
fn chain_of<F: File>(mut bytes: Unpack<F>, header: &Header, end: u64) -> io::Result<Chain> {
    let mut page = [0; HEADER_BYTES];
    let mut chain = header.chain;
    if bytes.read_up_to(0, &mut page)? < HEADER_BYTES || page[..] != header.encode()[..] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut chunk = vec![0; FRAME_RECORDS * RECORD_BYTES];
    let mut sequence = header.first_sequence;
    while sequence < end {
        let read = bytes.read_up_to(header.offset(sequence), &mut chunk)? / RECORD_BYTES;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for record in chunk.as_chunks::<RECORD_BYTES>().0.iter().take(read) {
            if crc32c::crc32c(&record[4..]).to_le_bytes() != record[..4] {
                return Err(io::ErrorKind::InvalidData.into());
            }
            chain.add(record);
        }
        sequence += read as u64;
    }
    Ok(chain)
}
