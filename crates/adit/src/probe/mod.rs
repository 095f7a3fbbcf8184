//! `adit probe`: what a server keeps of Stratum V2, asked from outside.
//!
//! First a survey asks what many checks need (certificate, setup answers, extensions, channels), then every row of
//! the one table is asked, each on connections of its own. A probe is a guest: one connection at a time, and a
//! bound on connections, bytes, shares, hashes and seconds ([`Options`]). It knows a server by what it says only; nothing
//! acts on an error code.

mod checks;
mod frame;
mod ground;
mod handshake;
mod miner;
mod options;
mod peer;
mod print;
mod report;
mod scene;
mod survey;
mod table;
mod verdict;

use std::rc::Rc;

pub use ground::Used;
pub use options::{Options, Settings};
pub use print::{markdown, text};
pub use report::{
    CertificateReport, ChannelReport, CheckReport, ExtensionReport, ProbeReport, Report, ServerReport,
    SetupAnswer, SetupReport, SuiteReport, Summary,
};
pub use verdict::{Level, Verdict};

use crate::exit::Exit;
use crate::shutdown::Shutdown;
use ground::Ground;
use scene::Scene;
use survey::Survey;
use verdict::Miss;

/// What a check may ask: new connections, and what the survey has seen.
struct Probe {
    ground: Rc<Ground>,
    survey: Survey,
}

/// Asks a server everything. Blocks; call it where that disturbs nobody.
///
/// # Errors
/// When the host does not resolve or nobody listens there, or a remote URL has no key.
pub fn run(settings: Settings, stop: Shutdown) -> Result<Report, Exit> {
    if settings.url.key.is_none() && !settings.url.is_local() {
        return Err(Exit::usage("the URL has no key, so the server could be anybody")
            .help("take the whole URL that the server shows, with the key behind the last slash"));
    }
    let ground = Ground::new(settings, stop)?;
    let survey = Survey::take(&ground)?;
    let probe = Probe { ground, survey };
    let checks = table::CHECKS
        .iter()
        .map(|check| CheckReport {
            name: check.name,
            requirements: check.requirements,
            section: check.section,
            level: check.level,
            title: check.title,
            verdict: (check.run)(&probe).into(),
        })
        .collect();
    Ok(probe.report(checks))
}

/// Names of all checks, in the order of the report.
pub fn check_names() -> impl Iterator<Item = &'static str> {
    table::CHECKS.iter().map(|check| check.name)
}

impl Probe {
    fn report(&self, checks: Vec<CheckReport>) -> Report {
        let survey = &self.survey;
        let channels = |scene: &Result<Scene, Miss>, flags| {
            scene
                .as_ref()
                .map(|scene| scene.report(flags))
                .unwrap_or_default()
        };
        Report {
            probe: ProbeReport {
                software: Report::software(),
                time: Report::time(self.ground.clock.unix_s()),
            },
            server: survey.server.clone(),
            suites: survey.suites.clone(),
            certificate: survey.certificate.clone(),
            setup: survey.setup_report(),
            extensions: survey.extension_report(),
            channels: [channels(&survey.grouped, 0), channels(&survey.header_only, 1)].concat(),
            used: self.ground.used(),
            summary: Summary::of(&checks),
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const REQUIREMENTS: &str = include_str!("../../../../docs/spec/requirements.md");

    /// Level and sources of each requirement.
    fn requirements() -> BTreeMap<&'static str, (&'static str, &'static str)> {
        let row = |line: &'static str| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let (id, level, source) = (*cells.get(1)?, *cells.get(2)?, *cells.get(5)?);
            id.starts_with("REQ-").then_some((id, (level, source)))
        };
        REQUIREMENTS.lines().filter_map(row).collect()
    }

    /// Every check names requirements that exist, and has the level and a section of the one it is named for.
    #[test]
    fn the_table_agrees_with_the_requirements() {
        let requirements = requirements();
        let mut names = BTreeSet::new();
        for check in table::CHECKS {
            assert!(names.insert(check.name), "{} stands twice", check.name);
            for id in check.requirements {
                assert!(requirements.contains_key(id), "{}: {id}", check.name);
            }
            let (level, source) = requirements[check.requirements[0]];
            assert_eq!(check.level.text(), level, "{}", check.name);
            assert!(
                source.contains(check.section),
                "{}: {} is not in {source}",
                check.name,
                check.section
            );
        }
        assert!(names.len() > 60, "{}", names.len());
    }
}
