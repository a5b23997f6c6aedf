//! Core, cause and HTTP status of an error message. Each protocol knows the forms of its own
//! messages; the rest is general.

use super::shorten::first_statement;
use super::{clean, python, table};

/// Returns the core of an error's message for an operator, without request ids and links to
/// documents.
#[must_use]
pub fn core(message: &str) -> String {
    let line = clean::line(message);
    let text = line.trim();
    table::error_core(text).or_else(|| python::exception_core(text)).unwrap_or_else(|| first_statement(text).to_owned())
}

/// Returns the cause in a message, without the details that a protocol appends to it.
#[must_use]
pub fn cause(message: &str) -> &str {
    table::error_cause(message).unwrap_or(message)
}

/// Returns the HTTP status in a message, such as `[GET /v1/charges (429)]`.
#[must_use]
pub fn http_status(message: &str) -> Option<u16> {
    table::http_status(message)
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
        let unreachable = "ConnectionError: HTTPConnectionPool(host='127.0.0.1', port=18912): Max retries exceeded with url: /ok \
            (Caused by NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=18912): Failed to establish a new connection: \
            [Errno 111] Connection refused\"))";
        assert_eq!(core(unreachable), "ConnectionError: [Errno 111] Connection refused (host='127.0.0.1', port=18912)");
        let exhausted =
            format!("Exhausted available request attempts. Please see logs for more details. Exception: {unreachable}");
        assert_eq!(
            core(&exhausted),
            "ConnectionError: [Errno 111] Connection refused (host='127.0.0.1', port=18912) (retries exhausted)"
        );
        assert_eq!(core("OSError: [Errno 28] No space left on device"), "OSError: [Errno 28] No space left on device");
        let file = "PermissionError: [Errno 13] Permission denied: '/tmp/users.csv.gz'";
        assert_eq!(core(file), file);
        assert_eq!(core("connect ECONNREFUSED 127.0.0.1:1"), "connect ECONNREFUSED 127.0.0.1:1");
        assert_eq!(core(""), "");
    }
}
