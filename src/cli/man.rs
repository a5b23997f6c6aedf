//! `synctop man` and `synctop completions`.

use super::{CommandError, args, print};

pub(super) fn man(of: Option<&str>) -> Result<u8, CommandError> {
    let mut whole = args::command();
    // Global options are repeated on each page.
    whole.build();
    let command = match of {
        None => whole,
        Some(name) => {
            let Some(command) = whole.find_subcommand(name) else {
                let known: Vec<_> =
                    whole.get_subcommands().map(clap::Command::get_name).filter(|it| *it != "help").collect();
                return Err(CommandError::usage(format!(
                    "There is no command {name}. There are {}.",
                    known.join(", ")
                )));
            };
            command.clone()
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(0)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "synctop", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
