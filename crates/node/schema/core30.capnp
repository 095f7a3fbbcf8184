# What Bitcoin Core 30 speaks and later versions do not: the same interfaces (by their ids) with other method numbers
# and parameters. Written from the facts of its wire format, for `cargo xtask capnp`.
#
# Version 31 moved `makeMining` to another number, so that neither version takes the other for its own.

@0xb3c5a1d94c6e8f21;

using Common = import "common.capnp";
using Proxy = import "/mp/proxy.capnp";

interface Init @0x8838c700ba5cba65 {
    construct @0 (threadMap :Proxy.ThreadMap) -> (threadMap :Proxy.ThreadMap);
    makeEcho @1 () -> ();
    makeMining @2 (context :Proxy.Context) -> (result :Mining);
}

interface Mining @0xf9c68436df3af39e {
    isTestChain @0 (context :Proxy.Context) -> (result :Bool);
    isInitialBlockDownload @1 (context :Proxy.Context) -> (result :Bool);
    getTip @2 (context :Proxy.Context) -> (result :Common.BlockRef, hasResult :Bool);
    waitTipChanged @3 (context :Proxy.Context, currentTip :Data, timeout :Float64) -> (result :Common.BlockRef);
    # Neither of these two has a context: they run on the node's event loop.
    createNewBlock @4 (options :CreateOptions) -> (result :BlockTemplate);
    checkBlock @5 (block :Data, options :CheckOptions) -> (reason :Text, debug :Text, result :Bool);
}

interface BlockTemplate @0xf9671ad841b2f622 {
    destroy @0 (context :Proxy.Context) -> ();
    getBlockHeader @1 (context :Proxy.Context) -> (result :Data);
    getBlock @2 (context :Proxy.Context) -> (result :Data);
    getTxFees @3 (context :Proxy.Context) -> (result :List(Int64));
    getTxSigops @4 (context :Proxy.Context) -> (result :List(Int64));
    # A transaction, not yet its parts.
    getCoinbaseTx @5 (context :Proxy.Context) -> (result :Data);
    getCoinbaseCommitment @6 (context :Proxy.Context) -> (result :Data);
    getWitnessCommitmentIndex @7 (context :Proxy.Context) -> (result :Int32);
    getCoinbaseMerklePath @8 (context :Proxy.Context) -> (result :List(Data));
    submitSolution @9 (context :Proxy.Context, version :UInt32, timestamp :UInt32, nonce :UInt32, coinbase :Data)
        -> (result :Bool);
    waitNext @10 (context :Proxy.Context, options :WaitOptions) -> (result :BlockTemplate);
    interruptWait @11 () -> ();
}

# Without defaults, which stand in the wire format of later versions.

struct CreateOptions {
    useMempool @0 :Bool;
    blockReservedWeight @1 :UInt64;
    coinbaseOutputMaxAdditionalSigops @2 :UInt64;
}

struct WaitOptions {
    timeout @0 :Float64;
    feeThreshold @1 :Int64;
}

struct CheckOptions {
    checkMerkleRoot @0 :Bool;
    checkPow @1 :Bool;
}
