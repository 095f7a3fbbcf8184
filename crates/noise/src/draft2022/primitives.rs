//! What the `snow` crate runs the pattern with: X25519, BLAKE2s and our AEADs, and randomness that was given.

use alloc::boxed::Box;

use blake2::{Blake2s256, Digest};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher as NoiseCipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::identity::ServerIdentity;
use super::negotiation::protocol_name;
use crate::HandshakeError;
use crate::aead::{Aead, Cipher, TAG};
use crate::symmetric::Key;

/// Longest AEAD message of the handshake, in bytes: the older certificate and its tag, rounded up.
const MESSAGE_BYTES_MAX: usize = 96;

/// A Noise state before act 1; with `identity` that of a responder.
pub(super) fn state(
    aead: Aead,
    prologue: &[u8],
    ephemeral: &Key,
    identity: Option<&ServerIdentity>,
) -> Result<HandshakeState, HandshakeError> {
    let params = protocol_name(aead).parse().map_err(HandshakeError::from_snow)?;
    let primitives = Primitives {
        aead,
        ephemeral: ephemeral.clone(),
        pair: identity.map_or_else(Pair::default, |server| server.pair().clone()),
    };
    let builder = Builder::with_resolver(params, Box::new(primitives));
    let builder = builder.prologue(prologue).map_err(HandshakeError::from_snow)?;
    match identity {
        Some(server) => builder
            .local_private_key(server.pair().secret.as_bytes())
            .and_then(Builder::build_responder),
        None => builder.build_initiator(),
    }
    .map_err(HandshakeError::from_snow)
}

/// An X25519 secret, wiped when dropped, and its public key.
#[derive(Clone)]
pub(super) struct Pair {
    secret: StaticSecret,
    public: PublicKey,
}

impl Default for Pair {
    /// Stands where a pair is still to be made.
    fn default() -> Self {
        Self {
            secret: StaticSecret::from([0; 32]),
            public: PublicKey::from([0; 32]),
        }
    }
}

impl Pair {
    /// The pair of 32 random bytes; `None` if they are all 0, which no source of randomness gives.
    pub(super) fn new(secret: [u8; 32]) -> Option<Self> {
        (secret != [0; 32]).then(|| {
            let secret = StaticSecret::from(secret);
            let public = PublicKey::from(&secret);
            Self { secret, public }
        })
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    fn take(&mut self, secret: &[u8; 32]) {
        // A server's static key comes with its public half: it is not derived anew for every connection.
        if secret != self.secret.as_bytes() {
            self.secret = StaticSecret::from(*secret);
            self.public = PublicKey::from(&self.secret);
        }
    }
}

impl Dh for Pair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        if let Some(secret) = privkey.first_chunk() {
            self.take(secret);
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(secret.as_mut_slice())?;
        self.take(&secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// Refuses a shared secret of zeros: the peer's key has small order, and anybody knows the result.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let theirs: &[u8; 32] = pubkey.first_chunk().ok_or(Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*theirs));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        let out = out.first_chunk_mut().ok_or(Error::Dh)?;
        *out = *shared.as_bytes();
        Ok(())
    }
}

/// Gives the primitives out.
struct Primitives {
    aead: Aead,
    ephemeral: Key,
    pair: Pair,
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Given(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::new(self.pair.clone()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::new(Blake2s::default()) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn NoiseCipher>> {
        Some(Box::new(Sealing {
            aead: self.aead,
            key: Key::default(),
        }))
    }
}

/// Randomness for one key. Nothing here draws any of its own.
struct Given(Option<Key>);

impl Random for Given {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let given = self.0.take().ok_or(Error::Rng)?;
        let dest = dest.first_chunk_mut::<32>().ok_or(Error::Rng)?;
        *dest = *given;
        Ok(())
    }
}

#[derive(Default)]
struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = self.0.finalize_reset();
        out[..32].copy_from_slice(&hash);
    }
}

/// Our AEADs for the two messages of the handshake; the transport has its own keys and counters.
struct Sealing {
    aead: Aead,
    key: Key,
}

impl NoiseCipher for Sealing {
    fn name(&self) -> &'static str {
        match self.aead {
            Aead::ChaChaPoly => "ChaChaPoly",
            Aead::AesGcm => "AESGCM",
        }
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.key = *key;
    }

    /// Gives 0 where there is no room; act 2 then has a wrong length, which is looked at.
    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let sealed = plaintext.len() + TAG;
        let Some((text, tag)) = out
            .get_mut(..sealed)
            .and_then(|out| out.split_last_chunk_mut::<TAG>())
        else {
            return 0;
        };
        text.copy_from_slice(plaintext);
        match Cipher::starting_at(self.aead, &self.key, nonce).seal(authtext, text) {
            Ok(written) => {
                *tag = written;
                sealed
            }
            Err(_) => 0,
        }
    }

    fn decrypt(&self, nonce: u64, authtext: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let message = buffer.get_mut(..sealed.len()).ok_or(Error::Decrypt)?;
        message.copy_from_slice(sealed);
        Cipher::starting_at(self.aead, &self.key, nonce)
            .open(authtext, message)
            .map_err(|_| Error::Decrypt)?;
        let text = &message[..sealed.len() - TAG];
        out.get_mut(..text.len())
            .ok_or(Error::Decrypt)?
            .copy_from_slice(text);
        Ok(text.len())
    }
}
