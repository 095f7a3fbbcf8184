//! Job distribution protocol: the seeds number it and leave it to a document, which is `docs/job-distribution.md` of
//! this project. The server is the distributor, a job negotiator; no message carries the channel bit.

use crate::types::{B0_32, B0_64K, B0_255, Seq0_255, Str0_255, U256};

messages! {
    extension 0x0000;
    to_server {
        /// The receiver's pool did not take a distributed job, job distribution 4.5.
        JobRefused = 0x84, "JobRefused", connection {
            /// The job.
            job_id: u32,
            /// The pool's own code, or one of [`refusal::JobRefused`](crate::refusal::JobRefused).
            error_code: Str0_255,
        }
        /// A block found on a distributed job, job distribution 4.6.
        SubmitSolution = 0x85, "SubmitSolution", connection {
            /// The job.
            job_id: u32,
            /// The whole extranonce: the receiver's prefix and the rolled part.
            extranonce: B0_32,
            /// Header version.
            version: u32,
            /// Header time, in seconds since 1970.
            ntime: u32,
            /// Header nonce.
            nonce: u32,
        }
    }
    to_client {
        /// The pool that the following jobs are for, job distribution 4.1: the first message after setup. It ends all
        /// jobs of before.
        SetPool = 0x80, "SetPool", connection {
            /// Host of its mining endpoint, as text; empty: there is no pool at the moment.
            pool_host: Str0_255,
            /// Port of its mining endpoint.
            pool_port: u16,
            /// Its authority public key (PUBKEY); empty where its connections are not encrypted.
            pool_authority_key: B0_32,
            /// As whom channels must be opened for the tokens to be good; empty: as anybody.
            user_identity: Str0_255,
            /// What to ask for in OpenExtendedMiningChannel, so that the jobs fit the channel.
            min_extranonce_size: u16,
        }
        /// A negotiated job, job distribution 4.2.
        NewDistributedJob = 0x81, "NewDistributedJob", connection {
            /// The job; rises on a connection.
            job_id: u32,
            /// Smallest header time, in seconds since 1970; `None`: a future job, which waits for a SetNewPrevHash.
            min_ntime: Option<u32>,
            /// Token for SetCustomMiningJob.
            mining_job_token: B0_255,
            /// Bytes of the extranonce that the job was negotiated with: prefix and rolled part.
            full_extranonce_size: u16,
            /// Header version.
            version: u32,
            /// Coinbase transaction version.
            coinbase_tx_version: u32,
            /// First bytes of the coinbase scriptSig, up to the extranonce.
            coinbase_prefix: B0_255,
            /// nSequence of the coinbase input.
            coinbase_tx_input_n_sequence: u32,
            /// CompactSize count and the outputs, serialized.
            coinbase_tx_outputs: B0_64K,
            /// Coinbase lock time.
            coinbase_tx_locktime: u32,
            /// Hashes beside the coinbase's branch, deepest first.
            merkle_path: Seq0_255<U256>,
        }
        /// A new block to build on, and which future job does, job distribution 4.3.
        SetNewPrevHash = 0x82, "SetNewPrevHash", connection {
            /// The job to mine from now on; all others are over.
            job_id: u32,
            /// Header previous block hash, raw hash order.
            prev_hash: U256,
            /// Smallest header time, in seconds since 1970.
            min_ntime: u32,
            /// Header nBits.
            nbits: u32,
        }
        /// A job is not to be mined any more, or never, job distribution 4.4.
        WithdrawJob = 0x83, "WithdrawJob", connection {
            /// The job.
            job_id: u32,
            /// One of [`refusal::WithdrawJob`](crate::refusal::WithdrawJob).
            reason_code: Str0_255,
        }
    }
    both {}
}
