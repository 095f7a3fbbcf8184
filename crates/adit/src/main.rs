//! One binary, every role.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use adit::cli::{Channel, Cli, Command, DeviceArgs, LoadArgs, ProbeArgs};
use adit::config::{ProxyMode, Settings};
use adit::exit::Exit;
use adit::observe::{Screen, logs, text};
use adit::proxy::{self, welcome};
use adit::shutdown::{Shutdown, Stop};
use adit::{device, fleet, load, negotiator, pool, probe, provider, reload, service, tell, up};
use adit_net::Url;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let command = cli.into_command();
    let json = command.json();
    match run(command) {
        Ok(code) => code,
        Err(exit) => exit.report(json),
    }
}

/// What clap says: help and version are no failure.
fn refused(error: &clap::Error) -> ExitCode {
    // Nothing is left to do when even this cannot be printed.
    let _ = error.print();
    if error.use_stderr() && std::env::args().any(|arg| arg == "--json") {
        println!("{}", Exit::usage(error.to_string().trim_end()).json());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(command: Command) -> Result<ExitCode, Exit> {
    // The node starts it for every block: nothing is read for it.
    if let Command::Notify(args) = &command {
        return adit::notify::run(args.to, &args.block).map(|()| ExitCode::SUCCESS);
    }
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .map(|(name, value)| (lossy(name), lossy(value)))
        .collect();
    let rereader = reload::Reader::new(command.clone(), environment);
    let settings = rereader.settings()?;
    let screen = match &command {
        Command::Up(_) => Screen::of_process(),
        _ => Screen::plain(),
    };
    logs::start(&settings.log, &screen);
    match command {
        Command::Probe(args) => return ask(&settings, args),
        Command::Notify(args) => adit::notify::run(args.to, &args.block),
        Command::NotifyTest(args) => {
            let clock = adit_net::Clock::system();
            tell::test(&settings.notify, args.way.as_deref(), &clock, |line| {
                screen.say(line)
            })
        }
        Command::Keys(args) => adit::keys::run(&settings, args.action, args.json),
        Command::Ledger(args) => adit::ledger::run(&settings, args.action, args.json),
        Command::Payout(args) => adit::payout::command::run(&settings, &args.action, args.json),
        Command::Up(args) => on_runtime(async |shutdown| {
            let report = up::run(&settings, args.until_blocks, args.json, &screen, shutdown).await?;
            if args.json {
                return print(&report);
            }
            farewell(&report, &screen);
            Ok(())
        }),
        Command::Pool(args) => match args.drain {
            Some(place) => pool::ask_to_drain(&settings.data, place.as_ref(), |line| screen.say(line)),
            None => on_plain_runtime(async || serve(&settings, &screen, rereader).await),
        },
        Command::Negotiator(_) => on_runtime(async |shutdown| negotiate(&settings, &screen, shutdown).await),
        Command::Provider(_) => on_runtime(async |shutdown| provide(&settings, &screen, shutdown).await),
        Command::Proxy(args) => match (settings.proxy.mode, args.negotiate) {
            (ProxyMode::Transparent, true) => {
                Err(Exit::usage("a transparent proxy makes no jobs of its own")
                    .help("leave out --negotiate, or take --mode aggregate"))
            }
            (ProxyMode::Transparent, false) => {
                on_runtime(async |shutdown| hand_on(&settings, &screen, shutdown).await)
            }
            (ProxyMode::Aggregate, true) => {
                on_runtime(async |shutdown| negotiate(&settings, &screen, shutdown).await)
            }
            (ProxyMode::Aggregate, false) => on_plain_runtime(async || relay(&settings, &screen).await),
        },
        Command::Template(args) => {
            on_runtime(async |_| adit::template::run(&settings, &args.action, args.json).await)
        }
        Command::Device(args) => on_runtime(async |shutdown| mine(&settings, args, shutdown).await),
        Command::Accountant(_) => on_runtime(async |shutdown| {
            let say = |line: &str| screen.say(line);
            fleet::command::accountant(&settings, shutdown, say)
                .await
                .map(drop)
        }),
        Command::Fleet(args) => on_runtime(async |_| {
            let said = fleet::command::fleet(&settings, &args.action).await?;
            if args.json {
                return print(&said);
            }
            println!("{}", said.text());
            Ok(())
        }),
        Command::Load(args) => on_runtime(async |shutdown| generate(&settings, args, shutdown).await),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Probes a server. A broken MUST is a result, printed like any other, and exit status 1.
fn ask(settings: &Settings, args: ProbeArgs) -> Result<ExitCode, Exit> {
    let mut broken = false;
    on_runtime(async |shutdown| {
        let settings = probe::Settings {
            url: args.url,
            clock_leeway_s: settings.keys.clock_leeway_s,
            options: args.options,
        };
        let asked = tokio::task::spawn_blocking(|| probe::run(settings, shutdown)).await;
        let report = asked.map_err(|error| Exit::failed(format!("the probe failed: {error}")))??;
        broken = report.summary.must_failed > 0;
        match &args.markdown {
            _ if args.json => print(&report)?,
            Some(title) => print!("{}", probe::markdown(&report, title)),
            None => print!("{}", probe::text(&report, std::io::stdout().is_terminal())),
        }
        Ok(())
    })?;
    Ok(if broken {
        ExitCode::from(adit::exit::Code::Failed as u8)
    } else {
        ExitCode::SUCCESS
    })
}

/// Runs a role until it is done or SIGINT or SIGTERM comes.
fn on_runtime(role: impl AsyncFnOnce(Shutdown) -> Result<(), Exit>) -> Result<(), Exit> {
    on_plain_runtime(async || role(Shutdown::on_signals().map_err(no_runtime)?).await)
}

fn on_plain_runtime(role: impl AsyncFnOnce() -> Result<(), Exit>) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_runtime)?;
    runtime.block_on(role())
}

fn no_runtime(error: std::io::Error) -> Exit {
    Exit::failed(format!("cannot start the runtime: {error}"))
}

/// SIGTERM drains where a place to drain to is configured, and stops otherwise.
/// The first of the three is to be held: nobody wishes for a drain without a place.
fn signals(settings: &Settings) -> Result<(Stop, Shutdown, Shutdown), Exit> {
    let (never, undrained) = Shutdown::new();
    let (drain, shutdown) = match settings.pool.drain_to.0 {
        Some(_) => Shutdown::on_drain_signals().map_err(no_runtime)?,
        None => (undrained, Shutdown::on_signals().map_err(no_runtime)?),
    };
    Ok((never, drain, shutdown))
}

async fn serve(settings: &Settings, screen: &Screen, rereader: reload::Reader) -> Result<(), Exit> {
    let (_never, drain, shutdown) = signals(settings)?;
    // What is wrong with it is said before anything starts.
    tell::Way::all(&settings.notify)?;
    let hangups = reload::hangups()?;
    let until = shutdown.clone();
    let last = pool::run(settings, drain, shutdown, |pool| {
        attend(settings, rereader, hangups, pool, &until);
        screen.say(&format!("pool  {}", pool.url()));
        for line in pool.more_urls() {
            screen.say(&line);
        }
        if let Some(addr) = pool.http() {
            screen.say(&format!("page  http://{addr}/"));
        }
    })
    .await?;
    service::stopping("stopped");
    tracing::info!(
        shares = last.shares.accepted,
        blocks = last.blocks.found,
        "stopped"
    );
    Ok(())
}

/// What a running pool has beside it: its service manager, whoever is to be told, and the next configuration.
fn attend(
    settings: &Settings,
    rereader: reload::Reader,
    hangups: tokio::signal::unix::Signal,
    pool: &pool::Pool,
    until: &Shutdown,
) {
    tokio::spawn(service::keep_alive(pool.pulse(), until.clone()));
    tokio::spawn(reload::serve(
        rereader,
        settings.clone(),
        hangups,
        pool.errands(),
        pool.live(),
        pool.status(),
        until.clone(),
    ));
    service::ready(&format!("serving at {}", pool.url()));
}

/// Says where a role is reached, and where its page is.
fn announce(screen: &Screen, role: &str, url: &Url, page: Option<SocketAddr>) {
    screen.say(&format!("{role}  {url}"));
    if let Some(addr) = page {
        screen.say(&format!("{:width$}  http://{addr}/", "page", width = role.len()));
    }
}

/// Says what to type into a miner.
fn welcome(screen: &Screen, url: &Url, more: &[String], user: &str) {
    for line in welcome::lines(url, more, user) {
        screen.say(&line);
    }
    if let Some(code) = adit::keys::code_for_terminal(&url.to_string()) {
        screen.say(&code);
    }
}

async fn negotiate(settings: &Settings, screen: &Screen, shutdown: Shutdown) -> Result<(), Exit> {
    let last = negotiator::run(settings, shutdown, |negotiator| {
        announce(screen, "negotiator", negotiator.url(), negotiator.http());
        welcome(
            screen,
            negotiator.url(),
            &negotiator.more_urls(),
            welcome::ANY_USER,
        );
    })
    .await?;
    tracing::info!(
        shares = last.shares.accepted,
        blocks = last.blocks.found,
        "stopped"
    );
    Ok(())
}

async fn relay(settings: &Settings, screen: &Screen) -> Result<(), Exit> {
    let (_never, drain, shutdown) = signals(settings)?;
    let last = proxy::run(settings, drain, shutdown, |proxy| {
        announce(screen, "proxy", proxy.pool().url(), proxy.pool().http());
        welcome(
            screen,
            proxy.pool().url(),
            &proxy.pool().more_urls(),
            welcome::ANY_USER,
        );
    })
    .await?;
    tracing::info!(shares = last.shares.accepted, "stopped");
    Ok(())
}

async fn hand_on(settings: &Settings, screen: &Screen, shutdown: Shutdown) -> Result<(), Exit> {
    let last = proxy::transparent::run(settings, shutdown, |proxy| {
        announce(screen, "proxy", proxy.url(), proxy.http());
        welcome(screen, proxy.url(), &[], welcome::ACCOUNT_ABOVE);
    })
    .await?;
    tracing::info!(shares = last.shares.accepted, "stopped");
    Ok(())
}

async fn provide(settings: &Settings, screen: &Screen, shutdown: Shutdown) -> Result<(), Exit> {
    let last = provider::run(settings, shutdown, |provider| {
        announce(screen, "provider", provider.url(), provider.http());
    })
    .await?;
    tracing::info!(
        clients = last.connections.accepted,
        blocks = last.blocks.found,
        "stopped"
    );
    Ok(())
}

fn farewell(report: &up::Report, screen: &Screen) {
    screen.say(&format!(
        "{}, {} accepted, {} rejected, in {}",
        text::count(report.blocks, "block"),
        text::count(report.shares_accepted, "share"),
        text::grouped(report.shares_rejected),
        text::duration_ms(report.elapsed_ms)
    ));
}

async fn mine(settings: &Settings, args: DeviceArgs, shutdown: Shutdown) -> Result<(), Exit> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let device = device::Settings {
        upstream: args.upstream,
        user: settings.device.user.clone(),
        threads: settings.device.threads_on(cores),
        channel: kind(args.channel),
        until_shares: args.until_shares,
        dialling: settings.dialling(),
        hash_rate: None,
        extensions: device::Extensions::of(settings),
    };
    let report = device::run_with(device, args.jobs, Arc::default(), shutdown).await?;
    if args.json {
        return print(&report);
    }
    println!(
        "{} accepted, {} rejected, {} in {}",
        text::count(report.shares_accepted, "share"),
        report.shares_rejected,
        text::hash_rate(report.hash_rate),
        text::duration_ms(report.elapsed_ms)
    );
    Ok(())
}

async fn generate(settings: &Settings, args: LoadArgs, shutdown: Shutdown) -> Result<(), Exit> {
    let load = load::Settings::new(
        args.upstream,
        args.connections,
        args.seconds,
        kind(args.channel),
        args.window,
        &args.options,
    )?;
    let load = load::Settings {
        dialling: adit_net::Dialling {
            timeout: load.dialling.timeout,
            ..settings.dialling()
        },
        ..load
    };
    let report = load::run(load, shutdown).await?;
    if args.json {
        return print(&report);
    }
    println!("{report}");
    Ok(())
}

fn kind(channel: Channel) -> device::Channel {
    match channel {
        Channel::Standard => device::Channel::Standard,
        Channel::Extended => device::Channel::Extended,
    }
}

fn print(report: &impl serde::Serialize) -> Result<(), Exit> {
    let text = serde_json::to_string(report).map_err(|error| Exit::failed(error.to_string()))?;
    println!("{text}");
    Ok(())
}
