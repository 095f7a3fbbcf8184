//! What the next block would pay, line by line.

use adit_proto::plan::Plan;
use serde::Serialize;
use utoipa::ToSchema;

use super::Purse;

/// The next coinbase of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Preview {
    /// `pooled`, `pooled-small` or `solo`.
    pub plan: String,
    /// Height of the block; 0 where no template is at hand.
    pub height: u32,
    /// What its coinbase pays, satoshis.
    pub value_sat: u64,
    /// Number of the snapshot that the split follows from.
    pub snapshot: u64,
    /// The window that was asked for, expected hashes.
    pub window: String,
    /// The work that is in it, expected hashes.
    pub work: String,
    /// Fee in basis points.
    pub fee_bp: u16,
    /// Outputs first, in their order; then those who earn and wait.
    pub lines: Vec<Line>,
}

/// What a block would do to one payee.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Line {
    /// Address, or what was configured for the pool.
    pub name: String,
    /// `pool`, `donation` or `miner`.
    pub role: &'static str,
    /// Work in the window, expected hashes.
    pub weight: String,
    /// Part of the value, satoshis.
    pub earned_sat: u64,
    /// What earlier blocks left unpaid, satoshis; negative where they paid more.
    pub carry_sat: i64,
    /// Output of the coinbase, satoshis; 0 is none.
    pub output_sat: u64,
    /// What is left unpaid then, satoshis.
    pub left_sat: i64,
}

impl Preview {
    /// What a coinbase of `value_sat` would pay.
    pub fn of(purse: &Purse, plan: &Plan, height: u32, value_sat: u64) -> Self {
        let snapshot = purse.snapshot();
        let rules = &snapshot.rules;
        let lines = purse.split(plan, value_sat).lines.into_iter().map(|line| {
            let claim = snapshot
                .claims
                .binary_search_by_key(&line.payee.id, |claim| claim.payee.id);
            let claim = claim.ok().and_then(|at| snapshot.claims.get(at));
            let (weight, carry_sat) = claim
                .filter(|_| !plan.is_solo())
                .map_or((0, 0), |claim| (claim.weight, claim.carry_sat));
            let donation = rules
                .donation
                .as_ref()
                .is_some_and(|(to, _)| to.id == line.payee.id);
            Line {
                name: purse.name(&line.payee),
                role: match () {
                    () if line.payee.id == rules.pool.id => "pool",
                    () if donation => "donation",
                    () => "miner",
                },
                weight: weight.to_string(),
                earned_sat: line.earned_sat,
                carry_sat,
                output_sat: line.received_sat,
                left_sat: carry_sat
                    .saturating_add_unsigned(line.earned_sat)
                    .saturating_sub_unsigned(line.received_sat),
            }
        });
        Self {
            lines: lines.collect(),
            plan: plan_name(plan).to_owned(),
            height,
            value_sat,
            snapshot: snapshot.number,
            window: snapshot.window.to_string(),
            work: snapshot.work.to_string(),
            fee_bp: rules.fee_bp,
        }
    }
}

/// A plan in one word.
pub fn plan_name(plan: &Plan) -> &'static str {
    match plan {
        Plan::Pooled => "pooled",
        Plan::PooledSmall(_) => "pooled-small",
        Plan::Solo(_) => "solo",
    }
}
