//! How fast is the chat? This asks it, and the sandbox next to it, and says what came when.
//! `benches/chat.sh` starts the servers, each on a core of its own, and calls this once for each
//! row of its table.

mod asked;
mod process;
mod runs;
mod seed;

use std::io::Write;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use asked::Asked;
use process::Process;

/// Asks the chat, and says what came when.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// Fills a database that no server has open yet.
    Seed(seed::Seed),
    /// When does the first event come, through the server and from the model itself?
    First {
        #[command(flatten)]
        servers: Servers,
        #[arg(long)]
        rounds: usize,
    },
    /// What does the server hold while many streams are open, and does each come to its end?
    Streams {
        #[command(flatten)]
        servers: Servers,
        #[arg(long)]
        streams: usize,
        #[arg(long)]
        deltas: usize,
        #[arg(long)]
        delay_ms: u64,
        /// They begin evenly over this time.
        #[arg(long)]
        over_ms: u64,
    },
    /// How many deltas a second go through?
    Relay {
        #[command(flatten)]
        servers: Servers,
        #[arg(long)]
        streams: usize,
        #[arg(long)]
        deltas: usize,
    },
    /// What does a message cost in a long thread, next to a short one?
    Messages {
        #[command(flatten)]
        servers: Servers,
        #[arg(long)]
        rounds: usize,
        /// `thr_…` up to the number of the thread: a short one for each round.
        #[arg(long)]
        short: String,
        /// Threads that are long, by their ids.
        #[arg(long)]
        long: Vec<String>,
    },
    /// What does a page of a long list cost, next to one of a short list?
    Lists {
        #[command(flatten)]
        servers: Servers,
        #[arg(long)]
        rounds: usize,
        /// The token of a user with few threads; the other user has many.
        #[arg(long)]
        few: String,
        #[arg(long)]
        short: String,
        #[arg(long)]
        long: String,
    },
}

/// Who is asked.
#[derive(Args)]
struct Servers {
    /// The address of the server.
    #[arg(long)]
    server: String,
    /// The server's process.
    #[arg(long)]
    process: u32,
    /// The address of the sandbox.
    #[arg(long)]
    sandbox: String,
    /// The token of a user.
    #[arg(long)]
    token: String,
}

impl Servers {
    fn chat(&self) -> anyhow::Result<Asked> {
        Asked::chat(&self.server, &self.token)
    }

    fn model(&self) -> anyhow::Result<Asked> {
        Asked::model(&self.sandbox)
    }

    fn process(&self) -> Process {
        Process(self.process)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // `cargo bench` runs every benchmark with no argument but its own `--bench`: this one is for
    // chat.sh alone.
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        return Ok(());
    }
    match Cli::parse().run {
        Run::Seed(seed) => seed.sow().await,
        Run::First { servers, rounds } => runs::first(&servers, rounds).await,
        Run::Streams { servers, streams, deltas, delay_ms, over_ms } => {
            runs::streams(&servers, streams, deltas, delay_ms, Duration::from_millis(over_ms)).await
        }
        Run::Relay { servers, streams, deltas } => runs::relay(&servers, streams, deltas).await,
        Run::Messages { servers, rounds, short, long } => {
            runs::messages(&servers, rounds, &short, &long).await
        }
        Run::Lists { servers, rounds, few, short, long } => {
            runs::lists(&servers, rounds, &few, &short, &long).await
        }
    }
}

/// One line of the table.
fn row(what: &str, value: impl std::fmt::Display, unit: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "  {what:<72} {value:>10} {unit}")?)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// The value below which so much of the sample lies: 0.5 is the median.
fn quantile(sample: &[Duration], share: f64) -> Duration {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a small list"
    )]
    let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}
