//! `synctop config path|show|sample|init`: shows and creates the configuration.

use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::remote_args::{ConfigArgs, ConfigVerb};
use crate::cli::service::configuration;
use crate::net::client::contexts::{self, Reference, SAMPLE};
use synctop_core::ResultClass;
use synctop_core::protocol::mask;

pub(super) fn config(args: &ConfigArgs) -> Result<u8, CommandError> {
    let path = || {
        args.config.clone().or_else(contexts::path).ok_or_else(|| {
            CommandError::usage("No home folder for a configuration: set XDG_CONFIG_HOME, or pass --config FILE.")
        })
    };
    match &args.verb {
        ConfigVerb::Path => print(&format!("{}\n", path()?.display()))?,
        ConfigVerb::Sample => print(SAMPLE)?,
        ConfigVerb::Init => {
            let path = path()?;
            match create_sample(&path) {
                Ok(()) => print(&format!("{} was created: add your services to it\n", path.display()))?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    print(&format!("{} exists already and was not changed\n", path.display()))?;
                }
                Err(error) => {
                    let sentence =
                        format!("Cannot write {}: {error}. Pass another file with --config.", path.display());
                    return Err(CommandError { sentence, class: ResultClass::Output });
                }
            }
        }
        ConfigVerb::Show => {
            let all = configuration(args.config.as_ref())?;
            let from = path()?;
            let mut text = format!(
                "# {}{}\n",
                from.display(),
                if from.exists() { "" } else { " (does not exist yet: synctop config init creates it)" }
            );
            if let Some(name) = &all.context {
                text.push_str(&format!("context = {name:?}\n"));
            }
            for (name, context) in &all.contexts {
                text.push_str(&format!("\n[contexts.{name}]\nurl = {:?}\n", mask::secrets(&context.url)));
                if let Err(why) = all.check(name) {
                    text.push_str(&format!("# it cannot be used: {why}\n"));
                }
                if let Some(token) = &context.token {
                    let found = match token {
                        // Showing the configuration must not run the token command.
                        Reference::Command(_) => "the command runs when the token is needed".to_owned(),
                        Reference::Secret(_) => {
                            token.find().err().map_or("found".into(), |why| format!("not found: {why}"))
                        }
                    };
                    text.push_str(&format!("token = {:?}  # {found}\n", token.to_string()));
                }
                for (name, on) in
                    [("read_only", context.read_only), ("write", context.write), ("allow_http", context.allow_http)]
                {
                    if on {
                        text.push_str(&format!("{name} = true\n"));
                    }
                }
                if let Some(color) = &context.color {
                    text.push_str(&format!("color = {color:?}\n"));
                }
                if let Some(poll) = context.poll {
                    text.push_str(&format!("poll = \"{}s\"\n", poll.as_secs_f64()));
                }
            }
            print(&text)?;
        }
    }
    Ok(exit::DONE)
}

/// Creates the sample configuration, and its folder if needed.
///
/// # Errors
///
/// Returns `AlreadyExists` if the file exists.
fn create_sample(path: &std::path::Path) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(path)?.write_all(SAMPLE.as_bytes())
}
