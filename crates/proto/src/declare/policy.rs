//! What the pool asks of a custom job's coinbase, and what it pays for (spec 6.4.3).
//!
//! The outputs may stand in any order and between any others. The pool's own must be among them, and its payout output
//! must hold value. A job that keeps part of the revenue is paid in proportion: a share of it is credited with its work
//! times what the payout output gets of the whole. Work and money are integers, rounded down.

use std::fmt;

use bitcoin::TxOut;

use super::coinbase;

/// The whole, in basis points.
const WHOLE_BP: u64 = 10_000;

/// What the pool asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The outputs that a custom job must have, by their scripts. The first is the payout output.
    pub outputs: Vec<TxOut>,
    /// Most of the revenue that a job may keep from the payout output, in basis points.
    pub keep_max_bp: u32,
    /// Least that a job's coinbase must pay in all, in basis points of what the pool's own template would.
    pub value_min_bp: u32,
    /// Most that a coinbase may claim where nobody can check it (coinbase-only mode), in the same unit.
    pub claim_max_bp: u32,
}

/// What a block is worth on this tip, by the pool's own template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revenue {
    /// Satoshis of the own template's coinbase: subsidy and fees.
    pub value: u64,
    /// Satoshis that a block without any transaction is worth.
    pub subsidy: u64,
}

/// What a custom job gives the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// Satoshis of the payout output.
    pub pool: u64,
    /// Satoshis of all outputs.
    pub total: u64,
    /// What of a share's work is credited, in basis points: 10,000 is all of it.
    pub credit_bp: u16,
}

impl Worth {
    /// The work that is credited for work done, rounded down but never to nothing.
    pub const fn credit(&self, work: u64) -> u64 {
        let credited = work as u128 * self.credit_bp as u128 / WHOLE_BP as u128;
        // No larger than `work`.
        if credited == 0 { 1 } else { credited as u64 }
    }
}

/// Why a coinbase's outputs are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputsProblem {
    /// An output that the pool asked for is not there.
    Missing {
        /// Its place in what the pool asked for.
        place: usize,
    },
    /// The payout output holds nothing.
    PaysNothing,
    /// More is kept from the payout output than the pool allows.
    KeepsTooMuch {
        /// What the payout output gets, in basis points.
        paid_bp: u16,
        /// What it must get.
        least_bp: u16,
    },
    /// All outputs together are worth too little beside the pool's own template.
    TooLittle {
        /// Satoshis found.
        found: u64,
        /// Satoshis at least.
        least: u64,
    },
    /// All outputs together are worth more than there can be, or than is believed unseen.
    TooMuch {
        /// Satoshis found; all ones where the sum does not fit.
        found: u64,
        /// Satoshis at most.
        most: u64,
    },
}

impl Policy {
    /// Judges the outputs of a job. `checked`: a node has checked or will check that the sum is there.
    pub fn judge(&self, outputs: &[TxOut], revenue: Revenue, checked: bool) -> Result<Worth, OutputsProblem> {
        self.all_there(outputs)?;
        let total = coinbase::value(outputs).ok_or(OutputsProblem::TooMuch {
            found: u64::MAX,
            most: bitcoin::Amount::MAX_MONEY.to_sat(),
        })?;
        let pool = self.paid_to_the_pool(outputs);
        if pool == 0 {
            return Err(OutputsProblem::PaysNothing);
        }
        let least = share_of(revenue.value, self.value_min_bp);
        if total < least {
            return Err(OutputsProblem::TooLittle { found: total, least });
        }
        let most = share_of(revenue.value, self.claim_max_bp);
        if !checked && total > most {
            return Err(OutputsProblem::TooMuch { found: total, most });
        }
        // Who leaves the subsidy lying keeps it from the pool, too. The pool's part is no larger than the whole.
        let whole = total.max(revenue.subsidy).max(1);
        let credit_bp = (u128::from(pool) * u128::from(WHOLE_BP) / u128::from(whole)) as u16;
        let least_bp = (WHOLE_BP as u16).saturating_sub(u16::try_from(self.keep_max_bp).unwrap_or(u16::MAX));
        if credit_bp == 0 || credit_bp < least_bp {
            return Err(OutputsProblem::KeepsTooMuch {
                paid_bp: credit_bp,
                least_bp,
            });
        }
        Ok(Worth {
            pool,
            total,
            credit_bp,
        })
    }

    /// Every output that the pool asked for is there, as often as it asked.
    fn all_there(&self, outputs: &[TxOut]) -> Result<(), OutputsProblem> {
        let times = |outputs: &[TxOut], wanted: &TxOut| {
            let same = |output: &&TxOut| output.script_pubkey == wanted.script_pubkey;
            outputs.iter().filter(same).count()
        };
        let missing = self
            .outputs
            .iter()
            .position(|wanted| times(outputs, wanted) < times(&self.outputs, wanted));
        missing.map_or(Ok(()), |place| Err(OutputsProblem::Missing { place }))
    }

    fn paid_to_the_pool(&self, outputs: &[TxOut]) -> u64 {
        let Some(payout) = self.outputs.first() else {
            return 0;
        };
        let ours = outputs
            .iter()
            .filter(|output| output.script_pubkey == payout.script_pubkey);
        ours.fold(0, |sum, output| sum.saturating_add(output.value.to_sat()))
    }
}

/// `bp` basis points of `value`.
fn share_of(value: u64, bp: u32) -> u64 {
    let share = u128::from(value) * u128::from(bp) / u128::from(WHOLE_BP);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl fmt::Display for OutputsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { place: 0 } => f.write_str("the payout output of the pool is missing"),
            Self::Missing { place } => {
                write!(f, "output {place} of AllocateMiningJobToken.Success is missing")
            }
            Self::PaysNothing => f.write_str("the payout output of the pool holds no value"),
            Self::KeepsTooMuch { paid_bp, least_bp } => write!(
                f,
                "the payout output gets {paid_bp} of 10000 parts of the revenue; {least_bp} are asked for"
            ),
            Self::TooLittle { found, least } => {
                write!(
                    f,
                    "all outputs together hold {found} satoshis; {least} are asked for"
                )
            }
            Self::TooMuch { found, most } => {
                write!(f, "all outputs together hold {found} satoshis, more than {most}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{Amount, ScriptBuf};

    const REVENUE: Revenue = Revenue {
        value: 320_000_000,
        subsidy: 312_500_000,
    };

    fn output(value: u64, script: u8) -> TxOut {
        TxOut {
            value: Amount::from_sat(value),
            script_pubkey: ScriptBuf::from_bytes(vec![script; 22]),
        }
    }

    fn policy() -> Policy {
        Policy {
            outputs: vec![output(0, 1), output(0, 2)],
            keep_max_bp: 5_000,
            value_min_bp: 5_000,
            claim_max_bp: 20_000,
        }
    }

    fn judge(outputs: &[TxOut]) -> Result<Worth, OutputsProblem> {
        policy().judge(outputs, REVENUE, false)
    }

    /// REQ-JD-024..028, REQ-JD-030: reordered outputs and outputs of nothing are fine, a missing one is not; a payout
    /// output without value, or one byte off, is refused.
    #[test]
    fn the_pools_outputs_must_be_there_in_any_order() {
        let whole = Worth {
            pool: 320_000_000,
            total: 320_000_000,
            credit_bp: 10_000,
        };
        let (payout, imposed) = (output(320_000_000, 1), output(0, 2));
        assert_eq!(judge(&[payout.clone(), imposed.clone()]), Ok(whole));
        assert_eq!(
            judge(&[output(0, 9), imposed.clone(), payout.clone(), output(0, 8)]),
            Ok(whole)
        );
        assert_eq!(
            judge(std::slice::from_ref(&payout)),
            Err(OutputsProblem::Missing { place: 1 })
        );
        assert_eq!(
            judge(std::slice::from_ref(&imposed)),
            Err(OutputsProblem::Missing { place: 0 })
        );
        assert_eq!(
            judge(&[output(0, 1), imposed.clone()]),
            Err(OutputsProblem::PaysNothing)
        );
        let mut off = payout.clone();
        let mut script = vec![1; 22];
        script[21] = 0;
        off.script_pubkey = ScriptBuf::from_bytes(script);
        assert_eq!(
            judge(&[off, imposed.clone()]),
            Err(OutputsProblem::Missing { place: 0 })
        );
        let rich = output(1, 1);
        assert!(matches!(
            judge(&[rich, imposed]),
            Err(OutputsProblem::TooLittle { .. })
        ));
    }

    /// REQ-JD-027: what is kept is not paid for, to the basis point, and no more is kept than the pool allows.
    #[test]
    fn a_job_that_keeps_a_part_is_paid_for_the_rest() {
        let imposed = output(0, 2);
        let keeps = |pool, kept| judge(&[output(pool, 1), output(kept, 7), imposed.clone()]);
        assert_eq!(keeps(240_000_000, 80_000_000).unwrap().credit_bp, 7_500);
        assert_eq!(keeps(160_000_000, 160_000_000).unwrap().credit_bp, 5_000);
        assert!(matches!(
            keeps(159_000_000, 161_000_000),
            Err(OutputsProblem::KeepsTooMuch {
                paid_bp: 4_968,
                least_bp: 5_000
            })
        ));
        let worth = keeps(240_000_000, 80_000_000).unwrap();
        assert_eq!(
            (worth.credit(1_000), worth.credit(3), worth.credit(1)),
            (750, 2, 1)
        );
        assert_eq!(worth.credit(u64::MAX), (u128::from(u64::MAX) * 3 / 4) as u64);
        // Thrown away is kept, too: the whole is never less than the subsidy.
        assert_eq!(keeps(250_000_000, 0).unwrap().credit_bp, 8_000);
    }

    /// REQ-JD-045: a coinbase that nobody can check is believed within bounds.
    #[test]
    fn a_claim_beyond_belief_is_refused_where_nobody_checks_it() {
        let outputs = [output(640_000_001, 1), output(0, 2)];
        assert!(matches!(judge(&outputs), Err(OutputsProblem::TooMuch { .. })));
        assert!(
            policy().judge(&outputs, REVENUE, true).is_ok(),
            "the node will say"
        );
        let overflow = [output(u64::MAX, 1), output(u64::MAX, 2)];
        assert!(matches!(
            policy().judge(&overflow, REVENUE, true),
            Err(OutputsProblem::TooMuch { .. })
        ));
    }
}
