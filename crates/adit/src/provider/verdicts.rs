//! Templates that somebody else than Bitcoin Core over IPC made are put before the node, each with a coinbase that pays
//! anybody: what the clients' own coinbases hold is theirs to answer for.
//!
//! It happens behind the clients' backs: a template goes out at once. One that is refused is an alarm, and its group gets
//! the last good one of the same tip again, where there is one.

use std::sync::Arc;

use adit_node::{Event, Template};
use bitcoin::ScriptBuf;

use super::hub::Hub;
use crate::observe::NodeStatus;
use crate::pool::coinbase;
use crate::pool::inspect::{Advice, Answer, Candidate, Inspector};

/// A template's transactions have come: it can be judged, while it is the newest.
pub(super) fn look(hub: &Hub, inspector: &mut Inspector, event: &Event) {
    let Event::Transactions {
        template,
        transactions,
    } = event
    else {
        return;
    };
    let Some(template) = hub.present(*template) else {
        return;
    };
    inspector.look(Candidate {
        coinbase: coinbase::of(&template, &anybody(), b"", 0),
        template,
        transactions: Arc::clone(transactions),
    });
}

/// The node has judged one.
pub(super) fn judge(hub: &Hub, inspector: &mut Inspector, answer: Answer) {
    let newest = hub.newest(&answer.constraints());
    if let Advice::Replace(good) = inspector.judge(answer, newest.as_deref()) {
        hub.offer_to_all(&good);
    }
}

/// The alarm of either, and the counts.
pub(super) fn paint(inspector: &Inspector, alarm: &str, node: &mut NodeStatus) {
    let mut alarms = vec![inspector.alarm.as_str(), alarm];
    alarms.retain(|alarm| !alarm.is_empty());
    node.alarm = alarms.join("; ");
    node.jobs_valid = inspector.counts.valid;
    node.jobs_refused = inspector.counts.refused;
    node.jobs_unknown = inspector.counts.unknown;
}

/// OP_TRUE.
fn anybody() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

impl Hub {
    /// A template, if it is the newest with its room.
    fn present(&self, id: adit_node::TemplateId) -> Option<Arc<Template>> {
        let template = self.kept(id)?;
        let newest = self.newest(&template.constraints)?;
        (newest.id == id).then_some(template)
    }
}
