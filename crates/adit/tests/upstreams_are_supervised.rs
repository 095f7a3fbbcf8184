//! Which upstream is worked for: ordered, with fallback at once, return after a while, and patience that grows.
#![allow(clippy::unwrap_used, reason = "a scenario that cannot be set up fails")]

use std::time::Duration;

use adit::uplink::Cause;
use adit::uplink::supervisor::{Choice, Input, Output, Settings, Supervisor};
use adit_proto::Time;
use proptest::prelude::*;

const NOW: Time = Time(1_800_000_000_000_000);

struct World {
    supervisor: Supervisor,
    now: Time,
    up: Vec<bool>,
    connected: Vec<bool>,
    ready: Vec<bool>,
    choice: Choice,
}

impl World {
    fn new(count: usize) -> Self {
        Self::splitting(&vec![false; count])
    }

    /// Those that are true share the work.
    fn splitting(members: &[bool]) -> Self {
        let count = members.len();
        let supervisor = Supervisor::new(Settings::default(), count);
        let mut world = Self {
            supervisor: supervisor.splitting(members.iter().copied()),
            now: NOW,
            up: vec![true; count],
            connected: vec![false; count],
            ready: vec![false; count],
            choice: Choice::Solo,
        };
        world.tell(Input::Start);
        world
    }

    fn tell(&mut self, input: Input) {
        let mut out = Vec::new();
        self.supervisor.handle(self.now, input, &mut out);
        for output in &out {
            match *output {
                Output::Connect { upstream } => {
                    assert!(!self.connected[upstream], "connected twice");
                    self.connected[upstream] = true;
                }
                Output::Disconnect { upstream } => {
                    assert!(self.connected[upstream], "ends what is not there");
                    self.connected[upstream] = false;
                    self.ready[upstream] = false;
                }
                Output::Use(choice) => self.choice = choice,
            }
        }
        assert_eq!(self.choice, self.supervisor.choice());
    }

    /// Lets time pass; whoever is up answers at once, whoever is not refuses.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            self.answer();
            match self.supervisor.deadline() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(Input::Deadline);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the deadline does not move on");
    }

    fn answer(&mut self) {
        for upstream in 0..self.up.len() {
            if !self.connected[upstream] {
                continue;
            }
            if self.up[upstream] {
                self.ready[upstream] = true;
                self.tell(Input::Ready { upstream });
            } else {
                self.fail(upstream, Cause::Unreachable);
            }
        }
    }

    fn fail(&mut self, upstream: usize, cause: Cause) {
        self.connected[upstream] = false;
        self.ready[upstream] = false;
        let dice = self.now.0;
        self.tell(Input::Down {
            upstream,
            cause,
            dice,
        });
    }
}

/// REQ-JD-038, REQ-MIN-093: whatever the cause, the next of the list is used at once, and without one we mine alone.
#[test]
fn every_cause_leads_to_the_next_upstream_and_then_to_solo() {
    for cause in [
        Cause::Lost,
        Cause::Silent,
        Cause::NoToken,
        Cause::DeclarationUnanswered,
        Cause::DeclarationRefused,
        Cause::JobUnanswered,
        Cause::JobRefused,
        Cause::SharesRefused,
        Cause::Misbehaved,
    ] {
        let mut world = World::new(2);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.choice, Choice::Upstream(0));
        world.up = vec![false, true];
        world.fail(0, cause);
        assert_eq!(world.choice, Choice::Upstream(1), "{cause:?}");
        world.up = vec![false, false];
        world.fail(1, cause);
        assert_eq!(world.choice, Choice::Solo, "{cause:?}");
    }
}

#[test]
fn the_preferred_upstream_comes_back_when_it_has_been_well_for_a_while() {
    let mut world = World::new(2);
    world.pass(Duration::from_millis(1));
    world.fail(0, Cause::Lost);
    assert_eq!(world.choice, Choice::Upstream(1));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.choice, Choice::Upstream(1), "too early");
    world.pass(Duration::from_secs(10));
    assert_eq!(world.choice, Choice::Upstream(0));
}

/// All that share the work are kept, one that fails changes nothing for the others, and the rest of the list is for when
/// none of them is left.
#[test]
fn those_that_share_the_work_are_one_choice_and_the_best() {
    let mut world = World::splitting(&[true, false, true, false]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.choice, Choice::Split);
    assert_eq!(world.ready, [true, true, true, false], "one more is kept ready");
    world.up = vec![false, true, true, true];
    world.fail(0, Cause::Lost);
    assert_eq!(world.choice, Choice::Split);
    world.up = vec![false, true, false, true];
    world.fail(2, Cause::Silent);
    assert_eq!(world.choice, Choice::Upstream(1), "at once");
    world.pass(Duration::from_millis(1));
    world.up[1] = false;
    world.fail(1, Cause::Lost);
    assert_eq!(world.choice, Choice::Upstream(3));
    world.up = vec![false, false, true, true];
    // It is tried for ever, at most half a minute apart, and must be well for ten seconds.
    world.pass(Duration::from_secs(60));
    assert_eq!(world.choice, Choice::Split);
}

#[test]
fn an_offender_is_left_alone_longer_and_longer() {
    let mut world = World::new(1);
    world.pass(Duration::from_millis(1));
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.fail(0, Cause::SharesRefused);
        assert_eq!(world.choice, Choice::Solo);
        waits.push(world.supervisor.deadline().unwrap() - world.now);
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.choice, Choice::Upstream(0));
        // Not long enough to be forgiven.
        world.fail(0, Cause::SharesRefused);
        world.pass(Duration::from_secs(3600));
    }
    assert!(waits[0] >= Duration::from_secs(30) && waits[0] <= Duration::from_secs(60));
}

#[test]
fn one_that_hangs_while_connecting_is_given_up() {
    let mut supervisor = Supervisor::new(Settings::default(), 1);
    let mut out = Vec::new();
    supervisor.handle(NOW, Input::Start, &mut out);
    let at = supervisor.deadline().unwrap();
    assert_eq!(at - NOW, Settings::default().connect_timeout);
    out.clear();
    supervisor.handle(at, Input::Deadline, &mut out);
    assert_eq!(out, [Output::Disconnect { upstream: 0 }]);
    assert!(supervisor.deadline().unwrap() > at);
}

#[test]
fn a_worse_one_waits_for_the_preferred_one_at_the_start_only() {
    let mut supervisor = Supervisor::new(Settings::default(), 2);
    let mut out = Vec::new();
    supervisor.handle(NOW, Input::Start, &mut out);
    supervisor.handle(NOW, Input::Ready { upstream: 1 }, &mut out);
    assert_eq!(supervisor.choice(), Choice::Solo);
    supervisor.handle(NOW + Duration::from_secs(3), Input::Deadline, &mut out);
    assert_eq!(supervisor.choice(), Choice::Upstream(1));
}

fn step() -> impl Strategy<Value = (u8, usize, u64, u8)> {
    (0u8..6, 0usize..4, 0u64..40_000_000, 0u8..11)
}

proptest! {
    /// Whatever happens: connections are made and ended once, only a ready upstream is used, and when all are well
    /// again the preferred one is.
    #[test]
    fn the_preferred_one_is_used_in_the_end(count in 1usize..5, steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::new(count);
        let causes = [Cause::Lost, Cause::Silent, Cause::NoToken, Cause::DeclarationRefused, Cause::JobRefused,
            Cause::SharesRefused, Cause::Misbehaved, Cause::Unreachable, Cause::Moved, Cause::JobUnanswered,
            Cause::DeclarationUnanswered];
        for (what, upstream, us, cause) in steps {
            let upstream = upstream % count;
            match what {
                0 => world.up[upstream] = false,
                1 => world.up[upstream] = true,
                2 if world.connected[upstream] => world.fail(upstream, causes[usize::from(cause) % causes.len()]),
                3 => world.answer(),
                _ => world.pass(Duration::from_micros(us)),
            }
            if let Choice::Upstream(used) = world.choice {
                prop_assert!(world.connected[used]);
                prop_assert!(world.ready[used]);
            }
        }
        world.up = vec![true; count];
        world.pass(Duration::from_secs(2 * 3600 + 60));
        prop_assert_eq!(world.choice, Choice::Upstream(0));
    }
}
