//! Completions and man pages, from the definitions of the flags themselves.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::exit::{Failure, USAGE};

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "zklock", &mut script);
    print(&script)
}

/// Prints the man page of `zklock`, or of one of its commands.
pub(crate) fn man(name: Option<&str>) -> Result<u8, Failure> {
    let mut cli = Cli::command();
    // So that each command knows its full name.
    cli.build();
    let command = match name {
        None => cli,
        Some(name) => match cli.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let message = format!("there is no command {name:?}; see --help");
                return Err(Failure::new(USAGE, message));
            }
        },
    };
    let mut page = Vec::new();
    let rendered = Man::new(command).render(&mut page);
    rendered.map_err(|error| Failure::output(&error))?;
    print(&page)
}

fn print(text: &[u8]) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text).and_then(|()| out.flush());
    printed.map(|()| 0).map_err(|error| Failure::output(&error))
}
