//! Configuration: text -> [`Config`] (what was given, and where) -> [`Settings`] (what is right).
//!
//! [`table`] holds every key once. TOML, the environment (`ADIT_SHARES__VARDIFF=false`) and the
//! command line (`--set shares.vardiff=false`) are read into a [`Config`], the later over the earlier;
//! [`Settings::check`] makes typed values of it or says what is wrong, where, and what would be right.

mod docs;
mod field;
mod origin;
mod payout;
mod payouts;
mod rpc;
mod security;
mod settings;
mod shown;
mod source;
pub mod table;
mod values;

pub use docs::{help, markdown};
pub use field::Range;
pub use origin::{Origin, Problem, suggestion};
pub use payout::Payout;
pub(crate) use payout::name as network_name;
pub use payouts::Payouts;
pub use rpc::RpcNode;
pub use settings::{Settings, WORK_FLOOR};
pub use shown::Shown;
pub use source::{Config, Raw, Sources};
pub use table::{Key, keys};
pub use values::{
    Alias, Aliases, BlockNodes, DrainTo, ExtensionIds, Hosts, HttpListen, JobsFrom, Level, Listen, LogFormat,
    NatsPrefix, NatsUrl, NegotiationMode, NetworkChoice, NodeSpec, Nodes, Other, Place, Places, PreferNode,
    ProxyMode, Receivers, Scheme, SmallDevice, SmallDevices, Tag, WorkFloor,
};
