//! Frames as they are: no secrets, no authentication. For local networks, by the operator's explicit wish (REQ-SEC-001).

use alloc::vec::Vec;

use crate::Header;
use crate::framed::header_within;
use crate::records::{HEADER_BYTES, check};
use crate::session::{Feed, SessionError};

/// Both directions.
#[derive(Default)]
pub(crate) struct Plain {
    /// Header of the frame under way, so that its limit is asked for once.
    header: Option<Header>,
}

impl Plain {
    /// Appends `frame` to `out` if it is one.
    pub(crate) fn seal(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        check(frame)?;
        out.extend_from_slice(frame);
        Ok(())
    }

    /// See [`crate::Session::feed`].
    pub(crate) fn feed<'b>(
        &mut self,
        buf: &'b mut [u8],
        limit: impl FnOnce(&Header) -> u32,
    ) -> Result<Feed<'b>, SessionError> {
        let header = match (self.header, buf.first_chunk::<HEADER_BYTES>()) {
            (Some(header), _) => header,
            (None, None) => return Ok(Feed::Need(HEADER_BYTES)),
            (None, Some(bytes)) => {
                let header = Header::parse(*bytes);
                header_within(&header, limit(&header))?;
                header
            }
        };
        let used = HEADER_BYTES + header.msg_length as usize;
        let Some(payload) = buf.get(HEADER_BYTES..used) else {
            self.header = Some(header);
            return Ok(Feed::Need(used));
        };
        self.header = None;
        Ok(Feed::Frame {
            used,
            header,
            payload,
        })
    }
}
