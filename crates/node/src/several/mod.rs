//! Several nodes as one: the first that is well gives the templates, all get the blocks.
//!
//! Each member is a source of its own, on its own thread, with its own deadlines: a member that dies or
//! hangs says [`Event::Down`] within seconds. Who is mined on is decided by a machine (`chooser`) that
//! knows nothing but events and time:
//!
//! * the first member of the list that is up, unless it lags behind another by a block for a second;
//! * never a step back: a member whose tip is lower than the one that is mined on has to catch up first,
//!   and until one has, the last template goes on;
//! * back to a preferred member once it has been well for a while;
//! * with [`Prefer::Fees`], among members on the same tip, the one whose template pays more.
//!
//! A solution goes to the member whose template it solves and, as a whole block, to all the others at
//! once: the first that takes it decides.

mod chooser;
mod route;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::chooser::{Chooser, Output};
use self::route::Routes;
use crate::{Event, Handle, Node, Requests, TemplateSource};

/// Requests under way at a time; a pool has a handful.
const REQUESTS_MAX: usize = 64;

/// One of several nodes.
#[derive(Debug)]
pub struct Member {
    /// What the operator calls it, for logs and alarms.
    pub name: String,
    /// Its running source.
    pub node: Node,
    /// Whether it gives templates; one that does not only gets blocks.
    pub templates: bool,
}

/// Which of the members on the same tip is mined on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The first of the list.
    #[default]
    Order,
    /// The one whose template pays most, by at least so many satoshis more than the present one.
    Fees {
        /// Satoshis that are worth a change.
        gain_min_sat: u64,
    },
}

/// Templates from the best of several nodes, blocks to all of them.
#[derive(Debug)]
pub struct Several {
    members: Vec<Member>,
    prefer: Prefer,
}

impl Several {
    /// The members in the order of preference.
    pub fn new(members: Vec<Member>, prefer: Prefer) -> Self {
        Self { members, prefer }
    }
}

impl TemplateSource for Several {
    async fn run(self, requests: Requests, events: mpsc::Sender<Event>) {
        let names = self.members.iter().map(|member| member.name.clone()).collect();
        let givers = self.members.iter().map(|member| member.templates).collect();
        let chooser = Chooser::new(names, givers, self.prefer);
        let (handles, news) = split(self.members);
        let routes = Rc::new(Routes::new(handles));
        let active = Rc::new(Cell::new(None));
        // Apart from the requests: who waits for a verdict may not read events, and gets it all the same.
        let following = follow(chooser, news, Rc::clone(&routes), Rc::clone(&active), events);
        let following = tokio::task::spawn_local(following);
        serve(requests, &routes, &active).await;
        following.abort();
    }
}

/// Passes on what the members say, as the chooser decides; for ever. `active` is told who is mined on.
async fn follow(
    mut chooser: Chooser,
    mut news: News,
    routes: Rc<Routes>,
    active: Rc<Cell<Option<usize>>>,
    events: mpsc::Sender<Event>,
) {
    let start = Instant::now();
    loop {
        let due = chooser.deadline().map(|due| start + due);
        let mut out = Vec::new();
        tokio::select! {
            Some((member, event)) = news.next() => {
                if let Event::Up { .. } = event {
                    routes.returned(member);
                }
                chooser.handle(start.elapsed(), member, event, &mut out);
            }
            () = until(due) => chooser.expire(start.elapsed(), &mut out),
        }
        active.set(chooser.active());
        for output in out {
            tell(&routes, &events, output).await;
        }
    }
}

/// Answers until nobody can ask any more; then blocks under way are still submitted, each member bounds its own answers.
async fn serve(mut requests: Requests, routes: &Rc<Routes>, active: &Cell<Option<usize>>) {
    let mut at_work = JoinSet::new();
    while let Some(request) = requests.recv().await {
        if at_work.len() >= REQUESTS_MAX {
            let _ = at_work.join_next().await;
        }
        at_work.spawn_local(route::serve(Rc::clone(routes), active.get(), request));
        while at_work.try_join_next().is_some() {}
    }
    while at_work.join_next().await.is_some() {}
}

async fn tell(routes: &Routes, events: &mpsc::Sender<Event>, output: Output) {
    let event = match output {
        Output::Template {
            member,
            at_member,
            template,
        } => {
            routes.issued(member, at_member, &template);
            Event::Template(template)
        }
        Output::Transactions {
            template,
            transactions,
        } => {
            routes.learned(template, &transactions);
            Event::Transactions {
                template,
                transactions,
            }
        }
        Output::Say(event) => event,
    };
    // Nobody listening is no trouble of ours: requests are served all the same.
    let _ = events.send(event).await;
}

type News = stream::SelectAll<BoxStream<'static, (usize, Event)>>;

/// The members' two directions: the ways to ask, and what they say, one stream for all.
fn split(members: Vec<Member>) -> (Vec<Handle>, News) {
    let mut handles = Vec::new();
    let mut news = stream::SelectAll::new();
    for (place, member) in members.into_iter().enumerate() {
        let Node { handle, events } = member.node;
        handles.push(handle);
        let said = stream::unfold(events, async |mut events| {
            events.recv().await.map(|event| (event, events))
        });
        news.push(said.map(move |event| (place, event)).boxed());
    }
    (handles, news)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending::<()>().await,
    }
}

/// How long the preferred member must have been well before templates come from it again.
const SETTLE: Duration = Duration::from_secs(5);
/// How far behind another's new block the member that is mined on may be.
const LAG: Duration = Duration::from_secs(1);
/// How long members may disagree about the tip before that is an alarm.
const DISAGREE: Duration = Duration::from_secs(30);
