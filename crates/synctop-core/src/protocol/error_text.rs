//! Core of an error message for operators, and the HTTP status in it.

use super::clean;

/// Returns the core of an error's message for an operator, without request ids and links to
/// documents.
#[must_use]
pub fn core(message: &str) -> String {
    let line = clean::line(message);
    let text = line.trim();
    if let Some((_, rest)) = text.split_once("Having the '")
        && let Some((permission, _)) = rest.split_once('\'')
    {
        return format!("the key lacks '{permission}'");
    }
    if let Some((status, said)) = status_code(text) {
        let given_up =
            if text.starts_with("Exhausted available request attempts") { ", retries exhausted" } else { "" };
        return format!("{said} (HTTP {status}{given_up})");
    }
    let (head, status) = match text.rfind(" [") {
        Some(at) => (text.get(..at).unwrap_or(text), http_status(text)),
        None => (text, None),
    };
    // Details in brackets at the end of a long message are for developers.
    let head = match head.find(" (") {
        Some(at) if head.len() > 100 && at > 40 => head.get(..at).unwrap_or(head),
        _ => head,
    };
    let first = match head.find(". ") {
        Some(end) if head.len() > 80 && end > 20 => head.get(..end).unwrap_or(head),
        _ => head,
    };
    match status {
        Some(status) => format!("{} (HTTP {status})", first.trim_end_matches('.')),
        None => first.to_owned(),
    }
}

/// Parses `HTTP Status Code: 403. Error: Forbidden. You don't have …`, the form of Airbyte's CDK:
/// status and error.
fn status_code(text: &str) -> Option<(u16, &str)> {
    let (_, rest) = text.split_once("HTTP Status Code: ")?;
    let (status, rest) = rest.split_once(". Error: ")?;
    let said = rest.split_once(". ").map_or(rest, |(first, _)| first);
    Some((status.parse().ok()?, said.trim_end_matches('.')))
}

/// Returns the status in `[GET /v1/charges (429)]` or in `HTTP Status Code: 403. Error: …`.
#[must_use]
pub fn http_status(text: &str) -> Option<u16> {
    if let Some((status, _)) = status_code(text) {
        return Some(status);
    }
    let (_, rest) = text.rsplit_once(" (")?;
    rest.split_once(")]")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_of_what_engines_say() {
        let long = "The provided key 'sk_test_*****_ok' does not have the required permissions for this endpoint on account 'acct_1'. \
            Having the 'Disputes Read' permission would allow this request to continue. [GET /v1/disputes (403)] {request-id=req_1}";
        assert_eq!(core(long), "the key lacks 'Disputes Read'");
        let limit = "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits. \
            [GET /v1/charges (429)] {request-id=req_00000000000347, retry-after=2}";
        assert_eq!(core(limit), "Request rate limit exceeded (HTTP 429)");
        let table = "upsertWithStats failed: relation \"12_midway.charge\" does not exist (table=\"12_midway\".\"charge\" columns=[_raw_data])";
        assert_eq!(core(table), "upsertWithStats failed: relation \"12_midway.charge\" does not exist");
        let forbidden = "HTTP Status Code: 403. Error: Forbidden. You don't have permission to access this resource.";
        assert_eq!((core(forbidden).as_str(), http_status(forbidden)), ("Forbidden (HTTP 403)", Some(403)));
        let gone = "Exhausted available request attempts. Please see logs for more details. Exception: \
            HTTP Status Code: 500. Error: Internal server error.";
        assert_eq!(core(gone), "Internal server error (HTTP 500, retries exhausted)");
        assert_eq!(core("connect ECONNREFUSED 127.0.0.1:1"), "connect ECONNREFUSED 127.0.0.1:1");
        assert_eq!(core(""), "");
    }
}
