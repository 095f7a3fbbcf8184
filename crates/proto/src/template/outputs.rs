//! The outputs that a template asks for, taken apart.

use adit_wire::template::NewTemplate;
use bitcoin::TxOut;
use bitcoin::consensus::Decodable;
use core::fmt;

/// Outputs that must stand at the end of the coinbase, unchanged (REQ-TDP-018).
pub type Outputs = Vec<TxOut>;

/// Why the outputs of a template are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputsError {
    /// They do not decode.
    Malformed,
    /// There are fewer or more than the template counts.
    Count,
}

impl fmt::Display for OutputsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the outputs of the template do not decode",
            Self::Count => "the template counts its outputs wrongly",
        })
    }
}

/// Takes the outputs of a template apart. Their number stands beside them, not before them (REQ-TDP-019, REQ-TDP-020).
///
/// # Errors
/// When they are not as many as the template says, byte for byte.
pub(super) fn of(template: &NewTemplate) -> Result<Outputs, OutputsError> {
    let mut rest: &[u8] = &template.coinbase_tx_outputs;
    let mut outputs = Vec::new();
    while !rest.is_empty() {
        outputs.push(TxOut::consensus_decode(&mut rest).map_err(|_| OutputsError::Malformed)?);
    }
    match u32::try_from(outputs.len()) {
        Ok(count) if count == template.coinbase_tx_outputs_count => Ok(outputs),
        _ => Err(OutputsError::Count),
    }
}
