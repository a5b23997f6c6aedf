//! Calls an engine over HTTP, and classifies the outcome of the call.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;
use synctop_core::format::duration;

/// Connect timeout of an engine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a refusal that are read to find its reason; one more chunk may be read.
const MAX_REASON_BYTES: usize = 64 * 1024;

/// Description of an HTML page without a title.
const UNTITLED_PAGE: &str = "a web page";

/// Bytes of an unfinished line that count as a sign of life.
const MIN_PART: usize = 64 * 1024;

/// Outcome of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// The body is complete. Its content decides the outcome of the run.
    Ended,
    /// Reason that the connection broke in the middle of the body.
    Broke(String),
    /// No byte arrived for this duration.
    Silent(Duration),
    /// Reason that there was no connection or no response.
    Unreachable(String),
    /// HTTP status other than success.
    Refused {
        status: u16,
        /// Reason in the response, in one line.
        says: String,
        retry_after: Option<Duration>,
    },
    /// HTML page with a success status; its title, or an empty string.
    Page(String),
    /// The call exceeded this limit and was stopped.
    Overdue(String),
    /// Description of the failed exit of a command.
    Exited(String),
    /// The caller stopped the call, or its reader is gone.
    Stopped,
}

/// Writes the outcome as a clause; nothing for a complete response.
impl std::fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended => Ok(()),
            Self::Broke(why) => write!(f, "the connection broke: {why}"),
            Self::Silent(silence) => {
                let silence = duration(u64::try_from(silence.as_millis()).unwrap_or(0));
                write!(f, "no output of the engine for {silence}")
            }
            Self::Unreachable(why) => write!(f, "the engine cannot be reached: {why}"),
            Self::Refused { status, says, .. } if says.is_empty() => write!(f, "the engine answers HTTP {status}"),
            Self::Refused { status, says, .. } => write!(f, "the engine answers HTTP {status}: {says}"),
            Self::Page(title) if title.is_empty() => f.write_str("a web page answered instead of an engine"),
            Self::Page(title) => write!(f, "a web page answered instead of an engine: {title}"),
            Self::Overdue(limit) => write!(f, "the engine exceeded its limit of {limit} and was stopped"),
            Self::Exited(why) => f.write_str(why),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Maximum size of a file of authorities.
const MAX_CA_BYTES: u64 = 4 << 20;

/// Reason that an HTTP client cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpClientError {
    /// For instance: the address is https, and the system has no root certificates.
    #[error("{0}: install the system's certificates (ca-certificates), or name a file of them in SSL_CERT_FILE")]
    Build(String),
    #[error("the file of authorities {0} cannot be read: {1}")]
    UnreadableCa(String, String),
    #[error("the file of authorities {0} holds no certificate in PEM form (BEGIN CERTIFICATE)")]
    NoCa(String),
}

/// Installs the cryptography of all HTTP clients of the process, which reqwest does not build without.
pub fn install_crypto_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails if another library installed a provider, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Creates a client for the engine or service at `url`. `ca` is a PEM file of the only authorities
/// whose certificates are accepted; without it those of the system are.
///
/// # Errors
/// Returns [`HttpClientError`] if the file cannot be used, or the client cannot be built.
pub fn client(url: &reqwest::Url, ca: Option<&Path>) -> Result<reqwest::Client, HttpClientError> {
    install_crypto_provider();
    let mut builder = reqwest::Client::builder();
    if let Some(path) = ca {
        builder = builder.tls_certs_only(authorities(path)?);
    } else if url.scheme() != "https" {
        // Plain http needs no certificates, and a minimal system has none.
        builder = builder.tls_certs_only([]);
    }
    builder
        .connect_timeout(CONNECT_TIMEOUT)
        // The body contains keys: it is sent to the given address only.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("synctop/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| HttpClientError::Build(cause(&error)))
}

/// Reads the certificates of a PEM file.
fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, HttpClientError> {
    use std::io::Read;
    let name = path.display().to_string();
    let unreadable = |why: String| HttpClientError::UnreadableCa(name.clone(), why);
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut pem = Vec::new();
    file.take(MAX_CA_BYTES).read_to_end(&mut pem).map_err(|error| unreadable(error.to_string()))?;
    let all = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unreadable(cause(&error)))?;
    if all.is_empty() { Err(HttpClientError::NoCa(name)) } else { Ok(all) }
}

/// Sends a JSON body to `url` and passes each chunk of the response to `each`. `stall` is the
/// maximum silence; `stop` ends the call.
pub async fn call(
    client: &reqwest::Client,
    url: reqwest::Url,
    body: String,
    stall: Option<Duration>,
    stop: &tokio::sync::Notify,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> CallOutcome {
    let request = client.post(url).header("content-type", "application/json").header("accept", "application/x-ndjson");
    let sent = request.body(body).send();
    let mut response = tokio::select! {
        biased;
        () = stop.notified() => return CallOutcome::Stopped,
        () = silence(stall) => return CallOutcome::Silent(stall.unwrap_or_default()),
        sent = sent => match sent {
            Ok(response) => response,
            Err(error) => return CallOutcome::Unreachable(cause(&error)),
        },
    };
    let status = response.status();
    let page = response
        .headers()
        .get("content-type")
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("text/html"));
    if !status.is_success() || page {
        let refusal = refusal(response).await;
        return if status.is_success() {
            CallOutcome::Page(if refusal.says == UNTITLED_PAGE { String::new() } else { refusal.says })
        } else {
            CallOutcome::Refused { status: status.as_u16(), says: refusal.says, retry_after: refusal.retry_after }
        };
    }
    // Single bytes are no sign of life: a line is, or a part of a long one.
    let (mut alive_at, mut partial) = (tokio::time::Instant::now(), 0);
    loop {
        let left = stall.map(|stall| stall.saturating_sub(alive_at.elapsed()));
        let chunk = tokio::select! {
            biased;
            () = stop.notified() => return CallOutcome::Stopped,
            () = silence(left) => return CallOutcome::Silent(stall.unwrap_or_default()),
            chunk = response.chunk() => chunk,
        };
        match chunk {
            Ok(Some(bytes)) => {
                partial += bytes.len();
                if partial >= MIN_PART || memchr::memchr(b'\n', &bytes).is_some() {
                    (alive_at, partial) = (tokio::time::Instant::now(), 0);
                }
                if each(&bytes).is_break() {
                    return CallOutcome::Stopped;
                }
            }
            Ok(None) => return CallOutcome::Ended,
            Err(error) => return CallOutcome::Broke(cause(&error)),
        }
    }
}

/// Summary of an unexpected response.
pub(crate) struct AnswerSummary {
    /// Reason in one line.
    pub says: String,
    pub retry_after: Option<Duration>,
    /// Start of the body.
    pub text: String,
}

/// Reads the reason for a refusal from the head and the start of the body of a response.
pub(crate) async fn refusal(mut response: reqwest::Response) -> AnswerSummary {
    let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let retry_after = header("retry-after").and_then(|text| wait(&text));
    let location = header("location").filter(|_| response.status().is_redirection());
    let mut bytes = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_REASON_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(CONNECT_TIMEOUT, read).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let says = match location {
        Some(location) => format!("it redirects to {}", synctop_core::protocol::mask::secrets(&location)),
        None => says(&text),
    };
    AnswerSummary { says, retry_after, text }
}

/// Completes after the maximum silence; never if there is none.
async fn silence(stall: Option<Duration>) {
    match stall {
        Some(stall) => tokio::time::sleep(stall).await,
        None => std::future::pending().await,
    }
}

/// Returns the innermost cause of an error: the outer ones name libraries of synctop.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let text = text.trim_start_matches("unexpected error: ");
    if text.contains("InvalidContentType") {
        // Error of rustls for bytes that are not TLS.
        return "the server does not use TLS: is it an http:// address?".into();
    }
    // The number of an error adds nothing for an operator.
    text.split(" (os error").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// Parses `Retry-After`: seconds or a date (RFC 9110, 10.2.3). A past date gives zero.
pub(crate) fn wait(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    let now = jiff::Timestamp::now();
    // A date has whole seconds: wait until the named second is over.
    let left = u64::try_from(at.as_millisecond() - now.as_millisecond()).unwrap_or(0);
    Some(Duration::from_millis(if left > 0 { left + 1_000 } else { 0 }))
}

/// Returns the reason in a response, masked and shortened: `error` or `message` of a JSON object,
/// the title of a page, or the first line.
#[must_use]
pub fn says(text: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(text).ok();
    let error = json.as_ref().and_then(|json| json.get("error").or_else(|| json.get("message")));
    let words = match error {
        Some(serde_json::Value::String(words)) => words.clone(),
        Some(serde_json::Value::Array(issues)) => {
            let issues: Vec<_> = issues.iter().map(issue).collect();
            issues.join("; ")
        }
        Some(other) => other.to_string(),
        None => match title(text) {
            Some(title) => title.to_owned(),
            None if text.trim_start().starts_with('<') => UNTITLED_PAGE.to_owned(),
            None => text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned(),
        },
    };
    let masked = synctop_core::protocol::mask::secrets(&words).into_owned();
    synctop_core::format::short(&masked, 300)
}

/// Formats a validation issue, such as `pipeline: expected object, received undefined`.
fn issue(issue: &serde_json::Value) -> String {
    let message = issue.get("message").and_then(serde_json::Value::as_str);
    let Some(message) = message else { return issue.to_string() };
    let path = issue.get("path").and_then(serde_json::Value::as_array);
    let path: Vec<_> =
        path.into_iter().flatten().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect();
    if path.is_empty() { message.to_owned() } else { format!("{}: {message}", path.join(".")) }
}

/// Returns the title of an HTML page, unless it is empty.
#[must_use]
pub fn title(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let length = lower.get(from..)?.find("</title>")?;
    text.get(from..from + length).map(str::trim).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_response_is_one_line() {
        assert_eq!(says("{\"error\":\"Malformed JSON in request body\"}"), "Malformed JSON in request body");
        let issues =
            "{\"error\":[{\"code\":\"invalid_type\",\"path\":[\"pipeline\",0],\"message\":\"expected object\"}]}";
        assert_eq!(says(issues), "pipeline.0: expected object");
        assert_eq!(says("<html><head><TITLE> 504 Gateway Time-out </TITLE></head>"), "504 Gateway Time-out");
        assert_eq!(says("\n404 Not Found\nmore"), "404 Not Found");
        assert_eq!(says(""), "");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Fri, 20 Nov 1998 08:00:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 20 Nov 2093 08:00:00 GMT").is_some_and(|wait| wait > Duration::from_secs(1_000_000)));
        assert_eq!(wait("soon"), None);
    }
}
