//! The ways to somebody: a web hook, ntfy, Telegram, e-mail. Each sends one notice and says what became of it.
//!
//! Nothing that a way says holds its secret: neither the URL nor what stands in it.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{Message, SmtpTransport, Transport};
use serde_json::json;

use super::notice::{Kind, Notice};
use super::secret::{Secret, lines};
use crate::config::table::NotifyKeys;
use crate::exit::Exit;

/// Longest time that one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// What mail programs sort by.
const SUBJECT: &str = "[adit]";

/// Why a notice has not arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// It may, later.
    Later(String),
    /// It never will as it is configured.
    Never(String),
}

/// One way.
pub struct Way {
    name: &'static str,
    kind: Kinds,
    http: ureq::Agent,
}

enum Kinds {
    Webhook {
        url: String,
        token: Option<String>,
    },
    Ntfy {
        /// Without the topic.
        server: String,
        topic: String,
        token: Option<String>,
    },
    Telegram {
        /// With the bot's token.
        url: String,
        chat: String,
    },
    Mail {
        transport: Box<SmtpTransport>,
        from: Mailbox,
        to: Mailbox,
    },
}

impl Way {
    /// All that are configured.
    ///
    /// # Errors
    /// What is wrong with which key, and what would be right.
    pub fn all(keys: &NotifyKeys) -> Result<Vec<Self>, Exit> {
        let mut ways = Vec::new();
        if let Some([url, token]) = lines("notify.webhook", &keys.webhook)? {
            let url = web("notify.webhook", &url)?;
            ways.push(Self::new(
                "webhook",
                Kinds::Webhook {
                    url,
                    token: some(token),
                },
            ));
        }
        if let Some([url, token]) = lines("notify.ntfy", &keys.ntfy)? {
            let url = web("notify.ntfy", &url)?;
            let split = url
                .trim_end_matches('/')
                .rsplit_once('/')
                .filter(|(server, topic)| !topic.is_empty() && !server.ends_with('/'));
            let (server, topic) = split.ok_or_else(|| {
                wrong(
                    "notify.ntfy",
                    "it names no topic",
                    "the URL of a topic, such as https://ntfy.sh/TOPIC",
                )
            })?;
            let (server, topic) = (server.to_owned(), topic.to_owned());
            ways.push(Self::new(
                "ntfy",
                Kinds::Ntfy {
                    server,
                    topic,
                    token: some(token),
                },
            ));
        }
        if let Some([bot, chat]) = lines("notify.telegram", &keys.telegram)? {
            if chat.is_empty() {
                let right = "the bot's token on its first line and the id of the chat on its second";
                return Err(wrong("notify.telegram", "it names no chat", right));
            }
            let url = format!(
                "{}/bot{bot}/sendMessage",
                keys.telegram_api.as_str().trim_end_matches('/')
            );
            ways.push(Self::new("telegram", Kinds::Telegram { url, chat }));
        }
        if let Some([server, _]) = lines("notify.mail", &keys.mail)? {
            ways.push(Self::new("mail", mail(keys, &server)?));
        }
        Ok(ways)
    }

    fn new(name: &'static str, kind: Kinds) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(ATTEMPT))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            name,
            kind,
            http: config.into(),
        }
    }

    /// How it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Makes one attempt; waits for it no longer than ten seconds.
    ///
    /// # Errors
    /// See [`Fail`].
    pub fn send(&self, notice: &Notice) -> Result<(), Fail> {
        match &self.kind {
            Kinds::Webhook { url, token } => self.post(url, token.as_deref(), &json!(notice)),
            Kinds::Ntfy { server, topic, token } => {
                let body = json!({
                    "topic": topic,
                    "title": notice.title,
                    "message": notice.text,
                    "priority": if notice.urgent { 4 } else { 3 },
                    "tags": [tag(notice.kind)],
                });
                self.post(server, token.as_deref(), &body)
            }
            Kinds::Telegram { url, chat } => {
                let text = format!("{}\n{}", notice.title, notice.text);
                self.post(url, None, &json!({ "chat_id": chat, "text": text }))
            }
            Kinds::Mail { transport, from, to } => {
                let message = Message::builder()
                    .from(from.clone())
                    .to(to.clone())
                    .subject(format!("{SUBJECT} {}", notice.title))
                    .body(format!("{}\n", notice.text))
                    .map_err(|error| Fail::Never(format!("no mail can be made of it: {error}")))?;
                transport
                    .send(&message)
                    .map(drop)
                    .map_err(|error| match error.is_permanent() {
                        true => Fail::Never(format!("the mail server refuses it: {error}")),
                        false => Fail::Later(format!("the mail server: {error}")),
                    })
            }
        }
    }

    fn post(&self, url: &str, token: Option<&str>, body: &serde_json::Value) -> Result<(), Fail> {
        let mut request = self.http.post(url).header("Content-Type", "application/json");
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        match request.send(body.to_string().as_bytes()) {
            Ok(answer) => judge(answer.status().as_u16()),
            Err(error) => Err(Fail::Later(reason(&error))),
        }
    }
}

/// What an HTTP status says about the next attempt.
fn judge(status: u16) -> Result<(), Fail> {
    match status {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => Err(Fail::Later(format!("it answers with status {status}"))),
        401 | 403 => Err(Fail::Never(format!(
            "it answers with status {status}: is the token right?"
        ))),
        404 => Err(Fail::Never(format!(
            "it answers with status {status}: is the address right?"
        ))),
        _ => Err(Fail::Never(format!("it answers with status {status}"))),
    }
}

/// Without the URL.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer in {} s", ATTEMPT.as_secs()),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Rustls(error) => error.to_string(),
        ureq::Error::ConnectionFailed => "nobody answers there".into(),
        _ => "it cannot be reached".into(),
    }
}

fn mail(keys: &NotifyKeys, server: &str) -> Result<Kinds, Exit> {
    const RIGHT: &str = "smtps://USER:PASSWORD@HOST, smtp://USER:PASSWORD@HOST?tls=required, or smtp://HOST:PORT for a server of this machine";
    let address = |key: &'static str, text: &str| {
        text.parse::<Mailbox>().map_err(|error| {
            wrong(
                key,
                &format!("it is no address ({error})"),
                "such as pool@example.org",
            )
        })
    };
    let transport = SmtpTransport::from_url(server)
        // The error may repeat what it was given.
        .map_err(|_| wrong("notify.mail", "it is no mail server's URL", RIGHT))?;
    Ok(Kinds::Mail {
        transport: Box::new(transport.timeout(Some(ATTEMPT)).build()),
        from: address("notify.mail_from", keys.mail_from.as_str())?,
        to: address("notify.mail_to", keys.mail_to.as_str())?,
    })
}

fn web(key: &'static str, url: &str) -> Result<String, Exit> {
    let is_web = ["http://", "https://"].iter().any(|kind| url.starts_with(kind));
    match is_web && url.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(url.to_owned()),
        false => Err(wrong(
            key,
            "its first line is no URL",
            "a URL that starts with https:// or http://",
        )),
    }
}

fn wrong(key: &str, what: &str, right: &str) -> Exit {
    Exit::usage(format!("{key}: {what}")).help(format!("it is to hold {right}"))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

const fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::Block => "pick",
        Kind::Worker | Kind::Silent => "electric_plug",
        Kind::Rejects | Kind::Node | Kind::Upstream | Kind::Ledger => "warning",
        Kind::Test => "wave",
    }
}

/// Whether any way is configured.
pub fn is_any(keys: &NotifyKeys) -> bool {
    [&keys.webhook, &keys.ntfy, &keys.telegram, &keys.mail]
        .iter()
        .any(|secret| **secret != Secret::None)
}
