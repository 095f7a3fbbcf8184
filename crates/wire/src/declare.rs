//! Job declaration protocol (job negotiation in the seeds), spec 6.4. No message carries the channel bit.

use crate::types::{B0_32, B0_64K, B0_255, Seq0_64K, Str0_255, TransactionList, U256};

messages! {
    extension 0x0000;
    to_server {
        /// Asks for a token to make a job with, spec 6.4.2.
        AllocateMiningJobToken = 0x50, "AllocateMiningJobToken", connection {
            /// Whom to pay, in the pool's own terms.
            user_identifier: Str0_255,
            /// Chosen by the client, repeated in the answer.
            request_id: u32,
        }
        /// The transactions asked for, spec 6.4.8.
        ProvideMissingTransactionsSuccess = 0x56, "ProvideMissingTransactions.Success", connection {
            /// The request answered.
            request_id: u32,
            /// The transactions, serialized with witness, in the order asked for.
            transaction_list: TransactionList,
        }
        /// Declares a job with its transactions (Full-Template mode), spec 6.4.4.
        DeclareMiningJob = 0x57, "DeclareMiningJob", connection {
            /// Chosen by the client, repeated in the answer.
            request_id: u32,
            /// Token from AllocateMiningJobToken.Success.
            mining_job_token: B0_255,
            /// Header version.
            version: u32,
            /// Coinbase bytes before the extranonce, with BIP141 fields.
            coinbase_tx_prefix: B0_64K,
            /// Coinbase bytes after the extranonce, with BIP141 fields.
            coinbase_tx_suffix: B0_64K,
            /// Witness ids of the transactions but the coinbase, in block order, raw hash order.
            wtxid_list: Seq0_64K<U256>,
            /// More data for checking the job.
            excess_data: B0_64K,
        }
        /// A block found on a declared job, spec 6.4.9.
        PushSolution = 0x60, "PushSolution", connection {
            /// The whole extranonce: prefix and rolled part.
            extranonce: B0_32,
            /// Header previous block hash, raw hash order.
            prev_hash: U256,
            /// Header nonce.
            nonce: u32,
            /// Header time, in seconds since 1970.
            ntime: u32,
            /// Header nBits.
            nbits: u32,
            /// Header version.
            version: u32,
        }
    }
    to_client {
        /// A token, and what the coinbase must pay, spec 6.4.3.
        AllocateMiningJobTokenSuccess = 0x51, "AllocateMiningJobToken.Success", connection {
            /// The request answered.
            request_id: u32,
            /// Token for DeclareMiningJob or SetCustomMiningJob.
            mining_job_token: B0_255,
            /// CompactSize count and the outputs, serialized; the first pays the pool.
            coinbase_tx_outputs: B0_64K,
        }
        /// Asks for transactions of a declared job, spec 6.4.7.
        ProvideMissingTransactions = 0x55, "ProvideMissingTransactions", connection {
            /// The request of DeclareMiningJob.
            request_id: u32,
            /// Places in `wtxid_list`, from 0.
            unknown_tx_position_list: Seq0_64K<u16>,
        }
        /// A declared job is accepted, spec 6.4.5.
        DeclareMiningJobSuccess = 0x58, "DeclareMiningJob.Success", connection {
            /// The request answered.
            request_id: u32,
            /// Token for SetCustomMiningJob.
            new_mining_job_token: B0_255,
        }
        /// A declared job is refused, spec 6.4.6.
        DeclareMiningJobError = 0x59, "DeclareMiningJob.Error", connection {
            /// The request answered.
            request_id: u32,
            /// One of [`refusal::DeclareMiningJob`](crate::refusal::DeclareMiningJob).
            error_code: Str0_255,
            /// More about the cause.
            error_details: B0_64K,
        }
    }
    both {}
}
