//! Template distribution protocol, spec 7. The server is the template provider; no message carries the channel bit.

use crate::codec::DecodeError;
use crate::frame::Header;
use crate::message::Message;
use crate::types::{B0_64K, B0_255, Seq0_255, Str0_255, TransactionList, U256};

/// Signature operations that a client of 2022 has room for, which does not say how many it adds (C-79).
pub const SIGOPS_OF_2022: u16 = 400;
/// Payload of CoinbaseOutputDataSize, the message of 2022 that CoinbaseOutputConstraints grew from, in bytes.
const DATA_SIZE_BYTES: usize = 4;

/// Reads a client's message as [`ToServer::decode`] does, and takes the 4-byte form of 2022 of
/// [`CoinbaseOutputConstraints`] too, as one with room for [`SIGOPS_OF_2022`] (C-79).
///
/// # Errors
/// As [`ToServer::decode`].
pub fn decode_to_server(header: &Header, payload: &[u8]) -> Result<ToServer, DecodeError> {
    let is_constraints = header.extension() == CoinbaseOutputConstraints::EXTENSION
        && header.msg_type == CoinbaseOutputConstraints::TYPE;
    match payload.first_chunk::<DATA_SIZE_BYTES>() {
        Some(size) if is_constraints && payload.len() == DATA_SIZE_BYTES => {
            Ok(ToServer::from(CoinbaseOutputConstraints {
                coinbase_output_max_additional_size: u32::from_le_bytes(*size),
                coinbase_output_max_additional_sigops: SIGOPS_OF_2022,
            }))
        }
        _ => ToServer::decode(header, payload),
    }
}

messages! {
    extension 0x0000;
    to_server {
        /// Room that the client needs in the coinbase, spec 7.1: the first message after setup.
        CoinbaseOutputConstraints = 0x70, "CoinbaseOutputConstraints", connection {
            /// Bytes of the outputs that the client will add.
            coinbase_output_max_additional_size: u32,
            /// Signature operations in them.
            coinbase_output_max_additional_sigops: u16,
        }
        /// Asks for a template's transactions, spec 7.4.
        RequestTransactionData = 0x73, "RequestTransactionData", connection {
            /// The template.
            template_id: u64,
        }
        /// A block found on a template, spec 7.7.
        SubmitSolution = 0x76, "SubmitSolution", connection {
            /// The template.
            template_id: u64,
            /// Header version.
            version: u32,
            /// Header time, in seconds since 1970.
            header_timestamp: u32,
            /// Header nonce.
            header_nonce: u32,
            /// The whole coinbase transaction, with BIP141 fields.
            coinbase_tx: B0_64K,
        }
    }
    to_client {
        /// A block template, spec 7.2.
        NewTemplate = 0x71, "NewTemplate", connection {
            /// The template, unique on the connection.
            template_id: u64,
            /// Whether it waits for a SetNewPrevHash that names it.
            future_template: bool,
            /// Header version.
            version: u32,
            /// Coinbase transaction version.
            coinbase_tx_version: u32,
            /// First bytes of the coinbase scriptSig (BIP34 height); at most 8.
            coinbase_prefix: B0_255,
            /// nSequence of the coinbase input.
            coinbase_tx_input_sequence: u32,
            /// Value that the client's outputs may share out, in satoshis.
            coinbase_tx_value_remaining: u64,
            /// Outputs in `coinbase_tx_outputs`.
            coinbase_tx_outputs_count: u32,
            /// Outputs that must stand at the end, serialized, without a count before them.
            coinbase_tx_outputs: B0_64K,
            /// Coinbase lock time.
            coinbase_tx_locktime: u32,
            /// Hashes beside the coinbase's branch, deepest first.
            merkle_path: Seq0_255<U256>,
        }
        /// A new block to build on, spec 7.3.
        SetNewPrevHash = 0x72, "SetNewPrevHash", connection {
            /// The future template to use from now on.
            template_id: u64,
            /// Header previous block hash, raw hash order.
            prev_hash: U256,
            /// Header time to start with (not the smallest), in seconds since 1970.
            header_timestamp: u32,
            /// Header nBits.
            n_bits: u32,
            /// Highest hash of a block; at most what `n_bits` says.
            target: U256,
        }
        /// A template's transactions, spec 7.5.
        RequestTransactionDataSuccess = 0x74, "RequestTransactionData.Success", connection {
            /// The template.
            template_id: u64,
            /// More data for checking the block.
            excess_data: B0_64K,
            /// All transactions but the coinbase, serialized with witness, in block order (C-81).
            transaction_list: TransactionList,
        }
        /// A template's transactions are not to be had, spec 7.6.
        RequestTransactionDataError = 0x75, "RequestTransactionData.Error", connection {
            /// The template.
            template_id: u64,
            /// One of [`refusal::RequestTransactionData`](crate::refusal::RequestTransactionData).
            error_code: Str0_255,
        }
    }
    both {}
}
