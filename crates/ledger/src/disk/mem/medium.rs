//! What is on the medium, what is only shown, and what a power cut leaves.

const PAGE_BYTES: usize = 4096;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                if bytes.len() < offset + data.len() {
                    bytes.resize(offset + data.len(), 0);
                }
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl Inode {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    /// What the medium holds when any subset of the unsynced pages reached it, one page torn.
    pub(super) fn after_power_cut(&self, random: &mut u64) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Length(_) if draw(random).is_multiple_of(2) => change.apply(&mut bytes),
                Change::Length(_) => {}
                Change::Write(offset, data) => keep_some_pages(*offset, data, &mut bytes, random),
            }
        }
        Self {
            seen: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
        }
    }
}

fn keep_some_pages(offset: usize, data: &[u8], bytes: &mut Vec<u8>, random: &mut u64) {
    let mut from = 0;
    while from < data.len() {
        let end = data.len().min(from + PAGE_BYTES - (offset + from) % PAGE_BYTES);
        let kept = match draw(random) % 4 {
            0 => 0,
            1 => draw(random) as usize % (end - from + 1),
            _ => end - from,
        };
        if kept > 0 {
            Change::Write(offset + from, data[from..from + kept].to_vec()).apply(bytes);
        }
        from = end;
    }
}

/// One step of xorshift64*.
pub(super) fn draw(random: &mut u64) -> u64 {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
}
