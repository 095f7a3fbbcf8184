# What Bitcoin Core speaks since submitSolution tells a reason (its development branch after 31, to become 32). Its number
# changed; under the old one such a node answers with an error. Everything else that adit uses is as in version 31.
# Written from the facts of the wire format, for `cargo xtask capnp`.

@0x9d1f47a2c05be683;

using Proxy = import "/mp/proxy.capnp";

interface BlockTemplate @0xf9671ad841b2f622 {
    unused0 @0 () -> ();
    unused1 @1 () -> ();
    unused2 @2 () -> ();
    unused3 @3 () -> ();
    unused4 @4 () -> ();
    unused5 @5 () -> ();
    unused6 @6 () -> ();
    unused7 @7 () -> ();
    unused8 @8 () -> ();
    unused9 @9 () -> ();
    submitSolution @10 (context :Proxy.Context, version :UInt32, timestamp :UInt32, nonce :UInt32, coinbase :Data,
        precious :Bool = false) -> (reason :Text, debug :Text, result :Bool);
}
