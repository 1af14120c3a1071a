//! The command line, from which the help, the completions and the man pages
//! come too.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use zklock::lock::MAX_OWNER;
use zklock::rustls::pki_types::ServerName;
use zklock::{FencingToken, ZnodePath};

use crate::deadline::{SHARE_OF_GRACE, lease};
use crate::exit::{self, Failure};
use crate::keeper;
use crate::values;
use crate::words::{Form, Level, Words};

/// Run a command under a ZooKeeper lock, and look into a lock's queue.
#[derive(Debug, Parser)]
#[command(name = "zklock", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Status(Status),
    Break(Break),
    Serve(Serve),
    /// Watch over a command beside `zklock run`, which starts this itself.
    #[command(name = keeper::NAME, hide = true)]
    KeepWatch {
        #[arg(long)]
        log: Form,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print a man page: that of zklock, or of one of its commands.
    Man {
        /// The command.
        command: Option<String>,
    },
}

/// Acquire a lock, run a command, release the lock.
///
/// The command has standard input, output and error as they are, and a process
/// group of its own. Signals that come meanwhile are handed on to it, and it is
/// waited for.
///
/// The command ends before the lock does. If the servers are not heard of, it
/// gets SIGTERM while the lock is still held, and SIGKILL so long before the
/// end of its lease that it is gone by then; see --grace. If someone deletes
/// the claim, it gets SIGTERM as soon as that is known.
#[derive(Debug, Args)]
#[command(
    override_usage = "zklock run [OPTIONS] PATH [--] COMMAND [ARGS]...\n       \
                      zklock run [OPTIONS] PATH -c TEXT",
    after_long_help = format!("{ENVIRONMENT}\n\n{}", exit::RUN_TABLE)
)]
pub(crate) struct Run {
    /// The lock path: the znode below which requests queue. It is created if it
    /// is missing.
    #[arg(value_name = "PATH", value_parser = values::path)]
    pub(crate) path: ZnodePath,

    /// The command and its arguments.
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        required_unless_present = "shell",
        conflicts_with = "shell"
    )]
    pub(crate) command: Vec<OsString>,

    /// Run TEXT by /bin/sh instead of a command.
    #[arg(short = 'c', long = "command", value_name = "TEXT")]
    pub(crate) shell: Option<OsString>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// Do not wait for a lock that is taken.
    #[arg(short = 'n', long, visible_alias = "nb", conflicts_with = "timeout")]
    pub(crate) nonblock: bool,

    /// Wait no longer than this; without it, for ever. 0 is --nonblock.
    #[arg(short = 'w', long, value_name = "TIME", visible_alias = "wait", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,

    /// The exit code if the lock is not acquired.
    #[arg(
        short = 'E',
        long,
        value_name = "CODE",
        default_value_t = exit::NOT_ACQUIRED,
        value_parser = clap::value_parser!(u8).range(0..=255)
    )]
    pub(crate) conflict_exit_code: u8,

    /// The session timeout to ask the servers for: how long the lock stays taken
    /// if this machine dies. If no server answers for a seventh of it, the
    /// command may have to end.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::session_timeout)]
    pub(crate) session_timeout: Duration,

    /// Whom to name as the owner in the queue.
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,

    /// Hold the lock no longer than this. The command is ended in time, as if
    /// the lock were lost.
    #[arg(long, value_name = "TIME", value_parser = values::positive)]
    pub(crate) ttl: Option<Duration>,

    /// How long the command has between SIGTERM and SIGKILL when the lock is
    /// lost. SIGTERM comes the earlier for it, so that a sixth of the session
    /// timeout, or of the TTL, is the most [default: a tenth].
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) grace: Option<Duration>,

    /// What to do with the command when the lock is lost.
    #[arg(long, value_name = "ACTION", value_enum, default_value_t)]
    pub(crate) on_lost: OnLost,

    /// The ACL of the znodes that are created, as zkCli.sh takes it: entries
    /// SCHEME:ID:PERMS, separated by commas, PERMS being some of cdrwa.
    #[arg(long, value_name = "ACL", default_value = "world:anyone:cdrwa", value_parser = values::acl)]
    pub(crate) acl: values::AclList,

    #[command(flatten)]
    pub(crate) wording: Wording,
}

/// What to do with the command when the lock is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLost {
    /// SIGTERM, and SIGKILL after the grace period.
    #[default]
    Term,
    /// SIGKILL at the last moment.
    Kill,
    /// Say so, and let it go on. Its exit code counts.
    Warn,
}

/// Show the queue of a lock: who holds it, and who waits.
///
/// Every client that queues at PATH is shown, whether it is zklock or not, and
/// who of them does not respect whom.
#[derive(Debug, Args)]
#[command(
    override_usage = "zklock status [OPTIONS] PATH",
    after_long_help = exit::TABLE
)]
pub(crate) struct Status {
    /// The lock path.
    #[arg(value_name = "PATH", value_parser = values::path)]
    pub(crate) path: ZnodePath,

    /// Print a JSON object instead of a table; with --watch, one a line.
    #[arg(long)]
    pub(crate) json: bool,

    /// Go on showing the queue as it changes, until interrupted.
    #[arg(long)]
    pub(crate) watch: bool,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// How long to wait for a server.
    #[arg(short = 'w', long, value_name = "TIME", default_value = "10s", value_parser = values::positive)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) wording: Wording,
}

/// Remove the holder's claim from the queue of a lock.
///
/// For a holder that neither goes on nor leaves. The claim is shown, and
/// removed after a yes. Its holder learns of that by its watch only, and not at
/// all while it is cut off or stuck: until it does, it goes on, beside the next
/// holder. Make sure that it is dead, or that the resource checks fencing
/// tokens.
#[derive(Debug, Args)]
#[command(
    override_usage = "zklock break [OPTIONS] PATH",
    after_long_help = exit::TABLE
)]
pub(crate) struct Break {
    /// The lock path.
    #[arg(value_name = "PATH", value_parser = values::path)]
    pub(crate) path: ZnodePath,

    /// Do not ask, if the holder's token is this one.
    #[arg(long, value_name = "TOKEN", value_parser = values::token)]
    pub(crate) yes: Option<FencingToken>,

    #[command(flatten)]
    pub(crate) connection: Connection,

    /// How long to wait for a server.
    #[arg(short = 'w', long, value_name = "TIME", default_value = "10s", value_parser = values::positive)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) wording: Wording,
}

/// Serve ZooKeeper from memory, for development.
///
/// One server on the loopback interface, which keeps nothing when it ends. It
/// prints where it listens, and serves until it is interrupted.
#[derive(Debug, Args)]
#[command(after_long_help = exit::TABLE)]
pub(crate) struct Serve {
    /// The port to listen on; 0 is any that is free.
    #[arg(short, long, value_name = "PORT", default_value_t = 2181)]
    pub(crate) port: u16,

    #[command(flatten)]
    pub(crate) wording: Wording,
}

/// How to reach the servers.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The servers: HOST[:PORT][,HOST[:PORT]]...[/CHROOT].
    #[arg(
        short = 's',
        long,
        value_name = "SERVERS",
        env = "ZKLOCK_SERVERS",
        default_value = "localhost:2181",
        value_parser = values::servers
    )]
    pub(crate) server: String,

    /// Authenticate by the lines of this file, each SCHEME:AUTH, such as
    /// digest:user:password. No one but its owner may have access to it.
    #[arg(long, value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: Tls,
}

/// How to encrypt the session, if it is to be. All files are in PEM form.
#[derive(Debug, Args)]
pub(crate) struct Tls {
    /// Encrypt the session, and trust servers whose certificates come from these.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// The certificate to show to servers that ask for one.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its private key. No one but its owner may have access to it; if that is
    /// root, a group may read it.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// The name that the servers' certificates must be for, in place of their
    /// hosts in --server.
    #[arg(long, value_name = "NAME", requires = "tls_ca", value_parser = values::server_name)]
    pub(crate) tls_server_name: Option<ServerName<'static>>,
}

/// How to say things on standard error.
#[derive(Debug, Args)]
pub(crate) struct Wording {
    /// The form of what zklock says on standard error.
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) log: Form,

    /// Say no more than errors; a lock that is taken is none.
    #[arg(short = 'q', long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say also when the lock is acquired and released.
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    pub(crate) verbose: bool,
}

const ENVIRONMENT: &str = "\
The command's environment:
  ZKLOCK_PATH           PATH
  ZKLOCK_ZNODE          its claim, from the server's root
  ZKLOCK_FENCING_TOKEN  the number by which a resource tells it from earlier holders
  ZKLOCK_SESSION        the ZooKeeper session, as servers print it
  ZKLOCK_OWNER          the owner, or nothing";

/// Reads the command line. If it asks for help, or cannot be obeyed, that is
/// said, and the exit code returned.
pub(crate) fn parse() -> Result<Cli, u8> {
    let cli = Cli::try_parse().and_then(check);
    cli.map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            // If nobody reads it, it need not be written.
            let _ = error.print().and_then(|()| std::io::stdout().flush());
            return 0;
        }
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "a command is missing, such as run or status; see --help".to_owned()
            }
            _ => one_line(&error.render().to_string()),
        };
        let form = if asks_for_json() {
            Form::Json
        } else {
            Form::Text
        };
        let most = Level::Error;
        let failure = Failure::new(exit::USAGE, message);
        Words { form, most }.failure(&failure);
        exit::USAGE
    })
}

/// What holds between flags.
fn check(cli: Cli) -> Result<Cli, clap::Error> {
    let wrong = |message: String| Cli::command().error(ErrorKind::ValueValidation, message);
    if let Command::Run(run) = &cli.command {
        let owner = run.owner.as_deref().map_or(0, str::len);
        if owner > MAX_OWNER {
            return Err(wrong(format!(
                "--owner has {owner} bytes; at most {MAX_OWNER} are possible"
            )));
        }
        let lease = lease(run.session_timeout, run.ttl);
        let most = lease / SHARE_OF_GRACE;
        if let Some(grace) = run.grace.filter(|grace| *grace > most) {
            let most = Duration::from_millis(u64::try_from(most.as_millis()).unwrap_or(u64::MAX));
            let flag = if lease < run.session_timeout {
                "--ttl"
            } else {
                "--session-timeout"
            };
            let message = format!(
                "--grace {grace:?} is too long: a sixth of {flag} {lease:?} is the most; raise \
                 that to {:?}, or lower --grace to {most:?}",
                grace.saturating_mul(SHARE_OF_GRACE)
            );
            return Err(wrong(message));
        }
    }
    Ok(cli)
}

/// Before the flags could be read.
fn asks_for_json() -> bool {
    let args: Vec<_> = std::env::args_os().collect();
    let pair =
        |pair: &[OsString]| matches!(pair, [flag, form] if flag == "--log" && form == "json");
    args.windows(2).any(pair) || args.iter().any(|arg| arg == "--log=json")
}

/// What clap says in paragraphs: what is wrong, and its tips.
fn one_line(error: &str) -> String {
    let mut paragraphs = error.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let tips = paragraphs.filter(|paragraph| paragraph.trim_start().starts_with("tip:"));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: Vec<_> = std::iter::once(first).chain(tips).map(words).collect();
    let said = said.join("; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    format!("{said}; see --help")
}

impl Command {
    /// How this command says things.
    pub(crate) fn words(&self) -> Words {
        let wording = match self {
            Self::Run(Run { wording, .. })
            | Self::Status(Status { wording, .. })
            | Self::Break(Break { wording, .. })
            | Self::Serve(Serve { wording, .. }) => wording,
            Self::KeepWatch { log } => {
                return Words {
                    form: *log,
                    most: Level::Error,
                };
            }
            Self::Completions { .. } | Self::Man { .. } => {
                return Words {
                    form: Form::Text,
                    most: Level::Error,
                };
            }
        };
        let most = match (wording.quiet, wording.verbose) {
            (true, _) => Level::Error,
            (_, true) => Level::Info,
            _ => Level::Warn,
        };
        Words {
            form: wording.log,
            most,
        }
    }
}
