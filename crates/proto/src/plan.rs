//! Plans: how the work of a channel is paid, which is to say which coinbase its jobs have.
//!
//! The plan of a channel is decided when it opens, by its user name ([`Users`]), and never changes. A job of one plan is
//! made of the job that everybody gets, with other outputs ([`Payouts`]), when the first channel needs it.

use crate::setup::Device;
use bitcoin::{Script, TxOut};
use core::fmt;
use std::sync::Arc;

/// How work is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Plan {
    /// With everybody else's.
    #[default]
    Pooled,
    /// The same in a job message that is at most this many bytes long, for devices with little room.
    PooledSmall(u32),
    /// To this output script alone.
    Solo(Payee),
}

/// An output script.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payee(Arc<[u8]>);

impl Payee {
    /// The payee of a script.
    pub fn new(script: &Script) -> Self {
        Self(script.as_bytes().into())
    }

    /// Its script.
    pub fn script(&self) -> &Script {
        Script::from_bytes(&self.0)
    }
}

impl fmt::Debug for Payee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payee({:x})", self.script())
    }
}

impl Plan {
    /// Whether it pays one miner alone.
    pub const fn is_solo(&self) -> bool {
        matches!(self, Self::Solo(_))
    }
}

/// The outputs of coinbases at one moment. Always the same for the same arguments.
pub trait Payouts: fmt::Debug + Send + Sync {
    /// By which whoever made it finds it again.
    fn number(&self) -> u64;

    /// Outputs that share out `value` satoshis to the last one.
    fn outputs(&self, plan: &Plan, value: u64) -> Vec<TxOut>;
}

/// Who may mine, and how each is paid. Always the same for the same arguments.
pub trait Users: fmt::Debug + Send + Sync {
    /// The plan of a user name, on a device whose job messages may be that long.
    ///
    /// # Errors
    /// What is wrong with the name, for people.
    fn plan(&self, user_identity: &str, bytes_max: Option<u32>) -> Result<Plan, String>;

    /// How long the job messages of a device may be, if that is less than what others take.
    fn bytes_max(&self, device: &Device) -> Option<u32>;
}

/// [`Users`] in settings: equal to itself only.
#[derive(Clone, Debug)]
pub struct UserRules(pub Arc<dyn Users>);

impl PartialEq for UserRules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for UserRules {}
