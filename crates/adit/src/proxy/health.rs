//! How an upstream takes our shares.

/// Shares in a row that an upstream refuses until it is left.
const IN_A_ROW_MAX: u32 = 64;
/// Answers over which most must be good.
const WINDOW: u32 = 128;

/// What became of the last shares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    in_a_row: u32,
    good: u32,
    bad: u32,
}

impl Health {
    /// Some were accepted.
    pub(super) fn accepted(&mut self, count: u32) {
        self.in_a_row = 0;
        self.good = self.good.saturating_add(count);
        self.fade();
    }

    /// One was refused. Whether the upstream is of no use: it refuses without end, or more than it takes.
    pub(super) fn refused(&mut self) -> bool {
        self.in_a_row += 1;
        self.bad += 1;
        let mostly = self.good.saturating_add(self.bad) >= WINDOW && self.bad > self.good;
        self.fade();
        let useless = mostly || self.in_a_row >= IN_A_ROW_MAX;
        if useless {
            *self = Self::default();
        }
        useless
    }

    fn fade(&mut self) {
        while self.good.saturating_add(self.bad) > WINDOW {
            (self.good, self.bad) = (self.good / 2, self.bad / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_without_end_is_left_and_who_refuses_some_is_not() {
        let mut health = Health::default();
        assert_eq!((0..1000).position(|_| health.refused()), Some(63));
        let mut health = Health::default();
        for _ in 0..10_000 {
            health.accepted(2);
            assert!(!health.refused());
        }
        health.accepted(1_000_000);
        assert_eq!(
            (0..1000).position(|_| health.refused()),
            Some(63),
            "whatever was before"
        );
    }

    #[test]
    fn who_refuses_more_than_it_takes_is_left() {
        let mut health = Health::default();
        let left = (0..1000).position(|_| {
            health.accepted(1);
            health.refused() || health.refused()
        });
        assert!(left.is_some_and(|rounds| rounds < 100), "{left:?}");
    }
}
