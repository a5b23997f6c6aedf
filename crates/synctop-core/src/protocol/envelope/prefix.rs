//! Prefixes of lines: one table, with the clock of each.

use super::opened::{Clock, Opened, Output};
use crate::protocol::time;
use std::borrow::Cow;

/// Reader of one kind of prefix: the rest of the line, and facts about it.
type Prefix = fn(&str) -> Option<Opened<'_>>;

/// Known prefixes, each with the program that writes it. The first that fits is taken.
const PREFIXES: [(&str, Prefix); 17] = [
    ("CRI: containerd, CRI-O", cri),
    ("GitLab CI", gitlab),
    ("Stitch", stitch),
    ("Dagster", dagster),
    ("Prefect", prefect),
    ("Prefect 1", prefect_1),
    ("Airflow", airflow),
    ("gh run view --log", gh_run),
    ("kubectl logs --prefix", kubectl),
    ("Argo", argo),
    ("docker compose", compose),
    ("syslog, journalctl", syslog),
    ("singer-python's logging.conf", key_value),
    ("Python's logging", python_logging),
    ("Python's logging without a format", python_basic),
    ("kubectl logs --timestamps, docker logs -t, aws logs tail, GitHub Actions", instant_first),
    ("stern", stern),
];

/// Maximum length of a name in a prefix, in bytes.
const NAME_LIMIT: usize = 300;

/// Removes the first prefix that fits.
pub(super) fn open(line: &str) -> Option<Opened<'_>> {
    // Most text starts with a word that no prefix has.
    line.get(..1)?;
    PREFIXES.iter().find_map(|(_, prefix)| prefix(line))
}

fn opened(text: &str, clock: Option<Clock>) -> Opened<'_> {
    Opened { text: Cow::Borrowed(text), clock, ..Opened::default() }
}

/// Parses an instant at the start of a text, and returns the text after it: date and time with a
/// `T`, a space or `, ` between, a fraction after a point or comma, and a time zone.
fn instant(text: &str) -> Option<(Clock, &str)> {
    let bytes = text.as_bytes();
    let digits =
        |at: usize, count: usize| bytes.get(at..at + count).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit));
    let date =
        digits(0, 4) && digits(5, 2) && digits(8, 2) && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    if !date {
        return None;
    }
    let start = match bytes.get(10..12)? {
        [b'T' | b't' | b' ', b'0'..=b'9'] => 11,
        b", " => 12,
        _ => return None,
    };
    let clock = text.get(start..start + 8)?;
    let is_time = digits(start, 2) && digits(start + 3, 2) && digits(start + 6, 2) && clock.get(2..3) == Some(":");
    if !is_time {
        return None;
    }
    let mut normal = format!("{}T{clock}", text.get(..10)?);
    let mut rest = text.get(start + 8..)?;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if length > 0 {
            normal.push('.');
            normal.push_str(fraction.get(..length.min(9))?);
            rest = fraction.get(length..)?;
        }
    }
    let (zone, rest) = zone(rest);
    normal.push_str(&zone.clone().unwrap_or_else(|| "Z".to_owned()));
    Some((Clock { at: time::parse(&normal)?, is_zoned: zone.is_some() }, rest))
}

/// Parses a time zone, also after a space: `Z`, `+00:00`, `+0000`, `UTC`. Other names of zones are
/// skipped, because they are ambiguous.
fn zone(text: &str) -> (Option<String>, &str) {
    let spaced = text.strip_prefix(' ').unwrap_or(text);
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return (Some("Z".to_owned()), rest);
    }
    let bytes = spaced.as_bytes();
    if let Some(b'+' | b'-') = bytes.first() {
        let digits =
            spaced.get(1..).unwrap_or_default().bytes().take_while(|b| b.is_ascii_digit() || *b == b':').count();
        let offset: String = spaced.chars().skip(1).take(digits).filter(char::is_ascii_digit).collect();
        if let (4, Some(sign), Some(rest)) = (offset.len(), spaced.get(..1), spaced.get(1 + digits..)) {
            let (hours, minutes) = offset.split_at(2);
            return (Some(format!("{sign}{hours}:{minutes}")), rest);
        }
    }
    for name in ["UTC", "GMT"] {
        if let Some(rest) = spaced.strip_prefix(name) {
            return (Some("Z".to_owned()), rest);
        }
    }
    let name = spaced.bytes().take_while(u8::is_ascii_uppercase).count();
    match (3..=5).contains(&name).then(|| spaced.split_at_checked(name)).flatten() {
        Some((_, rest)) if spaced.len() < text.len() && rest.starts_with(']') => (None, rest),
        _ => (None, text),
    }
}

/// Parses a name of a level, in any case, and returns the text after it.
fn level(text: &str) -> Option<(&str, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = text.split_at_checked(length)?;
    let known = ["CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "TRACE", "NOTICE"];
    known.contains(&word.to_ascii_uppercase().as_str()).then_some((word, rest))
}

/// `2024-06-01T10:00:00.123456789Z stdout F text`; `P` marks a part that the next line continues.
fn cri(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line)?;
    let rest = rest.strip_prefix(' ')?;
    let (output, rest) = match rest.split_once(' ')? {
        ("stdout", rest) => (Output::Stdout, rest),
        ("stderr", rest) => (Output::Stderr, rest),
        _ => return None,
    };
    let (tags, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let continues = match tags.split(':').next()? {
        "P" => true,
        "F" => false,
        _ => return None,
    };
    Some(Opened { output: Some(output), continues, ..opened(text, Some(clock)) })
}

/// `2024-06-01T10:00:00.123456Z 01O text`: number of the output, `O` or `E`, and `+` where the line
/// continues the one before.
fn gitlab(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line)?;
    let rest = rest.strip_prefix(' ')?;
    let (mark, text) = rest.split_at_checked(4).or_else(|| (rest.len() == 3).then_some((rest, "")))?;
    let &[first, second, output, ..] = mark.as_bytes() else { return None };
    let is_mark = first.is_ascii_hexdigit() && second.is_ascii_hexdigit() && mark.ends_with([' ', '+', 'O', 'E']);
    if !is_mark {
        return None;
    }
    let output = match output {
        b'O' => Output::Stdout,
        b'E' => Output::Stderr,
        _ => return None,
    };
    Some(Opened { output: Some(output), ..opened(text, Some(clock)) })
}

/// `2022-02-24 07:26:14,884Z    tap - text`, of the processes `main`, `tap` and `target`.
fn stitch(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line)?;
    let (process, text) = rest.trim_start_matches(' ').split_once(" - ")?;
    (clock.is_zoned && matches!(process, "main" | "tap" | "target")).then(|| opened(text, Some(clock)))
}

/// `2024-06-01 10:00:00 +0000 - dagster - INFO - job - run id - step - text`.
fn dagster(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line)?;
    let (name, rest) = rest.strip_prefix(" - ")?.split_once(" - ")?;
    let (_, rest) = level(rest)?;
    let mut text = rest.strip_prefix(" - ").filter(|_| name == "dagster" || name.starts_with("dagster."))?;
    let mut fields = 0;
    // Names of job, run, process and step have no spaces.
    while let Some((field, rest)) = text.split_once(" - ")
        && fields < 5
        && !field.contains([' ', '{', '"'])
        && !field.is_empty()
        && level(field).is_none()
    {
        (text, fields) = (rest, fields + 1);
    }
    Some(opened(text, Some(clock)))
}

/// `10:52:01.123 | INFO    | Task run 'sync' - text`, with or without a date.
fn prefect(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = match instant(line) {
        Some((clock, rest)) => (Some(clock), rest),
        None => (None, time_of_day(line)?),
    };
    let (_, rest) = level(rest.strip_prefix(" | ")?)?;
    let rest = rest.trim_start_matches(' ').strip_prefix("| ")?;
    let is_run = ["Task run ", "Flow run ", "Subflow run ", "prefect."].iter().any(|name| rest.starts_with(name));
    let (_, text) = rest.split_once(" - ").filter(|_| is_run)?;
    Some(opened(text, clock))
}

/// Skips `10:52:01.123` at the start of a text.
fn time_of_day(text: &str) -> Option<&str> {
    let shape = |(at, byte): (usize, u8)| if at == 2 || at == 5 { byte == b':' } else { byte.is_ascii_digit() };
    let clock = text.get(..8).filter(|clock| clock.bytes().enumerate().all(shape))?;
    let rest = text.get(clock.len()..)?;
    Some(rest.trim_start_matches(|c: char| c == '.' || c == ',' || c.is_ascii_digit()))
}

/// `[2023-02-17 10:22:45+0000] INFO - prefect.ShellTask | text`.
fn prefect_1(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line.strip_prefix('[')?)?;
    let (_, rest) = level(rest.strip_prefix("] ")?)?;
    let (logger, text) = rest.strip_prefix(" - ")?.split_once(" | ")?;
    logger.starts_with("prefect").then(|| opened(text, Some(clock)))
}

/// `[2022-10-19, 15:15:00 UTC] {pod_manager.py:226} INFO - text`; newer versions add `[base] `, the
/// container, before the text.
fn airflow(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line.strip_prefix('[')?)?;
    let (file, rest) = rest.strip_prefix("] {")?.split_once("} ")?;
    let (_, number) = file.rsplit_once(':')?;
    let (_, text) = level(rest).filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    let text = text.strip_prefix(" - ")?;
    let container = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let text = match container {
        Some((name, rest)) if is_name(name) => rest,
        _ => text,
    };
    Some(opened(text, Some(clock)))
}

/// True for a name of a pod, container, host or program.
fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    !text.is_empty() && text.len() <= NAME_LIMIT && text.bytes().all(valid)
}

/// `[pod/tap-7d9f/tap] text`.
fn kubectl(line: &str) -> Option<Opened<'_>> {
    let (name, text) = line.strip_prefix("[pod/")?.split_once("] ")?;
    name.split('/').all(is_name).then(|| opened(text, None))
}

/// `job<TAB>step<TAB>2024-06-01T10:00:00.1234567Z text`.
fn gh_run(line: &str) -> Option<Opened<'_>> {
    let (_, text) = line.split_once('\t')?.1.split_once('\t')?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    instant(text).map(|_| opened(text, None))
}

/// `sync-h7x2k-1234567890: text`: pod, with the hash of its node.
fn argo(line: &str) -> Option<Opened<'_>> {
    const HASH: usize = 6;
    let (pod, text) = line.split_once(": ")?;
    let hash = pod.rsplit_once('-')?.1;
    let is_hash = hash.len() >= HASH && hash.bytes().all(|byte| byte.is_ascii_digit());
    (is_hash && is_name(pod)).then(|| opened(text, None))
}

/// `tap-1  | text`, also of `docker service logs`.
fn compose(line: &str) -> Option<Opened<'_>> {
    let (name, rest) = line.split_once(' ')?;
    let text = rest.trim_start_matches(' ').strip_prefix('|')?;
    let has_letter = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if !is_name(name) || !has_letter || level(name).is_some_and(|(_, rest)| rest.is_empty()) {
        return None;
    }
    Some(opened(text.strip_prefix(' ').unwrap_or(text), None))
}

/// `Jun  1 10:00:00 etl1 tap[812]: text`; with another option of journalctl the time is an instant.
/// `ts` writes the time alone.
fn syslog(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = match instant(line) {
        Some((clock, rest)) => (Some(clock), rest),
        None => (None, month_and_time(line)?),
    };
    let rest = rest.strip_prefix(' ')?;
    if clock.is_none() && rest.starts_with('{') {
        return Some(opened(rest, None));
    }
    // `ts` writes the time alone.
    let alone = || opened(rest, None);
    let Some((host, rest)) = rest.split_once(' ') else { return clock.is_none().then(alone) };
    // Without a host in the logs of some platforms: `app[worker.1]: text`.
    let found = match host.strip_suffix("]:") {
        Some(program) => Some((program, rest)),
        None => rest.split_once("]: ").filter(|_| is_name(host)),
    };
    let process = found.and_then(|(program, text)| Some((program.split_once('[')?, text)));
    match process {
        Some(((name, id), text)) if is_name(name) && is_name(id) => Some(opened(text, clock)),
        _ => clock.is_none().then(alone),
    }
}

/// Skips `Jun  1 10:00:00` at the start of a text. It has no year, so it is no clock.
fn month_and_time(text: &str) -> Option<&str> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = MONTHS.iter().find_map(|month| text.strip_prefix(month))?.strip_prefix(' ')?;
    let day = rest.get(..2)?.trim_start();
    if day.is_empty() || !day.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    time_of_day(rest.get(2..)?.strip_prefix(' ')?)
}

/// `time=2024-06-01 10:00:00 logger_name=tap_postgres log_level=CRITICAL message=text`, or with
/// `name=` and `level=`.
fn key_value(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line.strip_prefix("time=")?)?;
    let (fields, text) = rest.split_once(" message=")?;
    let word = fields.rsplit([' ', '_']).find_map(|field| field.strip_prefix("level="))?;
    level(word).filter(|(_, rest)| rest.is_empty())?;
    Some(with_level(word, text, Some(clock)))
}

/// `2024-06-01 10:00:00,123 - tap - ERROR - text`, also without the logger.
fn python_logging(line: &str) -> Option<Opened<'_>> {
    let (clock, rest) = instant(line)?;
    let rest = rest.strip_prefix(" - ")?;
    let (word, rest) = match level(rest) {
        Some(found) => found,
        None => level(rest.split_once(" - ").filter(|(name, _)| is_name(name))?.1)?,
    };
    Some(with_level(word, rest.strip_prefix(" - ")?, Some(clock)))
}

/// `ERROR:root:text`.
fn python_basic(line: &str) -> Option<Opened<'_>> {
    let (word, rest) = level(line).filter(|(word, _)| word.bytes().all(|byte| byte.is_ascii_uppercase()))?;
    let (logger, text) = rest.strip_prefix(':')?.split_once(':')?;
    is_name(logger).then(|| with_level(word, text, None))
}

/// `2024-06-01 10:00:00,000 ERROR text`, `… [ERROR] text` and loguru's `… | ERROR    | a:f:12 - text`.
fn level_behind_time(rest: &str, clock: Clock) -> Option<Opened<'_>> {
    if let Some(bracketed) = rest.strip_prefix(" [") {
        let (word, text) = level(bracketed)?;
        let text = text.strip_prefix("] ")?;
        return Some(with_level(word, text, Some(clock)));
    }
    if let Some(piped) = rest.strip_prefix(" | ") {
        let (word, rest) = level(piped)?;
        let (place, text) = rest.trim_start_matches(' ').strip_prefix("| ")?.split_once(" - ")?;
        let is_place = place.matches(':').count() == 2 && !place.contains(' ');
        return is_place.then(|| with_level(word, text, Some(clock)));
    }
    let (word, text) = level(rest.strip_prefix(' ')?)?;
    let text = text.strip_prefix(' ').filter(|_| word.bytes().all(|byte| byte.is_ascii_uppercase()))?;
    Some(with_level(word, text.trim_start_matches(' '), Some(clock)))
}

/// Returns the text with its level in front, as singer-python logs it. A message stays alone; an
/// object that is the text of an error does not.
fn with_level<'a>(level: &str, text: &'a str, clock: Option<Clock>) -> Opened<'a> {
    let is_error = ["CRITICAL", "FATAL", "ERROR"].contains(&level.to_ascii_uppercase().as_str());
    if text.starts_with('{') && (!is_error || text.contains("\"type\"")) {
        return opened(text, clock);
    }
    Opened { text: Cow::Owned(format!("{} {text}", level.to_ascii_uppercase())), ..opened("", clock) }
}

/// `2024-06-01T10:00:00.123456789Z text`, and in CloudWatch `… ecs/tap/0f3a text`. Without a `T` or
/// a time zone only in front of an object, with or without brackets and a level.
fn instant_first(line: &str) -> Option<Opened<'_>> {
    let bracketed = line.strip_prefix('[');
    let (clock, rest) = instant(bracketed.unwrap_or(line))?;
    let rest = match bracketed {
        Some(_) => rest.strip_prefix(']')?,
        None => rest,
    };
    // Meltano's log has a zoned time and a padded level in lower case.
    let is_meltano = clock.is_zoned && rest.starts_with(" [");
    if bracketed.is_none()
        && !is_meltano
        && let Some(found) = level_behind_time(rest, clock)
    {
        return Some(found);
    }
    let text = rest.strip_prefix([' ', '\t'])?;
    // Meltano's log and Airbyte's worker log start with a time too.
    if text.starts_with('[') && text.get(1..).and_then(level).is_some() {
        return None;
    }
    let object = text.trim_start_matches(' ');
    if object.starts_with('{') {
        return Some(opened(object, Some(clock)));
    }
    if let Some((word, rest)) = level(object)
        && let Some(object) = rest.strip_prefix(' ').map(|rest| rest.trim_start_matches([' ', ':', '-']))
        && object.starts_with('{')
    {
        return Some(with_level(word, object, Some(clock)));
    }
    if bracketed.is_some() || !clock.is_zoned || line.as_bytes().get(10).is_none_or(|byte| *byte != b'T') {
        return None;
    }
    if let Some((stream, rest)) = text.split_once(' ')
        && stream.contains('/')
        && !stream.starts_with('/')
        && stream.len() <= NAME_LIMIT
        && !stream.contains(['"', '{', '(', ':', '='])
    {
        return Some(opened(rest, Some(clock)));
    }
    Some(opened(text, Some(clock)))
}

/// `tap-7d9f-x2xzq tap {"type": …}`: pod, container, and an object. The pod ends with the suffix that
/// Kubernetes generates, which has no vowels, or with a number: two words of text are no prefix.
fn stern(line: &str) -> Option<Opened<'_>> {
    const SUFFIX: usize = 5;
    let is_generated = |suffix: &str| {
        suffix.len() == SUFFIX && suffix.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
    };
    let is_number = |suffix: &str| !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit());
    let (pod, rest) = line.split_once(' ')?;
    let (container, text) = rest.split_once(' ')?;
    let is_pod = pod.rsplit_once('-').is_some_and(|(_, suffix)| is_generated(suffix) || is_number(suffix));
    (is_pod && is_name(pod) && is_name(container) && text.starts_with("{\"")).then(|| opened(text, None))
}
