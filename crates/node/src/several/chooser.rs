//! Who is mined on: a machine of events and time.

use std::sync::Arc;
use std::time::Duration;

use super::{DISAGREE, LAG, Prefer, SETTLE};
use crate::{Event, Template, TemplateId};

/// Decides which member's templates are passed on. Time is the time since some start.
#[derive(Debug)]
pub(super) struct Chooser {
    members: Vec<Member>,
    prefer: Prefer,
    active: Option<usize>,
    /// The template that is mined on.
    current: Option<Current>,
    last_id: u64,
    /// When it was last decided.
    decided: Duration,
    /// Whether [`Event::Down`] was said last.
    down: bool,
    /// Since when the members' tips differ.
    differing: Option<Duration>,
    alarmed: bool,
}

#[derive(Debug)]
struct Member {
    name: String,
    gives: bool,
    state: State,
    newest: Option<Newest>,
}

#[derive(Debug)]
enum State {
    /// Not heard of yet.
    Unknown,
    Down(String),
    Up {
        node: String,
        since: Duration,
    },
}

#[derive(Debug)]
struct Newest {
    template: Arc<Template>,
    transactions: Option<Arc<Vec<Vec<u8>>>>,
    /// When its tip was new.
    tip_since: Duration,
}

/// What was passed on last.
#[derive(Debug)]
struct Current {
    id: TemplateId,
    member: usize,
    at_member: TemplateId,
    template: Arc<Template>,
}

/// What is to be said.
#[derive(Debug)]
pub(super) enum Output {
    /// Mine this; the member knows it by its own id.
    Template {
        member: usize,
        at_member: TemplateId,
        template: Arc<Template>,
    },
    /// The transactions of a template that was passed on.
    Transactions {
        template: TemplateId,
        transactions: Arc<Vec<Vec<u8>>>,
    },
    /// Something else.
    Say(Event),
}

impl Chooser {
    /// `gives` tells which members give templates at all.
    pub(super) fn new(names: Vec<String>, gives: Vec<bool>, prefer: Prefer) -> Self {
        let members = names.into_iter().zip(gives).map(|(name, gives)| Member {
            state: State::Unknown,
            name,
            gives,
            newest: None,
        });
        Self {
            members: members.collect(),
            prefer,
            active: None,
            current: None,
            last_id: 0,
            decided: Duration::ZERO,
            down: false,
            differing: None,
            alarmed: false,
        }
    }

    /// The member that is mined on.
    pub(super) fn active(&self) -> Option<usize> {
        self.active
    }

    /// A member said something.
    pub(super) fn handle(&mut self, now: Duration, place: usize, event: Event, out: &mut Vec<Output>) {
        let Some(member) = self.members.get_mut(place).filter(|member| member.gives) else {
            return;
        };
        match event {
            Event::Up { node } => member.state = State::Up { node, since: now },
            Event::Down { reason } => member.state = State::Down(reason),
            Event::Template(template) => {
                let same_tip = member
                    .newest
                    .as_ref()
                    .filter(|old| old.template.prev_hash == template.prev_hash);
                let tip_since = same_tip.map_or(now, |old| old.tip_since);
                member.newest = Some(Newest {
                    template,
                    transactions: None,
                    tip_since,
                });
                if self.active == Some(place) {
                    self.pass_on(place, out);
                }
            }
            Event::Transactions {
                template,
                transactions,
            } => {
                return self.learn(place, template, transactions, out);
            }
            Event::Alarm { .. } => return out.push(Output::Say(event)),
        }
        self.decide(now, out);
    }

    /// The deadline has passed.
    pub(super) fn expire(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.decide(now, out);
    }

    /// When [`Self::expire`] is due: the next moment at which nothing but the passing of time decides.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let settling = self
            .active
            .and_then(|active| self.members.get(..active))
            .unwrap_or_default();
        let settling = settling
            .iter()
            .filter_map(Member::up_since)
            .map(|since| since + SETTLE);
        let leading = self.members.iter().filter_map(|member| {
            let newest = member.newest.as_ref().filter(|_| member.is_up())?;
            (newest.template.height > self.height()).then(|| newest.tip_since + LAG)
        });
        let disagreeing = self.differing.map(|since| since + DISAGREE);
        let due = settling.chain(leading).chain(disagreeing);
        due.filter(|due| *due > self.decided).min()
    }

    /// Height of what is mined on; 0 before anything is.
    fn height(&self) -> u32 {
        self.current.as_ref().map_or(0, |current| current.template.height)
    }

    fn decide(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.decided = now;
        let chosen = self.choose(now);
        if chosen != self.active {
            self.active = chosen;
            if let Some(place) = chosen {
                self.say_up(place, out);
                self.pass_on(place, out);
            }
        }
        if self.active.is_none() && !self.down && !self.members.iter().any(Member::may_come) {
            self.down = true;
            out.push(Output::Say(Event::Down {
                reason: self.why_down(),
            }));
        }
        self.watch_tips(now, out);
    }

    /// The member to mine on now.
    fn choose(&self, now: Duration) -> Option<usize> {
        let height = self.height();
        let ready = |place: &usize| {
            let member = self.members.get(*place)?;
            let newest = member.newest.as_ref().filter(|_| member.is_up())?;
            (newest.template.height >= height).then_some(newest)
        };
        let all = 0..self.members.len();
        let Some(active) = self
            .active
            .filter(|place| self.members.get(*place).is_some_and(Member::is_up))
        else {
            return all.into_iter().find(|place| ready(place).is_some());
        };
        // Somebody has a block more for longer than the active member may lag behind.
        let leads = |place: &usize| {
            ready(place)
                .is_some_and(|newest| newest.template.height > height && now >= newest.tip_since + LAG)
        };
        if let Some(leader) = all.clone().find(leads) {
            return Some(leader);
        }
        match self.prefer {
            Prefer::Order => Some(self.settled_before(active, now, ready).unwrap_or(active)),
            Prefer::Fees { gain_min_sat } => Some(self.richest(active, gain_min_sat, ready)),
        }
    }

    /// A member that is preferred to the active one and has been well for a while.
    fn settled_before<'a>(
        &'a self,
        active: usize,
        now: Duration,
        ready: impl Fn(&usize) -> Option<&'a Newest>,
    ) -> Option<usize> {
        (0..active).find(|place| {
            let since = self.members.get(*place).and_then(Member::up_since);
            since.is_some_and(|since| now >= since + SETTLE) && ready(place).is_some()
        })
    }

    /// The member on the same tip whose template pays most; the active one unless the gain is worth it.
    fn richest<'a>(
        &self,
        active: usize,
        gain_min_sat: u64,
        ready: impl Fn(&usize) -> Option<&'a Newest>,
    ) -> usize {
        let Some(current) = self.members.get(active).and_then(|member| member.newest.as_ref()) else {
            return active;
        };
        let value = |newest: &Newest| newest.template.coinbase_tx_value_remaining;
        let wanted = value(current).saturating_add(gain_min_sat.max(1));
        let rich = (0..self.members.len()).filter_map(|place| {
            let newest = ready(&place)?;
            let same_tip = newest.template.prev_hash == current.template.prev_hash;
            (same_tip && value(newest) >= wanted).then_some((value(newest), place))
        });
        // The earlier of two that pay the same.
        rich.max_by_key(|(value, place)| (*value, usize::MAX - place))
            .map_or(active, |(_, place)| place)
    }

    fn say_up(&mut self, place: usize, out: &mut Vec<Output>) {
        self.down = false;
        if let Some(Member {
            state: State::Up { node, .. },
            ..
        }) = self.members.get(place)
        {
            let node = node.clone();
            tracing::info!(%node, "mining on this node");
            out.push(Output::Say(Event::Up { node }));
        }
    }

    /// Passes the newest template of a member on, under an id of ours.
    fn pass_on(&mut self, place: usize, out: &mut Vec<Output>) {
        let Some(newest) = self.members.get(place).and_then(|member| member.newest.as_ref()) else {
            return;
        };
        self.last_id = self.last_id.saturating_add(1);
        let (id, at_member) = (TemplateId(self.last_id), newest.template.id);
        let mut template = Template::clone(&newest.template);
        template.id = id;
        let template = Arc::new(template);
        self.current = Some(Current {
            id,
            member: place,
            at_member,
            template: Arc::clone(&template),
        });
        out.push(Output::Template {
            member: place,
            at_member,
            template,
        });
        if let Some(transactions) = newest.transactions.clone() {
            out.push(Output::Transactions {
                template: id,
                transactions,
            });
        }
    }

    fn learn(
        &mut self,
        place: usize,
        at_member: TemplateId,
        transactions: Arc<Vec<Vec<u8>>>,
        out: &mut Vec<Output>,
    ) {
        let current = self.current.as_ref();
        if let Some(current) = current.filter(|it| it.member == place && it.at_member == at_member) {
            let (template, transactions) = (current.id, Arc::clone(&transactions));
            out.push(Output::Transactions {
                template,
                transactions,
            });
        }
        let newest = self
            .members
            .get_mut(place)
            .and_then(|member| member.newest.as_mut());
        if let Some(newest) = newest.filter(|newest| newest.template.id == at_member) {
            newest.transactions = Some(transactions);
        }
    }

    /// Raises the alarm when members stay on different tips, and takes it back.
    fn watch_tips(&mut self, now: Duration, out: &mut Vec<Output>) {
        let tip = self
            .current
            .as_ref()
            .map(|current| (current.template.height, current.template.prev_hash));
        let others = self
            .members
            .iter()
            .filter(|member| member.is_up())
            .filter_map(|member| {
                let template = &member.newest.as_ref()?.template;
                (Some((template.height, template.prev_hash)) != tip).then_some((member, template))
            });
        let differing: Vec<String> = others
            .map(|(member, template)| {
                format!(
                    "{} builds on {} (height {})",
                    member.name, template.prev_hash, template.height
                )
            })
            .collect();
        if differing.is_empty() || tip.is_none() {
            self.differing = None;
            if std::mem::take(&mut self.alarmed) {
                out.push(Output::Say(Event::Alarm { text: None }));
            }
            return;
        }
        let since = *self.differing.get_or_insert(now);
        if !self.alarmed && now >= since + DISAGREE {
            self.alarmed = true;
            let (height, hash) = tip.unwrap_or((0, bitcoin::hashes::Hash::all_zeros()));
            let text = format!(
                "the nodes have disagreed for {} s: mining on {hash} (height {height}), but {}. One of them is cut off, \
                 behind, or on another chain: compare getchaintips on each",
                DISAGREE.as_secs(),
                differing.join(", ")
            );
            tracing::error!("{text}");
            out.push(Output::Say(Event::Alarm { text: Some(text) }));
        }
    }

    fn why_down(&self) -> String {
        let reasons = self
            .members
            .iter()
            .filter(|member| member.gives)
            .map(|member| match &member.state {
                State::Down(reason) => reason.clone(),
                State::Unknown | State::Up { .. } => {
                    format!("{} is behind the block that was mined on last", member.name)
                }
            });
        reasons.collect::<Vec<_>>().join("; ")
    }
}

impl Member {
    fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    fn up_since(&self) -> Option<Duration> {
        match self.state {
            State::Up { since, .. } => Some(since),
            State::Unknown | State::Down(_) => None,
        }
    }

    /// Whether its first template may come any moment; if it does not, the member says so itself.
    fn may_come(&self) -> bool {
        let waits = match self.state {
            State::Unknown => true,
            State::Up { .. } => self.newest.is_none(),
            State::Down(_) => false,
        };
        self.gives && waits
    }
}

#[cfg(test)]
mod tests;
