//! Extension 0x0001, extensions negotiation: which other extensions a connection uses.

use crate::types::Seq0_64K;

messages! {
    extension 0x0001;
    to_server {
        /// The extensions a client wants, sent right after SetupConnection.Success (extension 0x0001, 2).
        RequestExtensions = 0x00, "RequestExtensions", connection {
            /// Chosen by the client, repeated in the answer.
            request_id: u16,
            /// Extension ids wanted.
            requested_extensions: Seq0_64K<u16>,
        }
    }
    to_client {
        /// The extensions that are in use from now on (extension 0x0001, 2).
        RequestExtensionsSuccess = 0x01, "RequestExtensions.Success", connection {
            /// The request answered.
            request_id: u16,
            /// Those of the request that the server supports.
            supported_extensions: Seq0_64K<u16>,
        }
        /// None of the extensions can be had, or one that the server requires is missing (extension 0x0001, 2).
        RequestExtensionsError = 0x02, "RequestExtensions.Error", connection {
            /// The request answered.
            request_id: u16,
            /// Those of the request that the server does not support.
            unsupported_extensions: Seq0_64K<u16>,
            /// Those that the server requires and the request lacks (C-33).
            required_extensions: Seq0_64K<u16>,
        }
    }
    both {}
}
