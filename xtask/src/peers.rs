//! `cargo xtask peers`: the real programs that the tests run against.
//!
//! Everything goes into a cache outside the tree. A peer is ready when its stamp holds its recipe and
//! its programs are there, so a second run does nothing and an interrupted one goes on.

mod cache;
mod core;
mod packages;
mod reference;
mod web;

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

pub(crate) use self::cache::Cache;
pub(crate) use self::core::source as core_source;
use crate::exec::{Failure, elapsed};

/// What to do about the peers.
#[derive(Args)]
pub(crate) struct Options {
    /// Only show the state of every peer.
    #[arg(long, conflicts_with = "check")]
    list: bool,
    /// Build nothing: exit with 0 when all peers are ready, with 1 otherwise.
    #[arg(long)]
    check: bool,
    /// Only these peers (names as `--list` prints them).
    #[arg(value_name = "PEER")]
    only: Vec<String>,
}

/// One thing to build: what it is called, what it is made of, what it leaves in `bin`.
struct Peer {
    name: &'static str,
    /// Everything that changes the result; another recipe is another build.
    recipe: String,
    programs: &'static [&'static str],
    build: fn(&Cache, &Peer) -> Result<(), Failure>,
}

/// Shows, checks or builds the peers.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let cache = Cache::open()?;
    let peers = chosen(options)?;
    if options.list {
        list(&cache);
        return Ok(ExitCode::SUCCESS);
    }
    let missing: Vec<&Peer> = peers.iter().filter(|peer| !cache.ready(peer)).collect();
    if options.check {
        return Ok(check(&cache, &missing));
    }
    packages::ensure(&cache)?;
    if missing.is_empty() {
        println!("peers: all {} ready in {}", peers.len(), cache.bin().display());
        return Ok(ExitCode::SUCCESS);
    }
    build_all(&cache, &peers)?;
    Ok(ExitCode::SUCCESS)
}

fn all() -> Vec<Peer> {
    let mut peers = vec![core::peer()];
    peers.extend(reference::peers());
    peers.extend(web::peers());
    peers
}

fn chosen(options: &Options) -> Result<Vec<Peer>, Failure> {
    let known: Vec<&str> = all().iter().map(|peer| peer.name).collect();
    if let Some(wrong) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!(
            "no peer is called `{wrong}`; there are: {}",
            known.join(", ")
        ));
    }
    let named = |peer: &Peer| options.only.iter().any(|name| name == peer.name);
    Ok(all()
        .into_iter()
        .filter(|peer| options.only.is_empty() || named(peer))
        .collect())
}

fn list(cache: &Cache) {
    println!("cache: {}", cache.root().display());
    for peer in all() {
        let state = match cache.ready(&peer) {
            true => "ready",
            false => "not built",
        };
        println!(
            "{:<14} {:<34} {}",
            peer.name,
            state,
            peer.recipe.lines().next().unwrap_or_default()
        );
    }
}

fn check(cache: &Cache, missing: &[&Peer]) -> ExitCode {
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = missing.iter().map(|peer| peer.name).collect();
    eprintln!(
        "peers: not ready in {}: {}; run `cargo xtask peers`",
        cache.root().display(),
        names.join(", ")
    );
    ExitCode::FAILURE
}

/// Builds what is missing, under the lock; another run may have built it while we waited.
fn build_all(cache: &Cache, peers: &[Peer]) -> Result<(), Failure> {
    let _lock = cache.lock()?;
    let started = Instant::now();
    for peer in peers {
        if cache.ready(peer) {
            println!("[{}] {}: ready", elapsed(started), peer.name);
            continue;
        }
        println!(
            "[{}] {}: building (log: {})",
            elapsed(started),
            peer.name,
            cache.log(peer.name).display()
        );
        cache.unstamp(peer)?;
        (peer.build)(cache, peer)?;
        cache.stamp(peer)?;
        println!("[{}] {}: ready", elapsed(started), peer.name);
    }
    println!("peers: all {} ready in {}", peers.len(), cache.bin().display());
    Ok(())
}
