//! What is asked once and judged by many checks: suites, certificate, setup answers, extensions, channels.

use std::rc::Rc;

use adit_noise::draft2022::Aeads;
use adit_noise::{Aead, AuthorityKey, CertificateError, HandshakeError, Utc};
use adit_wire::Seq0_64K;
use adit_wire::common::{SetupConnection, flags, protocol};
use adit_wire::negotiation::{RequestExtensions, ToClient};

use super::frame::{Frame, Message, hex, told};
use super::ground::Ground;
use super::handshake::{Shaken, Shown, current, draft, draft_name, draft_with_unknown_code, shake};
use super::peer::{Answer, Got, Heard, Line, Peer, setup};
use super::report::{
    CertificateReport, ExtensionReport, ServerReport, SetupAnswer, SetupReport, SuiteReport, ago,
};
use super::scene::Scene;
use super::verdict::Miss;
use crate::exit::Exit;
use crate::observe::text::clean;

/// The suite of the current spec.
pub(super) const CURRENT: &str = "Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";
/// Protocol numbers that are asked for, the undefined one last.
const PROTOCOLS: [u8; 5] = [
    protocol::MINING,
    protocol::JOB_DECLARATION,
    protocol::TEMPLATE_DISTRIBUTION,
    protocol::JOB_DISTRIBUTION,
    UNDEFINED_PROTOCOL,
];
/// A protocol that nobody has defined.
pub(super) const UNDEFINED_PROTOCOL: u8 = 9;
/// Bits of SetupConnection.flags that are asked for one by one: those defined, the next one, and the last.
pub(super) const FLAG_BITS: [u32; 5] = [0, 1, 2, 3, 31];
/// Version ranges: the wider one, one above, one below, one upside down.
pub(super) const RANGES: [(u16, u16); 4] = [(2, 5), (3, 3), (0, 1), (3, 2)];
/// Experimental extension that no server should know.
pub(super) const UNKNOWN_EXTENSION: u16 = 0x4001;

/// One SetupConnection and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Try {
    pub(super) asked: SetupConnection,
    pub(super) answer: Answer,
    /// After an Error: whether the server hung up.
    pub(super) closed: Option<bool>,
    /// The answer's bytes.
    pub(super) bytes: Vec<u8>,
}

/// One RequestExtensions and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) request_id: u16,
    pub(super) wanted: Vec<u16>,
    pub(super) heard: Result<(ToClient, Frame), Heard>,
}

/// Everything that is known of the server before the checks begin.
pub(super) struct Survey {
    pub(super) server: ServerReport,
    pub(super) suites: Vec<SuiteReport>,
    pub(super) handshake: Result<(), Miss>,
    /// The suites of the 2022 draft: ChaChaPoly alone, AESGCM alone.
    pub(super) drafts: Vec<Result<(), Miss>>,
    /// What a server of those says to an offer without a known algorithm.
    pub(super) unknown_code: Option<Result<Got, Miss>>,
    /// Why the certificate is not believed.
    pub(super) distrust: Option<HandshakeError>,
    pub(super) certificate: Option<CertificateReport>,
    pub(super) tries: Vec<Try>,
    /// The sub-protocol that most is asked about: mining, if it is served.
    pub(super) main: Option<u8>,
    pub(super) extensions: Vec<Asked>,
    pub(super) grouped: Result<Scene, Miss>,
    pub(super) header_only: Result<Scene, Miss>,
    pub(super) rolling: Result<Scene, Miss>,
}

impl Survey {
    /// Asks for everything.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn take(ground: &Rc<Ground>) -> Result<Self, Exit> {
        Line::connect(ground).map_err(|miss| unreachable_server(ground, miss))?;
        let skip = || Err(Miss::skip("the server is not spoken to"));
        let mut survey = Self {
            server: ServerReport {
                url: ground.settings.url.to_string(),
                address: ground.addr.to_string(),
            },
            suites: Vec::new(),
            handshake: Ok(()),
            drafts: Vec::new(),
            unknown_code: None,
            distrust: None,
            certificate: None,
            tries: Vec::new(),
            main: None,
            extensions: Vec::new(),
            grouped: skip(),
            header_only: skip(),
            rolling: skip(),
        };
        survey.handshake = survey.shake(ground);
        survey.suites(ground);
        survey.plain(ground);
        if survey.handshake.is_ok() && survey.distrust.is_none() {
            survey.setups(ground);
            survey.extensions(ground);
            let mining = survey.serves(protocol::MINING);
            let scene = |flags, kinds: &[_]| match mining {
                true => Scene::play(ground, flags, kinds),
                false => Err(Miss::skip("mining is not served here")),
            };
            use super::scene::{EXTENDED, STANDARD};
            survey.grouped = scene(0, &[EXTENDED, STANDARD, EXTENDED, STANDARD]);
            survey.header_only = scene(flags::REQUIRES_STANDARD_JOBS, &[STANDARD, STANDARD]);
            survey.rolling = scene(flags::REQUIRES_VERSION_ROLLING, &[EXTENDED]);
        }
        Ok(survey)
    }

    /// Whether a plain SetupConnection of this protocol was answered with Success.
    pub(super) fn serves(&self, protocol: u8) -> bool {
        self.tried(protocol, 2, 2, 0)
            .is_some_and(|it| matches!(it.answer, Answer::Success(_)))
            || self
                .tried(protocol, 2, 2, flags::DECLARE_TX_DATA)
                .is_some_and(|it| {
                    protocol == protocol::JOB_DECLARATION && matches!(it.answer, Answer::Success(_))
                })
    }

    /// What came of one SetupConnection.
    pub(super) fn tried(&self, protocol: u8, min: u16, max: u16, flags: u32) -> Option<&Try> {
        let same = |it: &&Try| {
            let asked = &it.asked;
            (asked.protocol, asked.min_version, asked.max_version, asked.flags) == (protocol, min, max, flags)
        };
        self.tries.iter().find(same)
    }

    /// The handshake that the URL asks for, and what the server shows in it.
    fn shake(&mut self, ground: &Rc<Ground>) -> Result<(), Miss> {
        let shaken = shake(ground)?;
        if let Shaken::Hands(examined, _) = shaken {
            let shown = examined.shown();
            self.distrust = examined.believe(ground).err();
            self.certificate = Some(certificate(ground, &shown, self.distrust.as_ref()));
            return Ok(());
        }
        Err(no_hands(shaken))
    }

    /// Which suites are served, each with an algorithm of its own.
    fn suites(&mut self, ground: &Rc<Ground>) {
        let keyed_draft = matches!(ground.authority(), Some(AuthorityKey::Draft2022(_)));
        let current = match (&self.handshake, keyed_draft) {
            (known, false) => known.clone(),
            (_, true) => hands(current(ground)),
        };
        self.suite(CURRENT, &current);
        // Two questions fewer to a server that does not know the offer at all.
        let any = hands(draft(ground, Aeads::default()));
        for aead in [Aead::ChaChaPoly, Aead::AesGcm] {
            let alone = any.clone().and_then(|()| hands(draft(ground, Aeads::only(aead))));
            self.suite(draft_name(aead), &alone);
            self.drafts.push(alone);
        }
        if any.is_ok() {
            self.unknown_code = Some(draft_with_unknown_code(ground));
        }
    }

    fn suite(&mut self, name: &str, result: &Result<(), Miss>) {
        let detail = match result {
            Ok(()) => String::new(),
            Err(Miss::Skip(why) | Miss::Fail { seen: why, .. }) => why.clone(),
        };
        self.suites.push(SuiteReport {
            name: name.to_owned(),
            served: result.is_ok(),
            detail,
        });
    }

    /// Whether plain Stratum V2 or Stratum V1 is answered on the same port.
    fn plain(&mut self, ground: &Rc<Ground>) {
        let v1 = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"adit probe\"]}\n".to_vec();
        let asked = setup(ground, protocol::MINING, 0);
        let v2 = super::peer::frame_of(&asked, &[]);
        for (name, bytes) in [("plaintext Stratum V2", v2), ("Stratum V1 JSON", v1)] {
            let heard = Line::connect(ground).and_then(|mut line| {
                line.say(&bytes)?;
                line.hear(ground.settings.quiet())
            });
            let (served, detail) = match heard {
                Ok(Got::Bytes(bytes)) => answered(name, &bytes),
                Ok(Got::Silence) => (false, "no answer".to_owned()),
                Ok(Got::End) => (false, "the server hung up".to_owned()),
                Err(Miss::Skip(why) | Miss::Fail { seen: why, .. }) => (false, why),
            };
            self.suites.push(SuiteReport {
                name: name.to_owned(),
                served,
                detail,
            });
        }
    }

    fn setups(&mut self, ground: &Rc<Ground>) {
        for protocol in PROTOCOLS {
            self.try_setup(ground, setup(ground, protocol, 0));
        }
        if !self.serves(protocol::JOB_DECLARATION) {
            self.try_setup(
                ground,
                setup(ground, protocol::JOB_DECLARATION, flags::DECLARE_TX_DATA),
            );
        }
        let order = [
            protocol::MINING,
            protocol::TEMPLATE_DISTRIBUTION,
            protocol::JOB_DECLARATION,
        ];
        self.main = order.into_iter().find(|protocol| self.serves(*protocol));
        let Some(main) = self.main else { return };
        for (min_version, max_version) in RANGES {
            let polite = setup(ground, main, 0);
            self.try_setup(
                ground,
                SetupConnection {
                    min_version,
                    max_version,
                    ..polite
                },
            );
        }
        for bit in FLAG_BITS {
            if self.tried(main, 2, 2, 1 << bit).is_none() {
                self.try_setup(ground, setup(ground, main, 1 << bit));
            }
        }
        self.try_setup(ground, setup(ground, main, u32::MAX));
    }

    fn try_setup(&mut self, ground: &Rc<Ground>, asked: SetupConnection) {
        let tried = Peer::greet(ground).and_then(|mut peer| {
            let answer = peer.set_up(&asked)?;
            let closed = match answer {
                Answer::Error(_) => Some(peer.ends()?.0),
                _ => None,
            };
            Ok((answer, closed))
        });
        if let Ok((answer, closed)) = tried {
            let bytes = match &answer {
                Answer::Success(it) => super::peer::frame_of(it, &[]),
                Answer::Error(it) => super::peer::frame_of(it, &[]),
                Answer::Other(heard) => heard.bytes(),
            };
            self.tries.push(Try {
                asked,
                answer,
                closed,
                bytes,
            });
        }
    }

    /// Asks for 0x0002 together with one that nobody knows, then for the latter alone.
    fn extensions(&mut self, ground: &Rc<Ground>) {
        // Template providers take RequestExtensions for SetupConnection and may hang up (C-07).
        if self.main != Some(protocol::MINING) {
            return;
        }
        for (request_id, wanted) in [
            (
                0x1234,
                vec![adit_wire::extension::WORKER_HASH_RATE, UNKNOWN_EXTENSION],
            ),
            (0x4321, vec![UNKNOWN_EXTENSION]),
        ] {
            let heard = Peer::join(ground, protocol::MINING, 0).and_then(|(mut peer, _)| {
                request_extensions(&mut peer, request_id, &wanted).map(|(heard, _)| heard)
            });
            if let Ok(heard) = heard {
                self.extensions.push(Asked {
                    request_id,
                    wanted,
                    heard,
                });
            }
        }
    }

    /// The setup answers, for the report.
    pub(super) fn setup_report(&self) -> Vec<SetupReport> {
        let report = |it: &Try| SetupReport {
            protocol: it.asked.protocol,
            versions: [it.asked.min_version, it.asked.max_version],
            flags: it.asked.flags,
            answer: match &it.answer {
                Answer::Success(success) => SetupAnswer::Success {
                    used_version: success.used_version,
                    flags: success.flags,
                },
                Answer::Error(error) => SetupAnswer::Error {
                    flags: error.flags,
                    code: told(&error.error_code),
                    closed: it.closed == Some(true),
                },
                Answer::Other(heard) => SetupAnswer::Other { seen: heard.text() },
            },
        };
        self.tries.iter().map(report).collect()
    }

    /// The answers to RequestExtensions, for the report.
    pub(super) fn extension_report(&self) -> Vec<ExtensionReport> {
        let report = |it: &Asked| {
            let (answer, supported, required) = match &it.heard {
                Ok((ToClient::RequestExtensionsSuccess(it), _)) => {
                    ("success".to_owned(), it.supported_extensions.to_vec(), Vec::new())
                }
                Ok((ToClient::RequestExtensionsError(it), _)) => {
                    ("error".to_owned(), Vec::new(), it.required_extensions.to_vec())
                }
                Err(heard) => (heard.text(), Vec::new(), Vec::new()),
            };
            ExtensionReport {
                requested: it.wanted.clone(),
                answer,
                supported,
                required,
            }
        };
        self.extensions.iter().map(report).collect()
    }
}

fn hands(shaken: Result<Shaken, Miss>) -> Result<(), Miss> {
    match shaken? {
        Shaken::Hands(..) => Ok(()),
        other => Err(no_hands(other)),
    }
}

/// Why a handshake is none.
fn no_hands(shaken: Shaken) -> Miss {
    match shaken {
        Shaken::Hands(..) => Miss::skip("the handshake is done"),
        Shaken::Wrong(bytes) => Miss::fail(
            "an act 2 that authenticates",
            "an answer that does not authenticate, or of another suite",
        )
        .with(&bytes),
        Shaken::Not(bytes, last) => {
            let seen = match (bytes.is_empty(), last) {
                (true, Got::End) => "the server hung up without a word".to_owned(),
                (true, _) => "no answer".to_owned(),
                (false, _) => format!("{} bytes that are no answer", bytes.len()),
            };
            Miss::fail("an answer to the handshake", seen).with(&bytes)
        }
    }
}

fn certificate(ground: &Ground, shown: &Shown, distrust: Option<&HandshakeError>) -> CertificateReport {
    let now = ground.clock.unix_s();
    let (from, to) = (shown.valid_from, shown.not_valid_after);
    let wrong = HandshakeError::Certificate(CertificateError::Signature);
    let authority = ground.authority();
    CertificateReport {
        version: shown.version,
        authority: authority.map(|key| key.to_string()),
        verified: authority.map(|_| distrust != Some(&wrong)),
        server_key: hex(&shown.server_key),
        valid_from: Utc(from.into()).to_string(),
        not_valid_after: Utc(to.into()).to_string(),
        our_clock: Utc(now).to_string(),
        skew: ago(now, from, to),
        valid_now: (u64::from(from)..=u64::from(to)).contains(&now),
    }
}

/// What came of RequestExtensions: the answer with its frame, or what came instead; and what came before it.
pub(super) type Negotiated = (Result<(ToClient, Frame), Heard>, Vec<Frame>);

/// Sends RequestExtensions and waits for the answer.
pub(super) fn request_extensions(
    peer: &mut Peer,
    request_id: u16,
    wanted: &[u16],
) -> Result<Negotiated, Miss> {
    let requested_extensions = Seq0_64K::new(wanted.to_vec()).unwrap_or_else(|_| Seq0_64K::empty());
    peer.say(&RequestExtensions {
        request_id,
        requested_extensions,
    })?;
    peer.await_frame(|frame| match frame.message() {
        Ok(Message::Negotiation(answer)) => Some((answer, frame.clone())),
        _ => None,
    })
}

/// Whether the bytes are an answer in the language that was spoken, and what to tell of them. A server that takes our
/// first bytes for act 1 answers with act 2, which is noise here.
fn answered(name: &str, bytes: &[u8]) -> (bool, String) {
    if !name.starts_with("Stratum V1") {
        let is = matches!(bytes, [0, 0, 0x01 | 0x02, ..]);
        return (is, if is { hex(bytes) } else { "other bytes".to_owned() });
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match serde_json::from_slice::<serde_json::Value>(line) {
        Err(_) => (false, "other bytes".to_owned()),
        Ok(answer) if !answer["error"].is_null() => {
            (false, format!("refused: {}", clean(&answer["error"].to_string())))
        }
        Ok(_) => (true, String::new()),
    }
}

fn unreachable_server(ground: &Ground, miss: Miss) -> Exit {
    let (Miss::Skip(why) | Miss::Fail { seen: why, .. }) = miss;
    Exit::unreachable(format!("{}: {why}", ground.addr))
        .help("check host and port, and that the server runs and lets this machine in")
}
