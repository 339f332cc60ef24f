//! What can be asked on the command line? The commands, and the exit codes: 0 ok, 1 failed at work,
//! 2 bad usage or bad configuration.

mod check;
mod check_chat;
mod dev;
mod healthcheck;
mod serve;
mod tokens;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::config::env::{Environment, Problem, Vars};
use crate::config::variables::{unknown_names, unread_names};
use crate::service::StartError;

/// A site's ChatKit backend: the chat itself or OpenAI's sessions, behind the site's own sign-in.
#[derive(Debug, Parser)]
#[command(
    name = "chatkit-server",
    version,
    about,
    propagate_version = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// Print the address that was bound, alone, on standard output
    #[arg(long)]
    print_addr: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service from the environment and a `.env` file (the default)
    Serve {
        #[command(flatten)]
        output: Output,
    },
    /// Run the service with nothing to configure, against a stand-in for OpenAI in the same process
    Dev {
        /// Who runs the chat
        #[arg(
            long,
            value_enum,
            help = "Who runs the chat [default: CHATKIT_MODE, else self-hosted]"
        )]
        mode: Option<Mode>,
        #[command(flatten)]
        output: Output,
    },
    /// Run a local stand-in for the parts of OpenAI's API that this service calls
    Sandbox {
        /// The port to listen on; 0 takes a free one
        #[arg(long, default_value_t = 4010)]
        port: u16,
        #[command(flatten)]
        output: Output,
    },
    /// Print a user's JWT signed with JWT_SECRET
    Token {
        /// The user's id
        #[arg(long)]
        user: String,
        /// How long it lives: a number with s, m, h or d
        #[arg(long, default_value = "15m", value_parser = tokens::duration)]
        ttl: std::time::Duration,
    },
    /// Print a new service token once, and the entry to add to SERVICE_TOKENS
    ServiceToken {
        /// The service's name, for the logs
        #[arg(long)]
        id: String,
    },
    /// Read the configuration and reach everything it names
    Check,
    /// Exit 0 if the server on this host is ready
    Healthcheck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// OpenAI runs a workflow
    Hosted,
    /// This server speaks the ChatKit protocol, and a model answers
    SelfHosted,
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// Bad configuration. Exit code 2.
    Config {
        /// Names that are nearly right: one of them may be why another is missing.
        warnings: Vec<String>,
        /// Every problem found.
        problems: Vec<Problem>,
    },
    /// It failed at work. Exit code 1.
    Work(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Work(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Work(error.into())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Config { warnings: Vec::new(), problems: vec![problem] }
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    // Each stream takes two files, and the soft limit is often 1,024. Where it can't be raised,
    // connections wait at it.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(&Failure::Work(
                anyhow::Error::new(error).context("the runtime can't start"),
            ));
        }
    };
    let ended = runtime.block_on(dispatch(cli));
    // What is still under way after the grace must not hold the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Serve { output: cli.output }) {
        Command::Serve { output } => serve::serve(&Environment::of_process()?, output).await,
        Command::Dev { mode, output } => dev::dev(Environment::of_process()?, mode, output).await,
        Command::Sandbox { port, output } => {
            dev::sandbox(Environment::of_process()?, port, output).await
        }
        Command::Token { user, ttl } => tokens::user_token(&Environment::of_process()?, &user, ttl),
        // It needs no configuration, so none can be in its way.
        Command::ServiceToken { id } => tokens::service_token(&id),
        Command::Check => check::check(&Environment::of_process()?).await,
        Command::Healthcheck => healthcheck::healthcheck(&Environment::of_process()?).await,
    }
}

/// The configuration of these variables.
fn config(vars: &Environment) -> Result<Config, Failure> {
    read(vars, Config::read)
}

/// What `part` makes of these variables.
fn read<T>(vars: &Environment, part: impl FnOnce(&Vars<'_>) -> T) -> Result<T, Failure> {
    vars.read(part)
        .map_err(|problems| Failure::Config { warnings: unknown_names(vars.names()), problems })
}

/// What is allowed and yet probably not meant, a line each.
fn warnings(vars: &Environment, config: &Config) -> Vec<String> {
    let mut warnings = unknown_names(vars.names());
    warnings.extend(unread_names(vars.names().filter(|name| vars.has(name)), &config.mode));
    warnings.extend(config.warnings());
    warnings
}

/// Writes the warnings of a command that has no log.
fn print_warnings(warnings: &[String]) {
    let mut out = std::io::stderr().lock();
    for warning in warnings {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(out, "chatkit-server: warning: {warning}");
    }
}

fn fail(failure: &Failure) -> ExitCode {
    if let Failure::Config { warnings, .. } = failure {
        print_warnings(warnings);
    }
    let mut out = std::io::stderr().lock();
    // Where standard error is closed there is nobody to tell.
    match failure {
        Failure::Config { problems, .. } => {
            for problem in problems {
                let _ = writeln!(out, "chatkit-server: {problem}");
            }
            ExitCode::from(2)
        }
        Failure::Work(error) => {
            let _ = writeln!(out, "chatkit-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard output.
fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(|error| Failure::Work(error.into()))
}
