//! The treasury: looks at the book now and then, and says what outputs follow from it.
//!
//! It works beside the hub: a new tip never waits for it. A snapshot has a new number when anything in it has changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_ledger::payout::{Claim, Payee, Rules, Snapshot};
use adit_ledger::{AccountBook, AccountId, Book, Statement, Window};
use adit_net::Clock;
use bitcoin::Script;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use super::Names;
use crate::fleet::{Common, Sharing};

/// What of the work that a window needs is kept: so much as it can need after the largest step of difficulty (consensus),
/// so that a restart never changes what is in it.
const KEPT_WINDOWS: u128 = 4;

/// How long a front end waits at its start for what the others have said.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How far another front end's clock may be ahead, microseconds.
const AHEAD_MAX_US: u64 = 600_000_000;

/// What makes snapshots.
pub(crate) struct Treasury {
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) names: Arc<Names>,
    pub(crate) rules: watch::Receiver<Rules>,
    /// Length of the window in blocks' worth of work.
    pub(crate) window_blocks: u32,
    pub(crate) clock: Clock,
    /// Whether miners share a coinbase or balances: otherwise nobody claims anything.
    pub(crate) pools: bool,
    /// Whom accounts pay, as far as it was asked; `None` is nobody.
    pub(crate) known: HashMap<AccountId, Option<Payee>>,
}

/// When it looks, and whom it tells.
pub(crate) struct Looks {
    /// Expected hashes of a block.
    pub(crate) block_work: watch::Receiver<u128>,
    /// The book has changed by more than shares.
    pub(crate) wake: Arc<Notify>,
    /// Between two looks.
    pub(crate) every: Duration,
    pub(crate) to: watch::Sender<Arc<Snapshot>>,
}

impl Looks {
    /// Waits for news; `false` when whoever tells the work of a block is gone.
    async fn news(wake: &Notify, block_work: &mut watch::Receiver<u128>) -> bool {
        tokio::select! {
            () = wake.notified() => true,
            changed = block_work.changed() => changed.is_ok(),
        }
    }
}

impl Treasury {
    /// Runs alone, until whoever tells the work of a block is gone.
    pub(crate) async fn run(mut self, mut looks: Looks) {
        loop {
            match self.look(&mut looks, None).await {
                Some(treasury) => self = treasury,
                None => return,
            }
            let news = Looks::news(&looks.wake, &mut looks.block_work);
            tokio::select! {
                () = tokio::time::sleep(looks.every) => {}
                there = news => if !there {
                    return;
                },
            }
        }
    }

    /// Runs as one of several front ends, all of which come to the same split at the same time: in the middle between two
    /// looks each says what is in its book, and with the next look all go by what all have said.
    pub(crate) async fn run_together(mut self, common: Common, mut looks: Looks) {
        let clock = self.clock.clone();
        let every = looks.every;
        let mut said = match self.say(&common).await {
            Some((treasury, statement)) => {
                self = treasury;
                statement
            }
            None => return,
        };
        // Without an answer it begins with its own book.
        let _ = tokio::time::timeout(FIRST_LOOK, common.first_look()).await;
        let mut agreed = Agreed::on(&common, &said);
        let (mut to_say, mut to_look) = (
            next(&clock, every, every / 2),
            next(&clock, every, Duration::ZERO),
        );
        loop {
            match self.look(&mut looks, Some(&agreed.statements)).await {
                Some(treasury) => self = treasury,
                None => return,
            }
            common.note(agreed.sharing(&looks.to.borrow()));
            loop {
                let news = Looks::news(&looks.wake, &mut looks.block_work);
                tokio::select! {
                    () = tokio::time::sleep_until(to_say) => {
                        to_say = next(&clock, every, every / 2);
                        match self.say(&common).await {
                            Some((treasury, statement)) => (self, said) = (treasury, statement),
                            None => return,
                        }
                    }
                    () = tokio::time::sleep_until(to_look) => {
                        to_look = next(&clock, every, Duration::ZERO);
                        agreed = Agreed::on(&common, &said);
                        break;
                    }
                    there = news => match there {
                        true => break,
                        false => return,
                    },
                }
            }
        }
    }

    /// Looks at what was said, or at the own book, and tells what is new; `None` when it broke.
    async fn look(self, looks: &mut Looks, said: Option<&Arc<Vec<Arc<Statement>>>>) -> Option<Self> {
        let work = *looks.block_work.borrow_and_update();
        let last = Arc::clone(&looks.to.borrow());
        let said = said.map(Arc::clone);
        let next = move |it: &mut Self| it.next(&last, work, said.as_ref().map(|said| said.as_slice()));
        let (treasury, next) = self.aside(next).await?;
        if let Some(next) = next {
            tracing::debug!(
                number = next.number,
                claims = next.claims.len(),
                "payouts follow from the book anew"
            );
            looks.to.send_replace(Arc::new(next));
        }
        Some(treasury)
    }

    /// Says what is in the book now; `None` when it broke.
    async fn say(self, common: &Common) -> Option<(Self, Arc<Statement>)> {
        let (treasury, statement) = self.aside(Self::statement).await?;
        let statement = Arc::new(statement);
        common.say(Arc::clone(&statement));
        Some((treasury, statement))
    }

    /// Does what takes long beside everything else; `None` when it broke.
    async fn aside<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&mut Self) -> T + Send + 'static,
    ) -> Option<(Self, T)> {
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut self);
            (self, done)
        });
        let done = done.await;
        if done.is_err() {
            tracing::error!("the treasury broke: payouts stay as they are");
        }
        done.ok()
    }

    /// The snapshot of now, if it is another than the last: of what front ends have said, or of the own book alone.
    fn next(
        &mut self,
        last: &Snapshot,
        block_work: u128,
        said: Option<&[Arc<Statement>]>,
    ) -> Option<Snapshot> {
        let window = block_work.saturating_mul(self.window_blocks.into());
        let number = self.clock.now().0.max(last.number + 1);
        // As it is at the start, before any template: nothing is forgotten, nothing claimed.
        if window > 0 {
            self.lock().keep_window(window.saturating_mul(KEPT_WINDOWS));
        }
        let next = match said {
            Some(said) => self.snapshot_of(number, window, said),
            None => self.snapshot(number, window),
        };
        let of = |it: &Snapshot| (it.window, it.work);
        let same = of(&next) == of(last) && next.rules == last.rules && next.claims == last.claims;
        (!same || last.number == 0).then_some(next)
    }

    /// What follows from the book.
    pub(crate) fn snapshot(&mut self, number: u64, window: u128) -> Snapshot {
        if !self.pools {
            return Snapshot::new(number, self.rules.borrow().clone(), Vec::new(), window, 0);
        }
        self.snapshot_of(number, window, &[Arc::new(self.sums())])
    }

    /// What follows from what was said.
    fn snapshot_of(&mut self, number: u64, window: u128, said: &[Arc<Statement>]) -> Snapshot {
        let rules = self.rules.borrow().clone();
        let mut windows: Vec<Window> = said.iter().map(|it| it.window.clone()).collect();
        let weights = Window::weights_of(&mut windows, window);
        let work = weights.work;
        let weights = weights.accounts.into_iter();
        let weights = weights.map(|(account, weight)| (account, weight, 0));
        let carries = said.iter().flat_map(|it| it.carries.iter());
        let carries = carries.map(|(account, carry)| (*account, 0, *carry));
        let claims = weights.chain(carries).filter_map(|(account, weight, carry_sat)| {
            Some(Claim {
                payee: self.payee(account, said)?,
                weight,
                carry_sat,
            })
        });
        let claims = claims.collect();
        Snapshot::new(number, rules, claims, window, work)
    }

    /// Window and carries of the book.
    fn sums(&self) -> Statement {
        let book = self.lock();
        Statement {
            number: self.clock.now().0,
            window: book.window().clone(),
            carries: Arc::new(book.money().carries()),
            ..Statement::default()
        }
    }

    /// The same with what others have to know of whom that is.
    fn statement(&mut self) -> Statement {
        let sums = self.sums();
        let pool = self.rules.borrow().pool.id;
        let named: HashSet<AccountId> = sums
            .window
            .accounts()
            .chain(sums.carries.keys())
            .copied()
            .collect();
        let scripts = named.into_iter().filter(|account| *account != pool);
        let scripts = scripts.filter_map(|account| Some((account, self.payee(account, &[])?.script)));
        Statement {
            scripts: Arc::new(scripts.collect()),
            ..sums
        }
    }

    /// Whom an account pays: by its name in the book, or else by what another front end has said.
    fn payee(&mut self, account: AccountId, said: &[Arc<Statement>]) -> Option<Payee> {
        let pool = self.rules.borrow().pool.clone();
        if account == pool.id {
            return Some(pool);
        }
        if let Some(known) = self.known.get(&account) {
            return known.clone();
        }
        // A name of several records may not be whole yet.
        let name = self.lock().account(&account).and_then(AccountBook::name);
        let payee = match name {
            Some(name) => self.names.payee(&name).ok().map(|(payee, _)| payee),
            None => {
                let script = said.iter().find_map(|it| it.scripts.get(&account))?;
                Some(self.names.payee_of(Script::from_bytes(script))?)
            }
        };
        self.known.insert(account, payee.clone());
        payee
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the wall clock, counted in steps of `every`, is `phase` past a step the next time.
fn next(clock: &Clock, every: Duration, phase: Duration) -> tokio::time::Instant {
    let micros = |of: Duration| u64::try_from(of.as_micros()).unwrap_or(u64::MAX);
    let (now, every) = (clock.now().0, micros(every));
    let past = now.wrapping_sub(micros(phase)) % every;
    tokio::time::Instant::now() + Duration::from_micros(every - past)
}

/// What all front ends have said, from one look to the next.
struct Agreed {
    statements: Arc<Vec<Arc<Statement>>>,
    trouble: String,
}

impl Agreed {
    fn on(common: &Common, said: &Arc<Statement>) -> Self {
        let heard = common.heard();
        // A clock that is wrong by so much would make old work of everybody's.
        let newest_max = said.number.saturating_add(AHEAD_MAX_US);
        let (good, ahead): (Vec<_>, Vec<_>) = (heard.statements.into_iter())
            .partition(|(_, statement)| statement.number.max(statement.window.newest_us()) <= newest_max);
        let mut trouble = heard.trouble;
        if let Some((front_end, _)) = ahead.first() {
            trouble = format!(
                "the clock of front end {front_end} is far ahead of ours: its work is left out until they agree"
            );
            tracing::warn!(trouble);
        }
        let others = good.into_iter().map(|(_, statement)| statement);
        Self {
            statements: Arc::new(others.chain([Arc::clone(said)]).collect()),
            trouble,
        }
    }

    fn sharing(&self, snapshot: &Snapshot) -> Sharing {
        Sharing {
            common: true,
            front_ends: self.statements.len(),
            split: checksum(snapshot),
            trouble: self.trouble.clone(),
        }
    }
}

/// A checksum of how blocks are shared out.
fn checksum(snapshot: &Snapshot) -> String {
    let mut digest = Sha256::new();
    digest.update(snapshot.window.to_le_bytes());
    for claim in &snapshot.claims {
        digest.update(claim.payee.id);
        digest.update(claim.weight.to_le_bytes());
        digest.update(claim.carry_sat.to_le_bytes());
    }
    let digest = digest.finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::payout;
    use crate::payout::tests::{name, tell};
    use adit_ledger::record::{Credit, Entry, Share};

    const A: &str = "bcrt1qft5p2uhsdcdc3l2ua4ap5qqfg4pjaqlp250x7us7a8qqhrxrxfsqseac85";

    fn work(book: &mut Book, of: &str, work: u64, solo: bool) {
        let share = Share {
            account: name(book, of),
            worker: None,
            hash: [9; 32],
            work,
            channel: 1,
            time_us: 1_000_000,
            ntime: 0,
            nonce: 0,
            version: 0,
            height: 0,
            is_block: false,
            solo,
        };
        tell(book, Entry::Share(share));
    }

    fn treasury(settings: &Settings, book: Book) -> Treasury {
        Treasury {
            book: Arc::new(Mutex::new(book)),
            names: Arc::new(Names::of(settings)),
            rules: watch::channel(payout::rules(settings)).1,
            window_blocks: 8,
            clock: Clock::system(),
            pools: true,
            known: HashMap::new(),
        }
    }

    /// A block whose coinbase paid `received` of what an account earned.
    fn block(book: &mut Book, n: u8, lines: &[(&str, u64, u64)]) {
        for (line, (of, earned_sat, received_sat)) in lines.iter().enumerate() {
            let credit = Credit {
                account: name(book, of),
                block: [n; 32],
                height: u32::from(n),
                earned_sat: *earned_sat,
                received_sat: *received_sat,
                line: line as u32,
                lines: lines.len() as u32,
            };
            tell(book, Entry::Credit(credit));
        }
    }

    /// However work and blocks came apart, front ends that have heard each other come to the split of one book that has it all,
    /// also where one of them has never seen a name.
    #[test]
    fn what_all_have_said_is_one_book() {
        let settings = Settings::with(&[("payout.scheme", "pplns"), ("payout.fee_bp", "100")]).unwrap();
        let [a, b, c] = [1, 2, 3].map(|n| crate::config::Payout::throw_away(n).text);
        let (mut whole, mut one, mut two) = (Book::default(), Book::default(), Book::default());
        for (book, is_first) in [(&mut one, true), (&mut two, false)] {
            for (name, done) in [(&a, 70), (&b, 5)] {
                work(book, name, done, false);
                work(&mut whole, name, done, false);
            }
            if !is_first {
                work(book, &c, 40, false);
                work(&mut whole, &c, 40, false);
                work(book, &format!("solo:{c}"), 9, true);
                // The second front end's block paid what the first one's had left.
                block(book, 8, &[(&a, 0, 300), (&c, 300, 0)]);
                block(&mut whole, 8, &[(&a, 0, 300), (&c, 300, 0)]);
            } else {
                block(book, 7, &[(&a, 1_000, 700), (&b, 500, 800)]);
                block(&mut whole, 7, &[(&a, 1_000, 700), (&b, 500, 800)]);
            }
        }
        let mut treasuries = [treasury(&settings, one), treasury(&settings, two)];
        let said: Vec<_> = treasuries.iter_mut().map(|it| Arc::new(it.statement())).collect();
        let expected = treasury(&settings, whole).snapshot(5, 1_000);
        assert_eq!((expected.claims.len(), expected.work), (3, 190));
        for treasury in &mut treasuries {
            let mut both = said.clone();
            assert_eq!(treasury.snapshot_of(5, 1_000, &both), expected);
            both.reverse();
            assert_eq!(treasury.snapshot_of(5, 1_000, &both), expected);
            // A window that ends inside of the work, too.
            let part = treasury.snapshot_of(5, 95, &both);
            let weights: u128 = part.claims.iter().map(|claim| claim.weight).sum();
            assert!(part.work == 95 && (93..=95).contains(&weights));
        }
    }

    /// Steps of the wall clock are the same for all, whoever began when.
    #[test]
    fn steps_are_those_of_the_wall_clock() {
        let clock = Clock::system();
        let every = Duration::from_secs(10);
        for phase in [Duration::ZERO, every / 4, every / 2] {
            let wait = next(&clock, every, phase).duration_since(tokio::time::Instant::now());
            assert!(wait <= every);
            let off = (clock.now().0 + wait.as_micros() as u64 - phase.as_micros() as u64) % 10_000_000;
            // But for what passes between two readings of the clocks.
            assert!(off.min(10_000_000 - off) < 1_000_000, "{off}");
        }
    }

    /// Work from the future of a wrong clock is left out, and said.
    #[test]
    fn a_clock_that_is_far_ahead_is_left_out() {
        let said = |number| {
            Arc::new(Statement {
                number,
                ..Statement::default()
            })
        };
        let (common, carrier) = crate::fleet::exchange::pair(&Clock::system());
        carrier.tell(|heard| {
            heard.statements.insert(4, said(1_000 + AHEAD_MAX_US));
            heard.statements.insert(5, said(1_001 + AHEAD_MAX_US));
        });
        let agreed = Agreed::on(&common, &said(1_000));
        assert_eq!(agreed.statements.len(), 2);
        assert!(agreed.trouble.contains("front end 5"), "{}", agreed.trouble);
    }

    /// All names of one payee are one claim; solo work and names that nobody can pay are none.
    #[test]
    fn a_snapshot_is_made_of_payees() {
        let settings = Settings::with(&[("payout.scheme", "pplns"), ("payout.other", "solo")]).unwrap();
        let mut book = Book::default();
        work(&mut book, &format!("{A}.one"), 5, false);
        work(&mut book, &format!("{A}.two"), 6, false);
        work(&mut book, &format!("pool:{A}"), 7, false);
        work(&mut book, &format!("solo:{A}"), 100, true);
        work(&mut book, "somebody", 9, false);
        let mut treasury = treasury(&settings, book);
        let none = Snapshot::new(0, payout::rules(&settings), Vec::new(), 0, 0);
        let first = treasury.next(&none, 100, None).unwrap();
        assert_eq!((first.claims.len(), first.claims[0].weight), (1, 18));
        assert_eq!((first.window, first.work), (800, 27));
        // Nothing happened: it is the same one.
        assert_eq!(treasury.next(&first, 100, None), None);
        let shorter = treasury.next(&first, 1, None).unwrap();
        assert!(shorter.number > first.number && shorter.work == 8);
        assert_eq!(treasury.lock().window().work(), 27, "four windows are kept");
    }
}
