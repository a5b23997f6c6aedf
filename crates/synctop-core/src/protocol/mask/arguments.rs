//! Secrets in the arguments of a command.

use super::pattern::MASK;
use super::text::{is_secret_field, secrets};
use std::borrow::Cow;

/// Options with a user and a password, such as those of curl.
const USER_OPTIONS: [&str; 3] = ["-u", "--user", "--basic-auth"];

/// Returns a command with its arguments for display. Values of options with secret-like names
/// (`--api-key VALUE`, `--token=VALUE`), passwords behind a user, and texts that look like secrets
/// are masked.
#[must_use]
pub fn arguments(words: &[String]) -> String {
    let mut shown: Vec<Cow<str>> = Vec::with_capacity(words.len());
    let mut before = "";
    for word in words {
        let option = before.starts_with('-').then(|| before.trim_start_matches('-'));
        shown.push(match word.split_once('=') {
            _ if !word.starts_with("--") && option.is_some_and(names_secret) => MASK.into(),
            _ if USER_OPTIONS.contains(&before) && word.contains(':') => without_password(word).into(),
            Some((name, value)) if USER_OPTIONS.contains(&name) && value.contains(':') => without_password(word).into(),
            _ if word.starts_with("-u") && word.contains(':') => without_password(word).into(),
            Some((name, value)) if !value.is_empty() && names_secret(name.trim_start_matches('-')) => {
                format!("{name}={MASK}").into()
            }
            _ => secrets(word),
        });
        before = word;
    }
    secrets(&shown.join(" ")).into_owned()
}

/// Masks the text behind the first colon.
fn without_password(word: &str) -> String {
    format!("{}:{MASK}", word.split(':').next().unwrap_or_default())
}

/// True if an option or a variable of this name has a secret as its value.
fn names_secret(name: &str) -> bool {
    let name = name.replace('-', "_");
    !name.is_empty() && !name.ends_with("_file") && !name.ends_with("_path") && is_secret_field(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_options_are_masked_and_others_remain() {
        for (command, shown) in [
            ("tap --api-key hunter2hunter2 --start 2024", "tap --api-key *** --start 2024"),
            ("tap --token=abc --config c.json", "tap --token=*** --config c.json"),
            ("env PGPASSWORD=hunter2 tap", "env PGPASSWORD=*** tap"),
            ("curl -u me:hunter2 https://a.example/x", "curl -u me:*** https://a.example/x"),
            ("curl --user=me:hunter2 -ume:hunter2 x", "curl --user=me:*** -ume:*** x"),
            ("tap --password -hunter2", "tap --password ***"),
            ("tap postgres://u:hunter2@db/x", "tap postgres://u:***@db/x"),
            ("tap --password-file /run/p --keyspace a", "tap --password-file /run/p --keyspace a"),
            ("meltano run tap-x target-y", "meltano run tap-x target-y"),
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            assert_eq!(arguments(&words), shown);
        }
        let json = [r#"--config={"client_secret":"q8vT3xLw0PmR7yKs"}"#.to_owned()];
        assert!(!arguments(&json).contains("q8vT"));
    }
}
