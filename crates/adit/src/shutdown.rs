//! One wish to stop, seen by everybody.

use tokio::sync::watch;

/// Where a process listens for the wish to stop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// The one who may wish it. Dropping it is the wish too.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Shutdown {
    /// A fresh pair.
    pub fn new() -> (Stop, Self) {
        let (stop, wish) = watch::channel(false);
        (Stop(stop), Self(wish))
    }

    /// One that comes with SIGINT or SIGTERM. A second signal ends the process on the spot with
    /// status 130, for the operator who does not want to wait.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (stop, wish) = Self::new();
        tokio::spawn(async move {
            for round in 0.. {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if round > 0 {
                    std::process::exit(130);
                }
                tracing::info!("stopping; once more to stop at once");
                stop.stop();
            }
        });
        Ok(wish)
    }

    /// Two wishes for a pool that can be drained: the first SIGTERM is the first wish, to drain; SIGINT, or any signal after
    /// that, is the second, to stop in order; the signal after that ends the process on the spot with status 130.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_drain_signals() -> std::io::Result<(Self, Self)> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (drain, drain_wish) = Self::new();
        let (stop, stop_wish) = Self::new();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {
                    tracing::info!("draining; once more to stop without waiting for peers");
                    drain.stop();
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                }
            }
            tracing::info!("stopping; once more to stop at once");
            stop.stop();
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            std::process::exit(130);
        });
        Ok((drain_wish, stop_wish))
    }

    /// Waits for the wish; returns at once when it came before.
    pub async fn requested(&mut self) {
        // An error means that nobody can wish any more, which is the wish itself.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the wish has come.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl Stop {
    /// Wishes everybody to stop; saying it twice changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_hears_the_wish() {
        let (stop, mut first) = Shutdown::new();
        let mut second = first.clone();
        assert!(!first.is_requested());
        stop.stop();
        assert!(first.is_requested() && second.is_requested());
        first.requested().await;
        second.requested().await;
    }

    #[tokio::test]
    async fn a_dropped_stop_is_a_wish() {
        let (stop, mut wish) = Shutdown::new();
        drop(stop);
        wish.requested().await;
        assert!(wish.is_requested());
    }
}
