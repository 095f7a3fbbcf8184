//! A disk in memory that breaks on request: the n-th call fails, space runs out, power goes.
//!
//! What a real disk may do and this one does: forget any subset of the unsynced writes page by
//! page, tear a page, forget names that were not synced, and after a failed sync keep showing
//! bytes that never reached the medium.

mod medium;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File};
use medium::{Change, Inode, draw};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The call returns an I/O error and does nothing (a failing sync loses unsynced pages at random).
    Io,
    /// The call returns "no space left" and does nothing.
    Full,
    /// A write takes half of its bytes and says so; other calls return an I/O error.
    Short,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first call to fail, counted from 0 at [`MemDisk::inject`].
    pub at: u64,
    /// How many calls fail from there on.
    pub calls: u64,
    /// How they fail.
    pub kind: FaultKind,
}

/// A disk in memory; clones share its content.
#[derive(Clone, Debug)]
pub struct MemDisk(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    calls: u64,
    fault: Option<Fault>,
    capacity: u64,
    random: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl MemDisk {
    /// An empty disk without limits; `seed` decides what a power cut and a failed sync lose.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Content {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            calls: 0,
            fault: None,
            capacity: u64::MAX,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        })))
    }

    /// Makes calls fail from now on; `None` makes the disk well again. The call count restarts.
    pub fn inject(&self, fault: Option<Fault>) {
        let mut content = self.content();
        content.calls = 0;
        content.fault = fault;
    }

    /// Calls since the last [`MemDisk::inject`].
    pub fn calls(&self) -> u64 {
        self.content().calls
    }

    /// Sets how many bytes all files together may hold.
    pub fn limit(&self, capacity: u64) {
        self.content().capacity = capacity;
    }

    /// Cuts the power: returns the disk as the next start finds it. This one stays as it was.
    pub fn power_cut(&self, seed: u64) -> Self {
        let content = self.content();
        let mut random = (content.random ^ seed.wrapping_mul(0xd134_2543_de82_ef95)) | 1;
        let mut names = content.durable_names.clone();
        // Names are journalled by every file system in use: a beginning of the changes survives.
        let kept = draw(&mut random) as usize % (content.unsynced_names.len() + 1);
        content.unsynced_names[..kept]
            .iter()
            .for_each(|change| change.apply(&mut names));
        let inodes = content
            .inodes
            .iter()
            .map(|inode| inode.after_power_cut(&mut random))
            .collect();
        Self(Arc::new(Mutex::new(Content {
            inodes,
            durable_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
            calls: 0,
            fault: None,
            capacity: content.capacity,
            random: draw(&mut random) | 1,
        })))
    }

    /// Changes one byte of a file, durably; for tests of damage.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut content = self.content();
        let Some(index) = content.names.get(name).copied() else {
            return;
        };
        let inode = &mut content.inodes[index];
        for bytes in [&mut inode.seen, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Self {
        let content = self.content();
        Self(Arc::new(Mutex::new(Content {
            inodes: content.inodes.clone(),
            names: content.names.clone(),
            durable_names: content.durable_names.clone(),
            unsynced_names: content.unsynced_names.clone(),
            ..*content
        })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize) -> MemFile {
        MemFile {
            disk: self.clone(),
            inode,
        }
    }
}

impl Content {
    /// Counts a call; says whether it is to fail.
    fn call(&mut self) -> Result<(), FaultKind> {
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some(fault) if call >= fault.at && call - fault.at < fault.calls => Err(fault.kind),
            _ => Ok(()),
        }
    }

    fn plain_call(&mut self) -> io::Result<()> {
        self.call().map_err(error)
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename_all(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn room(&self) -> u64 {
        let used: usize = self
            .names
            .values()
            .map(|index| self.inodes[*index].seen.len())
            .sum();
        self.capacity.saturating_sub(used as u64)
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

fn error(kind: FaultKind) -> io::Error {
    match kind {
        FaultKind::Full => io::ErrorKind::StorageFull.into(),
        FaultKind::Io | FaultKind::Short => io::Error::other("input/output error (injected)"),
    }
}

impl Disk for MemDisk {
    type File = MemFile;

    fn create(&self, name: &str) -> io::Result<MemFile> {
        let mut content = self.content();
        content.plain_call()?;
        content.inodes.push(Inode::default());
        let inode = content.inodes.len() - 1;
        content.rename_all(NameChange::Set(name.to_owned(), inode));
        drop(content);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<MemFile> {
        let mut content = self.content();
        content.plain_call()?;
        let inode = content.find(name)?;
        drop(content);
        Ok(self.file(inode))
    }

    fn open_read(&self, name: &str) -> io::Result<MemFile> {
        self.open(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut content = self.content();
        content.plain_call()?;
        Ok(content.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.content();
        content.plain_call()?;
        content.find(from)?;
        content.rename_all(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.content();
        content.plain_call()?;
        content.find(name)?;
        content.rename_all(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.content();
        content.plain_call()?;
        content.durable_names = content.names.clone();
        content.unsynced_names.clear();
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }
}

/// A file of a [`MemDisk`].
#[derive(Debug)]
pub struct MemFile {
    disk: MemDisk,
    inode: usize,
}

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        let mut content = self.disk.content();
        content.plain_call()?;
        Ok(content.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut content = self.disk.content();
        content.plain_call()?;
        let seen = &content.inodes[self.inode].seen;
        let from = seen.len().min(offset as usize);
        let length = into.len().min(seen.len() - from);
        into[..length].copy_from_slice(&seen[from..from + length]);
        Ok(length)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.disk.content();
        let (offset, mut length) = (offset as usize, bytes.len());
        match content.call() {
            Ok(()) => {}
            Err(FaultKind::Short) => length /= 2,
            Err(kind) => return Err(error(kind)),
        }
        let grown = (offset + length).saturating_sub(content.inodes[self.inode].seen.len());
        let missing = (grown as u64).saturating_sub(content.room()) as usize;
        if missing >= length && missing > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        length -= missing;
        content.inodes[self.inode].change(Change::Write(offset, bytes[..length].to_vec()));
        Ok(length)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut content = self.disk.content();
        let called = content.call();
        let mut random = content.random;
        let inode = &mut content.inodes[self.inode];
        if let Err(kind) = called {
            // The pages count as clean now: some are on the medium, some never will be.
            inode.durable = inode.after_power_cut(&mut random).durable;
            inode.unsynced.clear();
            content.random = random;
            return Err(error(kind));
        }
        let unsynced = std::mem::take(&mut inode.unsynced);
        unsynced
            .iter()
            .for_each(|change| change.apply(&mut inode.durable));
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        content.plain_call()?;
        content.inodes[self.inode].change(Change::Length(length as usize));
        Ok(())
    }
}
