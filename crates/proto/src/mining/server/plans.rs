//! The plans of a connection's channels.

use crate::plan::Plan;

/// The plans in use. Each has a number, counted up and never used again, by which channels, groups and jobs name it.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: Vec<Known>,
    last: u32,
}

#[derive(Debug)]
struct Known {
    number: u32,
    plan: Plan,
    channels: u32,
}

impl Plans {
    /// One more channel has this plan; gives its number.
    pub(super) fn enter(&mut self, plan: Plan) -> u32 {
        if let Some(known) = self.known.iter_mut().find(|known| known.plan == plan) {
            known.channels += 1;
            return known.number;
        }
        // There are fewer channels than numbers in the life of a connection.
        self.last = self.last.saturating_add(1);
        self.known.push(Known {
            number: self.last,
            plan,
            channels: 1,
        });
        self.last
    }

    /// A channel of this plan is gone.
    pub(super) fn leave(&mut self, number: u32) {
        if let Some(place) = self.known.iter().position(|known| known.number == number) {
            let known = &mut self.known[place];
            known.channels -= 1;
            if known.channels == 0 {
                self.known.remove(place);
            }
        }
    }

    pub(super) fn find(&self, number: u32) -> Option<&Plan> {
        let known = self.known.iter().find(|known| known.number == number)?;
        Some(&known.plan)
    }

    /// Number and plan, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Plan)> {
        self.known.iter().map(|known| (known.number, &known.plan))
    }
}
