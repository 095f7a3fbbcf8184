//! The hub looks after the keys: files that change, certificates that end.

use super::hub::Hub;
use crate::keys::Tended;

impl Hub {
    /// Every second or so: new keys for new connections. Those that are there keep their session.
    pub(super) fn tend_keys(&mut self) {
        let now = self.clock.now().unix_s();
        let tended = self.ring.tend(now);
        match &tended {
            Tended::Quiet => {}
            Tended::Renewed => tracing::info!("server certificates renewed"),
            Tended::OtherAuthority => {
                let key = self.ring.authority().current;
                tracing::warn!(%key, "the authority is another one now: devices need the new key in their pool address");
            }
            Tended::Refused(exit) => {
                tracing::error!(reason = %exit.message, help = %exit.hint, "changed keys are of no use; the old ones are shown on");
            }
        }
        if matches!(tended, Tended::Renewed | Tended::OtherAuthority) {
            self.identities.send_replace(self.ring.identities());
        }
        self.key_picture(now);
    }

    /// Puts what people should know of the keys into the picture.
    pub(super) fn key_picture(&mut self, now: u64) {
        let pool = &mut self.picture.pool;
        pool.certificates = self.ring.windows().to_vec();
        let key = self.ring.authority().current.to_string();
        if pool.key != key {
            pool.url = pool.url.replace(&pool.key, &key);
            pool.key = key;
        }
        let warning = self
            .ring
            .warning(now, self.certificate_warning_days)
            .unwrap_or_default();
        // The text changes with the days that are left: it is told once a day.
        if pool.keys_warning != warning {
            if !warning.is_empty() {
                tracing::warn!("{warning}");
            }
            pool.keys_warning = warning;
        }
    }
}
