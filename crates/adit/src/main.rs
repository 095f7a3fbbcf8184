//! One binary, every role.

use std::process::ExitCode;

use adit::cli::{Cli, Command};
use adit::config::Settings;
use adit::exit::Exit;
use adit::observe::{Screen, logs};
use adit::shutdown::Shutdown;
use clap::Parser;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let command = cli.into_command();
    let json = command.json();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
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

fn run(command: Command) -> Result<(), Exit> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os()
        .map(|(name, value)| (lossy(name), lossy(value)))
        .collect();
    let settings = command.settings(environment)?;
    let screen = match &command {
        Command::Up(_) => Screen::of_process(),
        _ => Screen::plain(),
    };
    logs::start(&settings.log, &screen);
    match command {
        Command::Keys(args) => adit::keys::run(&settings, args.action, args.json),
        Command::Ledger(args) => adit::ledger::run(&settings, args.action, args.json),
        role => serve(role, settings, screen),
    }
}

/// The commands that run until they are done or told to stop.
fn serve(command: Command, settings: Settings, screen: Screen) -> Result<(), Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals()
            .map_err(|error| Exit::failed(format!("cannot listen for signals: {error}")))?;
        let _ = (settings, shutdown, screen);
        match command {
            Command::Up(_) => later("up"),
            Command::Pool(_) => later("pool"),
            Command::Device(_) => later("device"),
            Command::Load(_) => later("load"),
            Command::Keys(_) | Command::Ledger(_) => Ok(()),
        }
    })
}

fn later(what: &str) -> Result<(), Exit> {
    Err(Exit::failed(format!("`adit {what}` is not in this build")))
}
