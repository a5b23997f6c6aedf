//! Failure types, derived from status codes and never from the words of a message.

/// Failure types on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", suffix = "_error")]
pub enum FailureType {
    Config,
    Auth,
    System,
    Transient,
}

impl FailureType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the failure type of an HTTP status (RFC 9110, 15; 429 is RFC 6585, 4).
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            408 | 425 | 429 | 500.. => Self::Transient,
            _ => Self::System,
        }
    }

    /// Returns the failure type of the codes in a message: errno, SQLSTATE or HTTP status. Prose is
    /// ignored.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        if quotes_outage(text) {
            return Some(Self::Transient);
        }
        synctop_core::protocol::error_text::http_status(text).map(Self::of_status)
    }

    /// True if a retry cannot succeed.
    #[must_use]
    pub fn permanent(self) -> bool {
        self != Self::Transient
    }
}

/// Reads the name of a failure type on the wire. An unknown name is transient.
impl From<&str> for FailureType {
    fn from(name: &str) -> Self {
        match name {
            "config_error" => Self::Config,
            "auth_error" => Self::Auth,
            "system_error" => Self::System,
            _ => Self::Transient,
        }
    }
}

/// Codes of network failures, which are transient: those of Stripe's source, and errnos of an
/// unreachable host or network.
const NETWORK_CODES: [&str; 14] = [
    "ECONNABORTED",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EHOSTDOWN",
    "EPIPE",
    "ECONNRESET",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "ENOTFOUND",
    "UND_ERR_CONNECT_TIMEOUT",
    "UND_ERR_HEADERS_TIMEOUT",
    "UND_ERR_BODY_TIMEOUT",
    "UND_ERR_SOCKET",
];

/// SQLSTATEs of a database that is stopped or starting (PostgreSQL, appendix A: 57P01 to 57P03).
const STOPPED_DATABASE_CODES: [&str; 3] = ["57P01", "57P02", "57P03"];

/// True if a text contains the code of a network failure or the SQLSTATE of an unreachable database
/// (class 08).
fn quotes_outage(text: &str) -> bool {
    let mut before = "";
    for token in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|token| !token.is_empty()) {
        let named = before.eq_ignore_ascii_case("sqlstate") || before.eq_ignore_ascii_case("code");
        let class_08 =
            token.len() == 5 && token.starts_with("08") && token.bytes().all(|it| it.is_ascii_alphanumeric());
        if NETWORK_CODES.contains(&token) || STOPPED_DATABASE_CODES.contains(&token) || (named && class_08) {
            return true;
        }
        before = token;
    }
    false
}

/// Returns the failure type of a logged error, derived from its HTTP status or its network code.
#[must_use]
pub fn of_error(status: Option<u16>, code: Option<&str>) -> Option<FailureType> {
    let network = code.is_some_and(|code| NETWORK_CODES.contains(&code));
    status.map(FailureType::of_status).or(network.then_some(FailureType::Transient))
}

/// Returns the failure type for an HTTP status and a name on the wire. A status that contradicts
/// the name overrides it, because sources give rate limits various types.
#[must_use]
pub fn classify(status: Option<u16>, word: Option<&str>) -> Option<FailureType> {
    let by_status = status.map(FailureType::of_status);
    let by_word = word.map(FailureType::from);
    match (by_status, by_word) {
        (Some(FailureType::Transient), _) => Some(FailureType::Transient),
        (Some(status), Some(word)) => Some(if word.permanent() { word } else { status }),
        (status, word) => word.or(status),
    }
}

/// Refusal that skips a stream instead of failing it: the account lacks the stream's feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipReason {
    /// Name in a scenario.
    pub name: &'static str,
    pub status: u16,
    pub code: Option<&'static str>,
    /// Text contained in the message.
    pub text: &'static str,
    /// Message of the API.
    pub message: &'static str,
}

/// Refusals for which Stripe's source skips a stream (recordings of 2026-11-20).
pub const REFUSALS: [SkipReason; 6] = [
    SkipReason {
        name: "testmode_only",
        status: 400,
        code: None,
        text: "only available in testmode",
        message: "This endpoint is only available in testmode. Try using your test keys instead.",
    },
    SkipReason {
        name: "not_in_livemode",
        status: 400,
        code: None,
        text: "not in live mode",
        message: "This resource is not in live mode.",
    },
    SkipReason {
        name: "not_enabled",
        status: 400,
        code: None,
        text: "not enabled for",
        message: "Your account is not enabled for this product.",
    },
    SkipReason {
        name: "must_provide",
        status: 400,
        code: Some("parameter_missing"),
        text: "Must provide",
        message: "Must provide customer.",
    },
    SkipReason {
        name: "not_set_up",
        status: 400,
        code: None,
        text: "not set up to use",
        message: "Your account is not set up to use Issuing. Please visit the dashboard to get started.",
    },
    SkipReason {
        name: "unrecognized_url",
        status: 404,
        code: None,
        text: "Unrecognized request URL",
        message: "Unrecognized request URL. Please see the documentation of the API.",
    },
];

/// Returns the refusal that matches a status, and a code or the text of a message.
#[must_use]
pub fn refusal(status: u16, code: Option<&str>, message: &str) -> Option<&'static SkipReason> {
    REFUSALS.iter().find(|refusal| {
        refusal.status == status && (refusal.code.is_some_and(|it| Some(it) == code) || message.contains(refusal.text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_status_overrides_the_failure_type() {
        for status in [429, 500, 502, 503, 504, 529, 408] {
            assert_eq!(classify(Some(status), Some("system_error")), Some(FailureType::Transient), "{status}");
        }
        assert_eq!(classify(Some(401), None), Some(FailureType::Auth));
        assert_eq!(classify(Some(400), Some("config_error")), Some(FailureType::Config));
        assert_eq!(classify(Some(400), Some("transient_error")), Some(FailureType::System));
        assert_eq!(classify(None, Some("transient_error")), Some(FailureType::Transient));
        assert_eq!(classify(None, Some("a word of tomorrow")), Some(FailureType::Transient));
        assert_eq!(classify(None, None), None);
    }

    #[test]
    fn outages_are_recognized_by_code_never_by_prose() {
        for text in [
            "connect ECONNREFUSED 127.0.0.1:45432",
            "upsertWithStats failed: read ECONNRESET (table=\"a\".\"b\")",
            "error: 57P01",
            "could not connect: SQLSTATE 08006",
            "{\"code\":\"08001\"}",
            "no [GET /v1/charges (503)]",
        ] {
            assert_eq!(FailureType::of_text(text), Some(FailureType::Transient), "{text}");
        }
        for text in ["the connection was refused", "row 08006 is odd", "relation \"x\" does not exist", ""] {
            assert_eq!(FailureType::of_text(text), None, "{text}");
        }
        assert_eq!(FailureType::of_text("no [GET /v1/account (401)]"), Some(FailureType::Auth));
    }

    #[test]
    fn refusals_need_their_status_too() {
        for known in REFUSALS {
            assert_eq!(refusal(known.status, known.code, known.message).map(|it| it.name), Some(known.name));
            assert_eq!(refusal(500, known.code, known.message), None);
        }
        assert_eq!(refusal(400, None, "Received unknown parameter"), None);
    }
}
