//! Tokens: unguessable, bound to their owner, used once, and gone after a while (spec 6.4.2, 6.4.3).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::Time;
use crate::mining::server::AccountId;

/// The right to declare or to set one job: 128 bits that nobody can guess, from the driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; Token::BYTES]);

impl Token {
    /// Bytes of a token.
    pub const BYTES: usize = 16;

    /// The token in a message, if it is one of ours by its form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The first half of its SHA-256: names the token in records without giving it away.
    pub fn fingerprint(&self) -> [u8; 16] {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.0);
        let mut half = [0; 16];
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        half
    }
}

/// Never in clear: whoever reads a log could take the job.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.fingerprint();
        write!(f, "Token({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// Bounds of a [`Tokens`].
#[derive(Clone, Copy, Debug)]
pub struct TokensSettings {
    /// How long a token is good.
    pub ttl: Duration,
    /// Most live tokens of a connection; a further one takes the place of its oldest.
    pub per_connection: usize,
    /// Most live tokens of all.
    pub total: usize,
}

/// What a token stands for. `J` is a declared job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<J> {
    /// The connection that asked for it.
    pub connection: u64,
    /// Whose it is.
    pub account: AccountId,
    /// The declared job that it stands for; none as long as nothing was declared with it.
    pub job: Option<J>,
    shared: Option<Shared>,
    until: Time,
}

/// What a token that is good on many connections was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shared {
    /// The job, by its fingerprint: there is no other with this token.
    print: [u8; 32],
    name: u64,
    uses: u32,
}

/// Times that a shared token is good.
pub(super) const USES_MAX: u32 = 65_536;

/// Why a token was not taken. One cause, so that an answer tells a thief nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError;

/// The live tokens of a pool.
#[derive(Debug)]
pub struct Tokens<J> {
    settings: TokensSettings,
    live: HashMap<Token, Grant<J>>,
    /// By connection, oldest first; may name tokens that are gone.
    by_connection: HashMap<u64, VecDeque<Token>>,
    /// All, oldest first: they end in this order. May name tokens that are gone.
    order: VecDeque<(Time, Token)>,
}

impl<J> Tokens<J> {
    /// An empty table.
    pub fn new(settings: TokensSettings) -> Self {
        Self {
            settings,
            live: HashMap::new(),
            by_connection: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Tokens that are live.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Makes `token` the right of `connection` and `account`, to declare with or, with a `job`, to set that. An error:
    /// the table is full.
    pub fn grant(
        &mut self,
        now: Time,
        token: Token,
        connection: u64,
        account: AccountId,
        job: Option<J>,
    ) -> Result<(), TokenError> {
        self.expire(now);
        let own = self.by_connection.entry(connection).or_default();
        own.retain(|token| self.live.contains_key(token));
        while own.len() >= self.settings.per_connection.max(1) {
            if let Some(oldest) = own.pop_front() {
                self.live.remove(&oldest);
            }
        }
        // A number that is there already was not random: nobody gets it twice.
        if self.live.len() >= self.settings.total || self.live.contains_key(&token) {
            return Err(TokenError);
        }
        own.push_back(token);
        let until = now + self.settings.ttl;
        self.order.push_back((until, token));
        self.live.insert(
            token,
            Grant {
                connection,
                account,
                job,
                shared: None,
                until,
            },
        );
        self.compact();
        Ok(())
    }

    /// Uses a token up to declare with: only its own connection can, and only before anything was declared with it. A
    /// failed attempt of anybody changes nothing.
    pub fn declare(&mut self, now: Time, token: Token, connection: u64) -> Result<AccountId, TokenError> {
        let good = |grant: &Grant<J>| grant.connection == connection && grant.job.is_none();
        let account = self
            .live(now, token)
            .filter(|grant| good(grant))
            .ok_or(TokenError)?
            .account;
        self.live.remove(&token);
        Ok(account)
    }

    /// Looks at the token that `account` sets a job with. It is used up by [`Tokens::take`] only.
    pub fn find(&self, now: Time, token: Token, account: &AccountId) -> Result<&Grant<J>, TokenError> {
        self.live(now, token)
            .filter(|grant| grant.account == *account)
            .ok_or(TokenError)
    }

    /// Uses a token that is good on many connections, for one job only, which is known by its fingerprint. Gives the name of
    /// that job: `fresh` the first time. An error: it was used for another job, or 65,536 times.
    pub fn share(&mut self, token: Token, print: [u8; 32], fresh: u64) -> Result<u64, TokenError> {
        let grant = self.live.get_mut(&token).ok_or(TokenError)?;
        let shared = grant.shared.get_or_insert(Shared {
            print,
            name: fresh,
            uses: 0,
        });
        if shared.print != print || shared.uses >= USES_MAX {
            return Err(TokenError);
        }
        shared.uses += 1;
        Ok(shared.name)
    }

    /// Uses a token up.
    pub fn take(&mut self, token: Token) -> Option<Grant<J>> {
        self.live.remove(&token)
    }

    /// The connection is gone, and its tokens with it.
    pub fn forget(&mut self, connection: u64) {
        for token in self.by_connection.remove(&connection).unwrap_or_default() {
            self.live.remove(&token);
        }
    }

    /// Ends what is too old.
    pub fn expire(&mut self, now: Time) {
        while let Some((until, token)) = self.order.front().copied() {
            let gone = self.live.get(&token).is_none_or(|grant| grant.until != until);
            if !gone && until > now {
                break;
            }
            self.order.pop_front();
            if !gone && let Some(grant) = self.live.remove(&token) {
                self.leave(grant.connection, token);
            }
        }
    }

    fn leave(&mut self, connection: u64, token: Token) {
        if let Some(own) = self.by_connection.get_mut(&connection) {
            own.retain(|other| *other != token);
            if own.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    fn live(&self, now: Time, token: Token) -> Option<&Grant<J>> {
        self.live.get(&token).filter(|grant| grant.until > now)
    }

    /// The queue names tokens that were used meanwhile: it must not grow with use.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.live.len() + 64 {
            let live = &self.live;
            self.order.retain(|(_, token)| live.contains_key(token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId([1; 16]);
    const BOB: AccountId = AccountId([2; 16]);

    fn tokens() -> Tokens<u32> {
        Tokens::new(TokensSettings {
            ttl: Duration::from_secs(60),
            per_connection: 8,
            total: 100,
        })
    }

    /// REQ-JD-007: B presents A's token, on its own connection or for its own account; A still succeeds, once.
    #[test]
    fn a_stolen_token_is_worth_nothing_and_stays_good_for_its_owner() {
        let (mut tokens, now, token) = (tokens(), Time(5), Token([7; 16]));
        tokens.grant(now, token, 1, ALICE, None).unwrap();
        assert_eq!(tokens.declare(now, token, 2), Err(TokenError));
        assert_eq!(tokens.find(now, token, &BOB), Err(TokenError));
        assert!(tokens.find(now, token, &ALICE).is_ok());
        assert_eq!(tokens.declare(now, token, 1), Ok(ALICE));
        assert_eq!(tokens.declare(now, token, 1), Err(TokenError), "used twice");
        assert_eq!(tokens.find(now, token, &ALICE), Err(TokenError));
    }

    #[test]
    fn a_declared_token_cannot_be_declared_with_again() {
        let (mut tokens, token) = (tokens(), Token([7; 16]));
        tokens.grant(Time(5), token, 1, ALICE, Some(9)).unwrap();
        assert_eq!(tokens.declare(Time(5), token, 1), Err(TokenError));
        assert_eq!(tokens.find(Time(5), token, &ALICE).unwrap().job, Some(9));
        assert_eq!(tokens.take(token).and_then(|grant| grant.job), Some(9));
        assert!(tokens.take(token).is_none());
    }

    /// REQ-JD-005: a flood of requests leaves eight tokens a connection, a cap on all, and nothing behind it.
    #[test]
    fn a_flood_leaves_eight_tokens_and_nothing_when_the_connection_ends() {
        let mut tokens = tokens();
        for n in 0..100_000u128 {
            let token = Token(n.to_be_bytes());
            tokens.grant(Time(1), token, 1, ALICE, None).unwrap();
        }
        assert_eq!(tokens.len(), 8);
        assert!(tokens.order.len() < 100 && tokens.by_connection[&1].len() == 8);
        for connection in 2..60u128 {
            for n in 0..8u128 {
                let token = Token((connection * 1_000_000 + n).to_be_bytes());
                let _ = tokens.grant(Time(1), token, connection as u64, BOB, None);
            }
        }
        assert_eq!(tokens.len(), 100);
        (1..60).for_each(|connection| tokens.forget(connection));
        assert!(tokens.is_empty() && tokens.by_connection.is_empty());
    }

    #[test]
    fn a_shared_token_stands_for_one_job() {
        let (mut tokens, token) = (tokens(), Token([7; 16]));
        tokens.grant(Time(5), token, 1, ALICE, Some(9)).unwrap();
        assert_eq!(tokens.share(token, [1; 32], 70), Ok(70));
        assert_eq!(tokens.share(token, [2; 32], 71), Err(TokenError), "another job");
        for _ in 1..USES_MAX {
            assert_eq!(tokens.share(token, [1; 32], 72), Ok(70));
        }
        assert_eq!(tokens.share(token, [1; 32], 73), Err(TokenError), "too often");
        assert!(tokens.find(Time(5), token, &ALICE).is_ok());
        assert_eq!(tokens.share(Token([8; 16]), [1; 32], 74), Err(TokenError));
    }

    #[test]
    fn tokens_end_with_time() {
        let (mut tokens, token) = (tokens(), Token([7; 16]));
        tokens.grant(Time(0), token, 1, ALICE, None).unwrap();
        let (before, after) = (Time(59_999_999), Time(60_000_000));
        assert!(tokens.find(before, token, &ALICE).is_ok());
        assert_eq!(tokens.find(after, token, &ALICE), Err(TokenError));
        tokens.expire(after);
        assert!(tokens.is_empty() && tokens.order.is_empty() && tokens.by_connection.is_empty());
    }

    #[test]
    fn a_token_is_never_printed() {
        let token = Token([0xab; 16]);
        assert!(!format!("{token:?}").contains("abab"));
        assert_eq!(Token::read(&[1; 15]), None);
        assert_eq!(Token::read(&[1; 16]), Some(Token([1; 16])));
    }
}
