//! `synctop man` and `synctop completions`.

use super::{Failure, args, print};

pub(super) fn man() -> Result<u8, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(args::command()).render(&mut page)?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(0)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "synctop", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
