use super::*;
use crate::kept::tests::template;

const S: Duration = Duration::from_secs(1);

/// A chooser of three members, and what it said, as short words.
struct Scene {
    chooser: Chooser,
    said: Vec<String>,
}

impl Scene {
    fn new(prefer: Prefer) -> Self {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        Self {
            chooser: Chooser::new(names, vec![true; 3], prefer),
            said: Vec::new(),
        }
    }

    fn hear(&mut self, outputs: Vec<Output>) {
        self.said.extend(outputs.into_iter().map(|output| match output {
            Output::Template {
                member,
                at_member,
                template,
            } => {
                format!(
                    "mine {}{}@{}",
                    ["a", "b", "c"][member],
                    at_member.0,
                    template.height
                )
            }
            Output::Transactions { template, .. } => format!("transactions {}", template.0),
            Output::Say(Event::Up { node }) => format!("up {node}"),
            Output::Say(Event::Down { .. }) => "down".into(),
            Output::Say(Event::Alarm { text }) => format!("alarm {}", text.is_some()),
            Output::Say(other) => format!("{other:?}"),
        }));
    }

    fn at(&mut self, seconds: f64, member: usize, event: Event) -> &mut Self {
        let mut out = Vec::new();
        let now = Duration::from_secs_f64(seconds);
        self.pass(now);
        self.chooser.handle(now, member, event, &mut out);
        self.hear(out);
        self
    }

    /// Time goes by: every deadline until then is met.
    fn pass(&mut self, now: Duration) {
        let mut last = None;
        while let Some(due) = self.chooser.deadline().filter(|due| *due <= now) {
            assert!(Some(due) > last, "a deadline that never ends");
            last = Some(due);
            let mut out = Vec::new();
            self.chooser.expire(due, &mut out);
            self.hear(out);
        }
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }
}

fn up(name: &str) -> Event {
    Event::Up { node: name.into() }
}

fn down() -> Event {
    Event::Down {
        reason: "gone".into(),
    }
}

/// Template `id` on the block at `tip`.
fn new(id: u64, tip: u8) -> Event {
    Event::Template(Arc::new(template(id, tip)))
}

fn paying(id: u64, tip: u8, value: u64) -> Event {
    let mut template = template(id, tip);
    template.coinbase_tx_value_remaining = value;
    Event::Template(Arc::new(template))
}

#[test]
fn the_first_of_the_list_is_mined_on_and_the_next_when_it_dies() {
    let mut scene = Scene::new(Prefer::Order);
    scene.at(0.0, 1, up("b")).at(0.1, 1, new(7, 10));
    assert_eq!(
        scene.said(),
        ["up b", "mine b7@10"],
        "nothing better is there yet"
    );
    scene.at(0.2, 0, up("a")).at(0.3, 0, new(1, 10));
    assert_eq!(scene.said(), [""; 0], "not at once");
    scene.pass(6 * S);
    assert_eq!(
        scene.said(),
        ["up a", "mine a1@10"],
        "once it has been well for a while"
    );
    scene.at(7.0, 0, new(2, 11)).at(7.1, 1, new(8, 11));
    assert_eq!(scene.said(), ["mine a2@11"]);
    scene.at(8.0, 0, down());
    assert_eq!(scene.said(), ["up b", "mine b8@11"]);
}

#[test]
fn down_is_said_when_all_have_said_it() {
    let mut scene = Scene::new(Prefer::Order);
    scene.at(0.0, 0, down()).at(0.0, 1, up("b")).at(0.1, 2, down());
    assert_eq!(scene.said(), [""; 0], "b's first template may come any moment");
    scene.at(1.0, 1, down()).at(2.0, 0, down());
    assert_eq!(scene.said(), ["down"], "once");
}

#[test]
fn nobody_steps_back_to_a_lower_tip() {
    let mut scene = Scene::new(Prefer::Order);
    scene
        .at(0.0, 0, up("a"))
        .at(0.0, 0, new(1, 12))
        .at(0.0, 1, up("b"))
        .at(0.0, 1, new(1, 11));
    scene.said();
    scene.at(0.5, 2, down()).at(1.0, 0, down());
    assert_eq!(scene.said(), ["down"], "b is behind: what is mined on goes on");
    scene.at(9.0, 1, new(2, 12));
    assert_eq!(scene.said(), ["up b", "mine b2@12"]);
    // The preferred one returns with an older tip and has to catch up, however long it is well.
    scene.at(10.0, 0, up("a")).at(10.0, 0, new(2, 10)).pass(20 * S);
    assert_eq!(scene.said(), [""; 0]);
    scene.at(25.0, 0, new(3, 12));
    assert_eq!(scene.said(), ["up a", "mine a3@12"]);
}

#[test]
fn a_reorganisation_of_the_active_node_is_followed() {
    let mut scene = Scene::new(Prefer::Order);
    scene
        .at(0.0, 0, up("a"))
        .at(0.0, 0, new(1, 12))
        .at(0.5, 0, new(2, 11));
    assert_eq!(scene.said(), ["up a", "mine a1@12", "mine a2@11"]);
}

#[test]
fn a_node_that_lags_behind_is_left_for_one_that_has_the_block() {
    let mut scene = Scene::new(Prefer::Order);
    scene
        .at(0.0, 0, up("a"))
        .at(0.0, 0, new(1, 12))
        .at(0.0, 1, up("b"))
        .at(0.0, 1, new(1, 12));
    scene.said();
    // Usually the preferred node follows within a second: one change of jobs, not two.
    scene.at(5.0, 1, new(2, 13)).at(5.4, 0, new(2, 13)).pass(7 * S);
    assert_eq!(scene.said(), ["mine a2@13"]);
    scene.at(8.0, 1, new(3, 14)).pass(9 * S);
    assert_eq!(scene.said(), ["up b", "mine b3@14"]);
    scene.at(30.0, 0, new(3, 14));
    assert_eq!(scene.said(), ["up a", "mine a3@14"]);
}

#[test]
fn the_richest_is_mined_on_where_fees_decide() {
    let mut scene = Scene::new(Prefer::Fees { gain_min_sat: 100 });
    scene.at(0.0, 0, up("a")).at(0.0, 0, paying(1, 12, 1_000));
    scene.at(0.0, 1, up("b")).at(0.0, 1, paying(1, 12, 1_050));
    assert_eq!(scene.said(), ["up a", "mine a1@12"]);
    scene
        .at(1.0, 2, up("c"))
        .at(1.0, 2, paying(1, 12, 1_200))
        .pass(20 * S);
    assert_eq!(scene.said(), ["up c", "mine c1@12"]);
    // Richer, but on a tip of its own at the same height.
    let mut other = template(2, 12);
    other.prev_hash = bitcoin::hashes::Hash::from_byte_array([99; 32]);
    other.coinbase_tx_value_remaining = 9_000;
    scene.at(21.0, 1, Event::Template(Arc::new(other)));
    assert_eq!(scene.said(), [""; 0]);
}

#[test]
fn a_lasting_disagreement_is_an_alarm_until_it_ends() {
    let mut scene = Scene::new(Prefer::Order);
    scene
        .at(0.0, 0, up("a"))
        .at(0.0, 0, new(1, 12))
        .at(0.0, 1, up("b"))
        .at(0.0, 1, new(1, 11));
    scene.said();
    scene.pass(29 * S);
    assert_eq!(scene.said(), [""; 0]);
    scene.pass(31 * S);
    assert_eq!(scene.said(), ["alarm true"]);
    scene.at(40.0, 1, new(2, 12));
    assert_eq!(scene.said(), ["alarm false"]);
}

#[test]
fn transactions_go_with_the_template_that_was_passed_on() {
    let transactions = |id| Event::Transactions {
        template: TemplateId(id),
        transactions: Arc::new(vec![vec![1]]),
    };
    let mut scene = Scene::new(Prefer::Order);
    scene
        .at(0.0, 0, up("a"))
        .at(0.0, 0, new(5, 12))
        .at(0.1, 0, transactions(5));
    scene
        .at(0.2, 1, up("b"))
        .at(0.2, 1, new(9, 12))
        .at(0.3, 1, transactions(9));
    assert_eq!(scene.said(), ["up a", "mine a5@12", "transactions 1"]);
    scene.at(1.0, 0, down());
    assert_eq!(scene.said(), ["up b", "mine b9@12", "transactions 2"]);
}

#[test]
fn a_member_for_blocks_only_is_never_mined_on() {
    let names = ["a", "b"].map(str::to_owned).to_vec();
    let mut chooser = Chooser::new(names, vec![true, false], Prefer::Order);
    let mut out = Vec::new();
    chooser.handle(S, 1, up("b"), &mut out);
    chooser.handle(S, 1, new(1, 50), &mut out);
    assert!(out.is_empty() && chooser.active().is_none(), "{out:?}");
}
